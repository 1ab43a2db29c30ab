"""What the UI is given of a step: samples, counts, confusions, and gold in a round's run."""

import dagster as dg
import polars as pl

from s3_assets.assets.shown import confusion_table, counts_table, sample_table
from s3_assets.definitions import task_definitions
from s3_assets.resources import WarehouseResource


def shown_rows(table: str) -> list[list[str]]:
    """Cells of a Markdown table's rows, header first."""
    head, _, *rows = table.splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in (head, *rows)]


def test_a_sample_reaches_from_the_first_row_to_the_last():
    rows = pl.DataFrame({"n": range(24)})
    assert shown_rows(sample_table(rows).value) == [["n"], ["0"], ["5"], ["11"], ["17"], ["23"]]
    assert shown_rows(sample_table(rows.head(2)).value) == [["n"], ["0"], ["1"]]
    assert shown_rows(sample_table(rows.head(1)).value) == [["n"], ["0"]]


def test_a_sample_is_short_enough_to_be_shown_at_once():
    rows = pl.DataFrame({"n": range(9), **{name: ["x" * 150] * 9 for name in ("text", "text2")}})
    sample = sample_table(rows).value
    assert len(sample) < 1000
    assert [row[0] for row in shown_rows(sample)] == ["n", "0", "4", "8"]
    # One row is shown however long it is.
    wide = pl.DataFrame({str(column): ["x" * 150] * 2 for column in range(9)})
    assert len(shown_rows(sample_table(wide).value)) == 2


def test_counts_have_every_pair():
    rows = pl.DataFrame({"label": ["a", "a", "b"], "split": ["steer", "steer", "test"]})
    table = counts_table(rows, "label", "split", ["b", "a"], ["steer", "select", "test"], "label")
    assert shown_rows(table) == [["label", "steer", "select", "test"], ["b", "0", "0", "1"], ["a", "2", "0", "0"]]


def test_confusions_of_many_labels_are_listed_commonest_first():
    pairs = [("l0", "l1"), ("l2", "l3"), ("l0", "l1"), ("l5", "l5")]
    predictions = pl.DataFrame(pairs, schema=["label", "prediction"], orient="row").with_columns(
        correct=pl.col("label") == pl.col("prediction")
    )
    labels = [f"l{number}" for number in range(13)]
    assert shown_rows(confusion_table(predictions, labels)) == [
        ["label", "prediction", "rows"],
        ["l0", "l1", "2"],
        ["l2", "l3", "1"],
    ]
    matrix = shown_rows(confusion_table(predictions, labels[:12]))
    assert matrix[1] == ["l0", "0", "2", *["0"] * 10]
    assert len(matrix) == 13


def test_gold_made_in_a_rounds_run_keeps_its_own_row_count(small_task, instance):
    job = task_definitions(small_task, WarehouseResource()).resolve_implicit_global_asset_job_def()
    key, beside = dg.AssetKey(["small", "gold"]), dg.AssetKey(["small", "seed_set"])
    # What "Materialize all" does for one round: gold, which has no rounds, is in a run that has one.
    result = job.execute_in_process(instance=instance, asset_selection=[key, beside], partition_key="round_00")
    (event,) = [found for found in result.get_asset_materialization_events() if found.asset_key == key]
    metadata = {name: entry.value for name, entry in event.materialization.metadata.items()}
    assert metadata["dagster/row_count"] == metadata["steer_rows"] + metadata["select_rows"] + metadata["test_rows"]
    assert "dagster/partition_row_count" not in metadata
    assert "/" not in metadata["part"]
