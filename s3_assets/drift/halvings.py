"""Halvings of a reference: metrics that depend on the number of rows are measured, and their floors, on equal numbers.

Belongs here: which rows are compared in each draw, and a metric's value, interval and floor from its draws. Does not
belong here: the metrics (the modules beside this one).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HALVINGS = 50

# A smaller reference is not halved.
SMALLEST_HALVED = 4

# Of a larger reference so many rows are drawn first: halves of 300 rows are compared in milliseconds. Of the synthetic
# rows too where the reference is not halved: memory grows with their square.
REFERENCE_ROWS = 600

Numbers = NDArray[np.intp]


@dataclass(frozen=True)
class Draw:
    """Numbers of the rows of one draw: ``synthetic`` and ``half`` are each compared with ``other``.

    ``half`` is None where the reference is too small to be halved.
    """

    synthetic: Numbers
    half: Numbers | None
    other: Numbers


@dataclass(frozen=True)
class Figures:
    """A metric over all draws: mean value, 95% interval, and mean between halves of the reference."""

    value: float
    ci_low: float | None
    ci_high: float | None
    floor: float | None


def draw_halvings(synthetic: Numbers, reference: Numbers, rng: np.random.Generator) -> list[Draw]:
    """Random halvings of ``reference``, each with as many synthetic rows as a half has, in random order.

    Halves have ``len(reference) // 2`` rows. A draw has at most half of the synthetic rows (at least one), so that
    these vary too, and ``half`` is cut to as many. A reference of fewer than 4 rows gives one draw of all rows,
    without a half, and of at most 600 synthetic ones.
    """
    if len(reference) < SMALLEST_HALVED:
        if len(synthetic) > REFERENCE_ROWS:
            synthetic = rng.choice(synthetic, REFERENCE_ROWS, replace=False)
        return [Draw(synthetic, None, reference)]
    if len(reference) > REFERENCE_ROWS:
        reference = rng.choice(reference, REFERENCE_ROWS, replace=False)
    size = len(reference) // 2
    drawn = max(1, min(size, len(synthetic) // 2))
    found = []
    for _ in range(HALVINGS):
        mixed = rng.permutation(reference)
        chosen = rng.choice(synthetic, drawn, replace=False)
        found.append(Draw(chosen, mixed[:drawn], mixed[size : 2 * size]))
    return found


def summarise(values: Sequence[float], floors: Sequence[float]) -> Figures:
    """Figures of a metric from its values of each draw and those of the reference's halves, which may be none.

    Half of the rows without replacement vary around the sample as the whole sample varies around its population (the
    delete-half jackknife, Shao & Wu 1989), so the percentiles of ``values`` reflect that the reference is a sample of
    its own size, and so are the synthetic rows where draws have half of them. Without floors there is no interval.
    """
    if not floors:
        return Figures(float(np.mean(values)), None, None, None)
    low, high = np.percentile(values, (2.5, 97.5))
    return Figures(float(np.mean(values)), float(low), float(high), float(np.mean(floors)))
