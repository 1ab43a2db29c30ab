"""Texts as words: what gates, shortcuts and overlaps compare.

Belongs here: cutting text into words, overlap of two texts. Does not belong here: equality of texts
(``tasks/split.py``), gates (the modules beside this one).
"""

import re
from collections.abc import Set as AbstractSet

# Scripts written without spaces: each character counts as a word.
_UNSPACED = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")


def words(text: str) -> list[str]:
    """Words of a text in order, without case and punctuation."""
    return _WORD.findall(text.casefold())


def jaccard(one: AbstractSet[object], other: AbstractSet[object]) -> float:
    """Share of the words of two texts that both have, 0 to 1; two texts without words are alike."""
    either = len(one | other)
    return len(one & other) / either if either else 1.0
