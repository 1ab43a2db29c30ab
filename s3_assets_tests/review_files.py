"""Review files as a person fills them, and what is said of those that cannot be taken over; for tests of reviews."""

import csv
import io

import polars as pl
import pytest

from s3_assets.loop.review_intake import take_reviews
from s3_assets.loop.reviews import read_decisions
from s3_assets.tasks.load import TaskError

HEAD = ("kind", "row_id", "label", "text", "text2", "decision", "new_label", "reason")


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
