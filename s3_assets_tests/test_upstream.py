"""Facts about Dagster and DuckDB that decisions rest on. A test that fails here names a decision to look at again."""

import subprocess
import sys
import warnings

import dagster as dg
import duckdb
import pytest
from toposort import CircularDependencyError

from s3_assets.assets.common import CHECK_PARTITIONS_WARNING
from s3_assets.partitions import rounds
from s3_assets_tests.fakes import REPOSITORY

DAGSTER = f"in Dagster {dg.__version__}"
DUCKDB = f"in DuckDB {duckdb.__version__}"
ROUNDS = dg.StaticPartitionsDefinition(["round_00", "round_01"])


# -- Dagster ---------------------------------------------------------------------------------------------------------


def test_a_cycle_over_rounds_is_refused():
    """docs/adr/0001: why the edge between rounds is a guard and not a dependency."""
    partitions = dg.StaticPartitionsDefinition(["round_00", "round_01"])

    @dg.asset(partitions_def=partitions, deps=["extrapolated_set"])
    def seed_set(): ...

    @dg.asset(partitions_def=partitions, deps=["seed_set"])
    def extrapolated_set(): ...

    graph = dg.Definitions(assets=[seed_set, extrapolated_set]).resolve_asset_graph()
    with pytest.raises(CircularDependencyError):
        graph.toposorted_asset_keys  # noqa: B018


def test_a_self_dependency_needs_time_windows():
    """docs/adr/0001: static partitions cannot depend on an earlier partition of their own asset."""
    partitions = dg.StaticPartitionsDefinition(["round_00", "round_01"])
    earlier = dg.StaticPartitionMapping({"round_00": "round_01"})
    declare = dg.asset(partitions_def=partitions, deps=[dg.AssetDep("seed_set", partition_mapping=earlier)])

    def seed_set(): ...

    with pytest.raises(dg.DagsterInvalidDefinitionError, match="time-partitioned"):
        declare(seed_set)


def test_partition_keys_keep_their_order(small_task):
    """docs/adr/0001: backfills create runs in text order, so rounds must sort as text."""
    keys = rounds(small_task).get_partition_keys()
    assert list(keys) == ["round_00", "round_01", "round_02"]
    assert sorted(keys) == list(keys), DAGSTER


def test_a_failed_step_keeps_what_depends_on_it_from_running(instance):
    """Blocking checks are run inside the step, which then fails: nothing may train on rows that did not pass."""
    ran = []

    @dg.asset(check_specs=[dg.AssetCheckSpec("rows", asset="above", blocking=True)])
    def above():
        yield dg.AssetCheckResult(passed=False, check_name="rows", asset_key="above")
        raise dg.Failure("rows did not pass", allow_retries=False)

    @dg.asset(deps=[above])
    def below():
        ran.append("below")

    result = dg.materialize([above, below], instance=instance, raise_on_error=False)
    assert not result.success
    assert ran == [], DAGSTER
    # The check's result is recorded although the step failed: the UI shows why.
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed, DAGSTER


def test_partitions_of_checks_are_a_preview():
    """assets/common.py: the one warning that is filtered, by these words. Once it is gone, so may the filter."""
    with pytest.warns(dg.PreviewWarning, match=f"^{CHECK_PARTITIONS_WARNING}") as warned:
        dg.AssetCheckSpec("rows", asset="set", partitions_def=ROUNDS)
    assert len(warned) == 1, DAGSTER
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dg.AssetCheckSpec("rows", asset="set")


@pytest.mark.filterwarnings(f"ignore:{CHECK_PARTITIONS_WARNING}:dagster.PreviewWarning")
@pytest.mark.parametrize("together", [True, False])
def test_a_partition_shows_checks_made_with_its_materialization_and_not_those_before(instance, together):
    """assets/shown.py: why checks are part of the result instead of coming before it."""

    @dg.asset(partitions_def=ROUNDS, check_specs=[dg.AssetCheckSpec("rows", asset="above", partitions_def=ROUNDS)])
    def above():
        found = dg.AssetCheckResult(passed=True, check_name="rows", asset_key="above")
        if not together:
            yield found
        yield dg.MaterializeResult(check_results=[found] if together else [])

    assert dg.materialize([above], instance=instance, partition_key="round_00").success
    asked = (dg.AssetCheckKey(dg.AssetKey("above"), "rows"), ROUNDS)
    (state,) = instance.event_log_storage.get_asset_check_state([asked]).values()
    shown = [list(subset.subset_value.get_partition_keys()) for subset in state.subsets.values()]
    assert (["round_00"] in shown) == together, DAGSTER


def test_one_run_at_a_time_per_backfill_is_what_the_settings_say(instance):
    """dagster_home/dagster.yaml: an unknown shape would be refused when the instance is loaded."""
    limits = instance.get_concurrency_config().run_queue_config
    assert limits.tag_concurrency_limits == [
        {"key": "dagster/backfill", "limit": 1, "value": {"applyLimitPerUniqueValue": True}}
    ], DAGSTER


@pytest.mark.parametrize("wrong", ["{key: a, limit: 1, value: {perValue: true}}", "{key: a, limit: 1, per: value}"])
def test_settings_of_another_shape_are_refused(wrong, tmp_path, monkeypatch):
    """dagster_home/dagster.yaml: a misspelt limit is an error at load, not a limit that silently does not hold."""
    settings = f"concurrency: {{runs: {{tag_concurrency_limits: [{wrong}]}}}}"
    (tmp_path / "dagster.yaml").write_text(settings)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with pytest.raises(dg.DagsterInvalidConfigError, match="tag_concurrency_limits"):
        dg.DagsterInstance.get()


def test_both_code_locations_are_the_same():
    """workspace.yaml and [tool.dg]: two names would be two locations with the same assets."""
    import tomllib

    import yaml

    declared = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    (entry,) = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text())["load_from"]
    assert entry["python_module"] == {
        "module_name": declared["code_location_target_module"],
        "location_name": declared["code_location_name"],
    }


# -- DuckDB ----------------------------------------------------------------------------------------------------------


def test_a_file_that_is_read_cannot_be_written(tmp_path):
    """docs/adr/0002: why no `.duckdb` file holds the data."""
    file = tmp_path / "data.duckdb"
    duckdb.connect(str(file)).close()
    code = "import duckdb, sys; duckdb.connect(sys.argv[1])"
    with duckdb.connect(str(file), read_only=True):
        done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode != 0, DUCKDB
    assert "lock" in done.stderr, DUCKDB


def test_newest_file_is_found_by_name_and_file_names_come_with_rows(tmp_path):
    """store/views.py: glob() and read_parquet() spell a path the same way, so one can choose rows of the other."""
    with duckdb.connect() as con:
        for name in ("a", "b"):
            con.execute(f"COPY (SELECT '{name}' AS text) TO '{tmp_path}/{name}.parquet' (FORMAT parquet)")
        newest = f"SELECT max(file) FROM glob('{tmp_path}/*.parquet')"
        rows = f"SELECT text FROM read_parquet('{tmp_path}/*.parquet', filename = 'part') WHERE part IN ({newest})"
        assert con.execute(rows).fetchall() == [("b",)], DUCKDB
