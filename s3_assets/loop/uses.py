"""Gold as a strategy uses it.

Belongs here: selecting gold that steers too. Does not belong here: splitting gold (``tasks/split.py``), folds of
steering gold (``cross_fitting.py``).
"""

import polars as pl

from s3_assets.tasks.load import Task


def gold_in_use(task: Task, gold: pl.DataFrame) -> pl.DataFrame:
    """``gold`` with the uses that the task's strategy puts its rows to: with ``steers: dev`` no row selects.

    The table ``gold`` is the same for all arms; test gold stays test gold.
    """
    if task.spec.how.steers == "steer":
        return gold
    split = pl.col("split")
    return gold.with_columns(pl.when(split == "select").then(pl.lit("steer")).otherwise(split).alias("split"))
