"""Drift metrics on samples small enough to check by hand, or against plain formulas and other implementations."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from s3_assets.drift.classifier import c2st_auc, held_out_scores
from s3_assets.drift.frechet import fit_basis, frechet
from s3_assets.drift.kernels import median_distance, mmd2, permutation_p, squared_distances, vendi
from s3_assets.drift.neighbours import coverage_and_density
from s3_assets.drift.texts import (
    count_words,
    distinct,
    label_js,
    length_wasserstein,
    oov_share,
    text_metrics,
    vocabulary_js,
)


def counts(*rows):
    """Counts of two samples, which share their columns: each row is one text, None parts the samples."""
    found = count_words([(row,) for row in rows if row is not None])
    numbers, place = np.arange(len(rows) - 1), rows.index(None)
    return found.take(numbers[:place]), found.take(numbers[place:])


def normal(rows, seed, shift=0.0, width=6):
    found = np.random.default_rng(seed).normal(size=(rows, width))
    found[:, 0] += shift
    return found


def test_label_divergence():
    assert label_js(["a", "b"], ["a", "b"], ["a", "b"]) == 0
    assert label_js(["a"], ["b"], ["a", "b"]) == pytest.approx(1)
    # p = (1/2, 1/2), q = (1, 0), middle = (3/4, 1/4)
    expected = (0.5 * math.log2(0.5 / 0.75) + 0.5 * math.log2(0.5 / 0.25) + math.log2(1 / 0.75)) / 2
    assert label_js(["a", "b"], ["a"], ["a", "b"]) == pytest.approx(expected)


def test_length_distance():
    assert length_wasserstein(*counts("x x x", None, "x x x x x")) == 2
    assert length_wasserstein(*counts("x", "x x x", None, "x x x", "x")) == 0


def test_vocabulary():
    assert vocabulary_js(*counts("a b", None, "b a")) == 0
    assert vocabulary_js(*counts("a", None, "b")) == pytest.approx(1)
    assert oov_share(*counts("a", None, "a b b c")) == 0.75


def test_distinct_words_and_pairs():
    one, other = counts("a b a", "a b", None, "c")
    # a b a a b: two words of five; pairs are ab, ba, ab, none across rows.
    assert distinct(one.words) == 2 / 5
    assert distinct(one.pairs) == 2 / 3
    found = text_metrics(one, other)
    assert (found["distinct_1"], found["distinct_2"]) == (2 / 5, 2 / 3)
    # One word has no pairs.
    assert distinct(other.pairs) is None


def test_texts_without_words_leave_metrics_undefined():
    one, other = counts("!", None, "a")
    found = text_metrics(one, other)
    assert (found["vocabulary_js"], found["distinct_1"], found["oov_share"]) == (None, None, 1)
    assert oov_share(other, one) is None


def test_texts_of_a_row_count_together_and_words_need_no_spaces():
    pair, same = count_words([("a b", "c d"), ("a b c d", None)]).words.toarray()
    assert (pair == same).all()
    # No pair of words is of two texts.
    assert count_words([("a b", "c d"), ("a b c d", None)]).pairs.sum(axis=1).tolist() == [2, 3]
    assert oov_share(*counts("天气很好", None, "今天天气很好")) == pytest.approx(2 / 5)


def test_squared_distances_are_those_of_scipy():
    one, other = normal(7, 0), normal(5, 1)
    assert squared_distances(one, other) == pytest.approx(cdist(one, other, "sqeuclidean"))
    assert (np.diag(squared_distances(one, one)) == 0).all()
    exact = np.float32(one / np.linalg.norm(one, axis=1, keepdims=True))
    assert squared_distances(exact, exact).dtype == np.float32


def test_width_is_the_median_distance():
    points = np.array([[0.0], [1.0], [3.0]])
    rng = np.random.default_rng(0)
    assert median_distance(points, rng) == pytest.approx(2)
    assert median_distance(points[:1], rng) is None
    assert median_distance(np.ones((3, 2)), rng) is None
    many = normal(2500, 0)
    assert median_distance(many, rng) == pytest.approx(np.median(cdist(many[:500], many[500:])), rel=0.05)


def double_loop(one, other, width):
    """Gretton et al. 2012, eq. 3, term by term."""

    def kernel(a, b):
        return math.exp(-sum((a - b) ** 2) / (2 * width**2))

    m, n = len(one), len(other)
    first = sum(kernel(one[i], one[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    second = sum(kernel(other[i], other[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return first + second - 2 * sum(kernel(a, b) for a in one for b in other) / (m * n)


def discrepancy(one, other, width):
    return mmd2(squared_distances(one, one), squared_distances(other, other), squared_distances(one, other), width)


def test_discrepancy_is_the_double_loop():
    one, other = normal(5, 0), normal(8, 1, shift=1)
    assert discrepancy(one, other, 1.7) == pytest.approx(double_loop(one, other, 1.7))
    # Two points at 0 and two at 10: the kernel within is 1, between nearly 0.
    assert discrepancy(np.zeros((2, 1)), np.full((2, 1), 10.0), 1.0) == pytest.approx(2)
    assert discrepancy(one[:1], other, 1.7) is None


def test_discrepancy_of_one_distribution_is_around_0():
    found = [discrepancy(normal(20, seed), normal(20, 1000 + seed), 3.0) for seed in range(100)]
    assert abs(np.mean(found)) < 3 * np.std(found) / 10
    assert min(found) < 0


def test_permutation_p():
    rng = np.random.default_rng(0)
    # Of the 6 ways to part these four points, 2 are as far apart as this one.
    assert permutation_p(np.zeros((2, 1)), np.full((2, 1), 5.0), 1.0, rng) == pytest.approx(1 / 3, abs=0.07)
    assert permutation_p(normal(30, 0), normal(30, 1, shift=3), 3.0, rng) == 1 / 500
    assert permutation_p(np.ones((3, 2)), np.ones((4, 2)), 1.0, rng) == 1
    assert permutation_p(np.ones((1, 2)), np.ones((4, 2)), 1.0, rng) is None


def test_permutation_p_is_uniform_where_nothing_differs():
    found = [
        permutation_p(normal(12, seed), normal(25, 1000 + seed), 3.0, np.random.default_rng(seed)) for seed in range(80)
    ]
    assert 0.4 < np.mean(found) < 0.6
    assert np.mean(np.array(found) <= 0.2) == pytest.approx(0.2, abs=0.12)


def test_frechet_of_known_gaussians():
    cross = np.array([[1.0, 0], [-1, 0], [0, 2], [0, -2]] * 10)
    covariance = np.cov(cross.T)
    # The same shape three times as large, at a distance: |m|^2 + tr C (3 - 1)^2.
    assert frechet(cross, 3 * cross + [5, 1]) == pytest.approx(26 + 4 * np.trace(covariance))
    # Turned by a right angle, covariances commute: the sum of squared differences of standard deviations.
    deviations = np.sqrt(np.diag(covariance))
    assert frechet(cross, cross[:, ::-1]) == pytest.approx(2 * (deviations[1] - deviations[0]) ** 2)
    assert frechet(cross, cross) == pytest.approx(0, abs=1e-7)


def test_frechet_takes_as_many_dimensions_as_rows_allow():
    one, other = normal(35, 0), normal(100, 1, shift=1)
    # Ten rows a dimension: three.
    assert frechet(one, other) == frechet(one[:, :3], other[:, :3])
    assert frechet(one, other) != pytest.approx(frechet(one[:, :2], other[:, :2]))
    assert frechet(one[:19], other) is None


def test_basis_is_of_falling_variance_and_of_what_rows_span():
    vectors = normal(50, 0) * [1, 5, 2, 4, 3, 6]
    basis = fit_basis(vectors)
    spread = basis.project(vectors).std(axis=0)
    assert (np.diff(spread) < 0).all()
    assert np.abs(basis.directions).argmax(axis=1)[:2].tolist() == [5, 1]
    assert basis.project(vectors).mean(axis=0) == pytest.approx(0, abs=1e-9)
    assert fit_basis(normal(200, 0, width=40)).directions.shape == (16, 40)
    assert fit_basis(vectors[:4]).directions.shape == (3, 6)


def test_basis_of_fewer_rows_than_places_is_that_of_the_covariance():
    vectors = normal(30, 0, width=50) * np.linspace(5, 1, 50)
    basis = fit_basis(vectors)
    values, axes = np.linalg.eigh(np.cov(vectors.T))
    assert basis.directions @ basis.directions.T == pytest.approx(np.eye(16), abs=1e-9)
    assert abs(np.diag(basis.directions @ axes[:, ::-1][:, :16])) == pytest.approx(1)
    assert basis.project(vectors).var(axis=0, ddof=1) == pytest.approx(values[::-1][:16])
    # Three different rows span two dimensions, however often they come.
    for width in (6, 50):
        assert fit_basis(np.repeat(normal(3, 0, width=width), 10, axis=0)).directions.shape == (2, width)
    assert fit_basis(np.ones((30, 50))).directions.shape == (0, 50)


def covered(reference, synthetic):
    return coverage_and_density(squared_distances(reference, reference), squared_distances(synthetic, reference))


def test_coverage_and_density_on_a_line():
    line = np.arange(10.0)[:, None]
    # To their 5th neighbours, 0 reaches 5 far, 1 reaches 4, and 2 reaches 3: -1 is within, and beyond that of 3.
    assert covered(line, np.array([[-1.0]])) == (0.3, 0.6)
    assert covered(line, np.array([[-1.0], [100.0]])) == (0.3, 0.3)
    assert covered(line, np.array([[100.0]])) == (0, 0)
    assert covered(line, line)[0] == 1
    assert covered(line[:5], line) is None


def test_coverage_and_density_are_those_of_loops():
    reference, synthetic = normal(30, 0, width=2), normal(20, 1, shift=1, width=2)
    apart = cdist(reference, reference)
    reach = [sorted(row)[5] for row in apart]
    inside = cdist(synthetic, reference) <= np.array(reach)
    assert covered(reference, synthetic) == pytest.approx((inside.any(0).mean(), inside.sum() / 5 / 20))


@pytest.mark.parametrize("width", [4, 12])
def test_vendi_counts_rows_that_are_unlike(width):
    assert vendi(np.eye(4, width)) == pytest.approx(4)
    assert vendi(np.repeat(np.eye(1, width), 7, axis=0)) == pytest.approx(1)
    # Two kinds of rows, in equal parts.
    assert vendi(np.repeat(np.eye(2, width), 5, axis=0)) == pytest.approx(2)


def test_classifier_tells_what_can_be_told():
    assert c2st_auc(normal(40, 0, shift=8), normal(40, 1)) == 1
    assert c2st_auc(normal(300, 0), normal(300, 1)) == pytest.approx(0.5, abs=0.07)
    assert c2st_auc(np.ones((10, 3)), np.ones((10, 3))) == 0.5
    assert c2st_auc(normal(4, 0), normal(40, 1)) is None


def test_classifier_is_the_one_of_scikit_learn():
    one, other = normal(30, 0, shift=1), normal(50, 1)
    vectors, ours = np.concatenate([one, other]), np.arange(80) < 30
    folds = np.concatenate([np.arange(30), np.arange(50)]) % 5
    expected, areas = np.zeros(80), []
    for fold in range(5):
        model = LogisticRegression(C=1.0, tol=1e-8).fit(vectors[folds != fold], ours[folds != fold])
        expected[folds == fold] = model.decision_function(vectors[folds == fold])
        areas.append(roc_auc_score(ours[folds == fold], expected[folds == fold]))
    assert held_out_scores(vectors, ours, folds) == pytest.approx(expected, abs=2e-3)
    assert c2st_auc(one, other) == pytest.approx(np.mean(areas), abs=1e-3)
