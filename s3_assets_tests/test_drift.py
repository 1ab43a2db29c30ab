"""Drift metrics on texts small enough to check by hand."""

import math

import polars as pl
import pytest

from s3_assets.drift.measures import label_js, length_wasserstein, measure_drift, oov_share, vocabulary_js

FIELDS = ("text",)


def frame(rows):
    return pl.DataFrame(rows, schema=["text", "text2", "label"], orient="row")


def test_label_divergence():
    assert label_js(["a", "b"], ["a", "b"], ["a", "b"]) == 0
    assert label_js(["a"], ["b"], ["a", "b"]) == pytest.approx(1)
    # p = (1/2, 1/2), q = (1, 0), middle = (3/4, 1/4)
    expected = (0.5 * math.log2(0.5 / 0.75) + 0.5 * math.log2(0.5 / 0.25) + math.log2(1 / 0.75)) / 2
    assert label_js(["a", "b"], ["a"], ["a", "b"]) == pytest.approx(expected)


def test_length_distance():
    assert length_wasserstein([["x"] * 3], [["x"] * 5]) == 2
    assert length_wasserstein([["x"], ["x"] * 3], [["x"] * 3, ["x"]]) == 0


def test_vocabulary():
    assert vocabulary_js([["a", "b"]], [["b", "a"]]) == 0
    assert vocabulary_js([["a"]], [["b"]]) == pytest.approx(1)
    assert oov_share([["a"]], [["a", "b", "b", "c"]]) == 0.75


def test_same_distribution_is_near_its_floor_and_another_is_not():
    words = ["dull", "bright", "slow", "quick", "warm", "cold", "long", "short"]
    texts = [(f"{words[n % 8]} {words[n * 3 % 8]} film {words[n * 5 % 8]}", None, "ab"[n % 2]) for n in range(200)]
    near = measure_drift(frame(texts[:100]), frame(texts[100:]), ["a", "b"], 0, FIELDS)
    far = measure_drift(
        frame([("wholly other material here", None, "a")] * 50), frame(texts[100:]), ["a", "b"], 0, FIELDS
    )
    for found, bound in ((near, 1.5), (far, None)):
        row = found.filter((pl.col("metric") == "vocabulary_js") & pl.col("label").is_null()).row(0, named=True)
        assert row["n_ref"] == 100
        if bound:
            assert row["value"] <= bound * row["floor"]
        else:
            assert row["value"] > 5 * row["floor"]


def test_a_label_without_rows_is_left_out():
    found = measure_drift(
        frame([("a b", None, "a")]), frame([("a b", None, "a"), ("c", None, "b")]), ["a", "b"], 0, FIELDS
    )
    assert set(found["label"]) == {None, "a"}


def test_both_texts_of_a_pair_count():
    assert measure_drift(frame([("a", "b", "x")]), frame([("b", "a", "x")]), ["x", "y"], 0, ("text", "text2")).filter(
        pl.col("metric") == "vocabulary_js"
    )["value"].to_list() == [0, 0]
