"""Weights of rows: by the probability of their label, and by what a step on them does for other gold."""

import numpy as np
import polars as pl
import pytest

from s3_assets.quality import ensemble
from s3_assets.student.logistic import best_held_out, fitted
from s3_assets.weighting.quality import quality_weights
from s3_assets.weighting.usefulness import usefulness_weights
from s3_assets_tests.frozen_toys import by_words
from s3_assets_tests.tiny_student import LABELS, toy_rows

EMPTY = toy_rows(0, 0)


def turned(rows: pl.DataFrame, places: set[int]) -> pl.DataFrame:
    """``rows``, those at ``places`` with the other label."""
    other = {"good": "bad", "bad": "good"}
    labels = [other[label] if place in places else label for place, label in enumerate(rows["label"])]
    return rows.with_columns(label=pl.Series(labels))


def gold(count: int, seed: int) -> pl.DataFrame:
    return toy_rows(count, seed).with_columns(gold_id=pl.format("g_{}", pl.int_range(pl.len())))


# Quality


@pytest.fixture
def words(monkeypatch):
    monkeypatch.setattr(ensemble, "embed", lambda texts, weights, max_length: by_words(texts))


def by_quality(rows, steer=EMPTY, labels=LABELS, seed=0):
    return quality_weights(rows, steer, labels, "minilm", 64, seed)


def test_doubtful_labels_weigh_less(words):
    wrong = {3, 10, 20}
    weights = by_quality(turned(toy_rows(60, 0), wrong), toy_rows(10, 1))
    assert weights.mean() == pytest.approx(1)
    assert weights[[*wrong]].mean() < 0.7
    assert max(weights[[*wrong]]) < np.quantile(weights, 0.1)


def test_a_weight_is_the_probability_by_members_that_did_not_see_the_row(words):
    rows, steer = toy_rows(30, 0), toy_rows(10, 1)
    said, _ = ensemble.second_opinion(rows, None, steer, EMPTY, LABELS, "minilm", 64, 0)
    own = said[np.arange(30), [LABELS.index(label) for label in rows["label"]]]
    assert by_quality(rows, steer) == pytest.approx(own / own.mean())
    assert (by_quality(rows, steer) == by_quality(rows, steer)).all()
    assert (by_quality(rows, steer) != by_quality(rows, steer, seed=1)).any()
    assert (by_quality(rows, steer) != by_quality(rows)).any()


def test_held_vectors_are_used_instead_of_the_checkpoint(words, monkeypatch):
    rows, steer = toy_rows(30, 0), toy_rows(10, 1)
    computed = by_quality(rows, steer)
    monkeypatch.setattr(ensemble, "embed", lambda *_: pytest.fail("the checkpoint was asked"))
    assert (quality_weights(rows, steer, LABELS, "minilm", 64, 0, by_words) == computed).all()


def test_what_nobody_can_judge_weighs_1(words):
    only = pl.DataFrame([{"text": "the", "text2": None, "label": "neither"}], schema=EMPTY.schema)
    weights = by_quality(pl.concat([toy_rows(20, 0), only]), labels=(*LABELS, "neither"))
    assert weights[20] == 1
    assert weights[:20].mean() == pytest.approx(1)
    assert weights[:20].std() > 0
    assert by_quality(toy_rows(8, 0).filter(pl.col("label") == "bad")).tolist() == [1.0] * 4
    assert by_quality(EMPTY).shape == (0,)


# Usefulness


def by_use(rows, causes, steer, labels=LABELS, seed=0):
    return usefulness_weights(rows, causes, steer, labels, by_words, seed)


def test_rows_that_teach_against_gold_weigh_less():
    wrong = {3, 10, 20}
    rows, steer = turned(toy_rows(60, 0), wrong), gold(20, 1)
    weights = by_use(rows, [None] * 60, steer)
    assert weights.mean() == pytest.approx(1)
    assert (weights.min(), weights.max()) == (0.5, 1.5)
    assert max(weights[[*wrong]]) < 0.7
    assert (weights == by_use(rows, pl.Series([None] * 60, dtype=pl.String), steer)).all()


