"""Blocking checks: what would make training wrong.

Belongs here: checks of a whole set of rows, as plain values. Does not belong here: gates on single rows
(``generation/gates.py``), showing checks in the UI (``assets/shown.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from s3_assets.generation.gates import gold_texts, seen_texts

LABELS_KNOWN, NO_GOLD_TEXT, EVERY_CLASS = "labels_known", "no_gold_text", "every_class_has_rows"


@dataclass(frozen=True)
class Check:
    """One blocking check: a part becomes live only when all of its step's checks passed."""

    name: str
    passed: bool
    detail: str


class ChecksFailed(RuntimeError):
    """A blocking check failed: the rows were not made live."""

    def __init__(self, what: str, checks: Sequence[Check]) -> None:
        self.checks = tuple(checks)
        failed = "; ".join(f"{check.name}: {check.detail}" for check in checks if not check.passed)
        super().__init__(f"{what} was not made live. {failed}")


def check_rows(rows: pl.DataFrame, gold: pl.DataFrame, labels: Sequence[str], fields: tuple[str, ...]) -> list[Check]:
    """Labels are in the declared set, and no row is a gold text verbatim (case and whitespace aside)."""
    unknown = sorted(set(rows["label"].unique()) - set(labels))
    leaked = seen_texts(rows, fields) & set(gold_texts(gold, fields))
    return [
        Check(LABELS_KNOWN, not unknown, f"labels outside the task: {unknown}" if unknown else "all are declared"),
        Check(NO_GOLD_TEXT, not leaked, f"{len(leaked)} rows are gold texts" if leaked else "no row is a gold text"),
    ]


def check_training_set(
    rows: pl.DataFrame, gold: pl.DataFrame, labels: Sequence[str], fields: tuple[str, ...]
) -> list[Check]:
    """The checks of ``check_rows``, and every label has rows to train on."""
    empty = sorted(set(labels) - set(rows["label"].unique()))
    every = Check(EVERY_CLASS, not empty, f"labels without rows: {empty}" if empty else "every label has rows")
    return [*check_rows(rows, gold, labels, fields), every]
