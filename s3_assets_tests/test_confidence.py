"""Confidence in a label from votes and students, and the threshold it is held against, as plain functions."""

import pytest

from s3_assets.generation.confidence import (
    MOST_CHOSEN,
    RIGHT_BEFOREHAND,
    accuracy,
    after_students,
    choose_threshold,
    posterior,
)
from s3_assets.generation.verdicts import in_words
from s3_assets_tests.verifying import LABELS


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
