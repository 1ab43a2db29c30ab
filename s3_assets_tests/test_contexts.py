"""Pairs and questions: contexts, what rows keep of them, finer labels in gold's proportions."""

import json

import polars as pl
import pytest

from s3_assets.generation.contexts import Context, contexts_digest, read_contexts, writable
from s3_assets.generation.extrapolate import write_extrapolated_set
from s3_assets.generation.filling import Written
from s3_assets.generation.seed import seed_wanted, write_seed_set
from s3_assets.generation.sublabels import count_sublabels, divide
from s3_assets.loop.steps import make_gold
from s3_assets.quality.gates import open_gates
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.tasks.gold import read_gold
from s3_assets.tasks.load import TaskError
from s3_assets.teacher.session import teacher_session
from s3_assets_tests.fakes import facts, obliging, scripted_teacher, write_task

GOLD = "premise,hypothesis,verdict,detail\n" + "".join(
    f"premise {n},hypothesis {n},{('entailment', 'not_entailment')[n % 2]},"
    f"{('', 'neutral', '', 'neutral', '', 'contradiction')[n % 6]}\n"
    for n in range(120)
)
PAIR = {
    "kind": "pair",
    "fields": {"text": "premise", "text2": "hypothesis", "label": "verdict"},
    "labels": {"entailment": "It follows.", "not_entailment": "It does not follow."},
}
FINER = {
    "entailment": "It follows.",
    "not_entailment": {
        "means": "It does not follow.",
        "sublabels": {"neutral": "It is left open.", "contradiction": "It is ruled out."},
    },
}


def session_for(task, tmp_path):
    return teacher_session(task, Warehouse(tmp_path / "warehouse"), RoundKey("small", "s3_shown", 0, 0), "seed_set")


def seed_set(task, tmp_path, sublabels=None):
    gold = read_gold(task)
    with session_for(task, tmp_path) as session:
        if sublabels is None:
            steer = gold.filter(pl.col("split") == "steer")
            sublabels = count_sublabels(task, session, steer, Written())
        write_seed_set(
            task, session, read_contexts(task, gold), open_gates(task, gold), written := Written(), sublabels
        )
    return written


def test_a_file_of_contexts_replaces_those_of_gold_and_held_out_ones_are_left_out(tmp_path):
    task = write_task(tmp_path, GOLD, **PAIR)
    gold = read_gold(task)
    of_test = gold.filter(pl.col("split") == "test")["text"][0]
    assert {context.text for context in read_contexts(task, gold)} == set(
        gold.filter(pl.col("split") == "steer")["text"]
    )
    own = tmp_path / "own.csv"
    own.write_text(f"premise\nA new one.\n{of_test.upper()}\nA new one.\n")
    task = write_task(tmp_path, GOLD, **PAIR, contexts=str(own))
    assert read_contexts(task, gold) == [Context("A new one.")]
    before = contexts_digest(task)
    own.write_text(f"text\n{of_test}\n")
    assert contexts_digest(task) != before
    with pytest.raises(TaskError, match=r"own\.csv has no context that does not overlap selecting or test gold"):
        read_contexts(task, gold)
    own.write_text("words\nx\n")
    with pytest.raises(TaskError, match=r"no column 'premise' with the contexts; it has words"):
        read_contexts(task, gold)
    own.unlink()
    with pytest.raises(TaskError, match="no such file; contexts of task small names it"):
        contexts_digest(task)


def test_answers_of_own_contexts_must_stand_in_them(tmp_path):
    own = tmp_path / "own.csv"
    own.write_text("text,answer\nThe ferry leaves at noon.,At  Noon\nIt is late.,\n")
    fields = {"text": "a", "text2": "b", "answer": "answer"}
    gold = "a,b,answer\n" + "".join(f"the boat {n} is blue,which colour is {n}?,blue\n" for n in range(80))
    task = write_task(tmp_path, gold, kind="qa", fields=fields, labels=None, contexts=str(own))
    rows = read_gold(task)
    assert read_contexts(task, rows) == [
        Context("The ferry leaves at noon.", "at noon", 17),
        Context("It is late."),
    ]
    own.write_text("text,answer\nThe ferry leaves at noon.,midnight\n")
    with pytest.raises(TaskError, match=r"row 1: the answer 'midnight' is not in its context"):
        read_contexts(task, rows)


