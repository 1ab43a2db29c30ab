"""Weights by quality: how likely a row's label is right.

Belongs here: probabilities as weights. Does not belong here: the members that give them (``quality/ensemble.py``), what
a weight does in training (``student/targets.py``).
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from s3_assets.quality.ensemble import second_opinion
from s3_assets.student.features import Embed


def quality_weights(
    rows: pl.DataFrame,
    steer: pl.DataFrame,
    labels: Sequence[str],
    weights_name: str,
    max_length: int,
    seed: int,
    vectors: Embed | None = None,
) -> NDArray[np.float64]:
    """Weight of each of ``rows``, of shape (rows,) and with mean 1: the probability of its own label.

    Frames have the columns text, text2 (null for single texts) and label. The probability is that of small students
    on the vectors of ``weights_name``, which ``vectors`` gives for single texts (None: they are computed): none of them
    trained on the row or another of its texts, all on ``steer`` (``quality.ensemble.second_opinion``). SunGen (Gao et
    al. 2023) weighs synthetic rows by their quality too, learned in an outer loop; here it is an out-of-sample
    probability (Northcutt et al. 2021, Confident Learning). Rows that no member could judge weigh 1, so all do where
    rows have one label only.
    """
    columns = rows.select("text", "text2", "label")
    said, _ = second_opinion(columns, None, steer, steer.clear(), labels, weights_name, max_length, seed, vectors)
    number = {label: place for place, label in enumerate(labels)}
    own = said[np.arange(rows.height), [number[label] for label in rows["label"]]] if rows.height else said[:, 0]
    judged = ~np.isnan(own)
    weights = np.ones(rows.height)
    if own[judged].any():
        weights[judged] = own[judged] / own[judged].mean()
    return weights
