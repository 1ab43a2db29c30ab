"""Drift metrics on words and labels, which need no model.

Belongs here: rows as counts of words, metrics on counts. Does not belong here: cutting texts into words
(``quality/words.py``), which rows are compared (``halvings.py``).
"""

import itertools
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from s3_assets.drift.halvings import Numbers
from s3_assets.quality.words import words


@dataclass(frozen=True)
class Counts:
    """Rows as counts: sparse matrices of shape (rows, different words) and (rows, different pairs of words)."""

    words: csr_array
    pairs: csr_array

    def take(self, rows: Numbers) -> "Counts":
        """The counts of some rows."""
        return Counts(self.words[rows], self.pairs[rows])

    @property
    def lengths(self) -> NDArray[np.float64]:
        """Words of each row."""
        return np.asarray(self.words.sum(axis=1), np.float64)


def count_words(rows: Iterable[Sequence[str | None]]) -> Counts:
    """Counts of rows, each given by its texts. A pair of neighbouring words is of one text."""
    found = [[words(text) for text in row if text is not None] for row in rows]
    return Counts(
        _count(itertools.chain.from_iterable(row) for row in found),
        _count(itertools.chain.from_iterable(map(itertools.pairwise, row)) for row in found),
    )


def label_js(one: Sequence[str], other: Sequence[str], labels: Sequence[str]) -> float:
    """Jensen-Shannon divergence of the distributions of ``labels`` in two samples, in bits, 0 to 1."""
    counts = (np.array([list(sample).count(label) for label in labels]) for sample in (one, other))
    return _jensen_shannon(*counts)


def text_metrics(one: Counts, other: Counts) -> dict[str, float | None]:
    """All metrics on words of rows ``one`` against the reference ``other``, by name.

    The diversity ``distinct_1`` and ``distinct_2`` are those of ``one`` alone.
    """
    return {
        "length_wasserstein": length_wasserstein(one, other),
        "vocabulary_js": vocabulary_js(one, other),
        "oov_share": oov_share(one, other),
        "distinct_1": distinct(one.words),
        "distinct_2": distinct(one.pairs),
    }


def length_wasserstein(one: Counts, other: Counts) -> float:
    """Wasserstein-1 distance of the distributions of a row's length, in words."""
    return float(wasserstein_distance(one.lengths, other.lengths))


def vocabulary_js(one: Counts, other: Counts) -> float | None:
    """Jensen-Shannon divergence of the distributions of words, in bits, 0 to 1; None where one side has no words."""
    first, second = _totals(one), _totals(other)
    used = (first + second) > 0
    return _jensen_shannon(first[used], second[used]) if first.any() and second.any() else None


def oov_share(one: Counts, other: Counts) -> float | None:
    """Share of the running words of ``other`` that no row of ``one`` holds; None where ``other`` has no words."""
    known, used = _totals(one) > 0, _totals(other)
    return float(used[~known].sum() / used.sum()) if used.any() else None


def distinct(counts: csr_array) -> float | None:
    """Different words, or pairs, over all of them (distinct-n, Li et al. 2016); None without any."""
    total = int(counts.sum())
    return len(np.unique(counts.indices)) / total if total else None


def _count(rows: Iterable[Iterable[Hashable]]) -> csr_array:
    columns: dict[Hashable, int] = {}
    indices, ends = list[int](), [0]
    for row in rows:
        indices += (columns.setdefault(item, len(columns)) for item in row)
        ends.append(len(indices))
    shape = (len(ends) - 1, len(columns))
    counts = csr_array((np.ones(len(indices), np.int64), indices, ends), shape=shape)
    counts.sum_duplicates()
    return counts


def _totals(counts: Counts) -> NDArray[np.int64]:
    return np.bincount(counts.words.indices, counts.words.data, counts.words.shape[1])


def _jensen_shannon(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    # SciPy gives the distance, the square root of the divergence.
    return float(jensenshannon(first, second, base=2) ** 2)
