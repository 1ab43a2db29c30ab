"""Asking many questions for one step: from the ledger where answered, else from the teacher, within the budget.

Belongs here: concurrency, repeats of failed attempts, budget, progress. Does not belong here: the wire
(``client.py``), durability (``ledger.py``), what to ask and how to read it (``generation/``).
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.tasks.load import Task
from s3_assets.teacher.client import ChatClient, Reply, TeacherUnavailable, TryAgain, endpoint
from s3_assets.teacher.ledger import CALLS, USES, Ledger, spent
from s3_assets.teacher.request import TeacherRequest, request_id, sampling, teacher_id

log = logging.getLogger(__name__)

SECONDS_BETWEEN_PROGRESS = 3.0
LONGEST_WAIT = 60.0


class BudgetExhausted(RuntimeError):
    """The task's budget does not allow another call. Everything received so far is kept."""


class UnusableAnswer(ValueError):
    """An answer that cannot be read: broken JSON, wrong shape, a refusal. The message says why."""


@dataclass(frozen=True)
class Answer:
    """The outcome of one request: what was read from it, or the reason why nothing could be."""

    request: TeacherRequest
    request_id: str
    content: Any | None
    reason: str | None
    raw: str
    from_ledger: bool


@dataclass
class Tally:
    """What a step has asked so far. Tokens as billed by the teacher."""

    requests: int = 0
    from_ledger: int = 0
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unusable: int = 0

    def numbers(self) -> dict[str, int]:
        """For metadata and the closing table."""
        return {
            "teacher_requests": self.requests,
            "teacher_requests_from_ledger": self.from_ledger,
            "teacher_calls": self.calls,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
        }


