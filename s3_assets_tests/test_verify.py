"""Labels verified: who is asked what, confidence and threshold, what becomes of a doubted row, what it costs."""

import json
import logging
from collections import Counter

import polars as pl
import pytest

from s3_assets.generation.confidence import (
    MOST_CHOSEN,
    RIGHT_BEFOREHAND,
    accuracy,
    after_students,
    choose_threshold,
    posterior,
)
from s3_assets.generation.filling import Written
from s3_assets.generation.verdicts import in_words, verdict_numbers
from s3_assets.generation.verify import judging, verifier
from s3_assets.quality.ensemble import Opinion
from s3_assets.store.identity import example_id
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.store.tables import table
from s3_assets.tasks.gold import read_gold
from s3_assets.teacher.session import teacher_session
from s3_assets_tests.fakes import facts, scripted_teacher, write_task

KEY = RoundKey("small", "s3_shown", 0, 0)
LABELS = ("positive", "negative")
POISON = "poison"


def gold_rows(select=30, steer=4, test=4):
    """Gold whose text names its label; test gold must not be looked at."""
    splits = ["select"] * select + ["steer"] * steer + ["test"] * test
    rows = [
        {
            "gold_id": f"g_{n}",
            "split": split,
            "text": POISON if split == "test" else f"{LABELS[n % 2]} gold {n}",
            "text2": None,
            "label": POISON if split == "test" else LABELS[n % 2],
        }
        for n, split in enumerate(splits)
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(("gold_id", "split", "text", "text2", "label"), pl.String))


def row(text, label, **more):
    """A row as it passed the gates, written from gold row g_0."""
    return {
        "example_id": example_id(text, None, label),
        "text": text,
        "text2": None,
        "label": label,
        "sublabel": None,
        "answer": None,
        "answer_start": None,
        "gold_id": "g_0",
        "request_id": "r_0",
        "item": 0,
        "repairs": None,
        "confidence": None,
        **more,
    }


def said(**answers):
    """A script that gives a text's first word as its label; ``answers`` are its votes on texts that hold a word."""
    asked = Counter()

    def script(body, number):
        text = facts(body)["example"]["text"]
        votes = next((votes for word, votes in answers.items() if word in text), [text.split()[0]])
        vote = votes[min(asked[text], len(votes) - 1)]
        asked[text] += 1
        return 200, "no JSON" if vote is None else json.dumps({"label": vote})

    return script


class Students:
    """Give what ``of`` says of a text, else that the row is right; keeps what it was asked."""

    def __init__(self, gold, of=()):
        self._gold, self._of, self.asked = gold.filter(pl.col("split") == "select"), dict(of), []

    def __call__(self, earlier, rows):
        self.asked.append(([one["text"] for one in earlier], [one["text"] for one in rows]))
        return [self._opinion(one) for one in rows], [self._opinion(one) for one in self._gold.to_dicts()]

    def _opinion(self, one):
        return self._of.get(one["text"], Opinion(0.9, one["label"], 0.9))


def verify(tmp_path, script, *calls, gold=None, students=None, known=None, attempts=1, **spec):
    """Rows kept by call, what was written, and the label questions the teacher got."""
    gold = gold_rows() if gold is None else gold
    with scripted_teacher(script) as teacher:
        wanted = {"by": "teacher", **spec}
        task = write_task(tmp_path, teacher={"base_url": teacher.url, "attempts": attempts}, verify=wanted)
        with teacher_session(task, Warehouse(tmp_path / "warehouse"), KEY, "seed_set") as session:
            judge = None if wanted["by"] == "students" else session
            do = verifier(task, judge, gold, None, written := Written(), known, students)
            kept = [do(rows) for rows in calls]
    return kept, written, teacher.bodies


def as_stored(verdicts):
    columns = {name: dtype for name, dtype in table("verdicts").schema.items() if name in verdicts[0]}
    return pl.DataFrame(verdicts, schema=columns)


def synthetic(written):
    return [verdict for verdict in written.verdicts if verdict["kind"] == "synthetic"]


def test_nobody_is_asked_unless_the_task_says_so(tmp_path):
    assert verifier(write_task(tmp_path), None, gold_rows(), None, Written()) is None
    with pytest.raises(ValueError, match=r"verify\.by teacher asks a teacher"):
        verifier(write_task(tmp_path, verify="teacher"), None, gold_rows(), None, Written())


