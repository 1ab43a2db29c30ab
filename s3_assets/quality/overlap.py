"""Gates that compare rows: with gold, with the example shown, with rows accepted before.

Belongs here: exact copies, shared word sequences, near duplicates. Does not belong here: gates on one
row alone (``texts.py``), the order of gates (``gates.py``).
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from s3_assets.quality.candidate import Candidate, Refusal
from s3_assets.quality.near import NearIndex, Sketch
from s3_assets.quality.words import words, words_for
from s3_assets.tasks.split import normalise

GOLD_COPY, HELD_OUT, ECHO = "gold_copy", "held_out_gold", "echo"
DUPLICATE, NEAR_DUPLICATE = "duplicate", "near_duplicate"

# Words in a row that two texts share only when one has them from the other (Brown et al. 2020, GPT-3, appendix C).
GRAM = 13

# Near duplicates of held-out gold are refused from here on, whatever the task says of others.
HELD_OUT_OVERLAP = 0.8


class Grams:
    """Sequences of ``GRAM`` words of some texts, 8 bytes each."""

    def __init__(self, texts: Iterable[str]) -> None:
        import numpy as np  # 0.2 s

        found = array("q")
        for text in texts:
            found.extend(_grams(words(text)))
        self._sorted = np.unique(np.frombuffer(found, dtype=np.int64)) if found else np.empty(0, dtype=np.int64)

    def any_of(self, found: Sequence[str]) -> bool:
        """Whether a text, as words, shares a sequence with them."""
        import numpy as np  # 0.2 s

        if not len(self._sorted) or len(found) < GRAM:
            return False
        own = np.fromiter(_grams(found), dtype=np.int64)
        places = np.searchsorted(self._sorted, own)
        return bool((self._sorted[np.minimum(places, len(self._sorted) - 1)] == own).any())


class HeldOutTexts:
    """First texts of selecting and test gold: contexts that overlap them may not be written for."""

    def __init__(self, gold: pl.DataFrame) -> None:
        texts = gold.filter(pl.col("split") != "steer")["text"].unique(maintain_order=True)
        self._same = {normalise(text) for text in texts}
        self._grams = Grams(texts)
        self._near = NearIndex(HELD_OUT_OVERLAP)
        for text in texts:
            self._near.add(Sketch.of([words(text)]))

    def overlap(self, text: str) -> bool:
        """Whether a text is one of them, shares ``GRAM`` words in a row with one, or has nearly the same words."""
        found = words(text)
        return (
            normalise(text) in self._same
            or self._grams.any_of(found)
            or next(self._near.find(Sketch.of([found])), None) is not None
        )


class GoldOverlap:
    """Rows that come from gold: copies of any gold text, and overlap with the text of selecting and test gold.

    Of test gold the texts are read, never the labels, and only to refuse rows.
    """

    def __init__(
        self, gold: pl.DataFrame, fields: tuple[str, ...], written: tuple[str, ...], echo: float | None
    ) -> None:
        held_out = gold.filter(pl.col("split") != "steer")
        self._copies = gold_texts(gold, fields)
        self._grams = Grams(text for row in held_out.select(fields).iter_rows() for text in row)
        self._held_out = NearIndex(HELD_OUT_OVERLAP)
        for row in held_out.select(fields).iter_rows():
            self._held_out.add(Sketch.of([words(text) for text in row]))
        self._steer = (
            None if echo is None else _Steering(gold.filter(pl.col("split") == "steer"), fields, written, echo)
        )

    def refuse(self, row: Candidate) -> Refusal | None:
        """Refused as a copy, as overlapping held-out gold, or as nearly the same as a steering row."""
        split = self._copies.get(row.key)
        if split is not None:
            return Refusal(GOLD_COPY if split == "steer" else HELD_OUT, f"the same text is in {split} gold")
        if any(self._grams.any_of(found) for found in row.words.values()):
            return Refusal(HELD_OUT, f"shares {GRAM} words in a row with selecting or test gold")
        near = next(self._held_out.find(row.sketch), None)
        if near is not None:
            reason = f"nearly the same as a row of selecting or test gold ({near.overlap:.2f})"
            return Refusal(HELD_OUT, reason, near.overlap)
        return None if self._steer is None else self._steer.refuse(row)


class NearDuplicates:
    """Rows that repeat an earlier row: the same text, or with ``at_least`` nearly the same words.

    A row each text of which is nearly that of a row with another label is a contrast, which teaches what the label
    hangs on, and is let through.
    """

    def __init__(self, at_least: float | None) -> None:
        # Accepted texts, with their numbers among the near ones.
        self._seen: dict[tuple[str, ...], int] = {}
        self._count, self._taken_back = 0, set[int]()
        self._at_least, self._near = at_least or 1.0, None if at_least is None else NearIndex(at_least)

    def refuse(self, row: Candidate) -> Refusal | None:
        """Refused when an accepted row is the same or nearly so."""
        if row.key in self._seen:
            return Refusal(DUPLICATE, "the same text is in the set already")
        for near in self._near.find(row.own_sketch) if self._near is not None else ():
            if near.number in self._taken_back:
                continue
            if near.label == row.label or near.least < self._at_least:
                return Refusal(NEAR_DUPLICATE, f"nearly the same as an earlier row ({near.overlap:.2f})", near.overlap)
        return None

    def remember(self, row: Candidate) -> None:
        """Take an accepted row into account."""
        self._seen[row.key] = self._count
        self._count += 1
        if self._near is not None:
            self._near.add(row.own_sketch, row.label)

    def forget(self, row: Candidate) -> None:
        """Take an accepted row into account no longer."""
        number = self._seen.pop(row.key, None)
        if number is not None:
            self._taken_back.add(number)


class _Steering:
    """Echoes: rows nearly the same as a steering row with the same label."""

    def __init__(self, steer: pl.DataFrame, fields: tuple[str, ...], written: tuple[str, ...], at_least: float) -> None:
        self._near = NearIndex(at_least)
        for row in steer.iter_rows(named=True):
            gold = Candidate({name: row[name] for name in fields}, written, row["label"])
            self._near.add(gold.own_sketch, gold.label)

    def refuse(self, row: Candidate) -> Refusal | None:
        near = next(self._near.find(row.own_sketch, row.label), None)
        if near is None:
            return None
        return Refusal(ECHO, f"nearly the same as a steering row ({near.overlap:.2f})", near.overlap)


def gold_texts(gold: pl.DataFrame, fields: tuple[str, ...]) -> dict[tuple[str, ...], str]:
    """Normalised texts of all gold rows, with their split. Labels are not read."""
    return {text_key(row, fields): row["split"] for row in gold.select(*fields, "split").iter_rows(named=True)}


def text_key(row: Mapping[str, Any], fields: Sequence[str]) -> tuple[str, ...]:
    """Texts of a row as compared for equality."""
    return tuple(normalise(row[name]) for name in fields)


def _grams(found: Sequence[str]) -> Iterator[int]:
    for start in range(len(found) - GRAM + 1):
        end = start + words_for(GRAM, found[start])
        if end <= len(found):
            yield hash(tuple(found[start:end]))
