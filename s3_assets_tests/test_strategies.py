"""Every arm over a small task as plain functions: what each asks, trains on and shares; then the board of all."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from s3_assets.experiment.arms import ablations_of, arm_task, arms_of, live_row, live_rows, run_arm
from s3_assets.experiment.plan import rows_ahead
from s3_assets.experiment.publish import board_notes, make_leaderboard
from s3_assets.loop.fingerprints import CODE_VERSIONS, last_round, loop_key
from s3_assets.loop.state import NotReady
from s3_assets.loop.steps import make_error_set, make_extrapolated_set, make_gold, make_seed_set, make_trained_model
from s3_assets.store.catalog import build_catalog, connect
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.load import Task, TaskError
from s3_assets.tasks.presets import presets
from s3_assets_tests.fakes import facts, obliging, scripted_teacher, write_task

ROWS = {"seed": 24, "per_round": 12, "per_call": 4}
ALL_ROWS = 24 + 2 * 12
# All that ship but one: what sets it apart from default is tested by itself, and it trains students of folds.
ARMS = [name for name in presets() if name != "frugal"]


@dataclass(frozen=True)
class Arms:
    """All arms of seed 0, in one warehouse: their rows of ``experiment``, and what the teacher was sent by each."""

    task: Task
    warehouse: Warehouse
    rows: dict[str, dict[str, Any]]
    sent: dict[str, list[dict[str, Any]]]

    def live(self, name: str, arm: str, round_: int) -> pl.DataFrame:
        part = self.warehouse.live(name, loop_key(arm_task(self.task, arm, 0), round_).columns())
        return part.read() if part is not None else pl.DataFrame()


@pytest.fixture(scope="module")
def arms(tmp_path_factory, tiny_student) -> Iterator[Arms]:
    place = tmp_path_factory.mktemp("arms")
    with scripted_teacher(obliging) as teacher:
        task = write_task(
            place,
            student={"weights": str(tiny_student), "epochs": 1, "min_steps": 0},
            teacher={"base_url": teacher.url, "price": {"input": 1.0, "output": 1.0}},
            rows=ROWS,
        )
        warehouse = Warehouse(place / "warehouse")
        make_gold(task, warehouse)
        rows, sent = {}, {}
        for arm in ARMS:
            before = len(teacher.bodies)
            rows[arm] = run_arm(task, warehouse, arm, 0).rows.row(0, named=True)
            sent[arm] = teacher.bodies[before:]
        yield Arms(task, warehouse, rows, sent)


def test_arms_of_one_size_end_with_the_same_rows_at_the_same_budget(arms):
    same = ["zerogen", "more_seed", "goldgen", "s3", "s3_shown", "default", "s3+gold", "goldgen+gold"]
    assert {arms.rows[arm]["synthetic_rows"] for arm in same} == {ALL_ROWS}
    assert {arms.rows[arm]["teacher_budget"] for arm in same} == {ALL_ROWS}
    assert arms.rows["seed_only"]["synthetic_rows"] == 24
    assert (arms.rows["gold_only"]["synthetic_rows"], arms.rows["gold_only"]["teacher_budget"]) == (0, 0)
    assert arms.rows["gold_only"]["cost"] == 0


def test_gold_is_trained_on_only_where_the_arm_says_so_and_test_gold_never(arms):
    gold = arms.warehouse.live("gold", {"task": "small"}).read()
    usable = gold.filter(pl.col("split") != "test").height
    for arm in ARMS:
        strategy = presets()[arm]
        row, last = arms.rows[arm], last_round(arm_task(arms.task, arm, 0))
        expected = usable if strategy.gold != "none" else 0
        model = arms.live("trained_model", arm, last).row(0, named=True)
        assert row["gold_rows"] == model["gold_rows"] == expected, arm
        assert model["training_rows"] == row["synthetic_rows"] + expected
        predictions = arms.live("predictions", arm, last)
        # Nothing judges a student on rows it was trained on: steering gold is left to the students of folds.
        own = {"steer", "test"} if strategy.steers == "dev" else {"steer", "select", "test"}
        judged = {"steer", "test"} if strategy.cross_fit else {"test"}
        assert set(predictions["split"]) == (judged if expected else own), arm
        by_folds = predictions.filter(pl.col("fold").is_not_null())
        assert by_folds.height == (usable if strategy.cross_fit else 0), arm
        assert by_folds.equals(predictions.filter(pl.col("split") == "steer")) or not strategy.cross_fit
        if strategy.steers == "steer":
            assert (row["select_score"] is None) == (expected > 0), arm
        else:
            assert row["select_score"] == pytest.approx(by_folds["correct"].mean()), arm
        assert row["test_score"] is not None


def test_each_arm_pays_only_for_what_no_other_asked(arms):
    paid = {arm: row["paid_calls"] for arm, row in arms.rows.items()}
    assert {arm: len(bodies) for arm, bodies in arms.sent.items()} == paid
    assert paid["gold_only"] == 0
    # zerogen asked for no rationales; seed_only asks for those of every later arm.
    assert paid["seed_only"] == arms.rows["seed_only"]["calls"] > 0
    assert 0 < paid["more_seed"] < arms.rows["more_seed"]["calls"]
    for arm in [name for name in paid if name.endswith("+gold")]:
        assert paid[arm] == 0, arm
        assert arms.rows[arm]["calls"] == arms.rows[arm.removesuffix("+gold")]["calls"]
        assert arms.rows[arm]["cost"] == pytest.approx(arms.rows[arm.removesuffix("+gold")]["cost"])
    assert arms.rows["s3"]["cost"] > arms.rows["s3"]["paid_cost"] > 0


def test_what_is_extrapolated_and_what_the_teacher_is_shown(arms):
    gold = arms.warehouse.live("gold", {"task": "small"}).read()
    steer = set(gold.filter(pl.col("split") == "steer")["gold_id"])
    wrong = set(arms.live("error_set", "s3", 0)["gold_id"])
    assert wrong < steer
    assert set(arms.live("extrapolated_set", "s3", 0)["gold_id"]) <= wrong
    drawn = set(arms.live("extrapolated_set", "goldgen", 0)["gold_id"])
    assert drawn <= steer
    assert drawn - wrong
    assert arms.live("trained_model", "goldgen", 0).is_empty(), "GoldGen needs no student before its last"
    shown = {arm: [body for body in map(facts, arms.sent[arm]) if "example" in body] for arm in arms.sent}
    for arm in ("s3", "goldgen", "paper"):
        assert shown[arm], arm
        assert not [block for block in shown[arm] if "predicted" in block["example"]]
        assert not [body for body in arms.sent[arm] if "That is wrong" in body["messages"][-1]["content"]]
    assert shown["s3_shown"]
    assert all(block["example"]["predicted"] != block["label"] for block in shown["s3_shown"])
    assert not [block for block in map(facts, arms.sent["zerogen"]) if "rationales" in block]
    # The same wording for errors and for random rows: they differ in which rows are shown, nothing else.
    first = {arm: arms.sent[arm][-1]["messages"][-1]["content"].split("```json")[0] for arm in ("s3", "goldgen")}
    texts = {label: first["s3"].replace("positive", label).replace("negative", label) for label in ("x",)}
    assert texts["x"].split("(")[0] == first["goldgen"].replace("positive", "x").replace("negative", "x").split("(")[0]


def test_the_paper_to_the_letter_writes_one_row_from_each_error(arms):
    for round_ in (0, 1):
        sources = arms.live("extrapolated_set", "paper", round_)["gold_id"].to_list()
        assert sorted(sources) == sorted(arms.live("error_set", "paper", round_)["gold_id"])


def test_the_same_training_is_done_once_and_counted_for_each_arm(arms):
    shared = [arms.live("trained_model", arm, 0).row(0, named=True) for arm in ("seed_only", "s3", "paper")]
    assert len({row["training_key"] for row in shared}) == 1
    assert len({row["train_seconds"] for row in shared}) == 1
    assert len({row["model_id"] for row in shared}) == 3
    # The task's own loop keeps its weights, which the others did not.
    default = arms.live("trained_model", "s3_shown", 0).row(0, named=True)
    assert default["training_key"] == shared[0]["training_key"]
    assert default["weights_digest"] == shared[0]["weights_digest"]
    assert default["train_seconds"] != shared[0]["train_seconds"]
    own = arms.live("trained_model", "s3", 1).row(0, named=True)
    assert own["training_key"] != shared[0]["training_key"]
    each = [arms.live("trained_model", "s3", round_)["train_seconds"][0] for round_ in range(3)]
    assert arms.rows["s3"]["train_seconds"] == pytest.approx(sum(each))
    of_s3 = arms.live("predictions", "s3", 0)
    assert set(of_s3["model_id"]) == {shared[1]["model_id"]}
    assert set(of_s3["arm"]) == {"s3"}
    assert of_s3.drop("arm", "model_id").equals(arms.live("predictions", "seed_only", 0).drop("arm", "model_id"))


def test_weights_are_kept_for_the_tasks_own_loop_alone(arms):
    kept = {
        arm: arms.live("trained_model", arm, last_round(arm_task(arms.task, arm, 0)))["path"][0] for arm in arms.rows
    }
    assert [arm for arm, path in kept.items() if path is not None] == ["s3_shown"]
    assert (arms.warehouse.root / kept["s3_shown"] / "model.safetensors").is_file()
    # The arm of the task's strategy and seed is the task's own loop: nothing is left to do.
    assert arm_task(arms.task, "s3_shown", 0) is arms.task
    for round_ in range(3):
        assert make_seed_set(arms.task, arms.warehouse, round_).reused
        assert make_trained_model(arms.task, arms.warehouse, round_).reused
        assert make_error_set(arms.task, arms.warehouse, round_).reused


def test_a_second_time_nothing_is_done_and_a_changed_task_makes_rows_stale(arms):
    again = run_arm(arms.task, arms.warehouse, "s3", 0)
    assert again.reused
    assert again.rows.row(0, named=True) == arms.rows["s3"]
    assert live_row(arms.task, arms.warehouse, "s3", 1) is None
    part = make_leaderboard(arms.task, arms.warehouse).result.part
    student = arms.task.spec.student.model_copy(update={"learning_rate": 1e-3})
    changed = Task(arms.task.spec.model_copy(update={"student": student}), arms.task.folder)
    *_, stale, older = board_notes(changed, arms.warehouse, part)
    assert stale.startswith("left out, as inputs changed since: gold_only seed 0, ")
    assert older.startswith("older than the experiments that are live now; `s3-assets compare small`")
    rows, stale = live_rows(changed, arms.warehouse)
    assert rows.is_empty()
    assert len(stale) == len(ARMS)
    with pytest.raises(NotReady, match=r"stale: gold_only seed 0.*s3-assets compare small"):
        make_leaderboard(changed, arms.warehouse)


def test_rows_of_arms_that_the_task_cannot_be_run_with_any_more_are_stale(arms):
    """And no error: what the other arms came to is still to be read."""
    students = arms.task.spec.verify.model_copy(update={"by": "students"})
    changed = Task(arms.task.spec.model_copy(update={"verify": students}), arms.task.folder)
    _, stale = live_rows(changed, arms.warehouse)
    assert "default seed 0" in stale


def test_the_board_holds_every_arm_and_sql_agrees(arms):
    made = make_leaderboard(arms.task, arms.warehouse)
    board = made.result.rows
    assert set(board["arm"]) == set(ARMS)
    assert board["place"].to_list() == list(range(1, len(ARMS) + 1))
    scores = {arm: row["test_score"] for arm, row in arms.rows.items()}
    assert dict(board.select("arm", "score_mean").iter_rows()) == pytest.approx(scores)
    assert dict(board.select("arm", "vs_gold_only").iter_rows())["s3"] == pytest.approx(
        scores["s3"] - scores["gold_only"]
    )
    # Only the paper's rounds have as many rows as there are errors.
    over = {arm: row["teacher_budget"] > ALL_ROWS for arm, row in arms.rows.items()}
    assert dict(board.select("arm", "over_budget").iter_rows()) == over == {arm: arm == "paper" for arm in ARMS}
    assert board.filter(pl.col("vs_goldgen").is_null())["arm"].sort().to_list() == ["goldgen", "paper"]
    assert made.notes == board_notes(arms.task, arms.warehouse, made.result.part)
    assert made.notes == [
        "asked for more than the budget of an arm: paper",
        "no difference from goldgen is given for paper: asked for over 5% more than it, or has no seed that it has",
    ]
    build_catalog(arms.warehouse)
    with connect(arms.warehouse) as sql:
        sql.execute("set variable as_of = now()::timestamptz + interval 1 hour")
        counted = sql.execute("""select arm, sum(teacher_budget), sum(calls) from rounds
                                 group by arm""").fetchall()
        assert {arm: int(budget) for arm, budget, _ in counted if budget} == {
            arm: row["teacher_budget"] for arm, row in arms.rows.items() if row["teacher_budget"]
        }
        assert {arm: int(calls) for arm, _, calls in counted} == {
            arm: row["paid_calls"] for arm, row in arms.rows.items()
        }
        assert sql.execute("select count(*) from leaderboard").fetchone() == (len(ARMS),)


def test_seeds_get_answers_of_their_own(arms):
    with scripted_teacher(obliging) as teacher:
        spec = arms.task.spec.model_copy(
            update={"teacher": arms.task.spec.teacher.model_copy(update={"base_url": teacher.url})}
        )
        run_arm(Task(spec, arms.task.folder), arms.warehouse, "seed_only", 1)
        assert len(teacher.bodies) == arms.rows["seed_only"]["calls"]
    first = arms.live("seed_set", "seed_only", 0)["request_id"]
    second = arms.warehouse.live("seed_set", loop_key(arm_task(arms.task, "seed_only", 1), 0).columns()).read()
    assert not set(first) & set(second["request_id"])


def test_an_earlier_go_with_other_settings_is_not_counted(small_task, tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")
    make_gold(small_task, warehouse)
    run_arm(small_task, warehouse, "seed_only", 0)
    larger = small_task.spec.rows.model_copy(update={"seed": 40})
    changed = Task(small_task.spec.model_copy(update={"rows": larger}), small_task.folder)
    row = run_arm(changed, warehouse, "seed_only", 0).rows.row(0, named=True)
    assert row["synthetic_rows"] == 40
    assert row["teacher_budget"] == 40


def test_a_new_version_of_training_trains_again(arms, monkeypatch):
    """Another arm's training by the old code must not come back as one by the new."""
    monkeypatch.setitem(CODE_VERSIONS, "trained_model", 1 + CODE_VERSIONS["trained_model"])
    before = arms.live("trained_model", "seed_only", 0).row(0, named=True)
    own = arm_task(arms.task, "seed_only", 0)
    after = make_trained_model(own, arms.warehouse, 0).rows.row(0, named=True)
    assert after["training_key"] != before["training_key"]
    assert after["train_seconds"] != before["train_seconds"]
    monkeypatch.undo()
    make_trained_model(own, arms.warehouse, 0)


