"""Rounds through plain steps and through Dagster: rows, staleness, reuse, refusals."""

import dataclasses
import json

import dagster as dg
import polars as pl
import pytest

from s3_assets.assets.guard import started_elsewhere, wait_for_round_before
from s3_assets.definitions import task_definitions
from s3_assets.loop.checks import ChecksFailed
from s3_assets.loop.progress import round_figures, selecting_gains
from s3_assets.loop.state import Board, NotReady
from s3_assets.loop.steps import (
    make_drift,
    make_error_set,
    make_extrapolated_set,
    make_gold,
    make_seed_set,
    make_trained_model,
)
from s3_assets.resources import WarehouseResource
from s3_assets.sensors import NextRun, next_run
from s3_assets.store.catalog import connect
from s3_assets.store.parts import RoundKey, Warehouse, round_name
from s3_assets.tasks.student_spec import StudentSpec
from s3_assets_tests.fakes import LOOSE, write_task

ROUND = ("seed_set", "trained_model", "error_set", "drift")


def make_round(task, warehouse, round_, extrapolate=True):
    for make in (make_seed_set, make_trained_model, make_error_set, make_drift):
        make(task, warehouse, round_)
    if extrapolate:
        make_extrapolated_set(task, warehouse, round_)


def states(task, warehouse):
    return {(step.asset, step.round): step.state for step in Board(task, warehouse)}


def with_student(task, **changes):
    student = StudentSpec.model_validate({**task.spec.student.model_dump(), **changes})
    return dataclasses.replace(task, spec=task.spec.model_copy(update={"student": student}))


@pytest.fixture
def warehouse(tmp_path):
    return Warehouse(tmp_path / "warehouse")


def test_two_rounds_through_dagster_and_their_rows_in_duckdb(small_task, instance, tmp_path):
    definitions = task_definitions(small_task, WarehouseResource())
    job = definitions.resolve_implicit_global_asset_job_def()

    def materialize(assets, partition):
        keys = [dg.AssetKey(["small", name]) for name in assets]
        return job.execute_in_process(instance=instance, asset_selection=keys, partition_key=partition)

    materialize(["gold"], None)
    results = [materialize([*ROUND, "extrapolated_set"], round_name(round_)) for round_ in range(2)]
    with connect(Warehouse(tmp_path / "warehouse")) as sql:
        sql.execute("set variable as_of = now()::timestamptz + interval 1 hour")
        ask = lambda query: sql.execute(query).fetchall()  # noqa: E731
        # The training set of a round is the last one plus what was extrapolated from its errors.
        (rows,) = ask("select count(*) filter (round = 0), count(*) filter (round = 1) from seed_set")
        (added,) = ask("select count(*) from extrapolated_set where round = 0")
        assert rows[0] == 24
        assert rows[1] == 24 + added[0]
        assert added[0] > 0
        # Errors are exactly the wrong predictions on steering gold.
        wrong = ask("select round, gold_id from predictions where split = 'steer' and not correct order by all")
        assert ask("select round, gold_id from error_set order by all") == wrong
        # Every extrapolated row names an error of its round, and its label is that error's gold label.
        assert ask("""select count(*) from extrapolated_set x anti join error_set e
                      on x.gold_id = e.gold_id and x.round = e.round and x.label = e.label""") == [(0,)]
        # No gold text, whatever its split, is trained on.
        assert ask("select count(*) from seed_set s join gold g on lower(trim(s.text)) = lower(trim(g.text))") == [(0,)]
        # Only steering gold went to the teacher.
        assert ask("select count(*) from teacher_uses join gold using (gold_id) where split <> 'steer'") == [(0,)]
        texts = [text for (text,) in ask("select text from gold where split <> 'steer'")]
        sent = " ".join(request for (request,) in ask("select request from teacher_calls"))
        assert not [text for text in texts if json.dumps(text, ensure_ascii=False)[1:-1] in sent]
        # Every row leads back to the raw answer it came from.
        assert ask("select count(*) from seed_set anti join teacher_calls using (request_id)") == [(0,)]
        accuracy = ask("""select m.round, max(m.test_accuracy) - avg(p.correct::int) from trained_model m
                          join predictions p using (round) where p.split = 'test' group by m.round order by all""")
        assert [round(difference, 9) for _, difference in accuracy] == [0, 0]
    for result in results:
        (event,) = [e for e in result.get_asset_materialization_events() if e.asset_key.path[-1] == "trained_model"]
        metadata = event.materialization.metadata
        assert metadata["select_accuracy"].value <= 1
        assert "predicted" in metadata["confusion_on_held_out_gold"].value
        checks = {check.check_name: check.passed for check in result.get_asset_check_evaluations() if check.blocking}
        assert checks == {"labels_known": True, "no_gold_text": True, "every_class_has_rows": True}
    version = instance.get_latest_data_version_record(dg.AssetKey(["small", "seed_set"]), partition_key="round_01")
    assert version is not None


