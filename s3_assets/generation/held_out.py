"""Opinions of students on the labels of gold that they learn from too, each by members that were not shown the row.

Belongs here: the ensemble where no gold row is set aside for it. Does not belong here: its members
(``quality/ensemble.py``), what becomes of doubted rows (``verify.py``, ``selection/skipped.py``).
Import it where it is wanted: torch and scikit-learn cost seconds.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from s3_assets.quality.ensemble import Opinion, Students, second_opinion
from s3_assets.tasks.load import Task

_FIELDS = ("text", "text2", "label")


def opinions_held_out(task: Task, judged: pl.DataFrame, taught: pl.DataFrame) -> list[Opinion | None]:
    """What students say of each row of ``judged``; None where none could. Both have the columns text, text2, label.

    Members are trained on the rows of ``judged`` but those they are asked about and others of the same texts (cross-
    fitting), and on all of ``taught``. Nothing sets how sure they are: probabilities of small members are nearer to
    each other than those that ``quality.ensemble.opinions`` gives where gold is set aside.
    """
    labels, student = list(task.spec.labels), task.spec.student
    rows, seen = (frame.select(pl.col(name).cast(pl.String) for name in _FIELDS) for frame in (judged, taught))
    nothing = rows.clear()
    given, _ = second_opinion(rows, seen, nothing, nothing, labels, student.weights, student.max_length, task.spec.seed)
    return [
        None if any(map(math.isnan, row)) else Opinion(row[labels.index(label)], labels[row.index(max(row))], max(row))
        for row, label in zip(given.tolist(), rows["label"], strict=True)
    ]


def students_held_out(task: Task, gold: pl.DataFrame, seen: pl.DataFrame | None) -> Students:
    """As ``quality.ensemble.students_of``, of a task without selecting gold: opinions on its steering gold instead.

    ``gold`` are the rows that calibrate, with the columns of ``gold``, in the order of the opinions on them.
    """
    steer = gold.select(_FIELDS)

    def ask(
        earlier: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
    ) -> tuple[list[Opinion | None], list[Opinion | None]]:
        taught = _frame(earlier) if seen is None else pl.concat([_frame(earlier), seen.select(_FIELDS)])
        said = opinions_held_out(task, pl.concat([_frame(rows), steer]), taught)
        return said[: len(rows)], said[len(rows) :]

    return ask


def _frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(
        [[row[name] for name in _FIELDS] for row in rows], dict.fromkeys(_FIELDS, pl.String), orient="row"
    )
