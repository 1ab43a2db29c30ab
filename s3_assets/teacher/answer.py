"""What became of a request: the answer as received, what was read from it, and what was wrong with it.

Belongs here: the values handed between asking and reading. Does not belong here: asking (``session.py``), reading
(``generation/answers.py``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from s3_assets.teacher.request import TeacherRequest


@dataclass(frozen=True)
class Received:
    """One answer as it came. ``cut_off`` says that the teacher stopped at its limit of tokens."""

    text: str
    refused: bool = False
    cut_off: bool = False


@dataclass(frozen=True)
class Fault:
    """What was wrong with one answer: a name, a reason in words, the raw text, a number where one says more."""

    gate: str
    reason: str
    raw: str | None
    value: float | None = None


@dataclass(frozen=True)
class Reading:
    """What was read from an answer, and its fault when not everything asked for could be."""

    content: Any
    fault: Fault | None = None


class UnusableAnswer(ValueError):
    """Nothing can be read from an answer. ``again`` says whether asking once more may help."""

    def __init__(self, fault: Fault, *, again: bool = True) -> None:
        super().__init__(fault.reason)
        self.fault, self.again = fault, again


Read = Callable[[TeacherRequest, Received], Reading]


@dataclass(frozen=True)
class Answer:
    """The outcome of one request: content, or None when no attempt gave any; and the faults of all attempts."""

    request: TeacherRequest
    request_id: str
    content: Any | None
    faults: Sequence[Fault]
    from_ledger: bool
