"""How many rows a step of training takes, and how many epochs there are.

Belongs here: what ``epochs``, ``batch_size`` and ``min_steps`` of a student come to for so many rows. Does not belong
here: what a step does (``train.py``), which rows make a batch (``batches.py``).
"""

import math
from dataclasses import dataclass

from s3_assets.tasks.student_spec import StudentSpec

# Batches are not halved below this many rows.
FEWEST_ROWS = 8


@dataclass(frozen=True)
class Steps:
    """``epochs`` of ``per_epoch`` steps, each of at most ``batch_size`` rows."""

    batch_size: int
    per_epoch: int
    epochs: int

    @property
    def total(self) -> int:
        """Steps of all epochs."""
        return self.epochs * self.per_epoch


def planned_steps(rows: int, spec: StudentSpec) -> Steps:
    """Epochs and batches for ``rows`` rows: as ``spec`` has them where they come to ``min_steps``.

    Where they do not, batches are halved, to no fewer than ``FEWEST_ROWS`` rows, and then there are more epochs: it is
    steps at a low rate that keep trainings from ending where they began (Mosbach et al. 2021, "On the Stability of
    Fine-tuning BERT"). Twice the steps of half the rows take 1.2 times as long. Batches of a contrastive student
    are not halved: of half the rows a quarter of the pairs are left.
    """
    size = spec.batch_size
    while spec.kind != "contrastive" and spec.epochs * math.ceil(rows / size) < spec.min_steps and size > FEWEST_ROWS:
        size = max(FEWEST_ROWS, size // 2)
    per_epoch = math.ceil(rows / size)
    return Steps(size, per_epoch, max(spec.epochs, math.ceil(spec.min_steps / per_epoch)))