def slow_usefulness(rows, causes, steer, seed=0):
    """One pair of gradients after another."""
    every = pl.concat([rows.select("text", "label"), steer.select("text", "label")])
    features = by_words(every["text"]).astype(float)
    wanted = np.eye(2)[[LABELS.index(label) for label in every["label"]]]
    own = by_words(rows["text"])
    model = fitted(own, wanted[: rows.height], best_held_out(own, wanted[: rows.height], seed))
    residuals = np.exp(model.log_probabilities(by_words(every["text"]))) - wanted
    gradients = [np.outer(residual, feature) for residual, feature in zip(residuals, features, strict=True)]
    of_rows, of_gold = gradients[: rows.height], gradients[rows.height :]
    return np.array(
        [
            np.mean([(g * h).sum() for h, gold_id in zip(of_gold, steer["gold_id"], strict=True) if gold_id != cause])
            for g, cause in zip(of_rows, causes, strict=True)
        ]
    )


def test_usefulness_is_the_dot_product_of_gradients_over_other_gold():
    rows, steer = turned(toy_rows(40, 0), {1, 5, 12, 30}), turned(gold(12, 1), {2, 7})
    causes = [None if place % 3 == 0 else f"g_{place % 14}" for place in range(40)]
    useful = slow_usefulness(rows, causes, steer)
    weights = by_use(rows, causes, steer)
    order = np.argsort(useful)
    assert (np.diff(weights[order]) >= 0).all()
    apart = np.diff(useful[order]) > 1e-6 * np.abs(useful).max()
    assert (np.diff(weights[order])[apart] > 0).all()
    assert apart.sum() > 20


def test_the_row_s_own_cause_does_not_count():
    # The one gold row that the first row would help is the one it was written from, mislabelled.
    rows, steer = toy_rows(40, 0), gold(20, 1)
    odd = pl.DataFrame([{"text": "the plot was", "text2": None, "label": "bad", "gold_id": "odd"}], schema=steer.schema)
    rows = pl.concat([odd.drop("gold_id"), rows])
    steer = pl.concat([odd, steer])
    own, others = (by_use(rows, [cause, *[None] * 40], steer)[0] for cause in ("odd", "g_1"))
    assert own < others
    # The same as if its cause were not there at all.
    without = by_use(rows, [None] * 41, steer.filter(pl.col("gold_id") != "odd"))[0]
    every = by_use(rows, ["odd"] * 41, steer)[0]
    assert every == without


def test_equal_rows_weigh_the_same():
    rows = pl.concat([toy_rows(10, 0)] * 3)
    weights = by_use(rows, [None] * 30, gold(12, 1))
    assert (weights.reshape(3, 10) == weights[:10]).all()
    assert weights.mean() == pytest.approx(1)


@pytest.mark.parametrize(
    ("rows", "steer"),
    [
        (toy_rows(8, 0), gold(0, 1)),
        (toy_rows(8, 0).filter(pl.col("label") == "bad"), gold(8, 1)),
        (EMPTY, gold(8, 1)),
    ],
    ids=["no gold", "one label", "no rows"],
)
def test_where_usefulness_says_nothing_all_weigh_1(rows, steer):
    assert by_use(rows, [None] * rows.height, steer).tolist() == [1.0] * rows.height


def test_a_row_whose_cause_is_all_the_gold_there_is_weighs_1():
    weights = by_use(toy_rows(10, 0), ["g_0", *[None] * 9], gold(1, 1))
    assert weights[0] == 1
    assert weights[1:].mean() == pytest.approx(1)
    assert weights[1:].std() > 0


def test_pairs_are_weighed_too():
    rows = toy_rows(30, 0, pair=True)
    steer = toy_rows(10, 1, pair=True).with_columns(gold_id=pl.format("g_{}", pl.int_range(pl.len())))
    assert by_use(turned(rows, {4}), [None] * 30, steer).argmin() == 4
