"""Repairs: what a teacher puts around a text is taken off, so that the text itself can be used.

Belongs here: wrapping quotes, leading labels, Markdown, list marks, stray spaces. Does not belong here: refusing rows
(``gates.py``).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import polars as pl

from s3_assets.tasks.load import Task

QUOTES, LEAD, MARKDOWN, SPACES = "quotes", "lead", "markdown", "spaces"

# What more of steering gold has than this is how its texts look, and is left as it is.
NATURAL_SHARE = 0.05

# A lead may hide a quote, and a quote a lead.
MOST_PASSES = 4

_PAIRS = {'"': '"', "\u201c": "\u201d", "\u201e": "\u201c", "\u201d": "\u201d", "\u00ab": "\u00bb", "\u00bb": "\u00ab"}
_PAIRS |= {"\u2018": "\u2019", "'": "'", "`": "`", "\u300c": "\u300d", "\u300e": "\u300f"}

# What teachers call the thing they were asked for. Not "title" or "message", which texts begin with themselves.
_NAMES = (
    "text|texts|review|sentence|example|sample|statement|utterance|premise|hypothesis|context|question|answer|passage|"
    "first text|second text|new example|rewritten|rephrased|paraphrase"
)

# After "3." these make a date of it, and small letters an ordinal in many languages.
_MONTHS = (
    "januar[iy]?|j\u00e4nner|februar[iy]?|m\u00e4rz|marts|mars|april|mai|maj|juni|juli|august[ij]?|september|o[kc]tober|november|"
    "de[szc]ember"
)

_BULLET = re.compile(
    r"^(?:\*\s+(?![*\d])|\u2022\s+|[-\u2013\u2014]\s+(?!\d)|\(?\d{1,3}\)\s+"
    rf"|\d{{1,3}}\.\s+(?![\da-z])(?!(?i:{_MONTHS})\b))(?=\S)"
)
_HEADING = re.compile(r"^(?:#{2,6}\s+|#\s+(?!\d))")
_WRAPPED_MARK = re.compile(
    r"^(?:(?P<stars>\*{1,3})(?=\S)(?=[^*]*\w)(?P<starred>[^*]+)(?<=\S)(?P=stars)"
    r"|(?P<code>```|``)(?=\S)(?=[^`]*\w)(?P<coded>[^`]+)(?<=\S)(?P=code))$"
)
_INLINE_MARK = re.compile(r"(?<![\w*])\*\*(?=\S)([^*]+)(?<=\S)\*\*(?![\w*])|(?<!\w)__(?=[^\s_])([^_]+)(?<=\S)__(?!\w)")
_UNSEEN = re.compile(r"[\u200b\u200e\u200f\u2060\ufeff\x00-\x08\x0b\x0c\x0e-\x1f]")
_GAPS = re.compile(r"[^\S\n]{2,}|[\u00a0\u2007\u202f]|\n{3,}|[^\S\n]+\n")

_MARKS = frozenset("#*_`-\u2013\u2014\u2022(")

_Repair = Callable[[str], str]


class Repairs:
    """The repairs of one task. A repair that would change more than ``NATURAL_SHARE`` of steering gold is not made."""

    def __init__(self, by_field: Mapping[str, Sequence[tuple[str, _Repair]]]) -> None:
        self._by_field = by_field

    def apply(self, field: str, text: str) -> tuple[str, tuple[str, ...]]:
        """The text without what is around it, and what was taken off; space at both ends always goes, unnamed."""
        repaired, made = text.strip(), dict[str, None]()
        for _ in range(MOST_PASSES):
            before = repaired
            for name, repair in self._by_field.get(field, ()):
                after = repair(repaired).strip()
                # A repair must not eat the text: "***" stays for the gates to see.
                if after and after != repaired:
                    repaired = after
                    made[name] = None
            if repaired == before:
                break
        return repaired, tuple(made)


def repairs_of(task: Task, steer: pl.DataFrame) -> Repairs:
    """The repairs a task asks for, by the look of its steering gold."""
    if not task.spec.gates.repair:
        return Repairs({})
    known = (
        (SPACES, _without_gaps),
        (LEAD, _without(_lead(task))),
        (MARKDOWN, _without_markdown),
        (QUOTES, without_quotes),
    )
    return Repairs(
        {
            field: [(name, repair) for name, repair in known if not _is_natural(repair, steer[field])]
            for field in task.spec.text_fields
        }
    )


def without_quotes(text: str) -> str:
    """The text without the quotes around it, or without the only one at its begin or end."""
    if len(text) < 2:
        return text
    first, last = text[0], text[-1]
    inner = text[1:-1]
    if _PAIRS.get(first) == last and inner.strip() and _wraps(first, last, inner):
        return inner
    if first in _PAIRS and first != "'" and not any(mark in text[1:] for mark in (first, _PAIRS[first])):
        return text[1:]
    # After a digit it stands for inches.
    closes = last in _PAIRS.values() and last not in "'\u2019" and not inner[-1:].isdigit()
    if closes and not any(mark in text[:-1] for mark in _opening(last)):
        return text[:-1]
    return text


def _wraps(first: str, last: str, inner: str) -> bool:
    """Whether the outer quotes belong together: in ``"One" and "two"`` they do not."""
    if first != last:
        return inner.count(first) == inner.count(last) and (first not in inner or inner.find(first) < inner.find(last))
    place = inner.find(first)
    if first == "'":
        # Apostrophes within words are no quotes.
        place = next((m.start() for m in re.finditer(r"(?<!\w)'|'(?!\w)", inner)), -1)
    # The first quote within must open another quotation, else it closes the outer one.
    return place < 0 or place == 0 or inner[place - 1].isspace()


def _opening(closing: str) -> list[str]:
    return [mark for first, last in _PAIRS.items() if last == closing for mark in (first, last)]


def _without_gaps(text: str) -> str:
    def gap(found: re.Match[str]) -> str:
        return "\n\n" if found[0].startswith("\n") else "\n" if found[0].endswith("\n") else " "

    return _GAPS.sub(gap, _UNSEEN.sub("", text))


def _without_markdown(text: str) -> str:
    # Most texts have none of it.
    if not (_MARKS & set(text)) and not text[:1].isdigit():
        return text
    marked = _HEADING.sub("", _BULLET.sub("", text))
    wrapped = _WRAPPED_MARK.match(marked)
    return _INLINE_MARK.sub(_unmarked, marked if wrapped is None else wrapped["starred"] or wrapped["coded"])


def _unmarked(found: re.Match[str]) -> str:
    # "__init__" is a name.
    return found[1] or (found[2] if " " in found[2] else found[0])


def _without(pattern: re.Pattern[str]) -> _Repair:
    return lambda text: pattern.sub("", text)


def _lead(task: Task) -> re.Pattern[str]:
    """``Review:``, ``Example 3 -``, ``Positive:`` at the beginning, also with the task's own names."""
    own = [*task.spec.labels, *(column for column in task.spec.fields.model_dump().values() if isinstance(column, str))]
    names = "|".join([_NAMES, *(_name(one) for one in sorted(own, key=len, reverse=True))])
    adjective = "|".join(_name(label) for label in task.spec.labels)
    return re.compile(
        rf"^(?:\*\*|__)?(?:(?:{adjective})\s+)?(?:{names})(?:\s*(?:\d{{1,3}}|\([^)\n]{{1,20}}\)))?(?:\*\*|__)?\s*:(?:\*\*|__)?\s+",
        re.IGNORECASE,
    )


def _name(name: str) -> str:
    return r"[\s_-]".join(re.escape(part) for part in re.split(r"[\s_-]+", name) if part) or re.escape(name)


def _is_natural(repair: _Repair, gold: Iterable[str | None]) -> bool:
    texts = [text for text in gold if text is not None]
    changed = sum(repair(text) != text for text in texts)
    return bool(texts) and changed / len(texts) > NATURAL_SHARE
