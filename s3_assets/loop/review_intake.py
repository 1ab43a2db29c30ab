"""Taking over what a person decided in a file: all of it, or nothing and every problem named.

Belongs here: checking decisions against the rows they are about, writing those that are new. Does not belong here: the
file (``review_file.py``), what decisions do (``reviews.py``).
"""

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from s3_assets.loop.fingerprints import EXTRAPOLATED_SET, GOLD, SEED_SET, loop_key
from s3_assets.loop.review_file import SURPLUS, read_review_file, says
from s3_assets.loop.reviews import (
    DECISIONS,
    EXCLUDE,
    KEEP,
    OF_GOLD,
    RELABEL,
    SYNTHETIC,
    Decision,
    Reviews,
    read_decisions,
    relabelled_id,
    write_decisions,
)
from s3_assets.loop.state import Board
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.gold import read_gold
from s3_assets.tasks.load import Task, TaskError

_MOST_PROBLEMS_SHOWN = 100


@dataclass(frozen=True)
class Taken:
    """What came of a file.

    ``decisions`` counts those taken over by kind and decision, ``repeated`` those that stood already, ``empty`` rows
    without one. ``from_round`` is the first round that follows those about synthetic rows, None without any; ``gone``
    of them are about rows that this round would not hold anyway.
    """

    decisions: Counter[tuple[str, str]]
    repeated: int
    empty: int
    from_round: int | None
    gone: int


@dataclass(frozen=True)
class _Row:
    """A row that decisions may be about: as its gold file or seed set gives it, and the label it has now."""

    given: Mapping[str, Any]
    label: str


def take_reviews(task: Task, warehouse: Warehouse, file: Path, who: str) -> Taken:
    """Take the decisions of a file over as one part of table ``reviews``: all of them, or none.

    ``TaskError`` with every problem and its line. Decisions that stand already are not written again.
    """
    before, gold = read_decisions(task, warehouse), read_gold(task)
    reviews = Reviews(before)
    rows = {OF_GOLD: _gold_rows(reviews, gold.iter_rows(named=True)), SYNTHETIC: _synthetic_rows(task, warehouse)}
    reader = _Reader(task, rows, reviews)
    for line, cells in read_review_file(file):
        reader.read(line, cells)
    if not reader.problems:
        try:
            Reviews([*before, *reader.decisions]).apply_to_gold(gold)
        except TaskError as error:
            reader.problems.append(str(error))
    if reader.problems:
        raise TaskError(_listing(file, reader.problems))
    # Decisions about gold make every round anew, the first one too.
    anew = Reviews([*before, *reader.decisions]).fingerprint(GOLD, 0) != reviews.fingerprint(GOLD, 0)
    from_round = 0 if anew else _next_round(task, warehouse)
    taken = [replace(one, from_round=from_round) if one.kind == SYNTHETIC else one for one in reader.decisions]
    if taken:
        write_decisions(task, warehouse, taken, who, datetime.now(UTC))
    about = [one.row_id for one in taken if one.kind == SYNTHETIC]
    return Taken(
        Counter((one.kind, one.decision) for one in taken),
        reader.repeated,
        reader.empty,
        from_round if about else None,
        len(set(about) - _held_by(task, warehouse, from_round)) if from_round else 0,
    )


