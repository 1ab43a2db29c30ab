"""Whether one student is clearly worse than another on the same rows of gold.

Belongs here: the one rule for it. Does not belong here: what is compared, epochs (``best_epoch.py``) and rounds
(``loop/best_student.py``), and whether another round pays (``loop/stop.py``).
"""

import math
from collections.abc import Sequence

import numpy as np

# A difference of one standard error is one, whatever its last digit.
ROUNDING = 1e-9


def clearly_worse(measures: Sequence[float], others: Sequence[float]) -> bool:
    """Whether ``measures`` are lower than ``others`` of the same rows by more than one standard error of the mean.

    That is the one-standard-error rule of Breiman et al. 1984, of paired differences. Where there is no row, nothing
    speaks for ``measures``: they are worse.
    """
    if not len(measures):
        return True
    lost = np.asarray(others, dtype=float) - np.asarray(measures, dtype=float)
    error = lost.std(ddof=1) / math.sqrt(lost.size) if lost.size > 1 else 0.0
    return bool(lost.mean() > error * (1 + ROUNDING))
