"""Who is asked for labels, about which rows and how often; what is taken over from earlier steps and shared."""

import json

import polars as pl
import pytest

from s3_assets.generation.filling import Written
from s3_assets.generation.verdicts import verdict_numbers
from s3_assets.generation.verify import judging, verifier
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.teacher.session import teacher_session
from s3_assets_tests.fakes import facts, scripted_teacher, write_task
from s3_assets_tests.verifying import KEY, LABELS, POISON, Students, as_stored, gold_rows, row, said, synthetic, verify


def test_nobody_is_asked_unless_the_task_says_so(tmp_path):
    assert verifier(write_task(tmp_path), None, gold_rows(), None, Written()) is None
    with pytest.raises(ValueError, match=r"verify\.by teacher asks a teacher"):
        verifier(write_task(tmp_path, verify="teacher"), None, gold_rows(), None, Written())


def test_questions_are_blind_and_asked_first_of_all_rows_then_of_those_that_disagree(tmp_path):
    rows = [row("odd one", "positive"), row("positive two", "positive"), row("odd three", "positive")]
    _, _, bodies = verify(tmp_path, said(odd=["negative"]), rows, questions=3, gold=gold_rows(select=2))
    examples = [facts(body)["example"]["text"] for body in bodies]
    assert sorted(examples[:2]) == ["negative gold 1", "positive gold 0"]
    assert sorted(examples[2:5]) == ["odd one", "odd three", "positive two"]
    assert sorted(examples[5:7]) == sorted(examples[7:]) == ["odd one", "odd three"]
    for body in bodies:
        assert facts(body) == {"labels": list(LABELS), "example": {"text": facts(body)["example"]["text"]}}
        assert body["response_format"]["json_schema"]["name"] == "label"
        assert "The writer recommends the film." in body["messages"][-1]["content"]


def test_who_agrees_is_not_asked_again(tmp_path):
    rows = [row("odd one", "positive"), row("positive two", "positive")]
    [kept], written, _ = verify(tmp_path, said(odd=["negative", "positive"]), rows, questions=5)
    assert kept == [{**rows[0], "confidence": kept[0]["confidence"]}, {**rows[1], "confidence": kept[1]["confidence"]}]
    assert [verdict["votes"] for verdict in synthetic(written)] == [["negative", "positive"], ["positive"]]
    assert kept[0]["confidence"] < kept[1]["confidence"]


def test_test_gold_is_never_looked_at(tmp_path):
    gold = gold_rows(test=50)
    students = Students(gold)
    _, written, bodies = verify(
        tmp_path, said(), [row("positive one", "positive")], gold=gold, by="both", students=students
    )
    assert len(bodies) == 30
    assert POISON not in json.dumps(bodies)
    assert POISON not in json.dumps(written.verdicts)
    without = verify(tmp_path / "without", said(), [row("positive one", "positive")], gold=gold_rows(test=0))
    with_ = verify(tmp_path / "with", said(), [row("positive one", "positive")], gold=gold)
    assert without[0] == with_[0]
    assert without[1] == with_[1]


def test_gold_is_asked_once_and_its_verdicts_come_first(tmp_path):
    first, later = [row("positive one", "positive")], [row("negative two", "negative")]
    kept, written, bodies = verify(tmp_path, said(), first, [], later)
    assert [len(rows) for rows in kept] == [1, 0, 1]
    assert len(bodies) == 30 + 2
    assert [verdict["kind"] for verdict in written.verdicts] == ["gold"] * 30 + ["synthetic"] * 2
    assert as_stored(written.verdicts).height == 32
    assert verdict_numbers(written.verdicts) == {
        "rows_judged": 2,
        "label_questions": 2,
        "label_questions_about_gold": 30,
        "rows_doubted": 0,
        "rows_relabelled": 0,
        "label_questions_per_row": 1.0,
    }


def test_without_rows_nobody_is_asked(tmp_path):
    kept, written, bodies = verify(tmp_path, said(), [], [])
    assert (kept, written.verdicts, bodies) == ([[], []], [], [])
    assert "label_questions_per_row" not in verdict_numbers([])


