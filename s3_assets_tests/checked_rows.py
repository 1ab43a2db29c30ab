"""What tests of checks share: rows, and a task that brings its own.

Belongs here: helpers of the modules that test checks of whole sets. Does not belong here: tests.
"""

import polars as pl

from s3_assets_tests.fakes import write_task

TEXT = ("text",)
LABELS = ["positive", "negative"]


def texts(*found, **columns):
    return pl.DataFrame({"text": list(found), **columns})


def own_rows_task(place, positive=6, negative=1, **keys):
    """A task that brings its seed rows, so many of each label, which no gate refuses."""
    labels = ["positive"] * positive + ["negative"] * negative
    rows = texts(*(f"text {number}" for number in range(len(labels))), label=labels)
    rows.write_parquet(place / "seed.parquet")
    gates = {"length": None, "near_duplicate": None, "language": False}
    return write_task(place / "tasks", seed_rows=str(place / "seed.parquet"), gates=gates, **keys)
