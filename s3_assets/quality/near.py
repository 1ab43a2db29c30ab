"""Near duplicates: rows that have nearly the same words.

Belongs here: finding earlier rows by word overlap. Does not belong here: what is made of it (``overlap.py``, checks,
review).
"""

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import polars as pl

from s3_assets.quality.words import words

# Words of a row as bits, to see without counting that two rows cannot overlap enough. A word hides behind another in
# one case of 10 to 20.
_BITS = 128

# Fewer rows than this are compared one by one, which is quicker than NumPy.
_FEW = 12

# Words are put in order anew when so many rows a row were looked at since: as much work as the ordering.
_LOOKED_AT = 200

# What rows without words are listed under.
_NO_WORD = -1

# Two multiples of a threshold that are equal may differ by rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Sketch:
    """A row as near duplicates are looked for: the words of each field.

    ``together``: rows are compared by the words of all fields in one; else field by field.
    """

    fields: tuple[frozenset[str], ...]
    scope: int
    together: bool

    @classmethod
    def of(cls, fields: Sequence[Sequence[str]], scope: str = "", *, together: bool = False) -> "Sketch":
        """``fields`` are lists of words. Rows of different scopes share no word, as those given different contexts."""
        return cls(tuple(frozenset(found) for found in fields), hash(scope) if scope else 0, together)

    @cached_property
    def marked(self) -> tuple[frozenset[str], ...]:
        """The fields; unless these go together, words of later ones are marked, as words are compared by field."""
        if self.together:
            return self.fields
        later = (frozenset(f"{place}\0{word}" for word in one) for place, one in enumerate(self.fields) if place)
        return *self.fields[:1], *later

    @cached_property
    def all_words(self) -> frozenset[str]:
        """Words of all fields. Where these do not go together the overlap of all is at least the least of a field."""
        return self.marked[0] if len(self.marked) == 1 else frozenset().union(*self.marked)

    @cached_property
    def bits(self) -> bytes:
        """All words as ``_BITS`` bits."""
        found = 0
        for word in self.all_words:
            found |= 1 << (hash(word) % _BITS)
        return found.to_bytes(_BITS // 8, "little")


class Near(NamedTuple):
    """An earlier row that is near: its number, the overlap it is near by, its label, the least overlap of a field."""

    number: int
    overlap: float
    label: str | None
    least: float


class NearIndex:
    """Rows by word overlap: near are those at a Jaccard of at least ``at_least``, all together or in every field.

    None is missed: in one order of all words, two near rows have one of their first n - ``at_least`` n + 1 words in
    common, n being the words of a row (prefix filter; Bayardo et al. 2007). A row is listed under these words alone,
    the rarest first, so that rows of one template are found by what fills it and not by the template. Rows on a list
    are compared by size and by bits (Sandes et al. 2020), and what is left word by word.

    100,000 rows: of one template of 11 words with 3,000 words to fill it 18 s, of 18 words as in the demo 30 s, looked
    for and added; 0.2 and 0.4 kB a row.
    """

    def __init__(self, at_least: float) -> None:
        self._at_least = at_least
        self._labels: list[str | None] = []
        # Rows one after the other: words of their fields as numbers, where each field ends, number of all words, scope.
        self._numbers: dict[str, int] = {}
        self._words, self._ends, self._counts = array("I"), array("Q", [0]), array("I")
        self._bits, self._scopes = array("Q"), array("q")
        # By number of a word: its place in the order, words that came after the last ordering the first of all.
        self._order = array("q")
        self._listed: dict[int, array[int]] = {}
        self._looked_at = 0

    def find(self, row: Sketch, label: str | None = None) -> Iterator[Near]:
        """Earlier rows this near, the first first; with a label, of that label."""
        if self._looked_at > _LOOKED_AT * len(self._labels):
            self._put_in_order(len(row.fields))
        keys = self._keys(row.scope, self._first(row.all_words))
        lists = [listed for key in keys if (listed := self._listed.get(key)) is not None]
        likely = self._likely(row, lists) if lists else ()
        if not likely:
            return
        own = [{number for word in one if (number := self._numbers.get(word)) is not None} for one in row.marked]
        for number in likely:
            if self._scopes[number] == row.scope and (label is None or label == self._labels[number]):
                near = self._compared(number, row, own)
                if near.overlap >= self._at_least:
                    yield near

    def add(self, row: Sketch, label: str | None = None) -> None:
        """Take a row into account from now on; rows are numbered from 0."""
        for one in row.marked:
            for word in one:
                number = self._numbers.setdefault(word, len(self._numbers))
                if number == len(self._order):
                    self._order.append(-1 - number)
                self._words.append(number)
            self._ends.append(len(self._words))
        self._labels.append(label)
        self._scopes.append(row.scope)
        self._counts.append(len(row.all_words))
        self._bits.frombytes(row.bits)
        self._list(len(self._labels) - 1, self._first(row.all_words))

    def _first(self, all_words: AbstractSet[str]) -> list[int]:
        """Numbers of the words that a row is listed under and looked for; words that no earlier row has have none."""
        if not all_words:
            return [_NO_WORD]
        known = [number for word in all_words if (number := self._numbers.get(word)) is not None]
        listed = self._prefix(len(all_words)) - (len(all_words) - len(known))
        return sorted(known, key=self._order.__getitem__)[:listed] if listed > 0 else []

    def _prefix(self, count: int) -> int:
        return count - math.ceil(self._at_least * count - _ROUNDING) + 1

    def _keys(self, scope: int, numbers: Iterable[int]) -> Iterable[int]:
        return (hash((scope, number)) for number in numbers) if scope else numbers

    def _list(self, row: int, numbers: Iterable[int]) -> None:
        for key in self._keys(self._scopes[row], numbers):
            listed = self._listed.get(key)
            if listed is None:
                self._listed[key] = array("I", [row])
            else:
                listed.append(row)

    def _likely(self, row: Sketch, lists: "Sequence[array[int]]") -> Sequence[int]:
        """Rows on the lists that may be near, in order."""
        import numpy as np  # 0.2 s

        size, count = len(row.all_words), sum(map(len, lists))
        fewest, most = self._at_least * size - _ROUNDING, size / self._at_least + _ROUNDING
        if count <= _FEW:
            counts = self._counts
            return sorted({number for listed in lists for number in listed if fewest <= counts[number] <= most})
        self._looked_at += count
        found = np.concatenate([np.frombuffer(listed, dtype=np.uint32) for listed in lists])
        sizes = np.frombuffer(self._counts, dtype=np.uint32)[found]
        alike = (sizes >= fewest) & (sizes <= most)
        found, both = found[alike], sizes[alike] + float(size)
        shared = np.ceil(self._at_least / (1 + self._at_least) * both - _ROUNDING)
        bits = np.frombuffer(self._bits, dtype=np.uint64).reshape(-1, _BITS // 64)[found]
        differ = np.bitwise_count(bits ^ np.frombuffer(row.bits, dtype=np.uint64)).sum(axis=1)
        likely: list[int] = np.unique(found[differ <= both - 2 * shared]).tolist()
        return likely

    def _compared(self, number: int, row: Sketch, own: Sequence[set[int]]) -> Near:
        ends = self._ends[number * len(own) : (number + 1) * len(own) + 1]
        overlaps = [
            _share(one, len(field), self._words[start:end], end - start)
            for one, field, start, end in zip(own, row.fields, ends[:-1], ends[1:], strict=True)
        ]
        least = overlap = min(overlaps, default=0.0)
        if row.together and len(own) > 1:
            theirs = self._words[ends[0] : ends[-1]]
            overlap = _share(set().union(*own), len(row.all_words), theirs, self._counts[number])
        return Near(number, overlap, self._labels[number], least)

    def _put_in_order(self, fields: int) -> None:
        """List all rows anew, by how many rows now have each word."""
        import numpy as np  # 0.2 s

        has = np.bincount(np.frombuffer(self._words, dtype=np.uint32), minlength=len(self._numbers))
        self._order = array("q", np.argsort(np.argsort(has, kind="stable")).astype(np.int64).tobytes())
        self._listed, self._looked_at = {}, 0
        for row in range(len(self._labels)):
            has_words = set(self._words[self._ends[row * fields] : self._ends[(row + 1) * fields]])
            first = sorted(has_words, key=self._order.__getitem__)[: self._prefix(len(has_words))]
            self._list(row, first or [_NO_WORD])


def near_pairs(rows: pl.DataFrame, fields: Sequence[str], at_least: float) -> list[tuple[int, int, float]]:
    """Rows with an earlier row this near, whatever their labels: numbers of both, the earlier first, and Jaccard."""
    return [(near.number, number, near.overlap) for number, found in _nears(rows, fields, at_least) for near in found]


def count_near_duplicates(rows: pl.DataFrame, fields: Sequence[str], at_least: float) -> int:
    """Rows with an earlier row this near, whatever their labels."""
    return sum(next(found, None) is not None for _, found in _nears(rows, fields, at_least))


def _nears(rows: pl.DataFrame, fields: Sequence[str], at_least: float) -> Iterator[tuple[int, Iterator[Near]]]:
    index = NearIndex(at_least)
    for number, row in enumerate(rows.select(fields).iter_rows()):
        sketch = Sketch.of([words(text) for text in row])
        yield number, index.find(sketch)
        index.add(sketch)


def _share(own: set[int], count: int, other: "array[int]", other_count: int) -> float:
    """Jaccard of two sets of words; ``count`` and ``other_count`` are of distinct words, known or not."""
    shared = len(own.intersection(other))
    either = count + other_count - shared
    return shared / either if either else 1.0
