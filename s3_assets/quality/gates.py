"""Gates: which rows of a teacher's answer may be trained on.

Belongs here: the list of gates of a task, in the order they are asked. Does not belong here: what a gate looks at
(``texts.py``, ``language.py``, ``overlap.py``), repairs (``repairs.py``), reading answers (``generation/answers.py``),
storing rejected rows (``loop/``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from s3_assets.quality.candidate import Candidate, Gate, Refusal
from s3_assets.quality.language import Language
from s3_assets.quality.overlap import GoldOverlap, NearDuplicates
from s3_assets.quality.repairs import Repairs, repairs_of
from s3_assets.quality.texts import AnswerGiven, AnswerInContext, Empty, Length, label_like_gates
from s3_assets.tasks.load import Task
from s3_assets.tasks.spec import ANSWER

FIELDS = "fields"


@dataclass(frozen=True)
class Judged:
    """An item as it would be stored, what was taken off its texts, and why it is not accepted (None: it is)."""

    item: Any
    repairs: tuple[str, ...]
    refusal: Refusal | None


class Gates:
    """The gates of one step, asked in order."""

    def __init__(self, task: Task, repairs: Repairs, gates: Sequence[Gate], repeats: NearDuplicates) -> None:
        self._task = task
        self._fields, self._written = task.spec.text_fields, task.spec.fields_written
        self._repairs, self._gates, self._repeats = repairs, gates, repeats

    def anew(self) -> "Gates":
        """The same gates that have seen no row; what they know of gold is not worked out again."""
        return Gates(self._task, self._repairs, self._gates, NearDuplicates(self._task.spec.gates.near_duplicate))

    def judge(self, item: Any, label: str | None = None, *, remember: bool = True) -> Judged:
        """Judge an item of an answer. One that is accepted counts as seen, unless ``remember`` is False.

        A context that the teacher was given is neither repaired nor judged by itself.
        """
        if not isinstance(item, dict) or any(not isinstance(item.get(name), str) for name in self._fields):
            return Judged(item, (), Refusal(FIELDS, f"not an object with the texts {', '.join(self._fields)}"))
        repaired, made = dict(item), dict[str, None]()
        for name in self._written:
            repaired[name], names = self._repairs.apply(name, item[name])
            made |= dict.fromkeys(names)
        row = Candidate(
            {name: repaired[name] for name in self._fields},
            self._written,
            label,
            answer if isinstance(answer := repaired.get(ANSWER), str) else None,
            start if isinstance(start := repaired.get("answer_start"), int) else None,
        )
        refusal = next((found for gate in self._gates if (found := gate.refuse(row)) is not None), None)
        refusal = refusal or self._repeats.refuse(row)
        if refusal is None and remember:
            self._repeats.remember(row)
        return Judged(repaired, tuple(made), refusal)

    def forget(self, row: Mapping[str, Any]) -> None:
        """Count an accepted row as not seen: it was taken back."""
        self._repeats.forget(Candidate({name: row[name] for name in self._fields}, self._written))

    def remember(self, rows: pl.DataFrame) -> None:
        """Count rows as seen: they are in the training set already."""
        for row in rows.select(*self._fields, "label").iter_rows(named=True):
            self._repeats.remember(Candidate({name: row[name] for name in self._fields}, self._written, row["label"]))


def open_gates(task: Task, gold: pl.DataFrame, seen: pl.DataFrame | None = None) -> Gates:
    """The gates of a step of ``task``.

    ``gold`` has the columns of the ``gold`` table, all splits; what texts are like is learnt from steering gold alone.
    ``seen`` holds the rows that are in the step's training set already.
    """
    spec, fields = task.spec.gates, task.spec.text_fields
    steer = gold.filter(pl.col("split") == "steer")
    gates: list[Gate] = [Empty(), *label_like_gates(task, steer)]
    if task.spec.kind == "qa":
        gates += [AnswerInContext(), *([AnswerGiven()] if spec.answer_given else [])]
    gates.append(GoldOverlap(gold, fields, task.spec.fields_written, spec.echo))
    if spec.length is not None:
        gates.append(Length(steer, fields, spec.length))
    if spec.language:
        gates.append(Language(steer, fields))
    opened = Gates(task, repairs_of(task, steer), gates, NearDuplicates(spec.near_duplicate))
    if seen is not None:
        opened.remember(seen)
    return opened