def test_a_task_may_have_both_sides_written(tmp_path):
    with scripted_teacher(obliging) as teacher:
        task = write_task(tmp_path, GOLD, **PAIR, pair={"writes": "both"}, teacher={"base_url": teacher.url})
        written = seed_set(task, tmp_path)
        assert all("given" not in facts(body) for body in teacher.bodies)
        fields = [
            body["response_format"]["json_schema"]["schema"]["properties"]["examples"]["items"]["required"]
            for body in teacher.bodies
        ]
    assert fields == [["text", "text2"]] * len(fields)
    assert len(written.accepted) == 24
    assert all(row["text"].startswith(row["label"]) for row in written.accepted)


def test_rows_divide_in_proportion_with_nothing_lost():
    assert divide(10, None) == {None: 10}
    assert divide(12, {"neutral": 40, "contradiction": 20}) == {"neutral": 8, "contradiction": 4}
    assert divide(5, {"a": 1, "b": 1, "c": 1}) == {"a": 2, "b": 2, "c": 1}
    assert divide(1, {"a": 99, "b": 1}) == {"a": 1}
    assert sum(divide(1001, {"a": 3, "b": 7, "c": 13}).values()) == 1001


def test_finer_labels_are_asked_for_in_the_proportions_of_steering_gold(tmp_path):
    fields = {**PAIR["fields"], "sublabel": "detail"}
    with scripted_teacher(obliging) as teacher:
        task = write_task(
            tmp_path,
            GOLD,
            **{**PAIR, "fields": fields, "labels": FINER},
            rows={"seed": 60, "per_call": 4},
            teacher={"base_url": teacher.url},
        )
        written = seed_set(task, tmp_path)
        asked = [facts(body) for body in teacher.bodies]
        prompts = [body["messages"][-1]["content"] for body in teacher.bodies]
    steer = read_gold(task).filter((pl.col("split") == "steer") & (pl.col("label") == "not_entailment"))
    share = steer.filter(pl.col("sublabel") == "neutral").height / steer.height
    assert 0.5 < share < 0.9
    rows = pl.DataFrame(written.accepted)
    finer = rows.filter(pl.col("label") == "not_entailment")["sublabel"]
    assert finer.len() == seed_wanted(task)["not_entailment"] == 30
    assert (finer == "neutral").sum() == round(30 * share)
    assert rows.filter(pl.col("label") == "entailment")["sublabel"].null_count() == 30
    # No label question: gold says it. And the wording asks for what the finer label means.
    assert all("count" in block for block in asked)
    for block, prompt in zip(asked, prompts, strict=True):
        assert ("It is left open." in prompt) >= (block.get("sublabel") == "neutral")
        if block.get("sublabel") == "contradiction":
            assert "It is ruled out." in prompt


def test_where_gold_has_no_finer_labels_the_teacher_is_asked_once_a_row(tmp_path):
    def mostly_neutral(body, number):
        asked = facts(body)
        if body["response_format"]["json_schema"]["name"] != "label":
            return obliging(body, number)
        assert "label" not in asked["example"], "the question is blind"
        place = int(asked["example"]["text2"].split()[-1])
        return 200, json.dumps({"label": "contradiction" if place % 10 == 1 else "neutral" if place % 4 else "maybe"})

    with scripted_teacher(mostly_neutral) as teacher:
        task = write_task(
            tmp_path,
            GOLD,
            **{**PAIR, "labels": FINER},
            teacher={"base_url": teacher.url, "attempts": 1},
        )
        steer = read_gold(task).filter((pl.col("split") == "steer") & (pl.col("label") == "not_entailment"))
        with session_for(task, tmp_path) as session:
            counted = count_sublabels(task, session, steer, written := Written())
            assert session.tally.requests == steer.height
    places = [int(text.split()[-1]) for text in steer["text2"]]
    expected = {"contradiction": sum(place % 10 == 1 for place in places)}
    assert counted["not_entailment"]["contradiction"] == expected["contradiction"] > 0
    assert counted["not_entailment"]["neutral"] + expected["contradiction"] + len(written.rejected) == len(places)
    assert "entailment" not in counted


