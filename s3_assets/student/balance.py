"""Weights by which all labels of a training set count alike.

Belongs here: what ``class_weights`` of a task's student means. Does not belong here: weights of a strategy
(``weighting/``), what a loss makes of weights (``targets.py``).
"""

import polars as pl

from s3_assets.student.targets import WEIGHT


def balanced(training: pl.DataFrame) -> pl.DataFrame:
    """``training`` (column label) with the column weight such that every label has the same weight in sum.

    Weights that rows have already are multiplied; their mean stays what it was, or is 1. A row with a soft label counts
    for the label it has in the column label.
    """
    rows = training if WEIGHT in training.columns else training.with_columns(pl.lit(1.0).alias(WEIGHT))
    weight = pl.col(WEIGHT).cast(pl.Float64)
    of_label = weight.sum().over("label")
    # A label whose rows all weigh nothing counts for nothing.
    labels = pl.col("label").filter(weight > 0).n_unique()
    factor = pl.when(of_label > 0).then(weight.sum() / (labels * of_label)).otherwise(0.0)
    return rows.with_columns((weight * factor).alias(WEIGHT))
