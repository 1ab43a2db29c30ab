"""What training rows are to teach, and how much: their label or probabilities of labels, and their weight.

Belongs here: reading and checking the columns weight and soft. Does not belong here: where they come from
(``weighting/``, ``loop/``), the loss (``label_head.py``, ``span_head.py``, ``logistic.py``).
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from s3_assets.student.errors import StudentError

WEIGHT, SOFT = "weight", "soft"

# Most that the probabilities of a row may miss 1 by.
MISSES = 1e-6


def row_weights(rows: pl.DataFrame) -> NDArray[np.float64] | None:
    """The column weight; None where it is absent or all rows weigh 1, which is the same."""
    if WEIGHT not in rows.columns:
        return None
    weights = rows[WEIGHT].cast(pl.Float64).to_numpy()
    return None if (weights == 1).all() else weights


def has_soft(rows: pl.DataFrame) -> bool:
    """Whether some row has probabilities instead of its label."""
    return SOFT in rows.columns and rows[SOFT].null_count() < rows.height


def target_matrix(rows: pl.DataFrame, numbers: Sequence[int], labels: Sequence[str]) -> NDArray[np.float64]:
    """Weight times probability of each label, of shape (rows, labels); ``numbers`` are those of the rows' labels.

    The probabilities are those of the column soft, or 1 for the label where there are none. Cross entropy against this
    matrix, averaged over rows, is weighted by row: it is not divided by the weights of a batch, which would give a row
    another weight in each batch.
    """
    targets = np.eye(len(labels))[np.asarray(numbers, np.int64)]
    if has_soft(rows):
        given = rows[SOFT].is_not_null().to_numpy()
        targets[given] = np.array(rows[SOFT].drop_nulls().to_list(), np.float64)
    weights = row_weights(rows)
    return targets if weights is None else targets * weights[:, None]


def refuse_targets(training: pl.DataFrame, labels: Sequence[str]) -> None:
    """``StudentError`` for weights that are none, and for probabilities that are none of ``labels``."""
    if WEIGHT in training.columns:
        weights = training[WEIGHT].cast(pl.Float64)
        wrong = weights.is_null() | ~weights.is_finite() | (weights < 0)
        if wrong.any():
            row = int(wrong.arg_max() or 0)
            raise StudentError(f"row {row} of the training set has the weight {weights[row]}; weights are 0 or more")
        if not (weights > 0).any():
            raise StudentError("all rows of the training set have the weight 0; nothing is left to learn from")
    if has_soft(training):
        for row, given in enumerate(training[SOFT].to_list()):
            if given is not None and not _are_probabilities(given, len(labels)):
                raise StudentError(
                    f"row {row} of the training set has the soft label {given}; it needs {len(labels)} probabilities "
                    f"that sum to 1, of {list(labels)} in this order"
                )


def _are_probabilities(given: list[float | None], count: int) -> bool:
    known = [value for value in given if value is not None and 0 <= value <= 1]
    return len(known) == len(given) == count and abs(sum(known) - 1) <= MISSES
