"""Texts and pairs of texts as features that do not change in training.

Belongs here: joining the vectors of a pair. Does not belong here: vectors of single texts (``embeddings.py``), what is
fitted on features (``logistic.py``, ``quality/ensemble.py``).
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]

# Vectors of single texts, float32 of shape (texts, width): ``embeddings.embed``, or what was kept of it.
Embed = Callable[[Sequence[str]], Features]

SINGLE = ("u",)
PAIR = ("u", "v", "|u-v|", "u*v")


def are_pairs(texts: Sequence[tuple[str | None, str | None]]) -> bool:
    """Whether any of ``texts`` has a second one."""
    return any(text2 is not None for _, text2 in texts)


def text_features(texts: Sequence[tuple[str | None, str | None]], embed: Embed, pairs: bool | None = None) -> Features:
    """Vectors of the texts; of a pair u, v, |u - v| and u * v side by side (Conneau et al. 2017, InferSent).

    Shape (texts, width), or (texts, 4 * width) with ``pairs``; None: what ``texts`` are. A missing text is empty.
    """
    first = [text or "" for text, _ in texts]
    if not (are_pairs(texts) if pairs is None else pairs):
        return embed(first)
    both = embed([*first, *(text2 or "" for _, text2 in texts)])
    u, v = both[: len(texts)], both[len(texts) :]
    return np.concatenate([u, v, np.abs(u - v), u * v], axis=1)
