"""What tests of reviews share: rounds to review, files as a person fills them, what is said of those not taken over.

Belongs here: helpers of the modules ``test_review*.py``. Does not belong here: tests.
"""

import csv
import io

import polars as pl
import pytest

from s3_assets.loop.fingerprints import loop_key
from s3_assets.loop.review_intake import take_reviews
from s3_assets.loop.reviews import read_decisions
from s3_assets.loop.steps import (
    make_drift,
    make_error_set,
    make_extrapolated_set,
    make_gold,
    make_seed_set,
    make_trained_model,
)
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.load import TaskError
from s3_assets_tests.fakes import write_task

HEAD = ("kind", "row_id", "label", "text", "text2", "decision", "new_label", "reason")
OTHER = {"positive": "negative", "negative": "positive"}


def make_two_rounds(place, tiny_student):
    """Folder of a warehouse with rounds 0 and 1 of ``small_task``; takes some seconds."""
    student = {"weights": str(tiny_student), "epochs": 1, "min_steps": 0}
    task, warehouse = write_task(place, student=student, rounds=3), Warehouse(place / "warehouse")
    make_gold(task, warehouse)
    _make_round(task, warehouse, 0)
    make_extrapolated_set(task, warehouse, 0)
    _make_round(task, warehouse, 1)
    return warehouse.root


def live(task, warehouse, asset, round_=0):
    keys = {"task": task.name} if asset == "gold" else loop_key(task, round_).columns()
    return warehouse.live(asset, keys).read()


def decide(row, decision, new_label="", **cells):
    """A line of a file about a row of gold or of a seed set."""
    kind, row_id = ("gold", row["gold_id"]) if "split" in row else ("synthetic", row["example_id"])
    texts = {"label": row["label"], "text": row["text"], "text2": row["text2"] or ""}
    filled = {"decision": decision, "new_label": new_label, "reason": ""}
    return {"kind": kind, "row_id": row_id, **texts, **filled, **cells}


def save(file, *lines, delimiter=",", encoding="utf-8", head=HEAD):
    content = io.StringIO()
    writer = csv.DictWriter(content, head, delimiter=delimiter, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(lines)
    file.write_bytes(content.getvalue().encode(encoding))
    return file


def rows_of(frame, label=None):
    return frame.filter(pl.lit(True) if label is None else pl.col("label") == label).to_dicts()


def problems(task, warehouse, file):
    with pytest.raises(TaskError) as caught:
        take_reviews(task, warehouse, file, "Ana")
    assert read_decisions(task, warehouse) == []
    return str(caught.value)


def _make_round(task, warehouse, round_):
    for make in (make_seed_set, make_trained_model, make_error_set, make_drift):
        make(task, warehouse, round_)
