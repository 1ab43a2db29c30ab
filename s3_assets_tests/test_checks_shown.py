"""Checks as Dagster has them: declared, evaluated for every round, told with numbers."""

import subprocess
import sys

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter

from s3_assets.assets.common import CHECK_DESCRIPTIONS
from s3_assets.definitions import task_definitions
from s3_assets.loop.checks import BLOCKING
from s3_assets.partitions import rounds
from s3_assets.resources import WarehouseResource
from s3_assets.store.parts import round_name
from s3_assets_tests.checked_rows import own_rows_task
from s3_assets_tests.fakes import REPOSITORY, write_task

CHECKED = ("gold", "seed_set", "trained_model", "extrapolated_set")


def specs(task):
    return {
        (asset.key.path[-1], spec.name): spec
        for asset in task_definitions(task, WarehouseResource()).assets
        for spec in asset.check_specs
    }


def test_checks_have_the_partitions_of_their_asset_and_block_only_where_training_would_be_wrong(small_task):
    declared = specs(small_task)
    assert {asset for asset, _ in declared} == set(CHECKED)
    for (asset, name), spec in declared.items():
        assert spec.blocking == (name in BLOCKING)
        assert spec.description == CHECK_DESCRIPTIONS[name]
        keys = spec.partitions_def.get_partition_keys() if spec.partitions_def else None
        assert keys == (None if asset == "gold" else ["round_00", "round_01", "round_02"])
    assert {name for _, name in declared} == set(CHECK_DESCRIPTIONS)


def test_loading_definitions_says_nothing_of_the_preview(home, tmp_path):
    """As `dg dev` does it, in a process of its own where every warning is an error."""
    write_task(tmp_path / "tasks")
    code = "from s3_assets.definitions import defs; defs().resolve_all_job_defs(); print(len(defs().assets))"
    done = subprocess.run(
        [sys.executable, "-W", "error::dagster.PreviewWarning", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    assert "preview" not in done.stderr.lower()


def run(task, instance, partition, *assets, **how):
    job = task_definitions(task, WarehouseResource()).resolve_implicit_global_asset_job_def()
    keys = [dg.AssetKey(["small", name]) for name in assets]
    return job.execute_in_process(instance=instance, asset_selection=keys, partition_key=partition, **how)


def stored(instance, asset, name, partition):
    """The newest evaluation of a check for one partition that the instance has."""
    key = dg.AssetCheckKey(dg.AssetKey(["small", asset]), name)
    storage = instance.event_log_storage
    found = storage.get_latest_asset_check_execution_by_key([key], PartitionKeyFilter(key=partition))
    return found[key].evaluation if key in found else None


def statuses(instance, task, asset, name):
    """Status of a check by partition, as the UI is given it."""
    key = dg.AssetCheckKey(dg.AssetKey(["small", asset]), name)
    (state,) = instance.event_log_storage.get_asset_check_state([(key, rounds(task))]).values()
    return {
        partition: status.value
        for status, subset in state.subsets.items()
        for partition in subset.subset_value.get_partition_keys()
    }


def test_every_round_has_its_own_status_of_every_check(small_task, instance):
    run(small_task, instance, None, "gold")
    for round_ in range(2):
        result = run(small_task, instance, round_name(round_), *CHECKED[1:], "error_set")
        assert {found.partition for found in result.get_asset_check_evaluations()} == {round_name(round_)}
    for (asset, name), spec in specs(small_task).items():
        if asset == "gold":
            assert stored(instance, asset, name, None).partition is None
            continue
        found = statuses(instance, small_task, asset, name)
        assert set(found) == {"round_00", "round_01"}
        for partition, status in found.items():
            evaluation = stored(instance, asset, name, partition)
            assert evaluation.partition == partition
            assert evaluation.passed == (status == "SUCCEEDED")
            assert evaluation.blocking == spec.blocking
            assert evaluation.metadata["detail"].value
            wanted = dg.AssetCheckSeverity.ERROR if spec.blocking else dg.AssetCheckSeverity.WARN
            assert evaluation.severity == wanted
            # It is about what was materialized in the same run, not about what was there before.
            (record,) = instance.fetch_materializations(
                dg.AssetRecordsFilter(dg.AssetKey(["small", asset]), asset_partitions=[partition]), limit=1
            ).records
            assert evaluation.target_materialization_data.storage_id == record.storage_id
        assert stored(instance, asset, name, "round_02") is None
    judged = stored(instance, "seed_set", "most_rows_accepted", "round_00").metadata
    assert judged["accepted"].value == 24
    assert judged["accepted_share"].value == round(24 / (24 + judged["rejected"].value), 4)
    later = stored(instance, "seed_set", "most_rows_accepted", "round_01").metadata
    assert later["detail"].value == "no row came to the gates in this step"
    student = stored(instance, "trained_model", "beats_majority", "round_01").metadata
    assert 0 <= student["accuracy"].value <= 1


def test_a_round_made_again_keeps_its_status(small_task, instance):
    run(small_task, instance, None, "gold")
    run(small_task, instance, "round_00", "seed_set")
    before = stored(instance, "seed_set", "lengths_like_gold", "round_00")
    result = run(small_task, instance, "round_00", "seed_set")
    (event,) = result.get_asset_materialization_events()
    assert event.materialization.metadata["reused"].value is True
    again = stored(instance, "seed_set", "lengths_like_gold", "round_00")
    assert again.metadata == before.metadata
    assert again.target_materialization_data != before.target_materialization_data
    assert set(statuses(instance, small_task, "seed_set", "lengths_like_gold")) == {"round_00"}


def test_a_blocked_round_shows_what_blocked_it_and_what_warned(instance, tmp_path):
    task = own_rows_task(tmp_path, positive=1, negative=0)
    run(task, instance, None, "gold")
    assert not run(task, instance, "round_00", "seed_set", raise_on_error=False).success
    assert statuses(instance, task, "seed_set", "every_class_has_rows") == {"round_00": "FAILED"}
    assert statuses(instance, task, "seed_set", "labels_balanced") == {"round_00": "FAILED"}
    assert statuses(instance, task, "seed_set", "labels_known") == {"round_00": "SUCCEEDED"}
    assert not stored(instance, "seed_set", "labels_balanced", "round_00").blocking


def test_a_warning_lets_the_round_go_on(instance, small_task, tmp_path):
    task = own_rows_task(tmp_path, student=small_task.spec.student.model_dump())
    run(task, instance, None, "gold")
    assert run(task, instance, "round_00", "seed_set", "trained_model").success
    assert statuses(instance, task, "seed_set", "labels_balanced") == {"round_00": "FAILED"}
    found = stored(instance, "seed_set", "labels_balanced", "round_00")
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert {name: entry.value for name, entry in found.metadata.items()} == {
        "detail": "1 of 2 labels have less than a third of an even share, 4 rows: negative 1",
        "smallest_share": 0.1429,
        "largest_share": 0.8571,
        "even_share": 0.5,
        "labels_below": 1,
    }


def test_gold_checked_in_a_rounds_run_has_no_round(small_task, instance):
    run(small_task, instance, "round_00", "gold", "seed_set")
    assert stored(instance, "gold", "splits_apart", None).passed
    assert stored(instance, "gold", "splits_apart", "round_00") is None