def test_no_row_is_written_from_gold_whose_context_is_held_out(tmp_path):
    files = {"steer": "steer.csv", "select": "select.csv", "test": "test.csv"}
    for key, first in (("steer", 0), ("select", 40), ("test", 9)):
        lines = GOLD.splitlines()[1 + first : 11 + first]
        # Test gold has premise 9 with another hypothesis.
        text = "\n".join(lines).replace("hypothesis 9", "another hypothesis") if key == "test" else "\n".join(lines)
        (tmp_path / f"{key}.csv").write_text(f"{GOLD.splitlines()[0]}\n{text}\n")
    paths = {key: str(tmp_path / name) for key, name in files.items()}
    keys = {**PAIR, "gold": {"files": paths}}
    task = write_task(tmp_path, **keys)
    gold = read_gold(task)
    steer = gold.filter(pl.col("split") == "steer")
    assert set(steer["text"]) - set(writable(task, steer, gold)["text"]) == {"premise 9"}
    assert "premise 9" not in {context.text for context in read_contexts(task, gold)}
    free = write_task(tmp_path, **keys, pair={"keep_context": False})
    assert writable(free, steer, gold).equals(steer)


def test_fields_that_were_not_asked_for_are_left(tmp_path):
    """Endpoints that enforce no schema add some; a list where a table has text must not end the step."""

    def adds(body, number):
        content = json.loads(obliging(body, number)[1])
        extra = {"answer": ["b"], "answer_start": "x", "note": 3}
        return 200, json.dumps({"examples": [item | extra for item in content["examples"]]})

    with scripted_teacher(adds) as teacher:
        task = write_task(tmp_path, GOLD, **PAIR, teacher={"base_url": teacher.url})
        written = seed_set(task, tmp_path)
    assert len(written.accepted) == 24
    assert {(row["answer"], row["answer_start"]) for row in written.accepted} == {(None, None)}


def test_declaring_finer_labels_reads_gold_again(tmp_path):
    fields = {**PAIR["fields"], "sublabel": "detail"}
    warehouse = Warehouse(tmp_path / "warehouse")
    task = write_task(tmp_path, GOLD, **{**PAIR, "fields": fields})
    assert make_gold(task, warehouse).rows["sublabel"].drop_nulls().is_empty()
    finer = write_task(tmp_path, GOLD, **{**PAIR, "fields": fields, "labels": FINER})
    assert not make_gold(finer, warehouse).rows["sublabel"].drop_nulls().is_empty()


def test_an_error_keeps_its_finer_label(tmp_path):
    fields = {**PAIR["fields"], "sublabel": "detail"}
    with scripted_teacher(obliging) as teacher:
        task = write_task(
            tmp_path, GOLD, **{**PAIR, "fields": fields, "labels": FINER}, teacher={"base_url": teacher.url}
        )
        gold = read_gold(task)
        wrong = gold.filter(pl.col("sublabel") == "contradiction").head(2).with_columns(prediction=pl.lit("entailment"))
        with session_for(task, tmp_path) as session:
            write_extrapolated_set(task, session, wrong, 0, open_gates(task, gold), written := Written())
        assert all('of the kind "contradiction"' in body["messages"][-1]["content"] for body in teacher.bodies)
    assert {row["sublabel"] for row in written.accepted} == {"contradiction"}
    assert {row["text"] for row in written.accepted} == set(wrong["text"])
