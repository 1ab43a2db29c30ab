"""Budgets of arms: what is declared to be too much is refused, what turned out to be too much is marked."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from s3_assets.experiment.arms import arm_task, run_arm
from s3_assets.experiment.asked import Asked, asked
from s3_assets.experiment.plan import check_plan, over_budget, planned, rows_ahead
from s3_assets.experiment.publish import make_leaderboard
from s3_assets.generation.schedule import budget
from s3_assets.loop.fingerprints import loop_key
from s3_assets.loop.publish import BEGAN
from s3_assets.loop.steps import make_gold
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.gold import read_gold
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
        {"base": "s3_shown", "steps": 20, "shows": ["prediction", "diagnosis"]},
        {"base": "default", "budget": 0.5, "steps": 10, "shows": ["prediction", "diagnosis"]},
    ],
)
def test_an_own_strategy_that_would_ask_for_more_is_refused(tmp_path, options):
    # Questions about groups of errors, and a row at least, in more rounds than the budget has room for.
    asked = {"base_url": "http://127.0.0.1:9/v1"}
    task = write_task(tmp_path, rows=ROWS, strategies={"mine": options}, teacher=asked)
    with pytest.raises(
        TaskError, match=r"arm mine of task small would ask for [\d,]+ rows and label questions .*Give it fewer steps"
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
    # Half of what rounds may ask for: the seed set is paid for by nobody.
    assert planned(arm_task(task, "mine", 0)) == budget(arm_task(task, "mine", 0)) == 20
    check_plan(arm_task(task, "mine", 0))


def refusing(body: dict[str, Any], number: int) -> tuple[int, str]:
    """Writes the first row of each request over and over: the others are refused as copies."""
    status, content = obliging(body, number)
    items = json.loads(content).get("examples")
    # Errors are written from in full, so that arms differ in what they ask for again.
    if items and "example" not in facts(body):
        items = [items[0] for _ in items]
    return status, json.dumps({"examples": items}) if items else content


def test_an_arm_that_asked_for_more_is_marked_and_not_compared(tmp_path, tiny_student):
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


def verify_of(task: dict[str, Any], strategy: dict[str, Any]) -> dict[str, Any]:
    return {"verify": task, "strategies": {"mine": {"base": "s3", "seed_share": 0.5, **strategy}}}


@pytest.mark.parametrize(
    ("declared", "took", "over"),
    [
        # 80 is the budget; a row that is rounded up at each of three sizes and 5% are within it.
        ({}, Asked(rows_requested=84), False),
        ({}, Asked(rows_requested=85), True),
        # What the task itself has asked about labels all arms have alike.
        ({"verify": {"by": "teacher"}}, Asked(rows_requested=80, label_questions=90), False),
        (verify_of({"by": "nobody"}, {"verify": "teacher"}), Asked(rows_requested=27, label_questions=55), False),
        (verify_of({"by": "nobody"}, {"verify": "teacher"}), Asked(rows_requested=27, label_questions=65), True),
        # What errors have in common is asked for by the strategy.
        ({}, Asked(rows_requested=80, label_questions=5, diagnoses=5), True),
    ],
)
def test_what_is_held_against_the_budget_is_what_the_strategy_brought(tmp_path, declared, took, over):
    task = write_task(tmp_path, rows=ROWS, **{"strategies": {"mine": {"base": "s3"}}, **declared})
    assert over_budget(arm_task(task, "mine", 0), took, read_gold(task)) == over


def test_sublabels_that_gold_lacks_are_the_tasks_own_questions(tmp_path):
    """One a steering row of the label, which an arm that has labels verified is not charged with either."""
    labels = {"positive": "Good.", "negative": {"means": "Bad.", "sublabels": {"dull": "Dull.", "long": "Long."}}}
    task = write_task(
        tmp_path,
        rows=ROWS,
        labels=labels,
        strategies={"mine": {"base": "s3", "seed_share": 0.5, "verify": "teacher"}},
    )
    own, gold = arm_task(task, "mine", 0), read_gold(task)
    questions = gold.filter(split="steer", label="negative").height
    assert questions > 20
    assert not over_budget(own, Asked(rows_requested=27, label_questions=50 + questions), gold)
    assert over_budget(own, Asked(rows_requested=27, label_questions=70 + questions), gold)
    steers = arm_task(
        write_task(
            tmp_path / "dev", rows=ROWS, labels=labels, strategies={"mine": {"base": "default", "verify": "teacher"}}
        ),
        "mine",
        0,
    )
    more = gold.filter(pl.col("split") != "test", label="negative").height
    assert more > questions
    assert not over_budget(steers, Asked(rows_requested=27, label_questions=50 + more), gold)


def test_a_task_that_verifies_labels_leaves_its_arms_unmarked(tmp_path, tiny_student):
    with scripted_teacher(obliging) as teacher:
        task = write_task(
            tmp_path,
            student={"weights": str(tiny_student), "epochs": 1, "min_steps": 0},
            teacher={"base_url": teacher.url},
            rows={"seed": 16, "per_round": 8, "per_call": 4},
            verify={"by": "teacher", "threshold": 0.0},
        )
        warehouse = Warehouse(tmp_path / "warehouse")
        make_gold(task, warehouse)
        rows = {arm: run_arm(task, warehouse, arm, 0).rows.row(0, named=True) for arm in ("more_seed", "goldgen")}
    for row in rows.values():
        assert (row["rows_requested"], row["over_budget"]) == (32, False)
        assert row["teacher_budget"] == 32 + row["label_questions"] > 1.05 * 32


def test_rows_ahead_of_one_row_each_are_of_the_gold_that_steers(tmp_path):
    mine = {"base": "paper", "steers": "dev"}
    task = write_task(tmp_path, rows=ROWS, strategies={"mine": mine})
    counts = dict(read_gold(task)["split"].value_counts().iter_rows())
    assert rows_ahead(arm_task(task, "paper", 0)) == (40, counts["steer"])
    assert rows_ahead(arm_task(task, "mine", 0)) == (40, counts["steer"] + counts["select"])


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
    assert (took.rows_requested, took.label_questions, took.diagnoses) == (5, 3, 2)


def test_shipped_presets_of_half_the_budget_are_declared_so():
    assert [name for name, one in presets().items() if one.budget < 1] == ["frugal"]