def test_votes_on_gold_are_taken_over_from_an_earlier_step(tmp_path):
    script = said(gold_3=["positive"])
    rows = [row("positive one", "positive"), row("negative two", "positive")]
    first, written, _ = verify(tmp_path / "first", said(), rows)
    known = as_stored(written.verdicts)
    again, later, bodies = verify(tmp_path / "again", script, rows, known=known)
    assert again == first
    assert len(bodies) == 3
    assert {verdict["kind"] for verdict in later.verdicts} == {"synthetic"}
    assert synthetic(later) == synthetic(written)


@pytest.mark.parametrize(
    "change",
    [
        lambda gold, known: (gold, known.head(29)),
        lambda gold, known: (gold.filter(pl.col("gold_id") != "g_0"), known),
        lambda gold, known: (gold.with_columns(label=pl.lit("negative")), known),
        lambda gold, known: (gold, known.with_columns(requests=pl.lit([], pl.List(pl.String)))),
        lambda gold, known: (gold, known.with_columns(votes=pl.lit([], pl.List(pl.String)))),
    ],
    ids=["one missing", "one too many", "relabelled", "nobody was asked", "asked too seldom"],
)
def test_votes_on_other_gold_are_not_taken_over(tmp_path, change):
    _, written, _ = verify(tmp_path / "first", said(), [row("positive one", "positive")])
    gold, known = change(gold_rows(), as_stored(written.verdicts))
    _, _, bodies = verify(tmp_path / "again", said(), [row("positive one", "positive")], gold=gold, known=known)
    assert len(bodies) > gold.filter(pl.col("split") == "select").height


def test_questions_are_shared_by_seeds_and_arms(tmp_path):
    with scripted_teacher(said(odd=["negative"])) as teacher:
        for seed in (0, 1):
            task = write_task(tmp_path, teacher={"base_url": teacher.url}, verify="teacher", seed=seed)
            key = RoundKey("small", f"arm {seed}", seed, 0)
            with teacher_session(task, Warehouse(tmp_path / "warehouse"), key, "seed_set") as session:
                verifier(task, session, gold_rows(), None, Written())([row("odd one", "positive")])
        assert len(teacher.bodies) == 30 + 2


def test_pairs_are_asked_with_both_texts(tmp_path):
    pair = {"kind": "pair", "fields": {"text": "premise", "text2": "hypothesis", "label": "verdict"}}
    with scripted_teacher(said()) as teacher:
        task = write_task(tmp_path, teacher={"base_url": teacher.url}, verify="teacher", **pair)
        gold = gold_rows().with_columns(text2=pl.lit("hypothesis"))
        with teacher_session(task, Warehouse(tmp_path / "warehouse"), KEY, "seed_set") as session:
            do = verifier(task, session, gold, None, Written())
            do([row("positive one", "positive", text2="it is good")])
        assert facts(teacher.bodies[-1])["example"] == {"text": "positive one", "text2": "it is good"}


def test_the_step_s_own_teacher_judges_or_another_or_nobody(tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")
    with scripted_teacher(said()) as writes, scripted_teacher(said()) as judges:
        own = {"teacher": {"base_url": writes.url}}
        other = {"backend": "openai", "base_url": judges.url, "model": "another"}
        for verify_, url in (("teacher", writes), ({"by": "teacher", "teacher": other}, judges), ("students", None)):
            before = len(writes.bodies), len(judges.bodies)
            task = write_task(tmp_path, verify=verify_, **own)
            with (
                teacher_session(task, warehouse, KEY, "seed_set") as session,
                judging(task, warehouse, KEY, "seed_set", None, session) as judge,
            ):
                assert (judge is session) == (url is writes)
                assert (judge is None) == (url is None)
                if judge is not None:
                    verifier(task, judge, gold_rows(), None, Written())([row("positive one", "positive")])
            asked = len(writes.bodies) - before[0], len(judges.bodies) - before[1]
            assert asked == ((31, 0) if url is writes else (0, 31) if url is judges else (0, 0))
        assert {body["model"] for body in judges.bodies} == {"another"}
