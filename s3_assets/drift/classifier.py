"""Classifier two-sample test: how well a linear model tells synthetic rows from those of a reference.

Belongs here: training and judging that model. Does not belong here: vectors of texts (``vectors.py``), which rows are
compared (``halvings.py``), students (``student/``).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from s3_assets.drift.kernels import Floats

FOLDS = 5

# Inverse strength of the L2 penalty, scikit-learn's default: strong for vectors of length 1, as few rows need.
INVERSE_PENALTY = 1.0


def c2st_auc(one: Floats, other: Floats) -> float | None:
    """Area under the ROC curve of a logistic regression between two samples (Lopez-Paz & Oquab 2017); 0.5: alike.

    Mean over 5 folds of the area on the fold left out: scores of models trained on different folds do not compare.
    Folds are taken in order, so rows must come in random order. None where a sample has fewer than 5 rows.
    """
    if min(len(one), len(other)) < FOLDS:
        return None
    vectors = np.concatenate([one, other]).astype(np.float64)
    ours = np.arange(len(vectors)) < len(one)
    folds = np.concatenate([np.arange(len(one)), np.arange(len(other))]) % FOLDS
    scores = held_out_scores(vectors, ours, folds)
    return float(
        np.mean([_area(scores[ours & (folds == fold)], scores[~ours & (folds == fold)]) for fold in set(folds)])
    )


def held_out_scores(vectors: NDArray[np.float64], ours: NDArray[np.bool_], folds: NDArray[np.int64]) -> Floats:
    """Score of each row that it is ``ours``, by a logistic regression trained on the other folds.

    The models of all folds, L2 penalty and free intercept, are fitted at once by L-BFGS: one by one with scikit-learn
    takes ten times as long, nearly all of it besides the arithmetic.
    """
    count = int(folds.max()) + 1
    # The intercept takes up the mean; without it fewer steps are needed.
    inputs = np.column_stack([vectors - vectors.mean(axis=0), np.ones(len(vectors))])
    signs = np.where(ours, 1.0, -1.0)[:, None]
    known = folds[:, None] != np.arange(count)
    penalty = np.full((inputs.shape[1], 1), 1 / INVERSE_PENALTY)
    penalty[-1] = 0

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = flat.reshape(-1, count)
        margins = signs * (inputs @ weights)
        missed = np.logaddexp(0, -margins)[known].sum() + (penalty * weights**2).sum() / 2
        slope = inputs.T @ (-signs * expit(-margins) * known) + penalty * weights
        return float(missed), slope.ravel()

    found = minimize(loss, np.zeros(inputs.shape[1] * count), jac=True, method="L-BFGS-B", options={"gtol": 1e-3})
    scores: Floats = (inputs @ found.x.reshape(-1, count))[np.arange(len(folds)), folds]
    return scores


def _area(higher: Floats, lower: Floats) -> float:
    """Share of pairs in which ``higher`` is above ``lower``, ties as half: the area under the ROC curve."""
    above = np.sign(higher[:, None] - lower).mean()
    return (1 + float(above)) / 2
