"""Near duplicates: rows that have nearly the same words.

Belongs here: finding earlier rows by word overlap. Does not belong here: what is made of it (``overlap.py``, checks,
review).
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from s3_assets.quality.words import jaccard, words

# MinHash in bands: a pair at Jaccard 0.8 is missed once in 260, one at 0.9 never; one at 0.5 is looked at in one case
# of three. More bands would cost memory, 0.1 kB each a row.
_PERMUTATIONS, _BANDS, _SEED = 70, 14, 1


@dataclass(frozen=True)
class Sketch:
    """A row as near duplicates are looked for: the words of each field, and their MinHash.

    ``together``: rows are compared by the words of all fields in one; else field by field.
    """

    fields: tuple[frozenset[str], ...]
    minhash: Any
    together: bool

    @classmethod
    def of(cls, fields: Sequence[Sequence[str]], scope: str = "", *, together: bool = False) -> "Sketch":
        """``fields`` are lists of words. Rows of different scopes share no word, as those given different contexts."""
        import rensa  # 30 ms

        sets = tuple(frozenset(found) for found in fields)
        minhash = rensa.RMinHash(num_perm=_PERMUTATIONS, seed=_SEED)
        if together:
            minhash.update([f"{scope}\0{word}" for word in frozenset().union(*sets)])
        else:
            # Tagged, so that words are compared with those of the same field; the overlap of all is at least the least.
            minhash.update([f"{scope}\0{place}\0{word}" for place, one in enumerate(sets) for word in one])
        return cls(sets, minhash, together)


class Near(NamedTuple):
    """An earlier row that is near: its number, the overlap it is near by, its label, the least overlap of a field."""

    number: int
    overlap: float
    label: str | None
    least: float


class NearIndex:
    """Rows by word overlap: near are those at a Jaccard of at least ``at_least``, all together or in every field."""

    def __init__(self, at_least: float) -> None:
        import rensa  # 30 ms

        self._at_least = at_least
        self._near = rensa.RMinHashLSH(threshold=at_least, num_perm=_PERMUTATIONS, num_bands=_BANDS)
        self._numbers: dict[str, int] = {}
        self._rows: list[tuple[str | None, tuple[array[int], ...]]] = []

    def find(self, row: Sketch, label: str | None = None) -> Iterator[Near]:
        """Earlier rows this near, the first first; with a label, of that label."""
        found = self._near.query(row.minhash)
        if not found:
            return
        known = [frozenset(self._numbers.get(word, word) for word in one) for one in row.fields]
        for number in sorted(set(found)):
            its, stored = self._rows[number]
            if label is not None and its != label:
                continue
            fields = [frozenset(one) for one in stored]
            least = min((jaccard(own, other) for own, other in zip(known, fields, strict=True)), default=0.0)
            overlap = jaccard(frozenset().union(*known), frozenset().union(*fields)) if row.together else least
            if overlap >= self._at_least:
                yield Near(number, overlap, its, least)

    def add(self, row: Sketch, label: str | None = None) -> None:
        """Take a row into account from now on; rows are numbered from 0."""
        self._near.insert(len(self._rows), row.minhash)
        # Numbers instead of words: a tenth of the memory.
        numbers = self._numbers
        cut = tuple(array("I", (numbers.setdefault(word, len(numbers)) for word in one)) for one in row.fields)
        self._rows.append((label, cut))


def near_pairs(rows: pl.DataFrame, fields: Sequence[str], at_least: float) -> list[tuple[int, int, float]]:
    """Rows with an earlier row this near, whatever their labels: numbers of both, the earlier first, and Jaccard."""
    index, found = NearIndex(at_least), list[tuple[int, int, float]]()
    for number, row in enumerate(rows.select(fields).iter_rows()):
        sketch = Sketch.of([words(text) for text in row])
        found += [(near.number, number, near.overlap) for near in index.find(sketch)]
        index.add(sketch)
    return found


def count_near_duplicates(rows: pl.DataFrame, fields: Sequence[str], at_least: float) -> int:
    """Rows with an earlier row this near, whatever their labels."""
    return len({number for _, number, _ in near_pairs(rows, fields, at_least)})
