"""Answers to questions, as spans of their context.

Belongs here: finding an answer in its context, the shapes in which files give answers. Does not belong here: reading
gold (``gold.py``), the words that exact match and F1 compare (``student/``).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """An answer as it stands in the context, its place, and all answers that count as right, itself among them."""

    text: str
    start: int
    all: tuple[str, ...]


def locate(context: str, answer: str, near: int | None = None) -> tuple[int, int] | None:
    """Start and end of ``answer`` in ``context``, in characters; None where it does not stand there.

    Exactly at ``near`` if it stands there; else the occurrence nearest to ``near``, or the first. Whole words go before
    parts of words, and the same characters before a match that ignores case and the length of whitespace.
    """
    answer = answer.strip()
    if not answer:
        return None
    if near is not None and near >= 0 and context.startswith(answer, near):
        return near, near + len(answer)
    literal, loose = re.escape(answer), r"\s+".join(map(re.escape, answer.split()))
    before = r"(?<!\w)" if re.match(r"\w", answer) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", answer) else ""
    for pattern, flags in (
        (f"{before}({literal}){after}", 0),
        (f"{before}({loose}){after}", re.IGNORECASE),
        (f"({literal})", 0),
        (f"({loose})", re.IGNORECASE),
    ):
        # Looking ahead finds occurrences that overlap too.
        spans = [match.span(1) for match in re.finditer(f"(?={pattern})", context, flags)]
        if spans:
            return spans[0] if near is None else min(spans, key=lambda span: abs(span[0] - near))
    return None


def given_answers(value: Any, starts: Any = None) -> list[tuple[str, int | None]]:
    """Answers as a file gives them, with their places where it has them.

    ``value`` is a text, a list of texts, SQuAD's structure of ``text`` and ``answer_start``, or a list of those;
    ``starts`` a place or a list of places.
    """
    return list(_each(value, starts))


def find_answer(context: str, given: Sequence[tuple[str, int | None]], cut: int = 0) -> Answer | None:
    """The first of the given answers that stands in the context; None where none does.

    ``cut`` is how many characters the context had before its first, which given places count.
    """
    for place, (text, start) in enumerate(given):
        blanks = len(text) - len(text.lstrip())
        found = locate(context, text, None if start is None else start + blanks - cut)
        if found is not None:
            there = context[slice(*found)]
            every = [there if other == place else one.strip() for other, (one, _) in enumerate(given)]
            return Answer(there, found[0], tuple(dict.fromkeys(every)))
    return None


def _each(value: Any, starts: Any) -> Iterator[tuple[str, int | None]]:
    if isinstance(value, dict):
        yield from _each(value.get("text"), value.get("answer_start"))
        return
    values = value if isinstance(value, list) else [value]
    places = starts if isinstance(starts, list) else [starts]
    for place, one in enumerate(values):
        if isinstance(one, dict):
            yield from _each(one, None)
        elif one is not None and str(one).strip():
            yield str(one), _whole(places[place]) if place < len(places) else None


def _whole(value: Any) -> int | None:
    """A place as a number; None for what is no whole number: a place only says which occurrence is meant."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
