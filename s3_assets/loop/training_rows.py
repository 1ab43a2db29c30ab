"""The rows that students of a round are trained on, and what a strategy adds to them: weights and soft labels.

Belongs here: columns of training sets. Does not belong here: how weights are found (``weighting/``), what a loss makes
of them (``student/``), which rows the student of a fold is trained on (``cross_fitting.py``).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from s3_assets.store.tables import table
from s3_assets.tasks.load import Task

# numpy and what finds weights cost a second: imported where they are wanted.
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from s3_assets.student.features import Embed

INPUT = ("text", "text2", "label", "answer", "answer_start")
_TAUGHT = (*INPUT, "weight", "soft")

# Whether a row is gold, which has weight 1 and the label it has.
_OF_GOLD = "of_gold"


def joined(seed_set: pl.DataFrame | None, gold: pl.DataFrame) -> pl.DataFrame:
    """Rows of a seed set, then ``gold`` that is trained on: texts, label, answer, gold_id and whether a row is gold.

    ``gold_id`` is the gold row that a row was written from, null in the seed; of gold it is the row's own.
    """
    rows = pl.DataFrame(schema=table("seed_set").schema) if seed_set is None else seed_set
    marked = ((rows, False), (gold, True))
    return pl.concat(part.select(*INPUT, "gold_id", pl.lit(own).alias(_OF_GOLD)) for part, own in marked)


def synthetic(rows: pl.DataFrame) -> pl.DataFrame:
    """Those of ``joined`` rows that a teacher wrote."""
    return rows.filter(~pl.col(_OF_GOLD))


def taught(rows: pl.DataFrame) -> pl.DataFrame:
    """The columns of ``joined`` rows that a training is given."""
    return rows.select(name for name in _TAUGHT if name in rows.columns)


def weighs(task: Task) -> bool:
    """Whether rows are weighted. Answers are not: what weighs rows goes by their labels."""
    return task.spec.how.weights != "none" and task.spec.kind != "qa"


def weighted(task: Task, rows: pl.DataFrame, steer: pl.DataFrame, vectors: "Embed", seed: int) -> pl.DataFrame:
    """``joined`` rows with the column ``weight`` of the task's strategy, mean 1; as they are where it has none.

    ``steer`` is the gold that weights may follow from. Weights by quality and by usefulness are multiplied.
    """
    written, spec = synthetic(rows), task.spec
    if not weighs(task) or written.is_empty():
        return rows
    import numpy as np

    by, labels = spec.how.weights, list(spec.labels)
    weights = np.ones(written.height)
    if by in {"quality", "both"}:
        from s3_assets.weighting.quality import quality_weights

        weights *= quality_weights(written, steer, labels, spec.student.weights, spec.student.max_length, seed)
    if by in {"usefulness", "both"}:
        from s3_assets.weighting.usefulness import usefulness_weights

        causes = written["gold_id"].to_list()
        weights *= usefulness_weights(written, causes, steer, labels, vectors, seed)
    weights /= weights.mean()
    return rows.with_columns(pl.Series("weight", [*weights.tolist(), *[1.0] * (rows.height - written.height)]))


def softened(rows: pl.DataFrame, labels: Sequence[str], probabilities: "NDArray[np.float64]") -> pl.DataFrame:
    """``joined`` rows with the column ``soft``: of a written row half its label, half what other students say of it.

    ``probabilities`` are theirs, of shape (written rows, labels). Gold keeps its label. Half and half: a label that
    the others do not believe is doubted, but not given up (bootstrapped labels, Reed et al. 2015; distillation with
    weight 0.5, Hinton et al. 2015).
    """
    import numpy as np

    place = {label: number for number, label in enumerate(labels)}
    given = np.eye(len(labels))[[place[label] for label in synthetic(rows)["label"]]]
    soft = ((given + probabilities) / 2).tolist()
    absent = [None] * (rows.height - len(soft))
    return rows.with_columns(pl.Series("soft", [*soft, *absent], dtype=pl.List(pl.Float64)))