def test_ids_and_rows_are_stable_across_warehouses(small_task, tmp_path):
    found = []
    for name in ("one", "two"):
        warehouse = Warehouse(tmp_path / name)
        make_gold(small_task, warehouse)
        make_round(small_task, warehouse, 0)
        keys = RoundKey("small", "s3_shown", 0, 0).columns()
        parts = {name: warehouse.live(name, keys) for name in (*ROUND, "extrapolated_set")}
        found.append({name: part.data_version for name, part in parts.items()})
    assert found[0] == found[1]


def test_a_second_time_does_nothing_and_force_does(small_task, warehouse):
    make_gold(small_task, warehouse)
    first = make_seed_set(small_task, warehouse, 0)
    second = make_seed_set(small_task, warehouse, 0)
    assert second.reused
    assert second.part == first.part
    assert second.numbers == first.numbers
    assert [check.name for check in second.checks] == [check.name for check in first.checks]
    forced = make_seed_set(small_task, warehouse, 0, force=True)
    assert forced.part != first.part
    assert forced.part.data_version == first.part.data_version
    assert forced.numbers["teacher_calls"] == 0


def test_staleness_follows_the_inputs_across_rounds(small_task, warehouse):
    make_gold(small_task, warehouse)
    make_round(small_task, warehouse, 0)
    make_round(small_task, warehouse, 1, extrapolate=False)
    assert set(states(small_task, warehouse).values()) == {"live", "missing"}
    changed = with_student(small_task, learning_rate=1e-3)
    found = states(changed, warehouse)
    assert found[("seed_set", 0)] == "live"
    assert found[("drift", 0)] == "live"
    # Not transitive in Dagster, and blind to the edge across rounds; here it is.
    assert found[("trained_model", 0)] == found[("error_set", 0)] == found[("seed_set", 1)] == "stale"
    assert "extrapolated_set of round 0 is stale" in Board(changed, warehouse).step("seed_set", 1).why
    with pytest.raises(NotReady, match=r"s3-assets run small --rounds 0-1"):
        make_seed_set(changed, warehouse, 1)


def test_unrelated_changes_keep_everything_live(small_task, warehouse):
    make_gold(small_task, warehouse)
    make_round(small_task, warehouse, 0)
    spec = small_task.spec.model_copy(update={"rounds": 9})
    teacher = spec.teacher.model_copy(update={"concurrency": 2, "timeout_seconds": 5})
    changed = dataclasses.replace(small_task, spec=spec.model_copy(update={"teacher": teacher}))
    assert set(states(changed, warehouse).values()) == {"live"}


def test_same_rows_again_keep_downstream_live(small_task, warehouse):
    """Fingerprints hold content, not times: a forced repeat that gives the same rows makes nothing stale."""
    make_gold(small_task, warehouse)
    make_round(small_task, warehouse, 0)
    make_seed_set(small_task, warehouse, 0, force=True)
    make_trained_model(small_task, warehouse, 0, force=True)
    assert set(states(small_task, warehouse).values()) == {"live"}


def test_lost_weights_are_noticed(small_task, warehouse):
    make_gold(small_task, warehouse)
    make_round(small_task, warehouse, 0)
    for file in (warehouse.root / "models").rglob("model.safetensors"):
        file.unlink()
    step = Board(small_task, warehouse).step("trained_model", 0)
    assert step.state == "stale"
    assert "weights are gone" in step.why


