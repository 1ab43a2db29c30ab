"""Which epoch of a training is kept.

Belongs here: comparing epochs by what they came to on selecting gold. Does not belong here: when a difference counts
(``clearly_worse.py``), training (``train.py``), predicting selecting gold (``model.py``).
"""

import math
from collections.abc import Sequence

from s3_assets.student.clearly_worse import clearly_worse

# Higher is better: an epoch's measure on selecting gold, then its loss with the sign turned.
Rank = tuple[float, float]


class BestEpoch:
    """The epoch to keep: the latest one that is not clearly worse on selecting gold than the best.

    Clearly is by more than one standard error of the mean difference, over rows (the one-standard-error rule of
    Breiman et al. 1984, towards the end of training): the rate falls to 0, so later epochs are better unless gold
    says otherwise, and which of three is highest on 100 rows says little. ``epoch`` is the one to keep, ``best`` the
    highest ranked, both from 1 and 0 before any.
    """

    def __init__(self) -> None:
        self.epoch = self.best = 0
        self._rank: Rank = (-math.inf, -math.inf)
        self._measures: Sequence[float] = ()

    def take(self, epoch: int, rank: Rank, measures: Sequence[float]) -> bool:
        """Whether ``epoch`` is to be kept in place of those before; ``measures`` has one value per selecting row."""
        if rank > self._rank:
            self.best, self._rank, self._measures = epoch, rank, measures
        elif clearly_worse(measures, self._measures):
            return False
        self.epoch = epoch
        return True
