"""Budgets of arms: what is declared to be too much is refused, what turned out to be too much is marked."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from s3_assets.experiment.arms import arm_task, run_arm
from s3_assets.experiment.asked import asked
from s3_assets.experiment.plan import check_plan, planned, rows_ahead
from s3_assets.experiment.publish import make_leaderboard
from s3_assets.loop.fingerprints import loop_key
from s3_assets.loop.publish import BEGAN
from s3_assets.loop.steps import make_gold
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.load import TaskError
from s3_assets.tasks.presets import presets
from s3_assets_tests.fakes import facts, obliging, scripted_teacher, write_task
from s3_assets_tests.test_parts import frame_of

ROWS = {"seed": 40, "per_round": 20}


def own_arm(folder: Path, rows: dict[str, Any] | None = None, **options: Any):
    task = write_task(folder, rows=rows or ROWS, strategies={"mine": options})
    return arm_task(task, "mine", 0)


def test_shipped_arms_and_ablations_are_declared_within_their_budget(tmp_path):
    task = write_task(tmp_path, rows=ROWS)
    for name in task.spec.arms:
        check_plan(arm_task(task, name, 0))
    assert {name: planned(arm_task(task, name, 0)) for name in ("gold_only", "seed_only", "s3", "paper", "frugal")} == {
        "gold_only": 0,
        "seed_only": 40,
        "s3": 80,
        "paper": None,
        "frugal": 40,
    }
    assert rows_ahead(arm_task(task, "gold_only", 0)) == (0, 0)
    assert rows_ahead(arm_task(task, "s3", 0)) == (40, 20)


@pytest.mark.parametrize(
    "options",
    [
        {"base": "s3", "budget": 0.5},
        {"base": "seed_only", "budget": 0.25},
    ],
)
def test_an_own_strategy_that_would_ask_for_more_is_refused(tmp_path, options):
    task = write_task(tmp_path, rows=ROWS, strategies={"mine": options})
    with pytest.raises(
        TaskError, match=r"arm mine of task small would ask for [\d,]+ rows and label questions .*Set its"
    ):
        check_plan(arm_task(task, "mine", 0))
    with pytest.raises(TaskError, match="its budget is"):
        run_arm(task, Warehouse(tmp_path / "warehouse"), "mine", 0)
    assert not (tmp_path / "warehouse").exists()


def test_the_same_strategies_with_their_budget_divided_are_not(tmp_path):
    check_plan(own_arm(tmp_path / "a", base="s3", budget=0.5, seed_share=0.5))
    divided = own_arm(tmp_path / "b", base="s3", verify="teacher", seed_share=0.5)
    check_plan(divided)
    assert planned(divided) == pytest.approx(80, abs=6)


def test_a_task_that_brings_its_seed_set_does_not_ask_for_it(tmp_path):
    task = write_task(tmp_path, rows=ROWS, seed_rows="seed.csv", strategies={"mine": {"base": "s3", "budget": 0.5}})
    assert planned(arm_task(task, "mine", 0)) == 40
    check_plan(arm_task(task, "mine", 0))


def refusing(body: dict[str, Any], number: int) -> tuple[int, str]:
    """Writes the first row of each request over and over: the others are refused as copies."""
    status, content = obliging(body, number)
    items = json.loads(content).get("examples")
    # Errors are written from in full, so that arms differ in what they ask for again.
    if items and "example" not in facts(body):
        items = [items[0] for _ in items]
    return status, json.dumps({"examples": items}) if items else content


def test_an_arm_that_asked_for_more_is_marked_and_not_compared(tmp_path, tiny_student, one_thread):
    with scripted_teacher(refusing) as teacher:
        task = write_task(
            tmp_path,
            student={"weights": str(tiny_student), "epochs": 1, "min_steps": 0},
            teacher={"base_url": teacher.url},
            rows={"seed": 16, "per_round": 8, "per_call": 4, "refill": True},
        )
        warehouse = Warehouse(tmp_path / "warehouse")
        make_gold(task, warehouse)
        arms = ("gold_only", "seed_only", "more_seed", "goldgen")
        rows = {arm: run_arm(task, warehouse, arm, 0).rows.row(0, named=True) for arm in arms}
    # 16 and 2 * 8 rows are its budget; what copies left open was asked for again.
    assert rows["more_seed"]["teacher_budget"] > rows["goldgen"]["teacher_budget"] > 32
    marks = {"gold_only": False, "more_seed": True, "goldgen": True}
    assert {arm: rows[arm]["over_budget"] for arm in marks} == marks
    made = make_leaderboard(task, warehouse)
    board = {row["arm"]: row for row in made.result.rows.to_dicts()}
    assert {arm: board[arm]["over_budget"] for arm in marks} == marks
    assert board["more_seed"]["vs_goldgen"] is None
    assert board["seed_only"]["vs_goldgen"] is not None, "at a smaller budget"
    assert board["more_seed"]["vs_gold_only"] is not None, "which has no teacher"
    said = "; ".join(made.notes)
    assert "no difference from goldgen is given for more_seed: asked for over 5% more than it" in said
    assert "asked for more than the budget of an arm: " in said


def test_what_errors_have_in_common_is_a_question_that_counts(tmp_path):
    """Each question counts one, of whatever kind; rationales count nothing."""
    warehouse, key = Warehouse(tmp_path / "warehouse"), loop_key(write_task(tmp_path, rows=ROWS), 0)
    kinds = [("examples", 5), ("label", 0), ("diagnosis", 0), ("diagnosis", 0), ("rationales", 0)]
    began = datetime.now(UTC) - timedelta(seconds=5)
    step = {**key.columns(), "asset": "extrapolated_set", "used_at": began + timedelta(seconds=1)}
    uses = [
        step | {"request_id": f"r{n}", "kind": kind, "rows_requested": rows} for n, (kind, rows) in enumerate(kinds)
    ]
    warehouse.write("teacher_uses", key.columns(), frame_of("teacher_uses", uses))
    notes = {BEGAN: str(int(1000 * began.timestamp()))}
    part = warehouse.write("extrapolated_set", key.columns(), frame_of("extrapolated_set", []), notes)
    took = asked(warehouse, key, "extrapolated_set", part)
    assert (took.rows_requested, took.label_questions) == (5, 3)


def test_shipped_presets_of_half_the_budget_are_declared_so():
    assert [name for name, one in presets().items() if one.budget < 1] == ["frugal"]
