"""Doing a step with answers that are imagined, to count what it would ask.

Belongs here: a stand-in for a teacher session, and what its answers come to. Does not belong here: which steps are
ahead (``estimate.py``), how answers are expected to turn out (``rates.py``).
"""

import logging
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from s3_assets.generation import diagnosis, filling, verify
from s3_assets.generation.rates import Rates, message_characters
from s3_assets.prompting.contract import DIAGNOSIS, LABEL, RATIONALES, written_fields
from s3_assets.tasks.load import Task
from s3_assets.tasks.spec import ANSWER
from s3_assets.teacher.answer import Answer, Read, Received, UnusableAnswer
from s3_assets.teacher.endpoint import base_url
from s3_assets.teacher.ledger import Ledger
from s3_assets.teacher.money import Price
from s3_assets.teacher.progress import Tally
from s3_assets.teacher.request import TeacherRequest, request_id, teacher_id
from s3_assets.teacher.session import LOOKED_UP_AT_ONCE

if TYPE_CHECKING:
    from s3_assets.quality.ensemble import Opinion, Students


# Share of rows whose label a teacher asked blind names at once, beside those it hits by chance, as measured so far.
AGREEING = 0.85

# Of so many rows students doubt one, where the teacher is asked about those.
DOUBTING = 5


@dataclass(frozen=True)
class Cost:
    """Calls, tokens read and written, US dollars (None when not known). Estimates are means, so not whole numbers."""

    calls: float = 0.0
    read: float = 0.0
    written: float = 0.0
    money: float | None = 0.0

    @property
    def tokens(self) -> float:
        """Tokens read and written."""
        return self.read + self.written

    def __add__(self, other: "Cost") -> "Cost":
        money = None if self.money is None or other.money is None else self.money + other.money
        return Cost(self.calls + other.calls, self.read + other.read, self.written + other.written, money)

    def shared(self, among: int) -> "Cost":
        """The mean over so many."""
        money = None if self.money is None else self.money / among
        return Cost(self.calls / among, self.read / among, self.written / among, money)


class Known:
    """Answers that the ledger has, looked up once. Without a ledger there are none."""

    def __init__(self, task: Task, ledger: Ledger | None) -> None:
        self._spec, self._ledger = task.spec.teacher, ledger
        self._teacher_id = teacher_id(task, base_url(task))
        self._calls: dict[str, list[dict[str, Any]]] = {}

    def key(self, request: TeacherRequest) -> str:
        """The request's key in the ledger."""
        return request_id(request, self._teacher_id, self._spec)

    def look_up(self, keys: Sequence[str]) -> None:
        """Find the attempts at these requests."""
        fresh = [key for key in keys if key not in self._calls]
        found = self._ledger.calls(fresh) if self._ledger is not None and fresh else {}
        self._calls |= {key: found.get(key, []) for key in fresh}

    def read(self, request: TeacherRequest, key: str, read: Read) -> tuple[Any | None, bool]:
        """Content of the first attempt that can be read, and whether nothing more would be asked."""
        answered = [call for call in self._calls[key] if call["response"] is not None]
        for call in answered:
            received = Received(call["response"], call["outcome"] == "refused", call["finish_reason"] == "length")
            try:
                return read(request, received).content, True
            except UnusableAnswer as error:
                if not error.again:
                    return None, True
        return None, len(answered) >= (1 if self._spec.temperature == 0 else self._spec.attempts)


