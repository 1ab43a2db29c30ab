"""One question for each group of errors, how its answer is read, and what becomes of faulty ones."""

import json

import polars as pl
import pytest

from s3_assets.generation.answers import LONGEST_DIAGNOSIS, read_answer
from s3_assets.generation.diagnosis import MOST_ERRORS_SHOWN, diagnosed, diagnosis_requests
from s3_assets.generation.filling import Written
from s3_assets.selection.choice import Choice, Source
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.tasks.gold import read_gold
from s3_assets.teacher.answer import Received, UnusableAnswer
from s3_assets.teacher.session import teacher_session
from s3_assets_tests.fakes import facts, scripted_teacher, write_task

SHOWS = {"tried": {"base": "s3", "shows": ["diagnosis"]}}


def task_of(folder, teacher=None, **keys):
    at = {} if teacher is None else {"teacher": {"base_url": teacher.url, "attempts": 2}}
    return write_task(folder, strategies=SHOWS, strategy="tried", **{**at, **keys})


def choice_of(task, clusters=(0, 0, 1), rows=(2, 1, 1)):
    """Errors in clusters, with rows asked of each; and the sources."""
    steer = read_gold(task).filter(pl.col("split") == "steer")
    labels = {"positive": "negative", "negative": "positive"}
    sources = steer.with_columns(
        pl.col("label").replace_strict(labels).alias("prediction"), pl.lit(0.9).alias("probability")
    )
    found = zip(steer.iter_rows(named=True), clusters, rows, strict=False)
    errors = [Source(row["gold_id"], row["label"], "error", None, one, 1.0, count) for row, one, count in found]
    return Choice(tuple(errors)), sources


def ask(task, tmp_path, choice, sources, round_=0):
    key = RoundKey("small", "tried", 0, round_)
    with teacher_session(task, Warehouse(tmp_path / "warehouse"), key, "extrapolated_set") as session:
        written = Written()
        return diagnosed(task, session, choice, sources, round_, written), written, session.tally


def test_each_cluster_that_rows_are_asked_of_gets_one_question(tmp_path):
    task = task_of(tmp_path)
    choice, sources = choice_of(task, (0, 0, 1, 2), (2, 1, 1, 0))
    requests = diagnosis_requests(task, choice, sources, 0)
    assert list(requests) == [0, 1]
    block = facts({"messages": requests[0].messages})
    assert set(block) == {"labels", "errors"}
    rows = {row["text"]: row for row in sources.iter_rows(named=True)}
    assert len(block["errors"]) == 2
    for shown in block["errors"]:
        row = rows[shown["text"]]
        assert shown == {"text": row["text"], "label": row["label"], "predicted": row["prediction"]}
    assert requests[0].rows_requested == 0
    assert requests[0].kind == "diagnosis"
    assert requests[0].schema["required"] == ["diagnosis"]
    later = diagnosis_requests(task, choice, sources, 1)
    assert later[0].sample != requests[0].sample


def test_no_more_errors_are_shown_than_a_reader_can_hold(tmp_path):
    task = task_of(tmp_path)
    choice, sources = choice_of(task, [0] * 9, range(9))
    (request,) = diagnosis_requests(task, choice, sources, 0).values()
    shown = [one["text"] for one in facts({"messages": request.messages})["errors"]]
    texts = dict(sources.select("gold_id", "text").iter_rows())
    # Those that most rows are asked of.
    assert shown == [texts[one.gold_id] for one in choice.sources[::-1]][:MOST_ERRORS_SHOWN]


def test_the_answer_is_shown_with_the_errors_of_its_cluster(tmp_path):
    def script(body, _):
        return 200, json.dumps({"diagnosis": f"Of {len(facts(body)['errors'])}:\n misread."})

    with scripted_teacher(script) as teacher:
        task = task_of(tmp_path, teacher)
        choice, sources = choice_of(task, (0, 0, 0, 1), (2, 1, 0, 1))
        found, written, tally = ask(task, tmp_path, choice, sources)
        assert len(teacher.bodies) == tally.requests == 2
    assert [one.diagnosis for one in found.sources] == ["Of 3: misread.", "Of 3: misread.", None, "Of 1: misread."]
    assert written.rejected == []
    assert [one.rows_requested for one in found.sources] == [2, 1, 0, 1]


@pytest.mark.parametrize("answer", ['{"diagnosis": ""}', '{"other": 1}', "no idea", '{"diagnosis": "They were re'])
def test_a_faulty_answer_is_no_diagnosis(tmp_path, answer):
    with scripted_teacher(lambda body, _: (200, answer)) as teacher:
        task = task_of(tmp_path, teacher)
        found, written, _ = ask(task, tmp_path, *choice_of(task))
    assert {one.diagnosis for one in found.sources} == {None}
    assert {row["stage"] for row in written.rejected} == {"response"}
    assert len(written.rejected) >= 2


def test_strategies_that_show_none_ask_nothing(tmp_path):
    with scripted_teacher(lambda body, _: (500, "not asked")) as teacher:
        task = write_task(tmp_path, strategy="s3_shown", teacher={"base_url": teacher.url})
        choice, sources = choice_of(task)
        assert ask(task, tmp_path, choice, sources)[0] is choice
        assert teacher.bodies == []


def test_the_embedded_teacher_is_not_asked(tmp_path, caplog):
    task = task_of(tmp_path)
    choice, sources = choice_of(task)
    assert ask(task, tmp_path, choice, sources)[0] is choice
    assert "the embedded teacher cannot answer it" in caplog.text


def test_a_long_answer_is_one_line_and_cut(tmp_path):
    task = task_of(tmp_path)
    request = next(iter(diagnosis_requests(task, *choice_of(task), 0).values()))
    said = read_answer(request, Received(json.dumps({"diagnosis": "a b\n" * 200}), False, False)).content
    assert len(said) == LONGEST_DIAGNOSIS
    assert said.startswith("a b a b")
    with pytest.raises(UnusableAnswer):
        read_answer(request, Received(json.dumps({"diagnosis": "whole"}), False, True))