class _Reader:
    """Decisions, and problems, of the lines of a file, one after another."""

    def __init__(self, task: Task, rows: Mapping[str, Mapping[str, _Row]], reviews: Reviews) -> None:
        self._task, self._rows, self._reviews = task, rows, reviews
        self._seen: dict[tuple[str, str], tuple[int, str, str | None]] = {}
        self.decisions: list[Decision] = []
        self.problems: list[str] = []
        self.repeated = self.empty = 0

    def read(self, line: int, cells: Mapping[str, str]) -> None:
        """Take one line into account."""
        decision, new_label = cells["decision"].strip().casefold(), cells["new_label"].strip()
        if cells[SURPLUS].strip():
            self._problem(line, "has more cells than the first line; put quotes around texts with separators in them")
        elif not decision and new_label:
            self._problem(line, f"new_label {new_label!r} without a decision; write {RELABEL}, or empty it")
        elif not decision:
            self.empty += 1
        elif decision not in DECISIONS:
            self._problem(line, f"unknown decision {decision!r}{_choice(decision, DECISIONS)}")
        else:
            self._decide(line, cells, decision, new_label or None)

    def _decide(self, line: int, cells: Mapping[str, str], decision: str, new_label: str | None) -> None:
        kind, row_id = cells["kind"].strip(), cells["row_id"].strip()
        if kind not in self._rows:
            self._problem(line, f"unknown kind {kind!r}{_choice(kind, tuple(self._rows))}")
            return
        row = self._rows[kind].get(row_id)
        if row is None:
            self._problem(line, f"row_id {row_id!r} is no {kind} row of task {self._task.name}")
            return
        problems = [*self._edited(row, row_id, cells), *self._impossible(row, row_id, decision, new_label)]
        new_id = relabelled_id(row.given, new_label) if kind == SYNTHETIC and new_label is not None else None
        why = cells["reason"].strip() or None
        one = Decision(kind, row_id, decision, row.given["label"], new_label, None, why, new_id)
        stands = self._stands(one, row, cells)
        if new_label == row.label and not stands and not problems:
            problems.append(f"new_label {new_label!r} is the label that row {row_id} has; write {KEEP} if it is right")
        earlier = self._seen.setdefault((kind, row_id), (line, decision, new_label))
        if earlier[1:] != (decision, new_label):
            problems.append(f"row {row_id} is decided otherwise in line {earlier[0]}; keep one of the two")
        for problem in problems:
            self._problem(line, problem)
        if problems or earlier[0] != line:
            return
        if stands:
            self.repeated += 1
        elif new_label is not None and new_label == row.given["label"]:
            # Back to what the gold file says.
            self.decisions.append(replace(one, decision=KEEP, new_label=None))
        else:
            self.decisions.append(one)

    def _edited(self, row: _Row, row_id: str, cells: Mapping[str, str]) -> Iterator[str]:
        """Cells that say something else than the row."""
        for name in self._task.spec.text_fields:
            if name in cells and not says(cells[name], row.given[name]):
                yield f"{name} is not that of row {row_id}; texts cannot be edited here, {EXCLUDE} the row instead"
        # Of a question its answer is shown, which spreadsheets may rewrite, as 3.50 or May 5; the texts suffice.
        labels = () if self._task.spec.kind == "qa" else (row.label, row.given["label"])
        if labels and not any(says(cells["label"], label) for label in labels):
            yield (
                f"label {cells['label'].strip()!r} is not that of row {row_id}, {row.label!r}; leave it, and write the "
                f"other label as new_label with decision {RELABEL}"
            )

    def _impossible(self, row: _Row, row_id: str, decision: str, new_label: str | None) -> Iterator[str]:
        """Why this cannot be decided about the row."""
        labels = tuple(self._task.spec.labels)
        if row.given.get("split") == "test":
            yield (
                f"{row_id} is test gold: corrected where a model misses it, it would measure that model too well; "
                "correct it in the gold file, whatever a model says of it"
            )
        if decision != RELABEL:
            if new_label is not None:
                yield f"new_label {new_label!r} with decision {decision}; write {RELABEL}, or empty it"
        elif self._task.spec.kind == "qa":
            yield f"rows of kind qa have answers and no labels; {EXCLUDE} the row, or edit the gold file"
        elif new_label is None:
            yield f"{RELABEL} without new_label; allowed: {', '.join(labels)}"
        elif new_label not in labels:
            yield f"new_label {new_label!r} is no label of task {self._task.name}{_choice(new_label, labels)}"

    def _stands(self, one: Decision, row: _Row, cells: Mapping[str, str]) -> bool:
        """Whether this is decided already, so that nothing would change."""
        newest = self._reviews.newest(one.kind, row.given)
        if newest is None:
            return False
        if one.kind == OF_GOLD and (one.decision, newest.decision) == (KEEP, RELABEL):
            # The label it was given is right, too; or the one the gold file gives is, after all.
            return says(cells["label"], row.label)
        return (newest.decision, newest.new_label, newest.why) == (one.decision, one.new_label, one.why)

    def _problem(self, line: int, what: str) -> None:
        self.problems.append(f"line {line}: {what}")


def _gold_rows(reviews: Reviews, gold: Iterator[dict[str, Any]]) -> dict[str, _Row]:
    """All gold rows by id, with the label decided last."""
    found = {}
    for row in gold:
        newest = reviews.newest(OF_GOLD, row)
        found[row["gold_id"]] = _Row(row, (newest.new_label if newest else None) or row["label"])
    return found


def _synthetic_rows(task: Task, warehouse: Warehouse) -> dict[str, _Row]:
    """Rows by id of everything a round of the task's own loop holds, or is to hold; of stale rounds too."""
    found = {}
    for round_ in Board(task, warehouse).rounds():
        for row in _rows_of(task, warehouse, round_):
            found[row["example_id"]] = _Row(row, row["label"])
    return found


def _rows_of(task: Task, warehouse: Warehouse, round_: int) -> Iterator[dict[str, Any]]:
    """Rows of the seed set of a round, and those extrapolated for the next."""
    for asset in (SEED_SET, EXTRAPOLATED_SET):
        part = warehouse.live(asset, loop_key(task, round_).columns())
        if part is not None:
            yield from part.read().select("example_id", "text", "text2", "label", "answer").iter_rows(named=True)


def _next_round(task: Task, warehouse: Warehouse) -> int:
    """The first round whose seed set is not made yet, or not from what its inputs are now."""
    board = Board(task, warehouse)
    return next(round_ for round_ in count() if not board.is_live(SEED_SET, round_))


def _held_by(task: Task, warehouse: Warehouse, round_: int) -> set[str]:
    """Ids of the rows a round is made of, as far as they are there."""
    return {row["example_id"] for row in _rows_of(task, warehouse, round_ - 1)}


def _choice(written: str, allowed: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(written, allowed, n=1)
    return f"{f'; did you mean {near[0]}?' if near else ';'} allowed: {', '.join(allowed)}"


def _listing(file: Path, problems: list[str]) -> str:
    shown = "\n".join(f"  {problem}" for problem in problems[:_MOST_PROBLEMS_SHOWN])
    more = len(problems) - _MOST_PROBLEMS_SHOWN
    head = f"{file}: {len(problems)} {'problem' if len(problems) == 1 else 'problems'}, nothing was taken over"
    return f"{head}\n{shown}" + (f"\n  and {more} more" if more > 0 else "")
