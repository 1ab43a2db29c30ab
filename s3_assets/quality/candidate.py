"""What gates look at and what they answer.

Belongs here: the row under judgement, a refusal, the shape of a gate. Does not belong here: any gate (``texts.py``,
``language.py``, ``overlap.py``), their order (``gates.py``).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from s3_assets.quality.near import Sketch
from s3_assets.quality.words import words
from s3_assets.tasks.split import normalise


@dataclass(frozen=True)
class Refusal:
    """Why a row is not accepted. ``value`` is the number it goes by, where there is one."""

    gate: str
    reason: str
    value: float | None = None


@dataclass(frozen=True)
class Candidate:
    """A row that may be accepted. ``written`` names the fields that the teacher wrote; others were given to it.

    ``answer_start`` is the place of the answer in the context, None where it was not found.
    """

    texts: Mapping[str, str]
    written: tuple[str, ...]
    label: str | None = None
    answer: str | None = None
    answer_start: int | None = None

    @cached_property
    def words(self) -> dict[str, list[str]]:
        """Words of each field."""
        return {name: words(text) for name, text in self.texts.items()}

    @cached_property
    def key(self) -> tuple[str, ...]:
        """Texts as compared for equality."""
        return tuple(normalise(text) for text in self.texts.values())

    @cached_property
    def sketch(self) -> Sketch:
        """The whole row, to look for near duplicates."""
        return Sketch.of(list(self.words.values()))

    @cached_property
    def own_sketch(self) -> Sketch:
        """What the teacher wrote, to be compared with rows that were given the same.

        Two texts that it wrote both are compared together: a pair turned round says little new.
        """
        given = [normalise(text) for name, text in self.texts.items() if name not in self.written]
        if not given and len(self.written) == 1:
            return self.sketch
        own = [self.words[name] for name in self.written]
        return Sketch.of(own, "\0".join(given), together=len(own) > 1)


class Gate(Protocol):
    """One reason to refuse a row. Gates are asked in order; the first refusal counts."""

    def refuse(self, row: Candidate) -> Refusal | None:
        """The refusal, or None when the gate has nothing against the row."""


class Remembers(Protocol):
    """A gate that compares rows with those accepted before."""

    def remember(self, row: Candidate) -> None:
        """Take an accepted row into account from now on."""


def natural(pattern_holds: Iterable[bool], most: float) -> bool:
    """Whether something holds for more than ``most`` of gold's rows, so that it is no fault of a teacher's row."""
    found = list(pattern_holds)
    return bool(found) and sum(found) / len(found) > most
