"""Weights by usefulness: whether learning a row helps with gold it was not written from.

Belongs here: gradients of rows against those of steering gold. Does not belong here: the regression
(``student/logistic.py``), what a weight does in training (``student/targets.py``).
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from s3_assets.student.features import Embed, are_pairs, text_features
from s3_assets.student.label_head import label_numbers
from s3_assets.student.logistic import best_held_out, fitted

# Weights of the least and the most useful row.
LEAST, MOST = 0.5, 1.5

# Digits in which two usefulnesses must differ, of those of the largest: the last ones of sums of floats follow order.
DIGITS = 9


def usefulness_weights(
    rows: pl.DataFrame,
    causes: Sequence[str | None] | pl.Series,
    steer: pl.DataFrame,
    labels: Sequence[str],
    vectors: Embed,
    seed: int,
) -> NDArray[np.float64]:
    """Weight of each of ``rows``, of shape (rows,): by rank of usefulness, from ``LEAST`` to ``MOST`` with mean 1.

    ``rows`` and ``steer`` have the columns text, text2 (null for single texts) and label, ``steer`` also gold_id;
    ``causes`` are the gold_id that each row was written from, null for none. ``vectors`` gives vectors of single texts.

    A logistic regression on the vectors is fitted on all rows, each with weight 1, its strength chosen on rows held out
    by ``seed`` (``best_held_out``). The gradient of an example's loss is g = (p - onehot(label)) x features. A row i is
    useful as far as a step on it lowers the loss of steering gold: u_i = g_i . mean of g_j, over steering rows j that
    it was not written from. The dot product is that of TracIn (Pruthi et al. 2020) at the last state of training; a
    step's effect on held-out loss as a weight is from Ren et al. 2018 (Learning to Reweight Examples). Ranks, because
    rows that are learned have gradients, so usefulness, near 0 and a few have large ones; of equals the mean rank.

    All weigh 1 where ``rows`` have fewer than two labels; so does a row for which no steering gold is left.
    """
    weights = np.ones(rows.height)
    if rows["label"].n_unique() < 2 or steer.is_empty():
        return weights
    both = pl.concat([rows.select("text", "text2"), steer.select("text", "text2")])
    texts = list(both.iter_rows())
    features = text_features(texts, vectors, are_pairs(texts))
    wanted = np.eye(len(labels))[label_numbers([*rows["label"], *steer["label"]], labels)]
    own, others = slice(None, rows.height), slice(rows.height, None)
    model = fitted(features[own], wanted[own], best_held_out(features[own], wanted[own], seed))
    # A gradient is the outer product of its residual and its features: all dot products follow from these two.
    residuals, inputs = np.exp(model.log_probabilities(features)) - wanted, features.astype(np.float64)
    useful = _usefulness(
        (residuals[own], inputs[own]), (residuals[others], inputs[others]), list(causes), steer["gold_id"].to_list()
    )
    known = ~np.isnan(useful)
    weights[known] = _by_rank(useful[known])
    return weights


Gradients = tuple[NDArray[np.float64], NDArray[np.float64]]


def _usefulness(
    rows: Gradients, gold: Gradients, causes: Sequence[str | None], gold_ids: Sequence[str]
) -> NDArray[np.float64]:
    """Dot product of each row's gradient with the mean of those of gold, its cause left out; NaN where none is left."""
    residuals, inputs = rows
    of_gold, gold_inputs = gold
    dots = np.einsum("rl,rl->r", inputs @ (of_gold.T @ gold_inputs).T, residuals)
    counts = np.full(len(residuals), float(len(gold_ids)))
    place = {gold_id: number for number, gold_id in enumerate(gold_ids)}
    written = [number for number, cause in enumerate(causes) if cause in place]
    if written:
        cause = [place[str(causes[number])] for number in written]
        dots[written] -= np.einsum("rl,rl->r", residuals[written], of_gold[cause]) * np.einsum(
            "rw,rw->r", inputs[written], gold_inputs[cause]
        )
        counts[written] -= 1
    dots[counts == 0] = np.nan
    means: NDArray[np.float64] = dots / np.maximum(counts, 1)
    return means


def _by_rank(useful: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(useful) < 2:
        return np.ones(len(useful))
    from scipy.stats import rankdata

    largest = float(np.abs(useful).max()) or 1.0
    ranks = rankdata(np.round(useful / largest, DIGITS), method="average")
    weights: NDArray[np.float64] = LEAST + (MOST - LEAST) * (ranks - 1) / (len(ranks) - 1)
    return weights
