"""What a student is taken to say of steering gold before there is one.

Belongs here: assumed errors and predictions. Does not belong here: what rounds would ask (``estimate.py``).
"""

import math

import polars as pl

from s3_assets.selection.choice import Basis
from s3_assets.tasks.load import Task

# Before any training: the share of steering gold taken to be wrong, and the probability that the student is taken to
# give the labels of what it gets wrong and of what it gets right.
ASSUMED_ERRORS = 0.3
ASSUMED_PROBABILITY = {"wrong": 0.3, "right": 0.8}


def mistaken(task: Task, rows: pl.DataFrame) -> pl.DataFrame:
    """Gold rows as errors alike, with another label as the prediction."""
    if task.spec.kind == "qa":
        said = pl.col("answer")
    else:
        labels = list(task.spec.labels)
        said = pl.col("label").replace_strict(dict(zip(labels, [*labels[1:], labels[0]], strict=True)))
    right = ASSUMED_PROBABILITY["wrong"]
    return rows.with_columns(
        said.alias("prediction"), probability=1 - right, label_probability=right, loss=-math.log(right)
    )


def assumed(basis: Basis) -> pl.DataFrame:
    """Predictions on steering gold before there are any."""
    wrong = pl.col("gold_id").is_in(basis.errors["gold_id"].to_list())
    right = pl.when(wrong).then(ASSUMED_PROBABILITY["wrong"]).otherwise(ASSUMED_PROBABILITY["right"])
    return basis.steer.select("gold_id", (1 - right).alias("doubt"), right.alias("f1"))
