"""Gates: which rows of a teacher's answer may be trained on.

Belongs here: checks of single rows, each with a name and a reason. Does not belong here: reading answers
(``answers.py``), storing rejected rows (``loop/``).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from s3_assets.generation.answers import REFUSES
from s3_assets.tasks.load import Task
from s3_assets.tasks.spec import ANSWER
from s3_assets.tasks.split import normalise

FIELDS, EMPTY, REFUSAL, GOLD_COPY, DUPLICATE = "fields", "empty", "refusal", "gold_copy", "duplicate"
NO_SPAN = "answer_not_in_context"


@dataclass
class Gates:
    """Gates of one step. ``gold`` and ``seen`` hold normalised texts, gold with the split it belongs to.

    ``spans``: rows are questions, whose ``answer`` must have been found in their context (``answer_start``).
    """

    fields: tuple[str, ...]
    gold: Mapping[tuple[str, ...], str]
    seen: set[tuple[str, ...]] = field(default_factory=set)
    spans: bool = False

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
        if self.spans and not isinstance(item.get("answer_start"), int):
            return NO_SPAN, f"the answer {item.get(ANSWER)!r} does not stand in the context"
        copied = self._copied(key)
        if copied is None:
            self.seen.add(key)
        return copied

    def _copied(self, key: tuple[str, ...]) -> tuple[str, str] | None:
        if key in self.gold:
            return GOLD_COPY, f"the same text is in {self.gold[key]} gold"
        if key in self.seen:
            return DUPLICATE, "the same text is in the set already"
        return None


def open_gates(task: Task, gold: pl.DataFrame, seen: pl.DataFrame | None = None) -> Gates:
    """The gates of a step of ``task``; ``seen`` holds the rows that are in its training set already."""
    fields = task.spec.text_fields
    already = seen_texts(seen, fields) if seen is not None else set()
    return Gates(fields, gold_texts(gold, fields), already, spans=task.spec.kind == "qa")


def gold_texts(gold: pl.DataFrame, fields: tuple[str, ...]) -> dict[tuple[str, ...], str]:
    """Normalised texts of all gold rows, with their split. Labels are not read."""
    return {_key(row, fields): row["split"] for row in gold.select(*fields, "split").iter_rows(named=True)}


def seen_texts(rows: pl.DataFrame, fields: tuple[str, ...]) -> set[tuple[str, ...]]:
    """Normalised texts of rows that are already in a training set."""
    return {_key(row, fields) for row in rows.select(*fields).iter_rows(named=True)}


def _key(row: Mapping[str, Any], fields: Iterable[str]) -> tuple[str, ...]:
    return tuple(normalise(row[name]) for name in fields)
