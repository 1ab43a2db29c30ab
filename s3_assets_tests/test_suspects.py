"""Which rows are worth a look, why and how much: frames in, reasons out."""

import polars as pl
import pytest

from s3_assets.quality import suspects
from s3_assets.quality.suspects import (
    LENGTH,
    MISSED,
    OTHER_LABEL,
    OTHER_SPLIT,
    SHORTCUT,
    STUDENTS,
    TEACHER,
    UNSURE,
    Finding,
    rank,
)

GOLD = pl.DataFrame(
    {
        "gold_id": ["g_steer", "g_select", "g_test"],
        "split": ["steer", "select", "test"],
        "text": ["one two three", "four five six seven", "one two three four"],
        "label": ["good", "bad", None],
    }
)
ROWS = pl.DataFrame({"example_id": ["x_0", "x_1", "x_2"], "label": ["good", "bad", "good"]})


def predictions(*rows):
    names = ("round", "gold_id", "split", "prediction", "correct", "label_probability")
    return pl.DataFrame(rows, schema=names, orient="row")


def missed(*rows, labels=True):
    return list(suspects.missed(GOLD, predictions(*rows), labels=labels))


# -- gold ------------------------------------------------------------------------------------------------------------


def test_gold_missed_with_high_loss_in_every_round_is_suspicious():
    (one,) = missed((0, "g_steer", "steer", "bad", False, 0.1), (1, "g_steer", "steer", "bad", False, 0.2))
    assert (one.row, one.reason, one.suggests) == (0, MISSED, "bad")
    assert one.said == "missed in all 2 rounds so far, mean probability of the label 0.15"
    assert one.strength == pytest.approx(0.85 * 2 / 3)


def test_a_miss_weighs_more_with_more_rounds():
    once = missed((0, "g_select", "select", "good", False, 0.1))
    often = missed(*((round_, "g_select", "select", "good", False, 0.1) for round_ in range(4)))
    assert "in the only round so far" in once[0].said
    assert often[0].strength > once[0].strength


@pytest.mark.parametrize(
    "rows",
    [
        [(0, "g_steer", "steer", "bad", False, 0.1), (1, "g_steer", "steer", "good", True, 0.6)],
        [(0, "g_steer", "steer", "bad", False, 0.4)],
        [(0, "g_test", "test", "bad", False, 0.0)],
    ],
    ids=["right in one round", "low loss", "test gold"],
)
def test_gold_that_is_not_missed_with_high_loss_in_every_round_is_not(rows):
    assert missed(*rows) == []


def test_the_latest_of_equally_frequent_predictions_is_suggested():
    (one,) = missed((0, "g_steer", "steer", "odd", False, 0.1), (1, "g_steer", "steer", "bad", False, 0.1))
    assert one.suggests == "bad"


def test_answers_are_not_suggested_as_labels():
    (one,) = missed((0, "g_steer", "steer", "in Oslo", False, 0.1), labels=False)
    assert one.suggests is None
    assert "probability of the answer" in one.said


def test_near_duplicates_of_gold_with_another_label_or_split():
    found = list(suspects.near_in_gold(GOLD, [(0, 1, 0.9)]))
    assert [(one.row, one.reason) for one in found] == [
        (0, OTHER_SPLIT),
        (0, OTHER_LABEL),
        (1, OTHER_SPLIT),
        (1, OTHER_LABEL),
    ]
    assert found[1].said == "nearly the same as g_select, which is bad (0.90)"
    same = GOLD.with_columns(split=pl.lit("steer"), label=pl.lit("good"))
    assert list(suspects.near_in_gold(same, [(0, 1, 0.9)])) == []


def test_test_gold_is_never_listed_and_its_label_never_told():
    labelled = GOLD.with_columns(label=pl.Series(["good", "bad", "a secret"]))
    found = list(suspects.near_in_gold(labelled, [(0, 2, 0.85)]))
    assert [(one.row, one.reason) for one in found] == [(0, OTHER_SPLIT)]
    assert found[0].said == "nearly the same as g_test, a test row (0.85)"


# -- synthetic rows, and both ----------------------------------------------------------------------------------------


