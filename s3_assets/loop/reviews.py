"""What a person decided about rows, as the steps follow it.

Belongs here: the log of decisions, which of them stand, what they make of gold and of a seed set, what of them goes
into fingerprints. Does not belong here: reading a person's file (``review_file.py``), which rows are worth a look
(``quality/suspects.py``).
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from s3_assets.loop.fingerprints import GOLD, SEED_SET
from s3_assets.store.identity import digest, example_id
from s3_assets.store.parts import Warehouse
from s3_assets.store.tables import table
from s3_assets.tasks.gold import read_gold
from s3_assets.tasks.load import Task, TaskError
from s3_assets.tasks.split import normalise

REVIEWS = "reviews"
OF_GOLD, SYNTHETIC = "gold", "synthetic"
EXCLUDE, RELABEL, KEEP = "exclude", "relabel", "keep"
DECISIONS = (EXCLUDE, RELABEL, KEEP)


@dataclass(frozen=True)
class Decision:
    """One decision about one row, as table ``reviews`` has it. ``new_id`` is for lineage: rounds go by the label."""

    kind: str
    row_id: str
    decision: str
    label: str
    new_label: str | None
    from_round: int | None
    why: str | None
    new_id: str | None = None


class Reviews:
    """Decisions about the rows of a task.

    Decisions about synthetic rows count in the task's own loop, from their round on; arms of experiments go by gold
    decisions alone, which they share as they share gold.
    """

    def __init__(self, decisions: Iterable[Decision], *, own_loop: bool = True) -> None:
        """``decisions`` in the order they were taken."""
        every = list(decisions)
        self._synthetic = [one for one in every if one.kind == SYNTHETIC] if own_loop else []
        self._of = {
            OF_GOLD: _Standing(one for one in every if one.kind == OF_GOLD),
            SYNTHETIC: _Standing(self._synthetic),
        }

    def newest(self, kind: str, row: Mapping[str, Any]) -> Decision | None:
        """The newest decision about a row of gold, as its file gives it, or of a seed set; None when none counts.

        One lapses when the gold file gives another label since, or when a row was relabelled to what this one is.
        """
        standing = self._of[kind]
        if kind == OF_GOLD:
            one = standing.by_id.get(row["gold_id"])
            return one if one is not None and (one.decision == EXCLUDE or one.label == row["label"]) else None
        row_id = row["example_id"]
        return standing.by_id[row_id] if standing.order.get(row_id, -1) > standing.arrived(row) else None

    def decided(self, rows: pl.DataFrame, kind: str) -> pl.Series:
        """Which rows a person has decided about, also by what they are now. Rows as for ``newest``."""
        told = (
            self.newest(kind, row) is not None or (kind == SYNTHETIC and self._of[kind].arrived(row) >= 0)
            for row in rows.iter_rows(named=True)
        )
        return pl.Series(list(told), dtype=pl.Boolean)

    def fingerprint(self, asset: str, round_: int) -> str | None:
        """Hash of the decisions that a step's result follows from; None when there are none.

        Who decided and why make no difference. A round goes by the decisions from its round on or earlier, so that it
        stays live when more are taken for later rounds.
        """
        told: list[list[str | None]] = []
        if asset == GOLD:
            acting = self._of[OF_GOLD].acting()
            told = sorted(([one.row_id, one.decision, one.label, one.new_label] for one in acting), key=str)
        elif asset == SEED_SET:
            # In the order taken: of two relabellings that undo each other the later one holds.
            told = [[one.row_id, one.decision, one.new_label] for one in self._until(round_).acting()]
        return digest(told) if told else None

    def apply_to_gold(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int | float]]:
        """Gold as decided, and how many rows were left out and relabelled; nothing of test gold is touched.

        ``rows`` as the files give them. A relabelling holds while the file gives the label it was decided about. The
        finer label of the old label goes. ``TaskError`` where gold then contradicts itself or a use has no row left.
        """
        if not self._of[OF_GOLD].acting():
            return rows, {}
        excluded, relabelled = list[str](), dict[str, str]()
        for row in rows.filter(pl.col("split") != "test").select("gold_id", "label").iter_rows(named=True):
            one = self.newest(OF_GOLD, row)
            if one is not None and one.decision == EXCLUDE:
                excluded.append(one.row_id)
            elif one is not None and one.new_label is not None:
                relabelled[one.row_id] = one.new_label
        same = ~pl.col("gold_id").is_in(list(relabelled))
        edited = rows.filter(~pl.col("gold_id").is_in(excluded)).with_columns(
            pl.when(same).then("label").otherwise(pl.col("gold_id").replace(relabelled)).alias("label"),
            pl.when(same).then("sublabel").alias("sublabel"),
        )
        _refuse_unusable(edited, relabelled)
        return edited, _counts(len(excluded), len(relabelled))

    def apply_to_seed_set(self, rows: pl.DataFrame, round_: int) -> tuple[pl.DataFrame, dict[str, int | float]]:
        """The seed set of a round as decided, and how many of its rows were left out and relabelled now.

        Rows carried over from the round before are as decided then: excluded ones are gone, relabelled ones have the id
        that follows from their new label. Of a relabelled row the finer label goes, and what others thought of its old
        label.
        """
        standing = self._until(round_)
        if not standing.acting():
            return rows, {}
        kept, labels, ids = list[int](), dict[str, str](), dict[str, str]()
        for place, row in enumerate(rows.iter_rows(named=True)):
            label = standing.label_of(row)
            if label is not None:
                kept.append(place)
            if label is not None and label != row["label"]:
                labels[row["example_id"]], ids[row["example_id"]] = label, relabelled_id(row, label)
        same = ~pl.col("example_id").is_in(list(labels))
        edited = rows[kept].with_columns(
            pl.when(same).then("label").otherwise(pl.col("example_id").replace(labels)).alias("label"),
            pl.col("example_id").replace(ids),
            *(pl.when(same).then(name).alias(name) for name in ("sublabel", "confidence")),
        )
        return edited, _counts(rows.height - edited.height, len(labels))

    def _until(self, round_: int) -> "_Standing":
        return _Standing(one for one in self._synthetic if one.from_round is not None and one.from_round <= round_)


class _Standing:
    """The newest decision of every row, in the order they were taken."""

    def __init__(self, decisions: Iterable[Decision]) -> None:
        self.by_id: dict[str, Decision] = {}
        self.order: dict[str, int] = {}
        for place, one in enumerate(decisions):
            self.by_id.pop(one.row_id, None)
            self.by_id[one.row_id], self.order[one.row_id] = one, place
        self._before: dict[str | None, set[str]] = {}
        for one in self.by_id.values():
            self._before.setdefault(one.new_label, set()).add(one.label)

    def acting(self) -> list[Decision]:
        """Decisions that change a row."""
        return [one for one in self.by_id.values() if one.decision != KEEP]

    def label_of(self, row: Mapping[str, Any]) -> str | None:
        """Label of a row of a seed set after all that was decided about it, in turn; None where it is left out."""
        label, row_id, since = str(row["label"]), str(row["example_id"]), -1
        if row_id in self.by_id:
            since = self.arrived(row)
        while self.order.get(row_id, -1) > since:
            one = self.by_id[row_id]
            if one.decision == EXCLUDE:
                return None
            if one.new_label is None:
                break
            label, row_id, since = one.new_label, relabelled_id(row, one.new_label), self.order[row_id]
        return label

    def arrived(self, row: Mapping[str, Any]) -> int:
        """When it was last decided that the row's texts have its label, by relabelling; -1 for never.

        Decisions about the row from before then have lapsed.
        """
        latest = -1
        for before in self._before.get(row["label"], ()):
            row_id = relabelled_id(row, before)
            if row_id in self.by_id and self.by_id[row_id].new_label == row["label"]:
                latest = max(latest, self.order[row_id])
        return latest


def read_decisions(task: Task, warehouse: Warehouse) -> list[Decision]:
    """The log of a task, in the order decisions were taken."""
    columns = ("kind", "row_id", "decision", "label", "new_label", "from_round", "why")
    parts = warehouse.parts(REVIEWS, {"task": task.name})
    logged = (row for part in parts for row in part.read().select(columns).iter_rows(named=True))
    return [Decision(**row) for row in logged]


def read_reviews(task: Task, warehouse: Warehouse) -> Reviews:
    """Every decision about the rows of a task, as they are in the warehouse now."""
    # Only the task's own loop keeps the weights of its students; arms of experiments are measured and not used.
    return Reviews(read_decisions(task, warehouse), own_loop=task.keeps_weights)


def read_reviewed_gold(task: Task, warehouse: Warehouse) -> tuple[pl.DataFrame, dict[str, int | float]]:
    """Gold as its files give it and as a person decided since; see ``Reviews.apply_to_gold``."""
    return read_reviews(task, warehouse).apply_to_gold(read_gold(task))


def contradicting(rows: pl.DataFrame) -> list[tuple[str, str]]:
    """Ids of gold rows that have the same texts, case and space aside, and different labels; the earlier one first."""
    first: dict[tuple[str, str], tuple[str, str]] = {}
    found = []
    for gold_id, text, text2, label in rows.select("gold_id", "text", "text2", "label").iter_rows():
        earlier = first.setdefault((normalise(text), normalise(text2 or "")), (gold_id, label))
        if earlier[1] != label:
            found.append((earlier[0], gold_id))
    return found


def write_decisions(task: Task, warehouse: Warehouse, decisions: Iterable[Decision], who: str, at: datetime) -> None:
    """Add decisions to the log, in the order they are given."""
    taken = {"task": task.name, "who": who, "decided_at": at}
    rows = [{**dataclasses.asdict(one), **taken} for one in decisions]
    warehouse.write(REVIEWS, {"task": task.name}, pl.DataFrame(rows, schema=table(REVIEWS).schema))


def relabelled_id(row: Mapping[str, Any], label: str) -> str:
    """Id of a synthetic row with another label."""
    return example_id(row["text"], row["text2"], label, row["answer"])


def _refuse_unusable(gold: pl.DataFrame, relabelled: Mapping[str, str]) -> None:
    for split in ("steer", "select"):
        if gold.filter(pl.col("split") == split).is_empty():
            raise TaskError(f"reviews leave no gold row for {split}; decide keep for some of them, or give more rows")
    for one, other in contradicting(gold) if relabelled else ():
        raise TaskError(
            f"reviews give gold rows {one} and {other} two labels, but their texts are the same; relabel both"
        )


def _counts(excluded: int, relabelled: int) -> dict[str, int | float]:
    return {"excluded_by_review": excluded, "relabelled_by_review": relabelled}
