"""The rows that students of a round are trained on, and what a strategy adds to them: weights and soft labels.

Belongs here: columns of training sets. Does not belong here: how weights are found (``weighting/``), what a loss makes
of them (``student/``), which rows the student of a fold is trained on (``cross_fitting.py``).
"""

from collections.abc import Mapping, Sequence
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
_TAUGHT = (*INPUT, "gold_id", "weight", "soft")

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

    ``steer`` is the gold that weights may follow from, ``vectors`` gives vectors of single texts as the encoder of the
    task's student does. Weights by quality and by usefulness are multiplied.
    """
    written, spec = synthetic(rows), task.spec
    if not weighs(task) or written.is_empty():
        return rows
    import numpy as np

    by, labels = spec.how.weights, list(spec.labels)
    weights = np.ones(written.height)
    if by in {"quality", "both"}:
        from s3_assets.weighting.quality import quality_weights

        weights *= quality_weights(written, steer, labels, spec.student.weights, spec.student.max_length, seed, vectors)
    if by in {"usefulness", "both"}:
        from s3_assets.weighting.usefulness import usefulness_weights

        causes = written["gold_id"].to_list()
        weights *= usefulness_weights(written, causes, steer, labels, vectors, seed)
    weights /= weights.mean()
    return rows.with_columns(pl.Series("weight", [*weights.tolist(), *[1.0] * (rows.height - written.height)]))


def softened(rows: pl.DataFrame, labels: Sequence[str], told: "Mapping[int, NDArray[np.float64]]") -> pl.DataFrame:
    """``joined`` rows with the column ``soft``: half the label, half what a student not trained on the row says of it.

    ``told`` are probabilities of ``labels``, by the place of the row. Rows that it lacks keep their label: gold, and
    the rows of the seed, which all students learn. Half and half: a label that the other does not believe is doubted,
    but not given up (bootstrapped labels, Reed et al. 2015; distillation with weight 0.5, Hinton et al. 2015). Without
    any the rows are as they were.
    """
    if not told:
        return rows
    soft: list[list[float] | None] = [None] * rows.height
    for place, probabilities in told.items():
        half = probabilities / 2
        half[labels.index(rows["label"][place])] += 0.5
        soft[place] = half.tolist()
    return rows.with_columns(pl.Series("soft", soft, dtype=pl.List(pl.Float64)))