def test_a_row_that_is_called_otherwise_twice_is_dropped_with_its_reason(tmp_path):
    rows = [row("positive one", "positive"), row("negative two", "positive"), row("negative three", "negative")]
    [kept], written, _ = verify(tmp_path, said(), rows)
    assert [one["text"] for one in kept] == ["positive one", "negative three"]
    assert all(one["confidence"] > 0.98 for one in kept)
    [refused] = written.rejected
    assert (refused["gate"], refused["stage"], refused["row_id"]) == ("label_doubted", "row", rows[1]["example_id"])
    assert refused["reason"].startswith("asked blind, the teacher said negative twice; confidence 0.")
    assert refused["value"] < 0.2
    verdicts = synthetic(written)
    assert [verdict["outcome"] for verdict in verdicts] == ["kept", "dropped", "kept"]
    assert [verdict["row_id"] for verdict in verdicts] == [one["example_id"] for one in rows]
    assert verdicts[1]["votes"] == ["negative", "negative"]
    assert len(set(verdicts[1]["requests"])) == 2
    assert verdicts[1]["confidence"] == refused["value"] < verdicts[1]["threshold"]


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


def test_the_ensemble_gets_no_test_gold(tmp_path, monkeypatch):
    from s3_assets.quality import ensemble

    given = []
    monkeypatch.setattr(ensemble, "students_of", lambda task, gold, seen: given.append(gold) or Students(gold))
    verify(tmp_path, said(), [row("positive one", "positive")], by="students")
    assert given[0]["split"].unique().sort().to_list() == ["select", "steer"]


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


def test_a_relabelled_row_is_the_row_of_its_new_label(tmp_path):
    rows = [row("negative one", "positive", sublabel="warm"), row("odd two", "positive", sublabel="warm")]
    script = said(odd=["negative", "positive"])
    [kept], written, _ = verify(tmp_path, script, rows, doubted="relabel")
    assert (kept[0]["label"], kept[0]["sublabel"]) == ("negative", None)
    assert kept[0]["example_id"] == example_id("negative one", None, "negative")
    assert kept[0]["confidence"] > 0.8
    assert (kept[1]["label"], kept[1]["sublabel"], kept[1]["example_id"]) == ("positive", "warm", rows[1]["example_id"])
    verdict = synthetic(written)[0]
    assert (verdict["outcome"], verdict["label"], verdict["new_label"]) == ("relabelled", "positive", "negative")
    # That of the label it was written for: why it was doubted.
    assert verdict["confidence"] == pytest.approx(1 - kept[0]["confidence"])
    assert verdict["row_id"] == rows[0]["example_id"]
    assert written.rejected == []
    assert verdict_numbers(written.verdicts)["rows_relabelled"] == 1


def test_a_label_nobody_is_sure_of_is_no_new_label(tmp_path):
    """Votes that differ from one another say that the label is wrong, not which one is right."""
    labels = {"positive": "Good.", "negative": "Bad.", "mixed": "Both."}
    with scripted_teacher(said(odd=["negative", "mixed"])) as teacher:
        verifies = {"by": "teacher", "doubted": "relabel"}
        task = write_task(tmp_path, teacher={"base_url": teacher.url}, labels=labels, verify=verifies)
        with teacher_session(task, Warehouse(tmp_path / "warehouse"), KEY, "seed_set") as session:
            do = verifier(task, session, gold_rows(), None, written := Written())
            kept = do([row("odd one", "positive"), row("negative two", "positive")])
    assert [one["label"] for one in kept] == ["negative"]
    assert [refused["text"] for refused in written.rejected] == ["odd one"]
    assert "the teacher said negative, then mixed" in written.rejected[0]["reason"]


def test_a_row_nobody_could_judge_is_kept_and_says_so(tmp_path):
    rows = [row("odd one", "positive"), row("positive two", "positive")]
    [kept], written, _ = verify(tmp_path, said(odd=[None]), rows)
    assert [one["confidence"] is None for one in kept] == [True, False]
    verdict = synthetic(written)[0]
    assert (verdict["votes"], verdict["confidence"], verdict["outcome"]) == ([], None, "kept")
    assert len(verdict["requests"]) == 2
    assert [(refused["stage"], refused["label"]) for refused in written.rejected] == [("response", "positive")] * 2


