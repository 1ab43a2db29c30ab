"""Rows of the steps that ask: second opinions and remedies on their way into the tables, through two rounds."""

import json

import polars as pl
import pytest

from s3_assets.experiment.asked import asked
from s3_assets.generation.estimate import estimate_rounds
from s3_assets.generation.filling import Written, _judged_again
from s3_assets.loop.fingerprints import input_fingerprint, loop_key
from s3_assets.loop.state import Board
from s3_assets.loop.steps import make_extrapolated_set, make_gold, make_seed_set
from s3_assets.loop.writing import against_shortcuts
from s3_assets.quality.gates import open_gates
from s3_assets.store.identity import example_id
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.gold import read_gold
from s3_assets.teacher.budget import BudgetExhausted
from s3_assets_tests.fakes import LOOSE, facts, obliging, scripted_teacher, write_task


def forgetful(body, number):
    """Takes the other label for rows whose number within their request is 1, and knows better when it is asked."""
    if body["response_format"]["json_schema"]["name"] != "label":
        return obliging(body, number)
    text = facts(body)["example"]["text"]
    if not text.startswith(("positive text", "negative text")):
        label = GOLD[text]
    else:
        label = text.split()[0]
        wrong = text.split()[2].endswith(".1")
        label = {"positive": "negative", "negative": "positive"}[label] if wrong else label
    return 200, json.dumps({"label": label})


GOLD: dict[str, str] = {}


@pytest.fixture
def loop(tmp_path):
    """A task whose rounds extrapolate random gold, so that nothing need be trained, and its teacher."""
    with scripted_teacher(forgetful) as teacher:
        task = write_task(
            tmp_path / "tasks",
            teacher={"base_url": teacher.url, "temperature": 0.5},
            strategy="goldgen",
            verify="teacher",
            rows={"seed": 24, "per_call": 4, "per_round": 20},
        )
        warehouse = Warehouse(tmp_path / "warehouse")
        GOLD.update(make_gold(task, warehouse).rows.select("text", "label").iter_rows())
        yield task, warehouse, teacher


def live(task, warehouse, name, round_, **keys):
    return warehouse.live(name, {**loop_key(task, round_).columns(), **keys}).read()


def test_doubted_rows_are_refused_and_all_votes_are_kept(loop):
    task, warehouse, _ = loop
    made = make_seed_set(task, warehouse, 0)
    rows, rejected = made.rows, live(task, warehouse, "rejected", 0, asset="seed_set")
    assert set(rejected["gate"]) == {"label_doubted"}
    assert rows.height == 18
    assert rejected.height == 6
    assert rejected["reason"].str.starts_with("asked blind, the teacher said ").all()
    assert (rows["confidence"] > rejected["value"].max()).all()
    verdicts = live(task, warehouse, "verdicts", 0, asset="seed_set")
    synthetic = verdicts.filter(pl.col("kind") == "synthetic")
    assert set(synthetic["row_id"]) == {*rows["example_id"], *rejected["row_id"]}
    assert synthetic.filter(pl.col("outcome") == "dropped")["votes"].list.len().to_list() == [2] * 6
    select = read_gold(task).filter(pl.col("split") == "select")
    assert set(verdicts.filter(pl.col("kind") == "gold")["row_id"]) == set(select["gold_id"])
    assert made.numbers["label_questions"] == 24 + 6
    assert made.numbers["rows_doubted"] == 6
    agreed = {check.name: check for check in made.checks}["labels_agreed"]
    assert not agreed.passed
    assert agreed.numbers["agreed_share"] == pytest.approx(0.75)


def test_selecting_gold_is_asked_about_once_and_counts_in_the_budget(loop):
    task, warehouse, teacher = loop
    seed = make_seed_set(task, warehouse, 0)
    added = make_extrapolated_set(task, warehouse, 0)
    select = read_gold(task).filter(pl.col("split") == "select")
    later = live(task, warehouse, "verdicts", 0, asset="extrapolated_set")
    assert set(later["kind"]) == {"synthetic"}
    first = asked(warehouse, loop_key(task, 0), "seed_set", seed.part)
    second = asked(warehouse, loop_key(task, 0), "extrapolated_set", added.part)
    assert first.label_questions == select.height + 24 + 6
    assert (second.rows_requested, second.label_questions) == (20, added.numbers["label_questions"])
    # Test gold is asked about never.
    test = set(read_gold(task).filter(pl.col("split") == "test")["text"])
    questions = [facts(body) for body in teacher.bodies if "example" in facts(body)]
    assert not test & {block["example"]["text"] for block in questions}
    # Blind: the label stands nowhere in the question.
    blind = [block for block in questions if set(block) == {"labels", "example"}]
    assert len(blind) == first.label_questions + second.label_questions
    assert all(set(block["example"]) == {"text"} for block in blind)