def test_without_refill_exactly_the_rows_wanted_are_asked_for(tmp_path, tiny_student):
    """Half of all rows are refused: budgets stay equal, rows do not, and the board says so where they are far apart."""

    def repeats_in_the_seed_set(body, number):
        status, content = obliging(body, number)
        items = json.loads(content).get("examples")
        if items and "example" not in facts(body):
            items = [items[0] for _ in items]
        return status, json.dumps({"examples": items}) if items else content

    with scripted_teacher(repeats_in_the_seed_set) as teacher:
        task = write_task(
            tmp_path,
            student={"weights": str(tiny_student), "epochs": 1, "min_steps": 0},
            teacher={"base_url": teacher.url},
            rows={"seed": 24, "per_round": 12, "per_call": 4},
        )
        warehouse = Warehouse(tmp_path / "warehouse")
        make_gold(task, warehouse)
        rows = {arm: run_arm(task, warehouse, arm, 0).rows.row(0, named=True) for arm in ("more_seed", "goldgen", "s3")}
    assert {row["teacher_budget"] for row in rows.values()} == {ALL_ROWS}
    assert (rows["more_seed"]["synthetic_rows"], rows["s3"]["synthetic_rows"]) == (12, 6 + 24)
    (note,) = make_leaderboard(task, warehouse).notes
    assert note.startswith("more_seed trained on 12 rows of the teacher, goldgen trained on 30 rows")


