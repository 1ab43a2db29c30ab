"""What is known against the labels of a task's rows, gathered for a person to look at.

Belongs here: which rows are listed, and the live parts, opinions and neighbours that speak about them. Does not belong
here: what makes a row suspicious (``quality/suspects.py``), the file a person edits (``review_file.py``).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import polars as pl

from s3_assets.loop.fingerprints import EXTRAPOLATED_SET, SEED_SET, TRAINED_MODEL, loop_key
from s3_assets.loop.reviews import OF_GOLD, SYNTHETIC, Reviews, read_reviews
from s3_assets.loop.state import LIVE, MISSING, Board, NotReady
from s3_assets.loop.steps import live_predictions
from s3_assets.quality import suspects
from s3_assets.quality.near import near_pairs
from s3_assets.store.parts import Warehouse
from s3_assets.store.tables import table
from s3_assets.tasks.gold import read_gold
from s3_assets.tasks.load import Task

# What is listed of a row, and after it, for the command alone, ``reasons``.
LISTED = {
    "kind": pl.String,
    "row_id": pl.String,
    "split": pl.String,
    "first_round": pl.Int64,
    "label": pl.String,
    "text": pl.String,
    "text2": pl.String,
    "why": pl.String,
    "suspicion": pl.Float64,
    "suggested_label": pl.String,
}
# Where in the teacher's answers a row stood.
_PLACE = ("request_id", "item")
_NO_OPINION = {"students_label": pl.String, "students_probability": pl.Float64}


@dataclass(frozen=True)
class Suspects:
    """Suspicious rows, the most suspicious first: columns ``LISTED`` and ``reasons``.

    ``round`` is the one whose seed set was looked at, None without any; ``notes`` say what could not be looked at.
    """

    rows: pl.DataFrame
    round: int | None
    notes: list[str] = field(default_factory=list)


def find_suspects(task: Task, warehouse: Warehouse, round_: int | None = None) -> Suspects:
    """Suspicious rows of gold, but for test gold, and of a seed set; rows that a person decided about are left out.

    The seed set is the live one of the last round made, with the extrapolated set that enters the next where it is live
    too; or that of ``round_``. ``NotReady`` where that one is not live.
    """
    board, reviews, given = Board(task, warehouse), read_reviews(task, warehouse), read_gold(task)
    gold, _ = reviews.apply_to_gold(given)
    # Nothing here may go by how test rows are labelled.
    gold = _shown_labels(gold).with_columns(pl.when(pl.col("split") != "test").then("label").alias("label"))
    known = gold.filter(pl.col("split") != "test")
    at, notes = _round_to_list(task, board, round_)
    rows = _synthetic_rows(board, at, with_next=round_ is None)
    of_rows, of_known = _opinions(task, rows, known)
    found = pl.concat(
        [
            _gold_suspects(task, warehouse, board, gold, of_known, reviews, given),
            _synthetic_suspects(task, warehouse, rows, known, of_rows, reviews, at),
        ]
    )
    return Suspects(found.sort("suspicion", "kind", "row_id", descending=[True, False, False]), at, notes)


def _round_to_list(task: Task, board: Board, asked: int | None) -> tuple[int | None, list[str]]:
    """The round whose seed set is listed, and what is to be said about it."""
    if asked is not None:
        step = board.step(SEED_SET, asked)
        if step.state != LIVE:
            why = f" ({step.why})" if step.why else ""
            command = f"s3-assets run {task.name} --rounds {f'0-{asked}' if asked else '0'}"
            raise NotReady(f"seed_set of round {asked} of task {task.name} is {step.state}{why}; run `{command}` first")
        return asked, []
    states = [board.step(SEED_SET, round_) for round_ in board.rounds()]
    made = [step for step in states if step.state != MISSING]
    live = [step.round for step in made if step.state == LIVE]
    if not made:
        return None, [
            f"no round is made yet, only gold is listed; `s3-assets run {task.name} --rounds 0` makes the first"
        ]
    if len(live) == len(made):
        return live[-1], []
    last = made[-1]
    note = (
        f"seed_set of round {last.round} is stale ({last.why}) and not listed; "
        f"`s3-assets run {task.name} --rounds 0-{last.round}` makes it anew"
    )
    return (live[-1] if live else None), [note]


def _synthetic_rows(board: Board, round_: int | None, *, with_next: bool) -> pl.DataFrame:
    rows = pl.DataFrame(schema=table(SEED_SET).schema)
    seed_set = None if round_ is None else board.step(SEED_SET, round_).part
    if round_ is None or seed_set is None:
        return rows
    rows = seed_set.read()
    added = board.step(EXTRAPOLATED_SET, round_)
    if with_next and added.state == LIVE and added.part is not None:
        entering = added.part.read().with_columns(
            first_round=pl.lit(round_ + 1, pl.Int64), origin=pl.lit("extrapolated")
        )
        rows = pl.concat([rows, entering.select(rows.columns)])
    return _shown_labels(rows)


def _opinions(task: Task, rows: pl.DataFrame, known: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What the ensemble of small students says of synthetic rows and of gold; nothing where there are no labels."""
    if task.spec.kind == "qa":
        return pl.DataFrame(schema=_NO_OPINION), pl.DataFrame(schema=_NO_OPINION)
    from s3_assets.quality.ensemble import opinions  # its student brings torch, its members scikit-learn: seconds

    student = task.spec.student
    return opinions(
        rows.select("text", "text2", "label"),
        known.select("text", "text2", "label", "split"),
        list(task.spec.labels),
        student.weights,
        student.max_length,
        task.spec.seed,
    )


