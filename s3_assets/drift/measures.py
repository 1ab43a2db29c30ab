"""How far a round's rows are from steering gold and from the rounds before, by every metric.

Belongs here: what is compared with what, and which metrics are taken of it. Does not belong here: the metrics and the
draws (the modules beside this one), vectors of texts (``vectors.py``), storing (``loop/steps.py``, table ``drift``).
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from s3_assets.drift.classifier import c2st_auc
from s3_assets.drift.frechet import Basis, fit_basis, frechet
from s3_assets.drift.halvings import REFERENCE_ROWS, Draw, Figures, Numbers, draw_halvings, summarise
from s3_assets.drift.kernels import Floats, median_distance, mmd2, permutation_p, squared_distances, vendi
from s3_assets.drift.names import GOLD_STEER, ROUNDS_BEFORE
from s3_assets.drift.neighbours import coverage_and_density
from s3_assets.drift.texts import Counts, count_words, label_js, text_metrics
from s3_assets.drift.vectors import Vectors
from s3_assets.store.identity import digest

# Labels with fewer rows on either side are left out.
FEWEST_OF_A_LABEL = 10

# Draws whose rows a classifier is trained on, ten times each: about as long as all other metrics on all draws.
CLASSIFIER_DRAWS = 10

# Synthetic rows in the permutation test: its power is bounded by the reference.
PERMUTED_ROWS = 1000

FIGURES = ("reference", "label", "metric", "value", "ci_low", "ci_high", "floor", "n_ref", "n_syn")


def measure_drift(
    seed_set: pl.DataFrame,
    steer: pl.DataFrame,
    round_: int,
    labels: Sequence[str],
    fields: Sequence[str],
    seed: int,
    vectors: Callable[[pl.DataFrame], Vectors] | None = None,
) -> pl.DataFrame:
    """Every metric of a round (docs/drift.md), in the columns of the table ``drift`` from ``reference`` on.

    ``seed_set`` has the columns ``fields``, label and first_round; ``steer`` the first two. The whole seed set is
    compared with ``steer``, and rows first in ``round_`` with those of rounds before; over all labels and, where there
    are two or more ``labels``, by label. ``vectors`` gives a vector of length 1 for each row of a frame with the
    columns ``fields``; without it metrics on vectors are left out, as are those that too few rows leave undefined. The
    order of rows does not matter, and no group's draws depend on what else is measured.
    """
    rows = _sorted(seed_set, [*fields, "label", "first_round"]), _sorted(steer, [*fields, "label"])
    pool = pl.concat(rows, how="diagonal")
    vectors_of = vectors(pool) if vectors is not None else None
    synthetic = np.arange(seed_set.height)
    gold = np.arange(seed_set.height, pool.height)
    # A second thread only waits: matrices are small and many. This limits libraries that are loaded by now, and SciPy,
    # which the metrics import, has a BLAS of its own.
    with threadpool_limits(1):
        space = None if vectors_of is None else _fit(vectors_of[gold], seed)
        known = _Rows(pool["label"].to_numpy(), count_words(pool.select(fields).iter_rows()), vectors_of)
        first = pool["first_round"].to_numpy()[synthetic]
        compared = [(GOLD_STEER, synthetic, gold)]
        compared.append((ROUNDS_BEFORE, synthetic[first == round_], synthetic[first < round_]))
        found = [
            row
            for reference, one, other in compared
            for row in _compare(known, space, reference, one, other, labels, seed)
        ]
    types = dict.fromkeys(FIGURES[:3], pl.String) | dict.fromkeys(FIGURES[3:7], pl.Float64)
    return pl.DataFrame(found, types | dict.fromkeys(FIGURES[7:], pl.Int64))


@dataclass(frozen=True)
class _Rows:
    """Rows with all that metrics read of them; None in place of vectors where there are none."""

    labels: NDArray[np.object_]
    counts: Counts
    vectors: Vectors | None

    def take(self, rows: Numbers) -> "_Rows":
        return _Rows(
            self.labels[rows], self.counts.take(rows), self.vectors[rows] if self.vectors is not None else None
        )

    @property
    def known_vectors(self) -> Vectors:
        if self.vectors is None:
            raise ValueError("these rows have no vectors")
        return self.vectors

    @cached_property
    def within(self) -> Floats:
        """Squared distances between the rows."""
        return squared_distances(self.known_vectors, self.known_vectors)

    @cached_property
    def basis(self) -> Basis:
        """Principal components of the rows."""
        return fit_basis(self.known_vectors)


@dataclass(frozen=True)
class _Space:
    """What steering gold fixes for all rounds and references: the kernel's width, and the principal components.

    ``basis`` is None where rows are compared with steering gold itself: both halves would lie in the components fitted
    on them and synthetic rows would not, which reads as drift.
    """

    width: float | None
    basis: Basis | None


def _fit(gold: Vectors, seed: int) -> _Space | None:
    if len(gold) < 2:
        return None
    return _Space(median_distance(gold, _random(seed, "width")), fit_basis(gold))


def _compare(
    known: _Rows,
    space: _Space | None,
    reference: str,
    synthetic: Numbers,
    rows: Numbers,
    labels: Sequence[str],
    seed: int,
) -> Iterator[dict[str, object]]:
    """Rows of the table for one reference, over all labels and by label."""
    if space is not None and reference == GOLD_STEER:
        space = replace(space, basis=None)
    for label in (None, *(labels if len(labels) > 1 else ())):
        one, other = synthetic, rows
        if label is not None:
            one, other = (numbers[known.labels[numbers] == label] for numbers in (one, other))
        if min(len(one), len(other)) < (1 if label is None else FEWEST_OF_A_LABEL):
            continue
        draws = draw_halvings(one, other, _random(seed, "halvings", reference, label))
        figures = _figures(known, draws, _Measure(space, labels if label is None and len(labels) > 1 else ()))
        if space is not None and space.width is not None:
            figures |= _test(known, space.width, one, other, _random(seed, "test", reference, label))
        sizes = {"n_ref": len(other), "n_syn": len(one)}
        for metric, found in figures.items():
            yield {"reference": reference, "label": label, "metric": metric, **asdict(found), **sizes}


def _figures(known: _Rows, draws: Sequence[Draw], measure: "_Measure") -> dict[str, Figures]:
    values, floors = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for number, draw in enumerate(draws):
        other = known.take(draw.other)
        for into, rows in ((values, draw.synthetic), (floors, draw.half)):
            if rows is not None:
                found = measure(known.take(rows), other, trained=number < CLASSIFIER_DRAWS)
                for metric, value in found.items():
                    into[metric].append(value)
    return {metric: summarise(found, floors[metric]) for metric, found in values.items()}


@dataclass(frozen=True)
class _Measure:
    """All metrics that are taken of every draw. Without ``labels`` their distribution is not compared."""

    space: _Space | None
    labels: Sequence[str]

    def __call__(self, one: _Rows, other: _Rows, trained: bool) -> Mapping[str, float]:
        """Those that are defined of rows ``one`` against ``other``, by name; ``trained``: of a classifier too."""
        found: dict[str, float | None] = {}
        if self.labels:
            found["label_js"] = label_js(list(one.labels), list(other.labels), self.labels)
        found |= text_metrics(one.counts, other.counts)
        if self.space is not None:
            found |= _vector_metrics(self.space, one, other)
            if trained:
                found["c2st_auc"] = c2st_auc(one.known_vectors, other.known_vectors)
        return {name: value for name, value in found.items() if value is not None}


def _vector_metrics(space: _Space, one: _Rows, other: _Rows) -> dict[str, float | None]:
    first, second = one.known_vectors, other.known_vectors
    basis = space.basis or other.basis
    between = squared_distances(first, second)
    coverage, density = coverage_and_density(other.within, between) or (None, None)
    return {
        "mmd2": None if space.width is None else mmd2(one.within, other.within, between, space.width),
        "frechet": frechet(basis.project(first), basis.project(second)),
        "coverage": coverage,
        "density": density,
        "vendi": vendi(first),
    }


def _test(
    known: _Rows, width: float, synthetic: Numbers, reference: Numbers, rng: np.random.Generator
) -> dict[str, Figures]:
    """The p-value of ``mmd2``, of all rows where they are not too many. It has neither interval nor floor."""
    drawn = [
        known.known_vectors[rng.choice(rows, most, replace=False) if len(rows) > most else rows]
        for rows, most in ((synthetic, PERMUTED_ROWS), (reference, REFERENCE_ROWS))
    ]
    found = permutation_p(drawn[0], drawn[1], width, rng)
    return {} if found is None else {"mmd2_p": Figures(found, None, None, None)}


def _sorted(rows: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    return rows.select(columns).sort(columns)


def _random(seed: int, *names: str | None) -> np.random.Generator:
    """Random numbers of one purpose, the same whatever else is measured."""
    return np.random.default_rng([seed, int(digest(list(names)), 16)])
