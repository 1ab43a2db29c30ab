"""The stop rule on held-out gold."""

import math

import polars as pl
import pytest

from s3_assets.loop.stop import Gain, gains, should_stop


def round_of(right):
    rows = {"gold_id": [f"g{n}" for n in range(len(right))], "score": [float(value) for value in right]}
    return pl.DataFrame(rows, schema={"gold_id": pl.String, "score": pl.Float64})


def test_gain_is_paired_against_the_best_earlier_round():
    found = gains([round_of([1, 0, 0, 0]), round_of([1, 1, 1, 0]), round_of([1, 1, 0, 0])])
    assert [(gain.round, gain.best_earlier, gain.gain) for gain in found] == [(1, 0, 0.5), (2, 1, -0.25)]
    assert math.isclose(found[1].standard_error, 0.25)


def test_rows_are_paired_by_id_not_by_place():
    shuffled = round_of([1, 0]).reverse()
    assert gains([round_of([1, 0]), shuffled])[0].gain == 0


def test_first_of_equal_rounds_is_the_best():
    assert gains([round_of([1, 0]), round_of([0, 1]), round_of([1, 1])])[1].best_earlier == 0


@pytest.mark.parametrize(
    ("values", "stops"),
    [([], False), ([-0.1], False), ([0.1, 0.0], False), ([0.0, 0.0], True), ([-0.1, 0.0], True), ([0.0, 0.1], False)],
)
def test_stops_after_two_rounds_without_gain(values, stops):
    found = [Gain(place + 1, 0, value, 0.06) for place, value in enumerate(values)]
    assert (should_stop(found, len(values) + 1, 10, "no_gain") is not None) is stops


@pytest.mark.parametrize(
    ("values", "stops"),
    [
        ([], False),
        ([0.05], False),
        ([0.05, 0.05], True),
        ([-0.1, 0.05], True),
        # Gains at their standard error or above count.
        ([0.05, 0.06], False),
        ([0.07, 0.05], False),
        ([0.2, 0.05, 0.01], True),
    ],
)
def test_stops_after_two_rounds_within_their_standard_error_where_that_is_the_rule(values, stops):
    found = [Gain(place + 1, 0, value, 0.06) for place, value in enumerate(values)]
    assert (should_stop(found, len(values) + 1, 10, "within_error") is not None) is stops
    if values and min(values) > 0:
        assert should_stop(found, len(values) + 1, 10, "no_gain") is None


def test_equal_rounds_stop_by_either_rule():
    """Their differences have no spread, so the standard error is 0 and nothing is below it."""
    found = gains([round_of([1, 0, 1])] * 3)
    assert [(gain.gain, gain.standard_error) for gain in found] == [(0, 0), (0, 0)]
    assert "above its standard error" not in should_stop(found, 3, 10, "within_error")
    assert should_stop(found, 3, 10, "no_gain") is not None


def test_rounds_that_judge_no_gold_have_no_gain_and_are_no_best():
    nothing = round_of([])
    assert gains([nothing, nothing, nothing]) == []
    assert should_stop([], 3, 10, "no_gain") is None
    found = gains([nothing, round_of([0, 0]), nothing, round_of([0, 1])])
    assert [(gain.round, gain.best_earlier, gain.gain) for gain in found] == [(3, 1, 0.5)]


def test_stops_when_rounds_are_used_up():
    assert "all 4 rounds" in should_stop([Gain(1, 0, 0.2, 0.05)], 4, 4, "no_gain")
