"""Logistic regression on fixed features, with weighted rows and soft labels.

Belongs here: fitting, and choosing how strongly to hold coefficients down. Does not belong here: features of texts
(``features.py``), the student made of it (``frozen.py``).
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s3_assets.student.errors import StudentError
from s3_assets.student.features import Features

Numbers = NDArray[np.float64]

# Of each row what it was written from; None where it stands alone.
Groups = Sequence[str | None]

# Inverse strengths of the L2 penalty (C of scikit-learn): the higher, the larger coefficients may become.
INVERSE_STRENGTHS = (0.1, 1.0, 10.0, 30.0)

# Where nothing can be held out to choose by.
USUAL = 1.0

# A cross-fitted round chooses once for each of its students, and choosing takes longer than fitting.
FOLDS = 3
MOST_STEPS = 1000

# Logit of a label that no training row has, where those of the others are around 0: a loss of about 12 nats, not
# infinitely many.
UNTAUGHT = -12.0

# A soft label becomes as many rows as it has labels; those below this share of the row are not worth one.
LEAST_SHARE = 1e-3


@dataclass(frozen=True)
class Logistic:
    """A fitted regression: ``coefficients`` of shape (labels, width), ``intercepts`` of shape (labels,)."""

    coefficients: Numbers
    intercepts: Numbers

    def log_probabilities(self, features: Features) -> Numbers:
        """Logarithms of the labels' probabilities, of shape (rows, labels)."""
        logits = features.astype(np.float64) @ self.coefficients.T + self.intercepts
        logs: Numbers = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        return logs


def fitted(features: Features, targets: Numbers, inverse_strength: float) -> Logistic:
    """The regression that makes ``targets`` likeliest: weight times probability of each label, of shape (rows, labels).

    ``StudentError`` where fewer than two labels have any weight.
    """
    for found in fits(features, targets, (inverse_strength,)):
        return found
    raise StudentError("only one label of the training set has any weight; a classifier needs two")


def fits(features: Features, targets: Numbers, inverse_strengths: Sequence[float]) -> Iterator[Logistic]:
    """``fitted`` for each of ``inverse_strengths``, each search begun where the one before ended.

    Nothing where fewer than two labels have any weight. By scikit-learn's ``LogisticRegression`` with sample weights;
    a row with a soft label is given once for each label, weighted by its probability, which is the cross entropy
    against the soft label.
    """
    rows, numbers, weights = _as_labelled(targets)
    known = np.unique(numbers)
    if len(known) < 2:
        return
    from sklearn.linear_model import LogisticRegression  # 2 s
    from threadpoolctl import threadpool_limits

    model = LogisticRegression(max_iter=MOST_STEPS, warm_start=len(inverse_strengths) > 1)
    # In place of the argument, which of rows held out is a copy too.
    features = features[rows]
    for strength in inverse_strengths:
        # Problems this small only wait for a second thread.
        with threadpool_limits(1):
            model.set_params(C=strength).fit(features, numbers, sample_weight=weights)
        yield _of_all_labels(model, known, targets.shape[1])


def held_out_losses(features: Features, targets: Numbers, seed: int, groups: Groups | None = None) -> list[float]:
    """Weighted mean cross entropy of rows held out, in nats, for the first of ``INVERSE_STRENGTHS``.

    Every row is held out once, in one of ``FOLDS`` folds with alike shares of the labels, drawn by ``seed``. Rows with
    the same of ``groups`` are held out together: one of many rows that are near each other tells nothing when the
    others are trained on. Those without a group (None) stand alone. The last loss is the first that is higher than the
    one before: from there on rows are followed too closely, and those fits take the longest. Nothing where no fold
    could be left out: without it fewer than two labels have any weight.
    """
    number, folds = targets.argmax(axis=1).tolist(), np.zeros(len(targets), np.int64)
    rng = random.Random(f"{seed} strengths")
    together: dict[str | int, list[int]] = {}
    for row, group in enumerate(groups if groups is not None else [None] * len(number)):
        together.setdefault(row if group is None else group, []).append(row)
    units = list(together.values())
    for place, rows in enumerate(sorted(rng.sample(units, len(units)), key=lambda rows: number[rows[0]])):
        folds[rows] = place % FOLDS
    held = [folds == fold for fold in range(FOLDS)]
    paths = [fits(features[~out], targets[~out], INVERSE_STRENGTHS) for out in held]
    losses: list[float] = []
    for _ in INVERSE_STRENGTHS:
        tried = [(out, found) for out, path in zip(held, paths, strict=True) for found in itertools.islice(path, 1)]
        weight = sum(float(targets[out].sum()) for out, _ in tried)
        if not weight:
            break
        gained = sum(float((targets[out] * found.log_probabilities(features[out])).sum()) for out, found in tried)
        losses.append(-gained / weight)
        if len(losses) > 1 and losses[-1] > losses[-2]:
            break
    return losses


def best_held_out(features: Features, targets: Numbers, seed: int, groups: Groups | None = None) -> float:
    """The inverse strength with the lowest of ``held_out_losses``, of equals the first; ``USUAL`` where there is none.

    The first holds coefficients down the most.
    """
    losses = held_out_losses(features, targets, seed, groups)
    return INVERSE_STRENGTHS[losses.index(min(losses))] if losses else USUAL


def _as_labelled(targets: Numbers) -> tuple[NDArray[np.int64], NDArray[np.int64], Numbers]:
    """Rows, their label's number and their weight: one for each label of a row that has a share in it."""
    totals = targets.sum(axis=1)
    rows, numbers = np.nonzero(targets > LEAST_SHARE * totals[:, None])
    weights = targets[rows, numbers]
    # What was left out goes to the labels that are kept.
    kept = np.bincount(rows, weights, len(targets))
    return rows, numbers, weights * (totals[rows] / kept[rows])


def _of_all_labels(model: Any, known: NDArray[np.int64], count: int) -> Logistic:
    coefficients, intercepts = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
    if len(known) == 2:
        # scikit-learn keeps the difference of two labels' logits.
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    found = Logistic(np.zeros((count, coefficients.shape[1])), np.full(count, UNTAUGHT))
    found.coefficients[known], found.intercepts[known] = coefficients, intercepts
    return found