def test_reset_makes_a_round_missing_and_keeps_answers(small_task, warehouse):
    make_gold(small_task, warehouse)
    make_round(small_task, warehouse, 0)
    keys = RoundKey("small", "s3_shown", 0, 0).columns()
    warehouse.retire("seed_set", keys)
    assert states(small_task, warehouse)[("seed_set", 0)] == "missing"
    assert make_seed_set(small_task, warehouse, 0).numbers["teacher_calls"] == 0
    assert set(states(small_task, warehouse).values()) == {"live"}


def test_a_failed_check_keeps_what_was_live(small_task, warehouse, tmp_path):
    rows = pl.DataFrame({"text": ["one", "two"], "label": ["positive", "positive"]})
    rows.write_parquet(tmp_path / "seed.parquet")
    task = write_task(tmp_path / "tasks", seed_rows=str(tmp_path / "seed.parquet"), gates=LOOSE)
    make_gold(task, warehouse)
    with pytest.raises(ChecksFailed, match=r"every_class_has_rows: labels without rows: \['negative'\]"):
        make_seed_set(task, warehouse, 0)
    assert Board(task, warehouse).step("seed_set", 0).state == "missing"
    good = pl.DataFrame({"text": ["one", "two"], "label": ["positive", "negative"]})
    good.write_parquet(tmp_path / "seed.parquet")
    made = make_seed_set(task, warehouse, 0)
    assert made.rows["origin"].to_list() == ["user", "user"]
    rows.write_parquet(tmp_path / "seed.parquet")
    with pytest.raises(ChecksFailed):
        make_seed_set(task, warehouse, 0)
    assert warehouse.live("seed_set", RoundKey("small", "s3_shown", 0, 0).columns()).path == made.part.path


def test_a_failed_check_is_seen_in_dagster(instance, tmp_path):
    pl.DataFrame({"text": ["one"], "label": ["positive"]}).write_parquet(tmp_path / "seed.parquet")
    task = write_task(tmp_path / "tasks", seed_rows=str(tmp_path / "seed.parquet"), gates=LOOSE)
    job = task_definitions(task, WarehouseResource()).resolve_implicit_global_asset_job_def()
    job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey(["small", "gold"])])
    keys = [dg.AssetKey(["small", name]) for name in ("seed_set", "trained_model")]
    result = job.execute_in_process(
        instance=instance, asset_selection=keys, partition_key="round_00", raise_on_error=False
    )
    assert not result.success
    found = result.get_asset_check_evaluations()
    failed = [check.check_name for check in found if check.blocking and not check.passed]
    assert failed == ["every_class_has_rows"]
    assert not result.get_asset_materialization_events()


def test_guard_refuses_without_a_started_run_and_names_the_command(small_task, warehouse):
    make_gold(small_task, warehouse)
    with pytest.raises(NotReady, match=r"seed_set of round 0, which is missing.*`s3-assets run small --rounds 0-1`"):
        wait_for_round_before(small_task, warehouse, 1, is_being_made=lambda: False)


def test_guard_waits_while_a_run_is_started_and_goes_on_when_it_is_done(small_task, warehouse):
    make_gold(small_task, warehouse)
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            make_round(small_task, warehouse, 0)

    wait_for_round_before(small_task, warehouse, 1, is_being_made=lambda: len(waits) < 3, sleep=sleep)
    assert len(waits) == 3


def test_guard_fails_when_the_run_it_waits_for_fails_or_takes_too_long(small_task, warehouse):
    make_gold(small_task, warehouse)
    waits = []
    with pytest.raises(NotReady, match="missing"):
        wait_for_round_before(small_task, warehouse, 1, is_being_made=lambda: len(waits) < 2, sleep=waits.append)
    with pytest.raises(NotReady, match="Waited 6 s"):
        wait_for_round_before(small_task, warehouse, 1, is_being_made=lambda: True, longest=5, sleep=lambda _: None)