def test_a_task_that_brings_its_seed_set_has_no_arm_that_asks_for_another(small_task, tmp_path):
    own = tmp_path / "own.csv"
    own.write_text("text,label\n" + "".join(f"own text {n},{('positive', 'negative')[n % 2]}\n" for n in range(20)))
    task = Task(small_task.spec.model_copy(update={"seed_rows": str(own)}), small_task.folder)
    assert {"more_seed", "zerogen"}.isdisjoint(arms_of(task))
    assert rows_ahead(arm_task(task, "seed_only", 0)) == (0, 0)
    assert arm_task(task, "default~explore", 0).spec.how.explore == 0
    with pytest.raises(TaskError, match=r"brings its seed set \(seed_rows\): arm more_seed would ask for another"):
        arm_task(task, "more_seed", 0)


@pytest.mark.parametrize("by", ["students", "both"])
def test_students_who_learn_from_all_gold_verify_no_labels_where_folds_judge(tmp_path, by):
    """They would choose rows by gold that is then said to have been held out."""
    with pytest.raises(TaskError, match=r"verify: students learn from all steering gold, which strategy default"):
        write_task(tmp_path, verify=by, strategy="default")
    own = {
        "mine": {"base": "default", "verify": "teacher"},
        "plain": {"base": "default", "cross_fit": 0, "gold": "none"},
    }
    assert write_task(tmp_path, verify=by, strategy="mine", strategies=own).spec.verifying.by == "teacher"
    task = write_task(tmp_path, verify=by, strategy="plain", strategies=own)
    assert {"s3", "mine", "plain"} <= set(arms_of(task))
    assert {"default", "frugal"}.isdisjoint(arms_of(task))
    with pytest.raises(TaskError, match=r"labels verified by students, .*; arm frugal keeps gold from its judges"):
        arm_task(task, "frugal", 0)


