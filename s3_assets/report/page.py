"""The report of a task as one HTML page.

Belongs here: gathering what it shows, its head, rendering, writing the file at once. Does not belong here: what each
section says (``sections.py``, ``drift_sections.py``), how it looks (``templates/``), who asks (``cli/report.py``,
``assets/report.py``).
"""

import base64
import hashlib
import importlib.metadata
import importlib.resources
import json
import os
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
from markupsafe import Markup

from s3_assets.cli.figures import EMBEDDED
from s3_assets.experiment.leaderboard import experiment_rows
from s3_assets.experiment.publish import board_notes
from s3_assets.loop.fingerprints import LEADERBOARD
from s3_assets.report import drift_sections, sections
from s3_assets.report.blocks import Block, DataTable, number, percent, rows_of_gold
from s3_assets.report.examples import Example, read_examples
from s3_assets.report.facts import Facts, read_facts
from s3_assets.report.map import Map, read_map
from s3_assets.report.map_picture import series
from s3_assets.report.pictures import score_of
from s3_assets.store.identity import digest
from s3_assets.store.parts import INPUTS, Warehouse
from s3_assets.tasks.load import Task
from s3_assets.teacher.endpoint import base_url
from s3_assets.teacher.request import teacher_id

_TRAINED = {
    "fine_tuned": "trained from its checkpoint",
    "contrastive": "trained from its checkpoint by comparing rows, a head on it",
    "frozen": "frozen, a head trained",
}


@dataclass(frozen=True)
class Standing:
    """The leaderboard as it is live, the rows of its seeds, and what must be said beside it."""

    board: pl.DataFrame
    seeds: pl.DataFrame
    notes: list[str]
    part: str


@dataclass(frozen=True)
class Report:
    """Everything a page is made of. ``map`` is a sentence where there is none."""

    facts: Facts
    map: Map | str
    examples: list[Example]
    standing: Standing | None

    @property
    def version(self) -> str:
        """Hash of the parts the report was read from."""
        parts = [source.part for source in self.facts.sources]
        return digest([*parts, *([self.standing.part] if self.standing else [])])


def read_report(task: Task, warehouse: Warehouse) -> Report:
    """What the newest parts of a task's own loop say. ``NotReady`` when it has no rounds yet."""
    facts = read_facts(task, warehouse)
    rounds = [one.round for one in facts.rounds]
    return Report(
        facts, read_map(task, warehouse, rounds), read_examples(task, warehouse, rounds), _standing(task, warehouse)
    )


def render(report: Report, made_at: datetime) -> str:
    """The page. It asks for nothing from anywhere, and every text of gold or a teacher is escaped."""
    import jinja2  # 0.05 s

    facts, templates = report.facts, importlib.resources.files("s3_assets.report") / "templates"
    script = (templates / "report.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string((templates / "report.html").read_text(encoding="utf-8"))
    shown = [sections.accuracy(facts), drift_sections.drift(facts), drift_sections.novelty(facts)]
    shown += [sections.map_block(facts, report.map), sections.funnel(facts), sections.cost(facts)]
    return page.render(
        task=facts.task,
        # Our own files, not escaped.
        style=Markup((templates / "report.css").read_text(encoding="utf-8")),  # noqa: S704
        script=Markup(script),  # noqa: S704
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        head=_head(report, made_at),
        simulated=EMBEDDED if facts.task.spec.teacher.backend == "embedded" else None,
        blocks=[block for block in shown if block is not None],
        series=series(report.map) if isinstance(report.map, Map) else [],
        examples=report.examples,
        rounds=[one.round for one in facts.rounds],
        leaderboard=_leaderboard(report.standing),
        leaderboard_png=_board_png(report.standing),
        sources=_sources(facts),
        stale=facts.stale,
    )


def write_page(path: Path, page: str) -> None:
    """Put the page in place at once: a reader sees the old file or the new one. ``OSError`` when it cannot be."""
    pending = path.with_name(f".{path.name}-{secrets.token_hex(4)}.tmp")
    try:
        with pending.open("x", encoding="utf-8") as written:
            written.write(page)
            written.flush()
            os.fsync(written.fileno())
        pending.replace(path)
    finally:
        pending.unlink(missing_ok=True)


def _head(report: Report, made_at: datetime) -> list[tuple[str, str]]:
    facts, spec = report.facts, report.facts.task.spec
    rounds, labels = [one.round for one in facts.rounds], ", ".join(spec.labels)
    embedded = spec.teacher.backend == "embedded"
    return [
        ("kind", spec.kind),
        *([("labels", labels)] if spec.kind != "qa" else []),
        ("rows of gold", rows_of_gold(facts.gold)),
        ("teacher", spec.teacher.backend if embedded else f"{spec.teacher.backend}, model {spec.teacher.model}"),
        ("teacher id", teacher_id(facts.task, base_url(facts.task))),
        ("student", f"{spec.student.weights}, {_TRAINED[spec.student.kind]} in each round"),
        ("strategy, seed", f"{spec.strategy}, {spec.seed}"),
        ("rounds", str(rounds[0]) if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]}"),
        ("made", made_at.strftime("%Y-%m-%d %H:%M:%S UTC")),
        ("s3_assets", importlib.metadata.version("s3-assets")),
        ("version of the data", report.version),
    ]


