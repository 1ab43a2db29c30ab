"""Coverage and density of a reference by synthetic rows, from nearest neighbours.

Belongs here: functions of distances. Does not belong here: vectors of texts (``vectors.py``), which rows are compared
(``halvings.py``).
"""

import numpy as np

from s3_assets.drift.kernels import Floats

# As in the paper.
NEIGHBOURS = 5


def coverage_and_density(within_reference: Floats, between: Floats) -> tuple[float, float] | None:
    """Coverage and density of a reference (Naeem et al. 2020, eq. 3 and 4), k = 5.

    Each reference row has a ball that reaches to its 5th nearest other reference row. Coverage is the share of balls
    that hold a synthetic row, 0 to 1. Density is the number of balls around a synthetic row over 5, on average.

    Takes squared distances within the reference (square, diagonal 0) and between synthetic (rows) and reference
    (columns). None where the reference has fewer than 6 rows or there is no synthetic row.
    """
    if len(within_reference) <= NEIGHBOURS or not len(between):
        return None
    # Place 0 of a row is the row itself.
    reach = np.partition(within_reference, NEIGHBOURS, axis=1)[:, NEIGHBOURS]
    inside = between <= reach
    return float(inside.any(axis=0).mean()), float(inside.sum(axis=1).mean()) / NEIGHBOURS
