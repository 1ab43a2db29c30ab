"""The leaderboard's figures against hand-worked ones, places, what is missing, what cannot be compared."""

import math
import random
import statistics
from typing import Any

import pytest

from s3_assets.experiment.leaderboard import estimate
from s3_assets.experiment.plot import plot
from s3_assets.store.tables import table
from s3_assets_tests.boards import GOLD_ONLY, GOLDGEN, S3, arm, board_of, line, rows_of

# Student's t for 95% with 2 degrees of freedom, in closed form.
T2 = 0.95 / math.sqrt(2 * 0.975 * 0.025)


def test_figures_are_those_worked_by_hand() -> None:
    board = board_of(GOLD_ONLY, S3, GOLDGEN)
    assert board.schema == table("leaderboard").schema
    assert board.select("place", "arm").rows() == [(1, "s3"), (2, "goldgen"), (3, "gold_only")]
    s3 = line(board, "s3")
    # Deviations -0.03, -0.01, 0.04; differences from goldgen 0.02, -0.01, 0.05, from gold_only 0.10, 0.10, 0.13.
    sd = math.sqrt((0.0009 + 0.0001 + 0.0016) / 2)
    t = 0.02 / (0.03 / math.sqrt(3))
    expected = {
        "seeds": 3,
        "synthetic_rows": 590,
        "tokens": 50_000,
        "score_mean": 0.83,
        "score_sd": sd,
        "ci_low": 0.83 - T2 * sd / math.sqrt(3),
        "ci_high": 0.83 + T2 * sd / math.sqrt(3),
        "vs_goldgen": 0.02,
        "vs_goldgen_low": 0.02 - T2 * 0.03 / math.sqrt(3),
        "vs_goldgen_high": 0.02 + T2 * 0.03 / math.sqrt(3),
        "vs_goldgen_p": 1 - t / math.sqrt(t * t + 2),
        "vs_gold_only": 0.11,
        "points_per_dollar": 11 / 0.5,
    }
    assert {name: s3[name] for name in expected} == pytest.approx(expected)
    assert line(board, "gold_only")["vs_goldgen"] == pytest.approx(-0.09)


def test_intervals_and_p_are_scipys_own() -> None:
    from scipy import stats

    draw = random.Random(3)
    for seeds in (2, 3, 5, 10):
        ours, theirs = ([draw.gauss(0.8, 0.03) for _ in range(seeds)] for _ in range(2))
        row = line(board_of(arm("s3", ours), arm("goldgen", theirs)), "s3")
        paired = stats.ttest_rel(ours, theirs)
        low, high = paired.confidence_interval(0.95)
        assert row["vs_goldgen_p"] == pytest.approx(paired.pvalue)
        assert (row["vs_goldgen_low"], row["vs_goldgen_high"]) == pytest.approx((low, high))
        of_mean = stats.ttest_1samp(ours, 0).confidence_interval(0.95)
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((of_mean.low, of_mean.high))


def test_pairs_are_the_seeds_both_have() -> None:
    row = line(board_of(S3, GOLDGEN[1:], GOLD_ONLY[:1]), "s3")
    assert row["vs_goldgen"] == pytest.approx((-0.01 + 0.05) / 2)
    assert row["vs_goldgen_p"] is not None
    assert row["vs_gold_only"] == pytest.approx(0.10)
    assert row["vs_gold_only_low"] is None
    assert row["vs_gold_only_p"] is None
    apart = line(board_of(S3[:1], GOLDGEN[1:]), "s3")
    assert apart["vs_goldgen"] is None


def test_ties_go_to_the_smaller_budget_then_by_name() -> None:
    # 185 of 264 test rows right in two ways, whose means floating point does not find equal.
    lower, upper = ([right / 88 for right in seeds] for seeds in ((60, 60, 65), (60, 61, 64)))
    assert statistics.fmean(lower) < statistics.fmean(upper)
    board = board_of(
        arm("zerogen", [*upper], teacher_budget=500),
        arm("s3", [*upper], teacher_budget=600),
        arm("default", [*lower], teacher_budget=600),
        arm("goldgen", [*lower], teacher_budget=400),
    )
    assert board["arm"].to_list() == ["goldgen", "zerogen", "default", "s3"]
    assert board["place"].to_list() == [1, 2, 3, 4]


