"""Which of its three uses a gold row is put to.

Belongs here: the assignment of rows to splits by a hash of the text. Does not belong here: reading gold files
(``gold.py``).
"""

import hashlib
import unicodedata

from s3_assets.tasks.gold_spec import SplitSpec

# Below this many rows a test split would measure nothing; its rows go to the other two uses instead.
FEWEST_ROWS_FOR_TEST = 60


def normalise(text: str) -> str:
    """Text as compared for equality: case, whitespace and how accents are encoded do not matter."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def assign_split(text: str, shares: SplitSpec, with_test: bool) -> str:
    """``steer``, ``select`` or ``test`` for a row, by a hash of its (first) text.

    Labels and other rows play no part, so adding or relabelling rows never moves others. Pairs with the same first
    text stay together. Without a test split its share is divided between the other two in their proportions.
    """
    place = _unit(normalise(text))
    if place < shares.steer:
        return "steer"
    if place < shares.steer + shares.select:
        return "select"
    if with_test:
        return "test"
    within = (place - shares.steer - shares.select) / shares.test
    return "steer" if within < shares.steer / (shares.steer + shares.select) else "select"


def _unit(text: str) -> float:
    """A number in [0, 1) that follows from the text alone."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