def _gold_suspects(
    task: Task,
    warehouse: Warehouse,
    board: Board,
    gold: pl.DataFrame,
    opinions: pl.DataFrame,
    reviews: Reviews,
    given: pl.DataFrame,
) -> pl.DataFrame:
    known = gold.filter(pl.col("split") != "test")
    live = [round_ for round_ in board.rounds() if board.is_live(TRAINED_MODEL, round_)]
    predictions = pl.concat(
        [pl.DataFrame(schema=table("predictions").schema)]
        + [live_predictions(warehouse, loop_key(task, round_)) for round_ in live],
        how="diagonal",
    )
    verdicts = _verdicts(task, warehouse, board.rounds(), OF_GOLD)
    labels = task.spec.kind != "qa"
    findings = [
        *suspects.missed(known, predictions, labels=labels),
        *(suspects.contradicted_by_students(known, opinions) if labels else ()),
        *suspects.contradicted_by_teacher(known, _votes(known, "gold_id", verdicts)),
    ]
    # Test rows stand last, so that places in gold and in what is known of it are the same.
    whole = pl.concat([known, gold.filter(pl.col("split") == "test")])
    findings += suspects.near_in_gold(whole, near_pairs(whole, task.spec.text_fields, suspects.NEAR))
    decided = given.filter(reviews.decided(given, OF_GOLD))["gold_id"]
    listed = known.with_columns(kind=pl.lit(OF_GOLD), row_id=pl.col("gold_id"), first_round=pl.lit(None, pl.Int64))
    return _listed(listed, findings).filter(~pl.col("row_id").is_in(decided.implode()))


