"""Gates on what a row is made of: its fields, its words, its length, its answer."""

import polars as pl
import pytest

from s3_assets.quality.candidate import Candidate
from s3_assets.quality.gates import open_gates
from s3_assets.quality.texts import AnswerGiven
from s3_assets.tasks.gold import read_gold
from s3_assets_tests.fakes import write_task
from s3_assets_tests.gated_rows import drawn, gate_of


@pytest.fixture
def task(tmp_path):
    return write_task(tmp_path)


@pytest.fixture
def gold(task):
    return read_gold(task)


def test_items_that_are_no_rows_and_texts_without_words(task, gold):
    gates = open_gates(task, gold)
    for item in ({"body": "x"}, "x", {"text": 3}, None):
        assert gate_of(gates.judge(item, "positive")) == "fields"
    assert gate_of(gates.judge({"text": "  "}, "positive")) == "empty"
    assert gate_of(gates.judge({"text": " ... "}, "positive")) == "empty"


def test_lengths_far_from_gold(task, gold):
    gates = open_gates(task, gold)
    longest = max(len(text.split()) for text in gold.filter(pl.col("split") == "steer")["text"])
    many = [f"word{n}" for n in range(4 * longest)]
    assert gate_of(gates.judge({"text": " ".join(many)}, "positive")) == "length"
    assert gate_of(gates.judge({"text": " ".join(many[: 2 * longest])}, "positive")) is None
    loose = open_gates(write_task(task.folder.parent, gates={"length": None}), gold)
    assert gate_of(loose.judge({"text": " ".join(many)}, "positive")) is None


def test_answers_in_questions_without_spaces(tmp_path):
    given = {"text": "北京是中国的首都", "text2": "北京在哪里"}
    row = Candidate(given, ("text2",), answer="北京")
    assert AnswerGiven().refuse(row) is not None
    assert AnswerGiven().refuse(Candidate(given, ("text2",), answer="首都")) is None


def test_questions_and_their_answers(tmp_path):
    rows = [f"The keeper wrote {drawn(n, 16)} again,where is the {drawn(n + 100, 3)}?,again" for n in range(80)]
    task = write_task(
        tmp_path,
        "context,question,reply\n" + "\n".join(rows) + "\n",
        kind="qa",
        gates={},
        labels=None,
        fields={"text": "context", "text2": "question", "answer": "reply"},
    )
    gold = read_gold(task)
    context = gold.filter(pl.col("split") == "steer")["text"][0]
    item = {"text": context, "text2": "Who wrote down the ships and boats?", "answer": "The keeper", "answer_start": 0}
    gates = open_gates(task, gold)
    assert gate_of(gates.judge({**item, "answer_start": None}, "answer")) == "answer_not_in_context"
    assert gate_of(gates.judge({**item, "text2": "Was it the keeper who wrote?"}, "answer")) == "answer_in_question"
    assert gate_of(gates.judge(item, "answer")) is None
    assert gate_of(gates.judge(item, "answer")) == "duplicate"