def test_a_strategy_that_verifies_has_no_place_among_questions(tmp_path):
    fields = {"text": "context", "text2": "question", "answer": "answers"}
    questions = {"kind": "qa", "labels": None, "fields": fields}
    mine = {"plain": {"base": "s3", "verify": "nobody"}, "asks": {"base": "s3", "verify": "teacher"}}
    with pytest.raises(TaskError, match=r"kind qa has no labels to verify; remove verify from strategies\.asks$"):
        write_task(tmp_path, **questions, strategies=mine)
    del mine["asks"]
    assert "plain" in write_task(tmp_path, **questions, strategies=mine).spec.arms


def test_another_teacher_of_labels_may_be_declared_where_a_strategy_asks_it(tmp_path):
    verify = {"teacher": {"model": "other"}}
    for by in (None, "students", "nobody"):
        with pytest.raises(TaskError, match=r"verify\.teacher is not asked with verify\.by nobody"):
            write_task(tmp_path, verify=verify, strategies={"mine": {"base": "s3", "verify": by}})
    task = write_task(tmp_path, verify=verify, strategies={"mine": {"base": "s3", "verify": "teacher"}})
    assert arm_task(task, "mine", 0).spec.verifying.teacher.model == "other"
    assert arm_task(task, "s3", 0).spec.verifying.by == "nobody"


