"""Checks of whole sets as plain values, and the blocking ones: what would make training wrong.

Belongs here: what a check is, how it is noted in a part, checks that keep a set from becoming live. Does not belong
here: checks that only warn (``quality_checks.py``), gates on single rows (``quality/gates.py``), showing checks in
the UI (``assets/shown.py``).
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from s3_assets.quality.candidate import Candidate
from s3_assets.quality.overlap import GOLD_COPY, HELD_OUT, GoldOverlap

LABELS_KNOWN, NO_GOLD_TEXT, EVERY_CLASS = "labels_known", "no_gold_text", "every_class_has_rows"

# The checks that ``check_rows`` and ``check_training_set`` make.
ROWS_CHECKS = (LABELS_KNOWN, NO_GOLD_TEXT)
TRAINING_SET_CHECKS = (*ROWS_CHECKS, EVERY_CLASS)
BLOCKING = frozenset(TRAINING_SET_CHECKS)


@dataclass(frozen=True)
class Check:
    """One check of a set. A part becomes live only when all blocking checks of its step passed; the others warn.

    ``numbers`` are what it went by, each with a name that says what it is.
    """

    name: str
    passed: bool
    detail: str
    blocking: bool = True
    numbers: Mapping[str, float] = field(default_factory=dict)


class ChecksFailed(RuntimeError):
    """A blocking check failed: the rows were not made live."""

    def __init__(self, what: str, checks: Sequence[Check]) -> None:
        self.checks = tuple(checks)
        failed = "; ".join(f"{check.name}: {check.detail}" for check in checks if check.blocking and not check.passed)
        super().__init__(f"{what} was not made live. {failed}")


def note(checks: Sequence[Check]) -> str:
    """Checks as they are noted in a part."""
    return json.dumps([dataclasses.asdict(check) for check in checks])


def read_note(noted: str) -> list[Check]:
    """What ``note`` wrote."""
    return [Check(**check) for check in json.loads(noted)]


def check_rows(
    rows: pl.DataFrame, gold: pl.DataFrame, labels: Sequence[str], fields: tuple[str, ...], written: tuple[str, ...]
) -> list[Check]:
    """Labels are in the declared set, and no row has its text from gold.

    That is: none is a gold text (case and whitespace aside), none overlaps the text of selecting or test gold as the
    gates judge it. ``fields`` are the task's text fields, ``written`` those the teacher writes.
    """
    unknown = sorted(set(rows["label"].unique()) - set(labels))
    overlap = GoldOverlap(gold, fields, written, echo=None)
    gates = Counter(
        refusal.gate
        for row in rows.select(fields).iter_rows(named=True)
        if (refusal := overlap.refuse(Candidate(row, written))) is not None
    )
    leaks = f"{gates[GOLD_COPY]} rows are steering texts, {gates[HELD_OUT]} overlap selecting or test gold"
    return [
        Check(LABELS_KNOWN, not unknown, f"labels outside the task: {unknown}" if unknown else "all are declared"),
        Check(NO_GOLD_TEXT, not gates, leaks if gates else "no row has its text from gold"),
    ]


def check_training_set(
    rows: pl.DataFrame, gold: pl.DataFrame, labels: Sequence[str], fields: tuple[str, ...], written: tuple[str, ...]
) -> list[Check]:
    """The checks of ``check_rows``, and every label has rows to train on."""
    empty = sorted(set(labels) - set(rows["label"].unique()))
    every = Check(EVERY_CLASS, not empty, f"labels without rows: {empty}" if empty else "every label has rows")
    return [*check_rows(rows, gold, labels, fields, written), every]