def _synthetic_suspects(
    task: Task,
    warehouse: Warehouse,
    rows: pl.DataFrame,
    known: pl.DataFrame,
    opinions: pl.DataFrame,
    reviews: Reviews,
    round_: int | None,
) -> pl.DataFrame:
    if round_ is None or rows.is_empty():
        return _listed(rows.select("text"), [])
    labels = task.spec.kind != "qa"
    verdicts = _verdicts(task, warehouse, range(round_ + 1), SYNTHETIC)
    pairs = near_pairs(rows, task.spec.text_fields, suspects.NEAR)
    findings = [
        *(suspects.contradicted_by_students(rows, opinions) if labels else ()),
        *suspects.contradicted_by_teacher(rows, _votes(rows, "example_id", verdicts)),
        *suspects.unsure(rows),
        *suspects.near_in_synthetic(rows, pairs),
        *suspects.unusual_length(rows, known, task.spec.fields_written),
        *suspects.goes_by_shortcut(_shortcuts_held(task, warehouse, rows, round_)),
    ]
    split = pl.lit(None, pl.String).alias("split")
    listed = rows.with_columns(split, kind=pl.lit(SYNTHETIC), row_id=pl.col("example_id"))
    decided = rows.filter(reviews.decided(rows, SYNTHETIC))["example_id"]
    return _listed(listed, findings).filter(~pl.col("row_id").is_in(decided.implode()))


def _listed(rows: pl.DataFrame, findings: Sequence[suspects.Finding]) -> pl.DataFrame:
    """Rows that something was found of, as they are listed."""
    ranked = suspects.rank(findings)
    if ranked.is_empty():
        return pl.DataFrame(schema={**LISTED, "reasons": pl.List(pl.String)})
    return pl.concat([rows[ranked["row"].to_list()], ranked], how="horizontal").select(*LISTED, "reasons")


def _verdicts(task: Task, warehouse: Warehouse, rounds: Sequence[int], kind: str) -> pl.DataFrame:
    """Second opinions of rounds, in their order."""
    found = [pl.DataFrame(schema=table("verdicts").schema)]
    for round_ in rounds:
        for asset in (SEED_SET, EXTRAPOLATED_SET):
            part = warehouse.live("verdicts", {**loop_key(task, round_).columns(), "asset": asset})
            found += [] if part is None else [part.read()]
    # Parts written before verdicts had all of today's columns lack some.
    return pl.concat(found, how="diagonal").filter(pl.col("kind") == kind)


def _votes(rows: pl.DataFrame, row_id: str, verdicts: pl.DataFrame) -> list[list[str]]:
    """The teacher's blind votes on each row, the newest of several verdicts; none where it was not asked.

    A synthetic row is known by its place in the teacher's answer: its id is another one than in the verdict where it
    was relabelled, or stripped of a shortcut, after that.
    """
    by_id, by_place = dict[str, list[str]](), dict[tuple[str, int], list[str]]()
    asked = verdicts.filter(pl.col("votes").list.len() > 0)
    for name, request_id, item, votes in asked.select("row_id", *_PLACE, "votes").iter_rows():
        by_id[name] = votes
        if request_id is not None and item is not None:
            by_place[request_id, item] = votes
    places = rows.select(_PLACE).rows() if set(_PLACE) <= set(rows.columns) else [(None, None)] * rows.height
    return [by_place.get(at) or by_id.get(name, []) for name, at in zip(rows[row_id], places, strict=True)]


def _shortcuts_held(
    task: Task, warehouse: Warehouse, rows: pl.DataFrame, round_: int
) -> Iterator[tuple[int, str, float]]:
    """Rows for which a shortcut to their own label holds, by place, with the rule in words and its excess over gold."""
    from s3_assets.quality.shortcuts import describe, holders  # numpy, 0.2 s

    part = warehouse.live("shortcuts", loop_key(task, round_).columns())
    rules = part.read() if part is not None else pl.DataFrame(schema=table("shortcuts").schema)
    if rules.is_empty():
        return
    labels = rows["label"]
    for rule, places in zip(rules.iter_rows(named=True), holders(rows, rules), strict=True):
        told, excess = describe(rule), rule["tells"] - rule["gold_tells"]
        yield from ((place, told, excess) for place in places if labels[place] == rule["label"])


def _shown_labels(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with what a person is shown as their label: of a question its answer."""
    return rows.with_columns(pl.coalesce("answer", "label").alias("label"))