def test_guard_counts_started_runs_of_the_round_before_only(small_task, instance):
    class Context:
        run_id = "me"

    context = Context()
    context.instance = instance
    check = started_elsewhere(context, small_task, 1)
    job = task_definitions(small_task, WarehouseResource()).resolve_implicit_global_asset_job_def()

    def add(status, partition, assets):
        instance.create_run_for_job(
            job, status=status, tags={"dagster/partition": partition}, asset_selection=frozenset(assets)
        )

    wanted = dg.AssetKey(["small", "extrapolated_set"])
    assert not check()
    add(dg.DagsterRunStatus.NOT_STARTED, "round_00", [wanted])
    add(dg.DagsterRunStatus.STARTED, "round_01", [wanted])
    add(dg.DagsterRunStatus.STARTED, "round_00", [dg.AssetKey(["small", "drift"])])
    assert not check()
    add(dg.DagsterRunStatus.STARTED, "round_00", [wanted])
    assert check()


def test_sensor_asks_for_one_step_after_another_until_the_rule_stops_it(small_task, warehouse):
    round_assets = ("seed_set", "trained_model", "error_set", "drift")
    assert next_run(small_task, warehouse) == NextRun(("gold",), None)
    make_gold(small_task, warehouse)
    assert next_run(small_task, warehouse) == NextRun(round_assets, 0)
    make_round(small_task, warehouse, 0, extrapolate=False)
    assert next_run(small_task, warehouse) == NextRun(("extrapolated_set",), 0)
    make_extrapolated_set(small_task, warehouse, 0)
    assert next_run(small_task, warehouse) == NextRun(round_assets, 1)
    make_round(small_task, warehouse, 1)
    make_round(small_task, warehouse, 2, extrapolate=False)
    assert "rounds" in next_run(small_task, warehouse)


def test_sensor_is_off_by_default_and_asks_once_for_the_same_state(small_task, instance, tmp_path):
    warehouse = WarehouseResource(path=str(tmp_path / "warehouse"))
    (sensor,) = task_definitions(small_task, warehouse).sensors
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
    definitions = task_definitions(small_task, warehouse)

    def tick():
        context = dg.build_sensor_context(instance=instance, definitions=definitions)
        return sensor(context)

    first, second = tick(), tick()
    assert first.run_requests[0].run_key == second.run_requests[0].run_key
    make_gold(small_task, warehouse.open())
    third = tick()
    assert third.run_requests[0].run_key != first.run_requests[0].run_key
    assert third.run_requests[0].partition_key == "round_00"


def test_test_gold_steers_and_selects_nothing(small_task, tmp_path):
    """Relabelling every test row changes reported test accuracy and nothing else that is made from gold."""
    outcomes = []
    gold = pl.read_csv(small_task.path(small_task.spec.gold.file))
    for name in ("as_is", "turned"):
        warehouse = Warehouse(tmp_path / name)
        if name == "turned":
            test = make_gold(small_task, Warehouse(tmp_path / "scratch")).rows.filter(pl.col("split") == "test")["text"]
            turned = pl.when(pl.col("verdict") == "positive").then(pl.lit("negative")).otherwise(pl.lit("positive"))
            relabelled = pl.when(pl.col("review").is_in(test.to_list())).then(turned).otherwise("verdict")
            gold = gold.with_columns(relabelled.alias("verdict"))
        task = write_task(
            tmp_path / name / "tasks", gold.write_csv(), rounds=3, student=small_task.spec.student.model_dump()
        )
        make_gold(task, warehouse)
        make_round(task, warehouse, 0)
        make_round(task, warehouse, 1, extrapolate=False)
        keys = RoundKey("small", "s3_shown", 0, 1).columns()
        outcomes.append(
            {
                "rows": warehouse.live("seed_set", keys).read()["example_id"].to_list(),
                "weights": warehouse.live("trained_model", keys).read()["weights_digest"].to_list(),
                "errors": warehouse.live("error_set", keys).read()["gold_id"].to_list(),
                "gains": selecting_gains(task, warehouse, 1),
                "test": round_figures(task, warehouse, 1).test.share,
            }
        )
    tests = [outcome.pop("test") for outcome in outcomes]
    assert outcomes[0] == outcomes[1]
    assert tests[0] == pytest.approx(1 - tests[1])
