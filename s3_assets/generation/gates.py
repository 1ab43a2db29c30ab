"""Gates: which rows of a teacher's answer may be trained on.

Belongs here: checks of single rows, each with a name and a reason. Does not belong here: reading answers
(``answers.py``), storing rejected rows (``loop/``).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from s3_assets.generation.answers import REFUSES
from s3_assets.tasks.split import normalise

FIELDS, EMPTY, REFUSAL, GOLD_COPY, DUPLICATE = "fields", "empty", "refusal", "gold_copy", "duplicate"


@dataclass
class Gates:
    """Gates of one step. ``gold`` and ``seen`` hold normalised texts, gold with the split it belongs to."""

    fields: tuple[str, ...]
    gold: Mapping[tuple[str, ...], str]
    seen: set[tuple[str, ...]] = field(default_factory=set)

    def refuse(self, item: Any) -> tuple[str, str] | None:
        """Gate and reason when ``item`` is not accepted; None when it is, and then it counts as seen."""
        if not isinstance(item, dict) or any(not isinstance(item.get(name), str) for name in self.fields):
            return FIELDS, f"not an object with the texts {', '.join(self.fields)}"
        empty = [name for name in self.fields if not item[name].strip()]
        if empty:
            return EMPTY, f"{', '.join(empty)} is empty"
        key = tuple(normalise(item[name]) for name in self.fields)
        if any(REFUSES.search(text) for text in key):
            return REFUSAL, "the teacher refuses instead of writing the text"
        if key in self.gold:
            return GOLD_COPY, f"the same text is in {self.gold[key]} gold"
        if key in self.seen:
            return DUPLICATE, "the same text is in the set already"
        self.seen.add(key)
        return None


def gold_texts(gold: pl.DataFrame, fields: tuple[str, ...]) -> dict[tuple[str, ...], str]:
    """Normalised texts of all gold rows, with their split. Labels are not read."""
    return {_key(row, fields): row["split"] for row in gold.select(*fields, "split").iter_rows(named=True)}


def seen_texts(rows: pl.DataFrame, fields: tuple[str, ...]) -> set[tuple[str, ...]]:
    """Normalised texts of rows that are already in a training set."""
    return {_key(row, fields) for row in rows.select(*fields).iter_rows(named=True)}


def _key(row: Mapping[str, Any], fields: Iterable[str]) -> tuple[str, ...]:
    return tuple(normalise(row[name]) for name in fields)