def test_relabelled_rows_have_their_new_label_and_id(loop):
    task, warehouse, _ = loop
    task = write_task(
        task.folder.parent,
        teacher={"base_url": task.spec.teacher.base_url, "temperature": 0.5},
        verify={"by": "teacher", "doubted": "relabel"},
        rows={"seed": 24, "per_call": 4, "per_round": 20},
    )
    rows = make_seed_set(task, warehouse, 0).rows
    assert rows.height == 24
    verdicts = live(task, warehouse, "verdicts", 0, asset="seed_set").filter(pl.col("outcome") == "relabelled")
    assert verdicts.height == 6
    for verdict in verdicts.iter_rows(named=True):
        assert verdict["new_label"] != verdict["label"]
        assert verdict["row_id"] not in set(rows["example_id"])
    for row in rows.iter_rows(named=True):
        wrong = row["text"].split()[2].endswith(".1")
        assert (row["label"] == row["text"].split()[0]) is not wrong
        assert row["example_id"] == example_id(row["text"], None, row["label"])


def test_nobody_is_asked_unless_the_task_says_so(tmp_path):
    with scripted_teacher(forgetful) as teacher:
        task = write_task(tmp_path / "tasks", teacher={"base_url": teacher.url})
        warehouse = Warehouse(tmp_path / "warehouse")
        make_gold(task, warehouse)
        made = make_seed_set(task, warehouse, 0)
        kinds = {body["response_format"]["json_schema"]["name"] for body in teacher.bodies}
    assert kinds == {"rationales", "examples"}
    assert made.rows["confidence"].is_null().all()
    assert live(task, warehouse, "verdicts", 0, asset="seed_set").is_empty()


def test_another_judge_spends_from_the_same_budget(tmp_path):
    with scripted_teacher(forgetful) as teacher, scripted_teacher(forgetful) as judge:
        task = write_task(
            tmp_path / "tasks",
            teacher={"base_url": teacher.url},
            verify={"by": "teacher", "teacher": {"base_url": judge.url, "name": "judge", "temperature": 0.5}},
            budget={"calls": 60},
        )
        warehouse = Warehouse(tmp_path / "warehouse")
        GOLD.update(make_gold(task, warehouse).rows.select("text", "label").iter_rows())
        with pytest.raises(BudgetExhausted, match=r"60 teacher calls for the task"):
            make_seed_set(task, warehouse, 0)
        assert len(teacher.bodies) + len(judge.bodies) == 60
        kinds = [{body["response_format"]["json_schema"]["name"] for body in one.bodies} for one in (teacher, judge)]
        assert kinds == [{"rationales", "examples"}, {"label"}]
        asked_before = len(judge.bodies)
        # What was asked until then is not asked again.
        task = write_task(
            task.folder.parent,
            **{**task.spec.model_dump(include={"verify"}), "budget": {"calls": 500}},
            teacher={"base_url": teacher.url},
        )
        made = make_seed_set(task, warehouse, 0)
        questions = made.numbers["label_questions"] + made.numbers["label_questions_about_gold"]
    assert made.numbers["judge_teacher_requests_from_ledger"] == asked_before
    assert len(judge.bodies) == questions


@pytest.mark.parametrize("by", ["teacher", "both", "students"])
def test_label_questions_are_estimated(tmp_path, by):
    with scripted_teacher(forgetful) as teacher:
        task = write_task(tmp_path / "tasks", teacher={"base_url": teacher.url}, verify=by, rows={"seed": 80})
        warehouse = Warehouse(tmp_path / "warehouse")
        select = make_gold(task, warehouse).rows.filter(pl.col("split") == "select").height
        said = estimate_rounds(task, warehouse, 0, 1)
        assert teacher.bodies == []
    asked = {"teacher": 1.1 * 80, "both": 80 / 5, "students": 0}[by]
    about_gold = 0 if by == "students" else 1.1 * select
    requests = 2 + 80 / 5
    assert said[0].cost.calls == pytest.approx(requests + about_gold + asked, rel=0.15)
    # Selecting gold is asked about once.
    assert said[1].cost.calls == pytest.approx(200 / 5 + asked * 200 / 80, rel=0.3)


def accepted(texts):
    keys = ("text2", "sublabel", "answer", "answer_start", "gold_id", "request_id", "item", "repairs", "confidence")
    return [
        {**dict.fromkeys(keys), "text": text, "label": label, "example_id": example_id(text, None, label)}
        for text, label in texts
    ]


def test_a_stripped_text_is_held_against_gold_once_more(tmp_path):
    task = write_task(tmp_path, shortcuts="strip", gates={"repair": False})
    gold = read_gold(task)
    held_out = gold.filter(pl.col("split") == "test")["text"][0]
    marked = [(f"+++ film number {number} has {number + 7} songs", "positive") for number in range(30)]
    plain = [(f"film number {number} has {number + 90} songs", "negative") for number in range(30)]
    written = Written(accepted=accepted([*marked, (f"+++ {held_out}", "positive"), *plain]))
    against_shortcuts(task, written, gold)
    assert not [row for row in written.accepted if row["text"].startswith("+")]
    assert [row["gate"] for row in written.rejected] == ["held_out_gold"]
    assert {row["repairs"] for row in written.accepted if row["label"] == "positive"} == {"shortcut"}