def _sources(facts: Facts) -> DataTable:
    return DataTable(
        "Parts the report was read from",
        ("asset", "round", "part", "state", "input fingerprint"),
        [
            [one.asset, "" if one.round is None else str(one.round), one.part, one.state, one.fingerprint]
            for one in facts.sources
        ],
        words=frozenset(("part", "state", "input fingerprint")),
    )


def _standing(task: Task, warehouse: Warehouse) -> Standing | None:
    part = warehouse.live(LEADERBOARD, {"task": task.name})
    if part is None:
        return None
    seeds, noted = experiment_rows(warehouse, task.name), part.metadata().get(INPUTS)
    if noted is not None:
        # Others may have come since, or were left out as stale.
        seeds = seeds.filter(pl.col("model_id").is_in(list(json.loads(noted).values())))
    return Standing(part.read(), seeds, board_notes(task, warehouse, part), part.part_id)


def _leaderboard(standing: Standing | None) -> Block | None:
    if standing is None:
        return None
    says = (
        "Strategies compared by the same teacher and student, best mean test score first. Intervals are over seeds: "
        "test rows and gold stay the same."
    )
    arms = standing.board.to_dicts()
    columns = ("arm", "place", "seeds", "budget", "mean test score, %", "95%", "against goldgen", "against gold_only")
    rows = [
        [
            arm["arm"],
            number(arm["place"]),
            number(arm["seeds"]),
            number(arm["teacher_budget"]),
            percent(arm["score_mean"]),
            "one seed" if arm["ci_low"] is None else f"{percent(arm['ci_low'])} to {percent(arm['ci_high'])}",
            *(_points(arm[name]) for name in ("vs_goldgen", "vs_gold_only")),
        ]
        for arm in arms
    ]
    table = DataTable("Arms, with paired differences in points", columns, rows)
    return Block("leaderboard", "Leaderboard", says, [], [table], [f"{note}." for note in standing.notes])


def _board_png(standing: Standing | None) -> str | None:
    if standing is None or standing.board.is_empty():
        return None
    from s3_assets.experiment.plot import plot  # matplotlib: 0.5 s

    return base64.b64encode(plot(standing.board, standing.seeds)).decode("ascii")


def _points(share: float | None) -> str:
    return number(None) if share is None else f"{100 * share:+.1f}"


def report_numbers(report: Report) -> dict[str, int | float]:
    """Numbers of the last round worth plotting from report to report."""
    last = report.facts.rounds[-1].figures
    scores = {split: score_of(last, split) for split in report.facts.splits}
    found: dict[str, int | float] = {"rounds": len(report.facts.rounds)}
    return found | {f"{split}_score": score.share for split, score in scores.items() if score is not None}


def main_pictures(report: Report) -> dict[str, bytes]:
    """The main pictures as PNGs, by name; those that cannot be drawn are left out."""
    from s3_assets.report.drawing import png
    from s3_assets.report.drift_picture import drift_figure, metrics_of
    from s3_assets.report.map_picture import map_figure
    from s3_assets.report.pictures import accuracy_figure, funnel_figure

    facts = report.facts
    figures = {
        "accuracy": accuracy_figure(facts.rounds, sections.measure_of(facts), facts.splits),
        "drift": drift_figure(facts.drift) if metrics_of(facts.drift) else None,
        "map": map_figure(report.map) if isinstance(report.map, Map) else None,
        "rows": funnel_figure(facts.rounds),
    }
    return {name: png(figure) for name, figure in figures.items() if figure is not None}