@dataclass
class Imagined:
    """Stands where a step expects a ``TeacherSession``: reads what the ledger has, imagines every other answer.

    The step itself then decides what to ask, and what to ask again.
    """

    task: Task
    rates: Mapping[str, Rates]
    known: Known
    lengths: Mapping[str | None, float]
    rng: random.Random
    tally: Tally = field(default_factory=lambda: Tally("estimate"))
    recalled: int = 0
    _calls: float = 0.0
    _answers: float = 0.0
    _read: float = 0.0
    _cached: float = 0.0
    _written: float = 0.0
    _texts: int = 0

    def ask(self, requests: Iterable[TeacherRequest], read: Read) -> list[Answer]:
        """As of a session."""
        answers: list[Answer] = []
        self.stream(requests, read, answers.append)
        return answers

    def stream(self, requests: Iterable[TeacherRequest], read: Read, take: Callable[[Answer], None]) -> None:
        """As of a session."""
        drawn = iter(requests)
        while lot := list(islice(drawn, LOOKED_UP_AT_ONCE)):
            keys = [self.known.key(request) for request in lot]
            self.known.look_up(keys)
            for request, key in zip(lot, keys, strict=True):
                content, enough = self.known.read(request, key, read)
                self.recalled += enough
                take(Answer(request, key, content if enough else self._imagine(request), (), enough))

    def cost(self, price: Price | None) -> Cost:
        """What the imagined answers come to."""
        if self._answers == 0:
            return Cost(calls=self._calls)
        money = None
        if price is not None:
            # Price of the mean answer: prices may have steps by the size of a call.
            each = (round(amount / self._answers) for amount in (self._read, self._written, self._cached))
            spec = self.task.spec.teacher
            money = price.cost(*each) * self._answers * (spec.batch_price_factor if spec.mode == "batch" else 1.0)
        return Cost(self._calls, self._read, self._written, money)

    def _imagine(self, request: TeacherRequest) -> Any:
        rates = self.rates[request.kind]
        one = {RATIONALES: self.task.spec.rationales.per_label, LABEL: 1, DIAGNOSIS: 1}
        rows = one.get(request.kind, request.rows_requested)
        length = rates.characters if rates.characters is not None else self.lengths[request.gold_id]
        read = rates.answers * rates.read * message_characters(request)
        self._calls += rates.calls
        self._answers += rates.answers
        self._read += read
        self._cached += read * rates.cached
        self._written += rates.answers * rates.written * rows * length
        if request.kind == LABEL:
            allowed = request.schema["properties"][LABEL]["enum"]
            own = request.label in allowed and self.rng.random() < AGREEING
            return request.label if own else self.rng.choice(allowed)
        if request.kind == DIAGNOSIS:
            return "imagined".ljust(round(length), "d")
        if request.kind == RATIONALES:
            return [f"{number} ".ljust(round(length), "r") for number in range(rows)]
        return [self._row(request, accepted) for accepted in self._accepted(rates, rows)]

    def _accepted(self, rates: Rates, rows: int) -> list[bool]:
        """Which of ``rows`` rows are accepted: drawn from earlier requests, whose rows often fail together."""
        drawn: list[bool] = [] if rates.accepted else [True] * rows
        while len(drawn) < rows:
            accepted, asked = self.rng.choice(rates.accepted)
            marks = [True] * accepted + [False] * (asked - accepted)
            drawn += self.rng.sample(marks, min(asked, rows - len(drawn)))
        return [mark and self.rng.random() >= rates.repeated for mark in drawn]

    def _row(self, request: TeacherRequest, accepted: bool) -> dict[str, str]:
        self._texts += 1
        # Gates refuse the empty text.
        row = dict.fromkeys(written_fields(self.task), f"imagined text {self._texts}" if accepted else "")
        # The first word of a context is an answer that stands in it.
        return row | {ANSWER: request.keeps["text"].split()[0]} if ANSWER in row else row


def imagined_students(rng: random.Random, calibrating: int) -> "Students":
    """Students who doubt one row in ``DOUBTING``, of the ``calibrating`` rows of gold as of others."""
    from s3_assets.quality.ensemble import Opinion  # numpy, 0.2 s

    def opinion(label: str, doubted: bool) -> "Opinion":
        return Opinion(0.3, label, 0.7) if doubted else Opinion(0.9, label, 0.9)

    def ask(_: Any, rows: Sequence[Mapping[str, Any]]) -> "tuple[list[Opinion | None], list[Opinion | None]]":
        # As many as the level that parts them gives up.
        doubted = (calibrating + 1) // DOUBTING - 1
        of_gold = [opinion("", place < doubted) for place in range(calibrating)]
        return [opinion(row["label"], rng.random() * DOUBTING < 1) for row in rows], [*of_gold]

    return ask


@contextmanager
def without_warnings() -> Iterator[None]:
    """Says nothing of imagined rows that are short, nor what a step says each time it is imagined."""

    def quiet(record: logging.LogRecord) -> bool:
        return record.levelno > logging.WARNING

    loud = (filling.log, verify.log, diagnosis.log)
    for log in loud:
        log.addFilter(quiet)
    try:
        yield
    finally:
        for log in loud:
            log.removeFilter(quiet)