def test_one_seed_has_a_mean_and_no_spread() -> None:
    row = line(board_of(S3[:1], GOLDGEN[:1]), "s3")
    assert row["score_mean"] == pytest.approx(0.80)
    assert row["vs_goldgen"] == pytest.approx(0.02)
    empty = ("score_sd", "ci_low", "ci_high", "vs_goldgen_low", "vs_goldgen_high", "vs_goldgen_p")
    assert [row[name] for name in empty] == [None] * len(empty)


def test_equal_differences_have_no_p() -> None:
    # In floating point the three differences of 0.05 are not all the same number.
    row = line(board_of(arm("s3", [0.85, 0.75, 0.35]), arm("goldgen", [0.80, 0.70, 0.30])), "s3")
    assert row["vs_goldgen"] == pytest.approx(0.05)
    # An interval without width would say that three seeds which agree are certain.
    assert {row[f"vs_goldgen_{end}"] for end in ("low", "high", "p")} == {None}
    assert estimate([0.5, 0.5]).sd == 0


def test_an_absent_control_is_null_and_no_arm_is_compared_with_itself() -> None:
    s3 = line(board_of(S3), "s3")
    assert {s3[name] for name in s3 if name.startswith("vs_")} == {None}
    assert s3["points_per_dollar"] is None
    assert line(board_of(S3, GOLDGEN), "goldgen")["vs_goldgen"] is None


def test_a_cost_that_one_seed_does_not_know_is_not_known() -> None:
    unpriced = [S3[0] | {"cost": None}, *S3[1:]]
    row = line(board_of(unpriced, GOLD_ONLY), "s3")
    assert row["cost"] is None
    assert row["points_per_dollar"] is None
    assert row["vs_gold_only"] == pytest.approx(0.11)
    free = line(board_of(arm("s3", [0.8, 0.9, 0.8], cost=0.0), GOLD_ONLY), "s3")
    assert (free["cost"], free["points_per_dollar"]) == (0, None)


def test_without_test_gold_selecting_gold_does_not_rank() -> None:
    best_on_select = arm("s3", [None, None], select_score=0.99, teacher_budget=900)
    nothing_right = arm("gold_only", [0.0, 0.0], teacher_budget=950)
    board = board_of(best_on_select, arm("goldgen", [None, None], select_score=0.5), nothing_right)
    assert board["arm"].to_list() == ["gold_only", "goldgen", "s3"]
    assert board["place"].to_list() == [1, None, None]
    row = line(board, "s3")
    assert row["score_mean"] is None
    assert row["vs_gold_only"] is None


def test_exact_match_is_of_questions() -> None:
    questions = arm("s3", [0.8, 0.9], metric="f1", test_exact_match=0.6)
    assert line(board_of(questions), "s3")["exact_match_mean"] == pytest.approx(0.6)
    assert line(board_of(S3), "s3")["exact_match_mean"] is None


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([*S3, S3[1]], "s3 with seed 1 is there twice"),
        ([*S3, GOLDGEN[0] | {"task": "other"}], r"rows of other tasks \(other\)"),
        (
            [*S3, *arm("goldgen", [0.5], test_rows=88)],
            r"different test gold \(test_rows: 100, 88\).*s3-assets compare small",
        ),
        ([*S3, *arm("goldgen", [0.5], metric="f1")], r"different metrics \(metric: accuracy, f1\)"),
    ],
)
def test_rows_that_cannot_be_compared_are_refused(rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        board_of(rows)


def test_no_rows_make_an_empty_board() -> None:
    board = board_of()
    assert board.schema == table("leaderboard").schema
    assert board.is_empty()
    with pytest.raises(ValueError, match="s3-assets compare TASK"):
        plot(board, rows_of())
