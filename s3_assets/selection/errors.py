"""Which errors are extrapolated, and in which order they take turns.

Belongs here: order and choice of errors by the options ``by`` and ``keep``, the weight of a row. Does not belong here:
how many rows each gets (``allocation.py``), errors that are passed over (``skipped.py``).
"""

import math
from collections.abc import Mapping, Sequence

import polars as pl

from s3_assets.tasks.strategy import Strategy

# Of these choices only a share of the errors is kept.
CUT = ("loss", "margin")


def kept(how: Strategy, errors: pl.DataFrame, drawn: Sequence[str]) -> list[str]:
    """Gold ids of the errors that rows are written from, in the order of their turns.

    ``errors`` has the columns of ``error_set``; ``drawn`` holds its gold ids in random order, which decides ties. By
    loss the highest go first, by margin those with the least between the wrong answer's probability and the right
    one's; of both the share ``keep`` is kept, rounded up.
    """
    if how.by not in CUT:
        return list(drawn)
    weights = error_weights(how, errors)
    sign = -1 if how.by == "loss" else 1
    ordered = sorted(drawn, key=lambda gold_id: sign * weights[gold_id])
    # Rounded first: 0.55 * 100 is a little more than 55.
    return ordered[: math.ceil(round(how.keep * len(ordered), 9))]


def error_weights(how: Strategy, errors: pl.DataFrame) -> Mapping[str, float]:
    """What an error's place goes by: its loss in nats, its margin (probabilities, 0 to 1), or 1 for each."""
    measure = {"loss": pl.col("loss"), "margin": pl.col("probability") - pl.col("label_probability")}
    weight = measure.get(how.by, pl.lit(1.0)).cast(pl.Float64)
    return dict(errors.select("gold_id", weight.alias("weight")).iter_rows())


def doubts(said: pl.DataFrame, kind: str) -> Mapping[str, float]:
    """By gold id, the probability that the student does not give the row's label; of questions 1 - F1.

    ``said`` has the columns of ``predictions``.
    """
    doubt = 1 - pl.col("f1") if kind == "qa" else pl.col("doubt")
    return dict(said.select("gold_id", doubt.clip(0, 1).alias("doubt")).iter_rows())