class TeacherSession:
    """Asks on behalf of one step (task, arm, seed, round, asset). Open it with ``teacher_session``."""

    def __init__(
        self, task: Task, key: RoundKey, asset: str, ledger: Ledger, url: str, already: tuple[int, int]
    ) -> None:
        self._task, self._key, self._asset, self._ledger, self._url = task, key, asset, ledger, url
        self._teacher_id = teacher_id(task, url)
        self._calls_spent, self._tokens_spent = already
        self._stop: Exception | None = None
        self.tally = Tally()

    def ask(self, requests: Sequence[TeacherRequest], read: Callable[[TeacherRequest, str], Any]) -> list[Answer]:
        """Answers in the order of ``requests``. ``read`` turns raw text into content or raises ``UnusableAnswer``.

        An unusable answer is asked again up to ``teacher.attempts`` times, then returned with its reason. Raises
        ``TeacherUnavailable`` or ``BudgetExhausted`` after answers under way have arrived and are kept.
        """
        return asyncio.run(self._ask_all(requests, read))

    async def _ask_all(
        self, requests: Sequence[TeacherRequest], read: Callable[[TeacherRequest, str], Any]
    ) -> list[Answer]:
        ids = [request_id(request, self._teacher_id, self._task.spec.teacher) for request in requests]
        known = self._ledger.calls(ids)
        answers: dict[int, Answer] = {}
        pending = iter(range(len(requests)))
        client = ChatClient(self._task, self._url)
        progress = _Progress(self._asset, len(requests))

        async def work() -> None:
            for place in pending:
                if self._stop is not None:
                    return
                try:
                    answers[place] = await self._one(
                        client, requests[place], ids[place], known.get(ids[place], []), read
                    )
                except (TeacherUnavailable, BudgetExhausted) as error:
                    # Others finish what they have in flight: it is paid for.
                    self._stop = self._stop or error
                    return
                progress.show(len(answers), self.tally)

        try:
            await asyncio.gather(*(work() for _ in range(min(self._task.spec.teacher.concurrency, len(requests)))))
        finally:
            await client.close()
        if self._stop is not None:
            raise self._stop
        return [answers[place] for place in range(len(requests))]

    async def _one(
        self,
        client: ChatClient,
        request: TeacherRequest,
        key: str,
        known: list[dict[str, Any]],
        read: Callable[[TeacherRequest, str], Any],
    ) -> Answer:
        spec = self._task.spec.teacher
        received = [call for call in known if call["response"] is not None]
        attempt = max((call["attempt"] for call in known), default=-1)
        self.tally.requests += 1
        paid, used, reason, raw = False, 0, "no answer", ""
        while used < max(spec.attempts, len(received)):
            if used < len(received):
                call = received[used]
            else:
                if not paid:
                    self._note_use(request, key, from_ledger=False)
                paid, attempt = True, attempt + 1
                call = await self._send(client, request, key, attempt)
                attempt = call["attempt"]
            used, raw = used + 1, call["response"]
            try:
                if call["outcome"] == "refused":
                    raise UnusableAnswer("the teacher refused")
                content = read(request, raw)
            except UnusableAnswer as error:
                reason = str(error)
                continue
            return self._finish(Answer(request, key, content, None, raw, not paid))
        self.tally.unusable += 1
        return self._finish(Answer(request, key, None, reason, raw, not paid))

    def _finish(self, answer: Answer) -> Answer:
        if answer.from_ledger:
            self.tally.from_ledger += 1
            self._note_use(answer.request, answer.request_id, from_ledger=True)
        return answer

    async def _send(self, client: ChatClient, request: TeacherRequest, key: str, attempt: int) -> dict[str, Any]:
        """One answered attempt, repeating those that fail in passing. Every attempt is journalled."""
        client.connection()
        for repeat in range(self._task.spec.teacher.retries + 1):
            self._spend()
            asked_at, began = time.time_ns() // 1_000_000, time.perf_counter()
            try:
                reply = await client.ask(request, attempt)
            except TryAgain as error:
                self._journal(request, key, attempt, asked_at, began, None, str(error))
                if repeat == self._task.spec.teacher.retries or self._stop is not None:
                    raise TeacherUnavailable(
                        f"the teacher did not answer after {repeat + 1} tries: {error}. Answers received so far are "
                        "kept; run again to go on."
                    ) from error
                await asyncio.sleep(min(LONGEST_WAIT, error.wait if error.wait is not None else 0.5 * 2**repeat))
                attempt += 1
            else:
                return self._journal(request, key, attempt, asked_at, began, reply, None)
        raise AssertionError("the last repeat returns or raises")

    def _spend(self) -> None:
        budget = self._task.spec.budget
        spent_by_unit = (("calls", self._calls_spent, budget.calls), ("tokens", self._tokens_spent, budget.tokens))
        for unit, spent_so_far, most in spent_by_unit:
            if most is not None and spent_so_far >= most:
                raise BudgetExhausted(
                    f"task {self._task.name}: its budget of {most} teacher {unit} is spent. Answers so far are "
                    f"kept; raise budget.{unit} in its task.yaml to go on."
                )
        self._calls_spent += 1
        self.tally.calls += 1

    def _journal(
        self,
        request: TeacherRequest,
        key: str,
        attempt: int,
        asked_at: int,
        began: float,
        reply: Reply | None,
        cause: str | None,
    ) -> dict[str, Any]:
        spec = self._task.spec.teacher
        asked = {
            "messages": [dict(message) for message in request.messages],
            **sampling(spec),
            "response_format": request.response_format,
        }
        row: dict[str, Any] = {
            "request_id": key,
            "sample": request.sample,
            "attempt": attempt,
            "teacher_id": self._teacher_id,
            "model": spec.model,
            "kind": request.kind,
            "request": json.dumps(asked, ensure_ascii=False),
            "response": reply.text if reply else None,
            "finish_reason": reply.finish_reason if reply else None,
            "outcome": "failed" if reply is None else "refused" if reply.refused else "answered",
            "cause": cause,
            "prompt_tokens": reply.prompt_tokens if reply else None,
            "completion_tokens": reply.completion_tokens if reply else None,
            "latency_seconds": time.perf_counter() - began,
            "asked_at": asked_at,
        }
        self._ledger.append(CALLS, row)
        self.tally.prompt_tokens += row["prompt_tokens"] or 0
        self.tally.completion_tokens += row["completion_tokens"] or 0
        self._tokens_spent += (row["prompt_tokens"] or 0) + (row["completion_tokens"] or 0)
        return row

    def _note_use(self, request: TeacherRequest, key: str, from_ledger: bool) -> None:
        use = {
            **self._key.columns(),
            "asset": self._asset,
            "gold_id": request.gold_id,
            "request_id": key,
            "kind": request.kind,
            "rows_requested": request.rows_requested,
            "from_ledger": from_ledger,
            "used_at": time.time_ns() // 1_000_000,
        }
        self._ledger.append(USES, use)


@contextmanager
def teacher_session(task: Task, warehouse: Warehouse, key: RoundKey, asset: str) -> Iterator[TeacherSession]:
    """A session for one step; starts the embedded teacher if the task asks for it."""
    with Ledger(warehouse) as ledger, endpoint(task) as url:
        yield TeacherSession(task, key, asset, ledger, url, spent(warehouse, task.name))


class _Progress:
    """A line now and then while answers come in."""

    def __init__(self, asset: str, total: int) -> None:
        self._asset, self._total, self._last = asset, total, time.monotonic()

    def show(self, done: int, tally: Tally) -> None:
        now = time.monotonic()
        if done < self._total and now - self._last < SECONDS_BETWEEN_PROGRESS:
            return
        self._last = now
        log.info(
            "%s: %d of %d answers, %d from the ledger so far, %d tokens",
            self._asset,
            done,
            self._total,
            tally.from_ledger,
            tally.prompt_tokens + tally.completion_tokens,
        )
