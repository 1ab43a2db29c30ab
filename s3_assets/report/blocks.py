"""What a page is made of: sections of sentences, pictures and tables, and how numbers are written in them.

Belongs here: values the template shows. Does not belong here: what they say (``sections.py``), the template.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

NOTHING = "-"

_USES = {"steer": "steering", "select": "selecting", "test": "test"}


@dataclass(frozen=True)
class DataTable:
    """A table of text. The first column names its rows; the others hold numbers unless they are among ``words``."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Picture:
    """A picture. ``small`` ones stand side by side."""

    markup: Markup
    small: bool = False


@dataclass(frozen=True)
class Block:
    """One section. ``left_out`` says why it has neither picture nor table."""

    name: str
    heading: str
    says: str
    pictures: list[Picture] = field(default_factory=list)
    tables: list[DataTable] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: str | None = None


def percent(share: float | None) -> str:
    """A share as percent with one decimal."""
    return NOTHING if share is None else f"{100 * share:.1f}"


def number(value: float | None, digits: int = 0) -> str:
    """With thousands and so many decimals."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def rows_of_gold(rows: Mapping[str, int]) -> str:
    """How many rows of gold each use has; ``rows`` are by split."""
    return ", ".join(f"{number(rows[split])} {use}" for split, use in _USES.items())


def measured(value: float | None) -> str:
    """A value of a metric: three decimals, or three digits where it is smaller."""
    if value is None:
        return NOTHING
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.01 else f"{value:.3g}"


def dollars(value: float | None) -> str:
    """US dollars."""
    return "not known" if value is None else f"{value:,.4f}"