def test_unknown_arms_name_near_and_known_ones(small_task):
    with pytest.raises(TaskError, match=r"no arm s4\. Arms are gold_only, .*s3\+gold; and default without an option"):
        arm_task(small_task, "s4", 0)
    with pytest.raises(TaskError, match=r"no arm goldgem\. Did you mean goldgen"):
        arm_task(small_task, "goldgem", 0)
    assert {name.partition("~")[0] for name in ablations_of(small_task)} == {"default"}
    assert set(ablations_of(small_task)).isdisjoint(set(arms_of(small_task)) - {"default"})


@pytest.mark.parametrize("strategy", ["goldgen", "paper"])
def test_a_loop_of_its_own_may_follow_another_strategy(tmp_path, tiny_student, strategy):
    student = {"weights": str(tiny_student), "epochs": 1, "min_steps": 0}
    task, warehouse = write_task(tmp_path, strategy=strategy, student=student), Warehouse(tmp_path / "warehouse")
    make_gold(task, warehouse)
    make_seed_set(task, warehouse, 0)
    if strategy == "paper":
        make_trained_model(task, warehouse, 0)
        make_error_set(task, warehouse, 0)
    made = make_extrapolated_set(task, warehouse, 0)
    sources = made.numbers["sources"]
    assert made.rows.height == (20 if strategy == "goldgen" else sources)
    assert made.part.path.is_relative_to(warehouse.root / "extrapolated_set" / "task=small" / f"arm={strategy}")
    assert json.loads(made.part.metadata()["inputs"]).keys() >= {"gold", "seed_set"}
    assert Path(made.part.path).exists()