def test_an_unusable_answer_is_no_vote_and_another_is_asked_for(tmp_path):
    [kept], written, _ = verify(tmp_path, said(odd=[None, "positive"]), [row("odd one", "positive")])
    assert synthetic(written)[0]["votes"] == ["positive"]
    assert kept[0]["confidence"] > 0.98
    assert [refused["stage"] for refused in written.rejected] == ["response"]


def test_the_task_s_own_threshold_decides(tmp_path):
    rows = [row("odd one", "positive"), row("positive two", "positive")]
    script = {"odd": ["negative", "positive"]}
    assert len(verify(tmp_path / "chosen", said(**script), rows)[0][0]) == 2
    [kept], written, _ = verify(tmp_path / "own", said(**script), rows, threshold=0.95)
    assert [one["text"] for one in kept] == ["positive two"]
    assert written.rejected[0]["reason"] == (
        "asked blind, the teacher said negative, then positive; confidence 0.90 is below 0.95"
    )
    assert {verdict["threshold"] for verdict in written.verdicts} == {0.95}
    assert len(verify(tmp_path / "none", said(odd=["negative"]), rows, threshold=0.0)[0][0]) == 2


def test_a_judge_no_better_than_guessing_drops_nothing(tmp_path, caplog):
    # Longest first: a text of gold 13 holds gold 1 too.
    wrong = {f"gold {n}": [LABELS[1 - n % 2]] for n in reversed(range(30))}
    with caplog.at_level(logging.WARNING):
        [kept], _, _ = verify(tmp_path, said(**wrong), [row("negative one", "positive")])
    assert len(kept) == 1
    assert kept[0]["confidence"] == pytest.approx(RIGHT_BEFOREHAND)
    assert "no better than by guessing" in caplog.text


def test_gold_the_judge_errs_on_for_good_keeps_rows_of_its_kind(tmp_path):
    """At keep_right 0.95 one of 30 rows may be lost and two may not."""
    doubtful = [row("negative one", "positive")]
    one = verify(tmp_path / "one", said(**{"gold 3": ["positive"]}), doubtful)
    assert one[0] == [[]]
    assert [v["outcome"] for v in one[1].verdicts if v["row_id"] == "g_3"] == ["dropped"]
    two = verify(tmp_path / "two", said(**{"gold 3": ["positive"], "gold 15": ["positive"]}), doubtful)
    assert len(two[0][0]) == 1
    assert {v["outcome"] for v in two[1].verdicts} == {"kept"}


