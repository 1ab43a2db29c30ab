"""What can be asked of a student of any kind.

Belongs here: the protocols. Does not belong here: the kinds (``model.py``: fine-tuned, ``frozen.py``, ``ensemble.py``),
loading a saved one (``load.py``).
"""

from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray


class AnyStudent(Protocol):
    """A student that can be asked and saved."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What it may say of a row; only ``answer`` where it answers questions."""

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        """What the student says of ``rows``, in their order: columns as ``LabelHead.predict`` describes them."""

    def probabilities(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """Probabilities of its labels, of shape (rows, labels); ``StudentError`` where it answers questions."""

    def write(self, folder: Path) -> None:
        """Write what ``save`` keeps into ``folder``, which is there and empty."""

    def save(self, folder: Path) -> None:
        """Write ``folder``, which appears whole or not at all; ``FileExistsError`` where it exists."""


class SingleStudent(AnyStudent, Protocol):
    """A student that was trained by itself, and is no ensemble."""

    def divide_logits(self, by: float) -> bool:
        """Divide its logits by ``by`` for good: above 1 it is less sure, what it predicts stays.

        False, and it is as it was, where it has none or they cannot be divided.
        """
