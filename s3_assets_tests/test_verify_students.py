"""Labels verified by small students, alone and before the teacher: what they learn from, whom they have asked."""

from collections import Counter

import polars as pl
import pytest

from s3_assets.generation.confidence import after_students
from s3_assets.quality.ensemble import Opinion
from s3_assets_tests.fakes import facts
from s3_assets_tests.verifying import LABELS, Students, as_stored, gold_rows, row, said, synthetic, verify


def test_the_ensemble_gets_no_test_gold(tmp_path, monkeypatch):
    from s3_assets.quality import ensemble

    given = []
    monkeypatch.setattr(ensemble, "students_of", lambda task, gold, seen: given.append(gold) or Students(gold))
    verify(tmp_path, said(), [row("positive one", "positive")], by="students")
    assert given[0]["split"].unique().sort().to_list() == ["select", "steer"]


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