def test_shortcuts_are_only_reported_by_default(tmp_path):
    task = write_task(tmp_path)
    rows = accepted([(f"+++ film number {number}", "positive") for number in range(30)])
    written = Written(accepted=list(rows))
    against_shortcuts(task, written, read_gold(task))
    assert written.accepted == rows
    assert written.rejected == []


def test_another_judge_is_asked_anew_and_its_pace_makes_nothing_stale(loop, tmp_path):
    task, warehouse, _ = loop
    make_seed_set(task, warehouse, 0)
    make_extrapolated_set(task, warehouse, 0)
    declared = {"rows": {"seed": 24, "per_call": 4, "per_round": 20}, "strategy": "goldgen"}
    with scripted_teacher(forgetful) as judge:

        def with_judge(**keys):
            other = {"base_url": judge.url, "name": "judge", "temperature": 0.5, **keys}
            return write_task(
                task.folder.parent,
                teacher={"base_url": task.spec.teacher.base_url, "temperature": 0.5},
                verify={"by": "teacher", "teacher": other},
                **declared,
            )

        made = make_seed_set(with_judge(), warehouse, 0)
        assert not made.reused
        # Nothing that the first one said of selecting gold is taken for the second one's.
        assert len(judge.bodies) == made.numbers["label_questions"] + made.numbers["label_questions_about_gold"]
        assert make_seed_set(with_judge(concurrency=3, retries=1), warehouse, 0).reused
        assert not make_seed_set(with_judge(model="other"), warehouse, 0).reused


@pytest.mark.parametrize("change", [{"gates": {"length": 2.0}}, {"shortcuts": "strip"}, {"verify": "nobody"}])
def test_what_decides_about_rows_is_part_of_what_they_are_made_from(loop, change):
    task, warehouse, _ = loop
    make_seed_set(task, warehouse, 0)
    declared = {
        "teacher": {"base_url": task.spec.teacher.base_url, "temperature": 0.5},
        "strategy": "goldgen",
        "verify": "teacher",
        "rows": {"seed": 24, "per_call": 4, "per_round": 20},
    }
    assert Board(write_task(task.folder.parent, **declared), warehouse).is_live("seed_set", 0)
    assert not Board(write_task(task.folder.parent, **{**declared, **change}), warehouse).is_live("seed_set", 0)


def test_own_rows_do_not_hang_on_second_opinions(tmp_path):
    rows = pl.DataFrame({"text": ["one", "two"], "label": ["positive", "negative"]})
    rows.write_parquet(tmp_path / "seed.parquet")
    own = {"seed_rows": str(tmp_path / "seed.parquet"), "gates": LOOSE}
    task, warehouse = write_task(tmp_path / "tasks", **own), Warehouse(tmp_path / "warehouse")
    make_gold(task, warehouse)
    make_seed_set(task, warehouse, 0)
    assert Board(write_task(tmp_path / "tasks", **own, verify="teacher"), warehouse).is_live("seed_set", 0)
    repaired = {**own, "gates": {**LOOSE, "repair": True}}
    assert not Board(write_task(tmp_path / "tasks", **repaired), warehouse).is_live("seed_set", 0)


def test_the_student_counts_where_students_judge(tmp_path):
    def fingerprint(by, **student):
        task = write_task(tmp_path / "tasks", verify=by, student=student)
        return input_fingerprint(task, "seed_set", 0, {})

    assert fingerprint("teacher", max_length=64) == fingerprint("teacher", max_length=32)
    assert fingerprint("students", max_length=64) != fingerprint("students", max_length=32)


def test_a_row_taken_back_leaves_its_place(tmp_path):
    """A text dropped for its label may come again under the right one; relabelled rows pass the gates once more."""
    task = write_task(tmp_path)
    gold = read_gold(task)
    gates = open_gates(task, gold)
    steer = gold.filter(pl.col("split") == "steer", pl.col("text").str.split(" ").list.len() >= 12).row(0, named=True)
    other = next(label for label in task.spec.labels if label != steer["label"])
    texts = [
        (f"{steer['text']} Indeed.", other),
        ("The plumber sang louder than the whole choir, and it worked.", other),
    ]
    rows = [{**row, "request_id": "r", "item": place} for place, row in enumerate(accepted(texts))]
    for row in rows:
        assert gates.judge(row, row["label"]).refusal is None
    written = Written()
    # The first gets gold's label, under which it is an echo; the second is dropped.
    kept = [{**rows[0], "label": steer["label"]}]
    assert _judged_again(rows, kept, gates, written) == []
    assert [row["gate"] for row in written.rejected] == ["echo"]
    assert gates.judge(rows[1], steer["label"]).refusal is None
    assert gates.judge(rows[1], steer["label"]).refusal.gate == "duplicate"