def test_without_gold_nothing_is_doubted(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        [kept], _, _ = verify(tmp_path, said(), [row("negative one", "positive")], gold=gold_rows(select=0, steer=0))
    assert len(kept) == 1
    assert "no gold to calibrate on" in caplog.text


def test_where_no_row_selects_steering_gold_calibrates(tmp_path, caplog):
    gold = gold_rows(select=0, steer=30)
    rows = [row("positive one", "positive"), row("negative two", "positive")]
    with caplog.at_level(logging.WARNING):
        [kept], written, bodies = verify(tmp_path, said(), rows, gold=gold)
    assert [one["text"] for one in kept] == ["positive one"]
    assert caplog.text == ""
    steer = gold.filter(pl.col("split") == "steer")
    of_gold = [verdict for verdict in written.verdicts if verdict["kind"] == "gold"]
    assert [verdict["row_id"] for verdict in of_gold] == steer["gold_id"].to_list()
    assert {len(verdict["requests"]) for verdict in of_gold} == {1}
    assert verdict_numbers(written.verdicts)["label_questions_about_gold"] == 30
    # Blind, and never of test gold.
    assert not [body for body in bodies if POISON in str(body) or "label" in facts(body)["example"]]
    # As without steering gold that calibrates: the same threshold as of as many selecting rows.
    _, alike, _ = verify(tmp_path, said(), rows, gold=gold_rows(select=30, steer=0))
    assert synthetic(alike) == synthetic(written)
    # A later step takes its votes over.
    _, later, bodies = verify(tmp_path, said(), [row("positive x", "positive")], gold=gold, known=as_stored(of_gold))
    assert len(bodies) == 1
    assert [verdict["kind"] for verdict in later.verdicts] == ["synthetic"]
    # Where rows select, they alone calibrate.
    _, usual, _ = verify(tmp_path, said(), rows, gold=gold_rows(select=6, steer=30))
    assert sum(verdict["kind"] == "gold" for verdict in usual.verdicts) == 6


def test_a_fixed_threshold_holds_where_no_row_selects(tmp_path):
    rows = [row("positive one", "positive"), row("negative two", "positive")]
    [kept], written, _ = verify(tmp_path, said(), rows, gold=gold_rows(select=0, steer=30), threshold=0.0)
    assert len(kept) == 2
    assert {verdict["threshold"] for verdict in synthetic(written)} == {0.0}


@pytest.mark.parametrize("by", ["students", "both"])
def test_students_are_calibrated_on_what_others_say_of_steering_gold(tmp_path, monkeypatch, by):
    """Texts of which the vector tells the label; steering gold is right, but for one row."""
    numpy = pytest.importorskip("numpy")

    def embed(texts, *_):
        return numpy.array([[1.0, 0.0] if "positive" in text else [0.0, 1.0] for text in texts], numpy.float32)

    monkeypatch.setattr("s3_assets.quality.ensemble.embed", embed)
    gold = gold_rows(select=0, steer=60)
    own = [row(f"{label} row {place}", label) for place, label in enumerate(LABELS * 10)]
    wrong = row("negative but", "positive")
    [kept], written, bodies = verify(tmp_path, said(), [*own, wrong], gold=gold, by=by)
    assert wrong["text"] not in {one["text"] for one in kept}
    assert len(kept) == len(own)
    of_gold = [verdict for verdict in written.verdicts if verdict["kind"] == "gold"]
    assert len(of_gold) == 60
    assert min(verdict["students_probability"] for verdict in of_gold) > 0.6
    # Each by members that were not shown it: one that is labelled against its text is not learned by heart.
    [spoilt] = gold.filter(pl.col("gold_id") == "g_0").with_columns(pl.lit("negative").alias("label")).to_dicts()
    odd = gold.with_columns(
        pl.when(pl.col("gold_id") == "g_0").then(pl.lit("negative")).otherwise("label").alias("label")
    )
    _, written, _ = verify(tmp_path, said(), own, gold=odd, by=by)
    [first] = [verdict for verdict in written.verdicts if verdict["row_id"] == spoilt["gold_id"]]
    assert first["students_probability"] < 0.4
    assert (by == "both") == bool(bodies)


def test_students_alone_drop_and_relabel_without_a_question(tmp_path):
    gold = gold_rows()
    doubts = {"one": Opinion(0.01, "negative", 0.99), "two": Opinion(0.3, "negative", 0.7), "three": None}
    rows = [row(text, "positive") for text in doubts]
    [kept], written, bodies = verify(tmp_path, said(), rows, by="students", students=Students(gold, doubts))
    assert bodies == []
    assert [(one["text"], one["confidence"]) for one in kept] == [
        ("two", pytest.approx(0.794, abs=1e-3)),
        ("three", None),
    ]
    [refused] = written.rejected
    assert refused["reason"] == "students give negative 0.99 and positive 0.01; confidence 0.08 is below 0.49"
    first = synthetic(written)[0]
    assert (first["students_label"], first["students_probability"]) == ("negative", 0.01)
    assert (first["votes"], first["requests"], first["outcome"]) == ([], [], "dropped")
    assert len(as_stored(written.verdicts).filter(kind="gold")) == 30
    again = verify(tmp_path / "again", said(), rows, by="students", students=Students(gold, doubts), doubted="relabel")
    assert [one["label"] for one in again[0][0]] == ["negative", "positive", "positive"]
    own = verify(tmp_path / "own", said(), rows, by="students", students=Students(gold, doubts), threshold=0.8)
    assert [one["text"] for one in own[0][0]] == ["three"]


def test_students_are_trained_on_the_rows_of_earlier_calls_that_were_kept(tmp_path):
    gold = gold_rows()
    students = Students(gold, {"one": Opinion(0.01, "negative", 0.99)})
    calls = [row("one", "positive"), row("two", "positive")], [row("three", "positive")]
    verify(tmp_path, said(), *calls, by="students", students=students)
    assert students.asked == [([], ["one", "two"]), (["two"], ["three"])]


def test_both_ask_the_teacher_about_rows_the_students_doubt(tmp_path):
    gold = gold_rows()
    unsure = {f"{LABELS[n % 2]} gold {n}": Opinion(0.4 + n / 100, LABELS[n % 2], 0.6) for n in range(30)}
    opinions = {"negative one": Opinion(0.2, "negative", 0.8), "positive two": Opinion(0.2, "negative", 0.8)}
    opinions |= {"negative three": Opinion(0.95, "positive", 0.95), "positive four": None}
    rows = [row(text, "positive") for text in opinions]
    students = Students(gold, unsure | opinions)
    [kept], written, bodies = verify(tmp_path, said(), rows, by="both", students=students)
    asked = {facts(body)["example"]["text"] for body in bodies} - set(gold["text"])
    assert asked == {"negative one", "positive two", "positive four"}
    assert [one["text"] for one in kept] == ["positive two", "negative three", "positive four"]
    verdicts = synthetic(written)
    assert [len(verdict["votes"]) for verdict in verdicts] == [2, 1, 0, 1]
    assert verdicts[2]["confidence"] == pytest.approx(after_students(0.95, 0.95, 2)[0])
    assert "asked blind" in written.rejected[0]["reason"]
    # The teacher is known by all of selecting gold, and asked about a fifth of it as it would be about rows.
    of_gold = [verdict for verdict in written.verdicts if verdict["kind"] == "gold"]
    assert all(verdict["votes"] for verdict in of_gold)
    assert len({verdict["threshold"] for verdict in of_gold}) == 2
    by_teacher = Counter(verdict["threshold"] for verdict in of_gold)[verdicts[0]["threshold"]]
    assert by_teacher == 30 // 5 - 1
    again = verify(tmp_path / "again", said(), rows, by="both", students=students, known=as_stored(written.verdicts))
    assert len(again[2]) == 4
    # Questions about gold are counted where they were asked.
    of_gold = [{**verdict, "requests": []} for verdict in written.verdicts if verdict["kind"] == "gold"]
    assert again[1].verdicts == [*of_gold, *(one for one in written.verdicts if one["kind"] != "gold")]


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


def test_accuracy_is_that_of_first_votes_smoothed():
    labels = ["a", "a", "b", "b"]
    assert accuracy(labels, [["a"], ["b", "a"], ["b"], []], 2) == pytest.approx((2 + 1) / (3 + 2))
    assert accuracy([], [], 2) == 0.5
    # Worse than by guessing: its votes say nothing, not the opposite.
    assert accuracy(labels * 5, [["c"]] * 20, 3) == pytest.approx(1 / 3)


def test_votes_move_confidence_as_far_as_the_judge_is_right():
    def own(votes, right=0.9, labels=LABELS):
        return posterior("positive", votes, labels, right)["positive"]

    assert own([]) == pytest.approx(RIGHT_BEFOREHAND)
    # By Bayes: 0.9 x 0.9 against 0.1 x 0.1.
    assert own(["positive"]) == pytest.approx(0.81 / 0.82)
    assert own(["negative"]) == pytest.approx(0.5)
    assert own(["negative"], right=0.5) == pytest.approx(RIGHT_BEFOREHAND)
    # A second vote for the same says something, but less than the first; one against it takes it back.
    assert own(["negative", "negative"]) == pytest.approx(0.55 / (0.55 + 0.95))
    assert own(["negative", "negative"]) < own(["negative"])
    assert own(["negative", "positive"]) == pytest.approx(RIGHT_BEFOREHAND)
    # Where errors are spread over many labels, a vote for another says more.
    many = (*LABELS, *"bcdefghi")
    assert own(["negative"], labels=many) < own(["negative"])
    same, different = (
        posterior("positive", votes, many, 0.9) for votes in (["negative", "negative"], ["negative", "b"])
    )
    assert [sum(same.values()), sum(different.values())] == pytest.approx([1, 1])
    assert different["negative"] == different["b"] < MOST_CHOSEN < same["negative"]


def test_students_do_not_know_what_a_row_was_written_for():
    assert after_students(0.5, 0.5, 2) == pytest.approx((0.9, 0.1))
    assert after_students(0.1, 0.9, 2) == pytest.approx((0.5, 0.5))
    assert after_students(0.02, 0.9, 10)[0] > after_students(0.02, 0.98, 2)[0]


@pytest.mark.parametrize(
    ("confidences", "keep", "threshold"),
    [
        ([], 0.95, 0.0),
        ([0.3], 0.95, 0.15),
        ([0.2] + [0.3] * 27, 0.95, 0.1),
        ([0.2] + [0.3] * 28, 0.95, 0.25),
        ([0.2, 0.2] + [0.3] * 28, 0.95, 0.1),
        ([0.2, 0.2] + [0.3] * 28, 0.9, 0.25),
        ([0.1, 0.2] + [0.3] * 28, 0.95, 0.15),
        ([0.9] * 30, 0.95, 0.45),
        ([0.8, *[0.9] * 29], 0.95, MOST_CHOSEN),
        ([0.2, 0.4], 1e-12, 0.3),
    ],
    ids=["none", "one", "28", "29", "tied", "tied, both lost", "not tied", "all alike", "sure", "keep nothing"],
)
def test_the_threshold_keeps_the_share_asked_for(confidences, keep, threshold):
    assert choose_threshold(confidences, keep) == pytest.approx(threshold)
    kept = sum(confidence >= choose_threshold(confidences, keep) for confidence in confidences)
    assert kept >= keep * len(confidences)


def test_votes_in_words():
    assert in_words(["a"]) == "a"
    assert in_words(["a", "a"]) == "a twice"
    assert in_words(["a", "a", "a"]) == "a 3 times"
    assert in_words(["a", "a", "b"]) == "a, then a, then b"


@pytest.mark.packs
@pytest.mark.parametrize("pack", ["sentiment_mr", "nli_sick"])
def test_real_text_loses_most_wrong_labels_and_few_right_ones(tmp_path, monkeypatch, pack):
    from s3_assets.generation.extrapolate import write_extrapolated_set
    from s3_assets.quality.gates import open_gates
    from s3_assets_tests.simulated_teacher import KEY_VARIABLE, packs_folder, simulated_teacher, write_pack_task

    monkeypatch.setenv(KEY_VARIABLE, "a key")
    folder = packs_folder()
    pool = pl.read_parquet(folder / pack / "pool.parquet")
    texts = [name for name in ("text", "text2") if name in pool.columns]
    known = {tuple(text.strip() for text in found): label for *found, label in pool.select(*texts, "label").iter_rows()}
    with simulated_teacher(folder, pack) as teacher:
        # Seed 1: of the movie reviews of seed 0 only four are labelled wrong, too few to tell a half.
        asked = {"rows": {"per_round": 480}, "verify": "teacher", "seed": 1}
        task = write_pack_task(tmp_path / "tasks", folder / pack, "small", teacher.url, **asked)
        gold = read_gold(task)
        steer = gold.filter(pl.col("split") == "steer").with_columns(prediction=pl.col("label"))
        with teacher_session(task, Warehouse(tmp_path / "warehouse"), KEY, "extrapolated_set") as session:
            write_extrapolated_set(task, session, steer, 0, open_gates(task, gold), accepted := Written())
            rows = accepted.accepted
            kept = verifier(task, session, gold, None, written := Written())([*rows])
    # The simulated teacher wraps some texts in quotes.
    truth = {one["example_id"]: known.get(tuple(one[name].strip(' "') for name in texts)) for one in rows}

    def right(rows):
        judged = [truth[one["example_id"]] == one["label"] for one in rows if truth[one["example_id"]] is not None]
        return sum(judged), len(judged) - sum(judged)

    before, after = right(rows), right(kept)
    assert sum(before) >= 250
    assert before[1] >= 8
    assert after[1] <= 0.5 * before[1]
    assert after[0] >= 0.95 * before[0]
    assert verdict_numbers(written.verdicts)["label_questions_per_row"] <= 1.25