def test_students_contradict_only_with_high_confidence():
    opinions = pl.DataFrame(
        {"students_label": ["bad", "good", None], "students_probability": [0.1, 0.4, None]},
        schema={"students_label": pl.String, "students_probability": pl.Float64},
    )
    (one,) = suspects.contradicted_by_students(ROWS, opinions)
    assert (one.row, one.reason, one.suggests) == (0, STUDENTS, "bad")
    assert one.strength == pytest.approx(0.9)
    assert one.said == "the students say bad and give good a probability of 0.10"


def test_the_teachers_blind_votes_count_by_how_many_disagree():
    votes = [["good", "bad"], ["bad"], ["bad", "odd", "odd"]]
    half, whole = suspects.contradicted_by_teacher(ROWS, votes)
    assert (half.row, half.reason, half.suggests) == (0, TEACHER, "bad")
    assert (whole.row, whole.suggests) == (2, "odd")
    assert whole.strength == pytest.approx(2 * half.strength)
    assert whole.said == "the teacher, asked blind, says odd (2 of 3 times)"


def test_rows_nobody_voted_on_say_nothing():
    assert list(suspects.contradicted_by_teacher(ROWS, [[], [], []])) == []


def test_low_confidence():
    rows = ROWS.with_columns(confidence=pl.Series([0.3, 0.5, None]))
    (one,) = suspects.unsure(rows)
    assert (one.row, one.reason) == (0, UNSURE)
    assert one.strength == pytest.approx(0.7)


def test_near_duplicates_with_different_labels():
    one, other = suspects.near_in_synthetic(ROWS, [(0, 1, 0.8), (0, 2, 0.95)])
    assert [one.row, other.row] == [0, 1]
    assert {one.reason, other.reason} == {OTHER_LABEL}
    assert "x_1, which is bad" in one.said


def test_length_outside_that_of_gold():
    rows = pl.DataFrame({"text": ["one", "one two three", "a b c d", " ".join("w" * 12)]})
    known = GOLD.filter(pl.col("split") != "test")
    found = list(suspects.unusual_length(rows, known, ("text",)))
    assert [(one.row, one.reason) for one in found] == [(0, LENGTH), (3, LENGTH)]
    assert found[0].said == "text has 1 words, gold 3 to 4"
    slightly = list(suspects.unusual_length(pl.DataFrame({"text": ["a b c d e"]}), known, ("text",)))
    assert slightly[0].strength < found[1].strength < 0.5


def test_shortcuts_say_the_rule_and_little_of_the_label():
    (one,) = suspects.goes_by_shortcut([(2, "text begins with a quote mark", 0.9)])
    assert (one.row, one.reason) == (2, SHORTCUT)
    assert one.said == "a shortcut holds for it: text begins with a quote mark"
    assert one.strength < 0.3


# -- ranking ---------------------------------------------------------------------------------------------------------


def test_reasons_add_up_and_the_strongest_comes_first():
    ranked = rank(
        [
            Finding(4, LENGTH, "short", 0.2),
            Finding(4, STUDENTS, "students", 0.9, "bad"),
            Finding(4, TEACHER, "teacher", 0.8, "odd"),
            Finding(1, STUDENTS, "others", 0.95, "good"),
            Finding(7, LENGTH, "long", 0.2),
        ]
    )
    assert ranked["row"].to_list() == [4, 1, 7]
    assert ranked["suspicion"].to_list() == [pytest.approx(1 - 0.1 * 0.2 * 0.8, abs=1e-3), 0.95, 0.2]
    assert ranked["why"][0] == "students; teacher; short"
    assert ranked["suggested_label"].to_list() == ["bad", "good", None]
    assert ranked["reasons"][0].to_list() == [STUDENTS, TEACHER, LENGTH]


def test_many_findings_of_one_kind_count_once():
    ranked = rank([Finding(0, OTHER_LABEL, f"near x_{number}", 0.5 + number / 100) for number in range(9)])
    assert ranked["why"][0] == "near x_8 and 8 more of that kind"
    assert ranked["suspicion"][0] == pytest.approx(0.58)


def test_nothing_found_gives_no_rows():
    assert rank([]).schema == pl.Schema(suspects.RANKED)
    assert rank([]).is_empty()
