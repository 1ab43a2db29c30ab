"""What a choice makes of vectors: clusters of errors, within folds where it must be, and contrasts."""

import numpy as np
import polars as pl
import pytest

from s3_assets.selection.choice import Basis
from s3_assets.selection.choose import choose
from s3_assets.selection.clusters import clusters, group_count
from s3_assets.selection.contrast import contrasts
from s3_assets_tests.choices import axes, basis, tried


def test_vectors_that_lie_together_are_one_cluster():
    assert [group_count(rows) for rows in (0, 1, 8, 50, 200)] == [1, 1, 2, 5, 10]
    spread = np.random.default_rng(0).normal(0, 0.01, (18, 3)).astype(np.float32)
    vectors = np.eye(3, dtype=np.float32)[np.arange(18) % 3] + spread
    found = clusters([str(place) for place in range(18)], vectors, 0)
    assert len(set(found.values())) == 3
    assert all(found[str(place)] == found[str(place % 3)] for place in range(18))
    assert clusters(["a", "b"], vectors[:2], 0) == {"a": 0, "b": 0}
    # Fewer places than groups. What differs in its last digits is one place.
    ones = np.ones((18, 3), np.float32)
    assert len(set(clusters([str(place) for place in range(18)], ones, 0).values())) == 1
    noise = np.random.default_rng(0).choice(np.float32([0, 1.2e-7]), (18, 3))
    assert len(np.unique(ones + noise, axis=0)) > 3
    assert len(set(clusters([str(place) for place in range(18)], ones + noise, 0).values())) == 1


@pytest.mark.parametrize("shows", [["diagnosis"], ["diagnosis", "contrast"]])
def test_no_group_that_is_diagnosed_has_errors_of_two_folds(tmp_path, shows):
    task = tried(tmp_path, by="cluster", shows=shows, cross_fit=2)
    known = basis(task, 16, vectors=axes(task, 2))
    folds = {gold_id: 1 + place // 2 % 2 for place, gold_id in enumerate(known.steer["gold_id"])}
    choice = choose(task, Basis(known.steer, known.errors, vectors=known.vectors, folds=folds), 0)
    held = {}
    for source in choice.sources:
        held.setdefault(source.cluster, set()).add(folds[source.gold_id])
    # Two groups in each of the folds, numbered on.
    assert sorted(held) == [0, 1, 2, 3]
    assert [held[group] for group in range(4)] == [{1}, {1}, {2}, {2}]
    # Without folds a group is of all errors.
    free = choose(task, known, 0)
    assert {source.cluster for source in free.sources} != set(range(4))
    plain = tried(tmp_path, by="cluster", cross_fit=2)
    alike = choose(plain, Basis(known.steer, known.errors, vectors=known.vectors, folds=folds), 0)
    assert [source.cluster for source in alike.sources] == [
        source.cluster for source in choose(plain, known, 0).sources
    ]


def test_a_contrast_is_the_nearest_right_row_of_another_label():
    steer = pl.DataFrame({"gold_id": list("abcde"), "label": ["x", "y", "y", "x", "y"]})
    angles = np.array([0.0, 0.5, 0.2, 0.1, 1.0])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert contrasts("ac", steer, vectors) == {"a": "c", "c": "d"}
    assert contrasts("a", steer, vectors, wrong={"c"}) == {"a": "b"}
    assert contrasts("a", steer, vectors, wrong={"b", "c", "e"}) == {}
    assert contrasts("a", steer, vectors, folds={"a": 1, "b": 2, "c": 2, "d": 1, "e": 1}) == {"a": "e"}


def test_neighbours_that_differ_in_the_last_digits_are_alike():
    steer = pl.DataFrame({"gold_id": list("abc"), "label": ["x", "y", "y"]})
    vectors = np.array([[1, 0], [0.6, 0.8], [0.6000001, 0.8]], np.float32)
    assert vectors[2, 0] > vectors[1, 0]
    assert contrasts("a", steer, vectors) == {"a": "b"}
    assert contrasts("a", steer, np.array([[1, 0], [0.6, 0.8], [0.6001, 0.8]], np.float32)) == {"a": "c"}
