"""What the report shows, read from a task's newest parts as plain values.

Belongs here: the figures of every round, what was asked and refused, where all of it comes from. Does not belong
here: single errors (``examples.py``), the map's points (``map.py``), drawing, the page.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from s3_assets.experiment.asked import Asked, asked
from s3_assets.loop.fingerprints import DRIFT, ERROR_SET, EXTRAPOLATED_SET, GOLD, SEED_SET, TRAINED_MODEL, loop_key
from s3_assets.loop.progress import RoundFigures, round_figures
from s3_assets.loop.publish import BEGAN
from s3_assets.loop.state import LIVE, MISSING, Board, NotReady
from s3_assets.loop.uses import gold_in_use
from s3_assets.store.parts import INPUT_FINGERPRINT, Part, Warehouse
from s3_assets.store.tables import table
from s3_assets.tasks.gold_spec import SPLITS
from s3_assets.tasks.load import Task

# What a seed set's part notes of a person's review.
EXCLUDED = "excluded_by_review"


@dataclass(frozen=True)
class Rejections:
    """Rows that came and were refused, by gate, most first; faults of whole answers likewise."""

    gates: dict[str, int]
    faults: dict[str, int]


@dataclass(frozen=True)
class RoundFacts:
    """One round: its student, and the rows it added to the seed set with what they took.

    Rows that round 0 added are the seed's, those of a later round were extrapolated from the errors of the round
    before. ``asked`` is None where the parts do not say. ``excluded`` counts the rows that a person's review left out
    of this seed set, those of earlier rounds too.
    """

    figures: RoundFigures
    steer_f1: float | None
    accepted: int
    asked: Asked | None
    rejections: Rejections
    excluded: int = 0

    @property
    def round(self) -> int:
        """Number of the round."""
        return self.figures.round

    @property
    def refused(self) -> int:
        """Rows refused by gates."""
        return sum(self.rejections.gates.values())

    @property
    def rows_requested(self) -> int | None:
        """Rows asked for."""
        return None if self.asked is None else self.asked.rows_requested

    @property
    def cost(self) -> float | None:
        """US dollars of what was asked, whoever paid; None where a price is not known."""
        return None if self.asked is None else self.asked.cost

    @property
    def budget(self) -> int | None:
        """Rows requested plus label questions, paid or from the ledger."""
        return None if self.asked is None else self.asked.rows_requested + self.asked.label_questions


@dataclass(frozen=True)
class Source:
    """One part the report was read from."""

    asset: str
    round: int | None
    part: str
    state: str
    why: str
    fingerprint: str


@dataclass(frozen=True)
class Facts:
    """All of a task's loop that is counted. ``drift`` has the columns of that table.

    ``gold`` counts rows by the use that the strategy puts them to.
    """

    task: Task
    gold: dict[str, int]
    rounds: list[RoundFacts]
    drift: pl.DataFrame
    sources: list[Source]

    @property
    def stale(self) -> list[str]:
        """Steps shown whose inputs changed since, in words."""
        names = [
            (source, source.asset if source.round is None else f"{source.asset} of round {source.round}")
            for source in self.sources
        ]
        return [f"{name} ({source.why})" for source, name in names if source.state != LIVE]

    @property
    def splits(self) -> list[str]:
        """Splits whose scores are told apart. Where no gold selects, what is held out is steering gold, by folds."""
        return [split for split in SPLITS if split != "select" or self.gold["select"]]


def read_facts(task: Task, warehouse: Warehouse) -> Facts:
    """Figures of every round of the task's own loop: its strategy, its seed.

    Reads parts by path, so what was written a moment ago counts. ``NotReady`` when no round has a seed set.
    """
    board = Board(task, warehouse)
    rounds = [round_ for round_ in board.rounds() if board.step(SEED_SET, round_).part is not None]
    if not rounds:
        raise NotReady(f"{task.name} has no rounds yet, so there is nothing to report; run `s3-assets run {task.name}`")
    gold = board.step(GOLD, 0).part
    counts = Counter(gold_in_use(task, gold.read())["split"].to_list()) if gold is not None else Counter[str]()
    return Facts(
        task=task,
        gold={split: counts[split] for split in SPLITS},
        rounds=[_round(task, warehouse, board, round_) for round_ in rounds],
        drift=drift_rows(board, rounds),
        sources=_sources(board, rounds),
    )


def _round(task: Task, warehouse: Warehouse, board: Board, round_: int) -> RoundFacts:
    model = board.step(TRAINED_MODEL, round_).part
    # The step that asked for the rows this round added.
    asset, by = (SEED_SET, round_) if round_ == 0 else (EXTRAPOLATED_SET, round_ - 1)
    part, key = board.step(asset, by).part, loop_key(task, by)
    seed_set = board.step(SEED_SET, round_).part
    accepted = 0 if seed_set is None else seed_set.read().filter(pl.col("first_round") == round_).height
    known = part is not None and BEGAN in part.metadata()
    return RoundFacts(
        figures=round_figures(task, warehouse, round_),
        steer_f1=None if model is None else model.read()["steer_f1"][0],
        accepted=accepted,
        asked=asked(warehouse, key, asset, part) if part is not None and known else None,
        rejections=_rejections(warehouse.live("rejected", {**key.columns(), "asset": asset})),
        excluded=0 if seed_set is None else json.loads(seed_set.metadata().get("numbers", "{}")).get(EXCLUDED, 0),
    )


def _rejections(part: Part | None) -> Rejections:
    if part is None:
        return Rejections({}, {})
    rows = part.read()

    def counted(stage: str) -> dict[str, int]:
        found = rows.filter(pl.col("stage") == stage).group_by("gate").len("rows")
        return dict(found.sort(["rows", "gate"], descending=[True, False]).iter_rows())

    return Rejections(counted("row"), counted("response"))


def drift_rows(board: Board, rounds: Iterable[int]) -> pl.DataFrame:
    """Rows of table drift of the task's own loop in ``rounds``, as far as they are made."""
    schema: Any = table(DRIFT).schema
    parts = [part for round_ in rounds if (part := board.step(DRIFT, round_).part) is not None]
    # Parts of before a column was added are stale and say less than is shown.
    frames = [rows.select(list(schema)) for part in parts if set(schema) <= set((rows := part.read()).columns)]
    return pl.concat([pl.DataFrame(schema=schema), *frames])


def _sources(board: Board, rounds: list[int]) -> list[Source]:
    steps = [board.step(GOLD, 0)]
    shown = (SEED_SET, TRAINED_MODEL, ERROR_SET, DRIFT, EXTRAPOLATED_SET)
    steps += [board.step(asset, round_) for round_ in rounds for asset in shown]
    return [
        Source(
            asset=step.asset,
            round=None if step.asset == GOLD else step.round,
            part=step.part.part_id,
            state=step.state,
            why=step.why,
            fingerprint=step.part.metadata().get(INPUT_FINGERPRINT, ""),
        )
        for step in steps
        if step.part is not None and step.state != MISSING
    ]
