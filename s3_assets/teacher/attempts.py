"""One request from key to answer: what the ledger knows of it, attempts within bounds, every attempt recorded.

Belongs here: repeats of failed attempts, asking again after unusable answers, reserving and settling. Does not belong
here: many requests at once (``session.py``), limits of speed and money themselves (``limits.py``, ``budget.py``), rows
of the ledger (``records.py``), the wire (``client.py``).
"""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.tasks.load import Task
from s3_assets.teacher.answer import Answer, Fault, Read, Received, UnusableAnswer
from s3_assets.teacher.budget import Amounts, open_budget
from s3_assets.teacher.client import ChatClient
from s3_assets.teacher.endpoint import api_key
from s3_assets.teacher.ledger import CALLS, USES, Ledger
from s3_assets.teacher.limits import Pace
from s3_assets.teacher.money import price_of
from s3_assets.teacher.progress import Tally
from s3_assets.teacher.records import Records
from s3_assets.teacher.reply import Backend, NotAccepted, TeacherUnavailable, TryAgain
from s3_assets.teacher.request import TeacherRequest, request_body

# Seconds before the first repeat, doubled for each further one.
SHORTEST_WAIT, LONGEST_WAIT = 0.25, 60.0

# Share of unusable requests is judged from this many on.
FEWEST_TO_JUDGE = 20

NOT_ACCEPTED, NO_ANSWER = "not_accepted", "no_answer"


class TooManyUnusable(RuntimeError):
    """More requests of a step failed than ``teacher.most_unusable`` allows. What was received is kept."""


class NotInLedger(RuntimeError):
    """Mode replay needs an answer that the ledger does not have."""


class Asker:
    """Asks single requests for one step, and keeps what all of them share: budget, pace, counts."""

    def __init__(
        self, task: Task, warehouse: Warehouse, key: RoundKey, asset: str, run_id: str | None, ledger: Ledger, url: str
    ) -> None:
        self.task, self.spec, self.ledger, self.url = task, task.spec.teacher, ledger, url
        price = price_of(task, url)
        self.records = Records(task, key, asset, run_id, url, price)
        self.budget = open_budget(task, price, warehouse, key, run_id)
        self._pace = Pace(self.spec.concurrency, self.spec.requests_per_minute, self.spec.tokens_per_minute)
        self._backend: Backend | None = None
        self._stopping = asyncio.Event()
        self._last_faults: list[Fault] = []
        self._paid_in_batch: set[str] = set()
        self.tally = Tally(asset)

    @property
    def in_flight(self) -> int:
        """Requests being answered now."""
        return self._pace.in_flight

    def stop(self) -> None:
        """Begin nothing new, and wait for nothing but what is in flight."""
        self._stopping.set()

    async def close(self) -> None:
        """Give back the connection."""
        if self._backend is not None:
            await self._backend.close()

    def recall(self, request: TeacherRequest, key: str, known: list[dict[str, Any]], read: Read) -> Answer | None:
        """The answer as far as the ledger has it; None when the teacher must be asked."""
        content, faults, enough = self._read_known(request, known, read)
        if content is None and not enough:
            if self.spec.mode != "replay":
                return None
            if not known:
                raise NotInLedger(self._absent(request, key))
            # The run to replay gave the request up here.
            faults = [*faults, Fault(NO_ANSWER, known[-1]["cause"] or "no answer", None)]
        before = key not in self._paid_in_batch
        self.ledger.journal.append(USES, self.records.use(request, key, from_ledger=before))
        self.tally.from_ledger += before
        return self._finish(request, key, content, faults, from_ledger=before)

    async def ask(self, request: TeacherRequest, key: str, known: list[dict[str, Any]], read: Read) -> Answer:
        """Ask until an answer can be read or ``teacher.attempts`` are spent. An answer is on disk before it is read."""
        _, faults, _ = self._read_known(request, known, read)
        answered = sum(call["response"] is not None for call in known)
        number = max((call["attempt"] for call in known), default=-1) + 1
        self.ledger.journal.append(USES, self.records.use(request, key, from_ledger=False))
        body = request_body(request, self.spec)
        content = None
        while content is None and answered < self._most_attempts():
            try:
                received, number = await self._send(request, key, body, number)
            except NotAccepted as error:
                faults = [*faults, Fault(NOT_ACCEPTED, str(error), None)]
                break
            except TryAgain as error:
                faults = [*faults, Fault(NO_ANSWER, str(error), None)]
                break
            answered += 1
            content, fault, again = _read_one(request, received, read)
            faults = [*faults, fault] if fault else faults
            if not again:
                break
        return self._finish(request, key, content, faults, from_ledger=False)

    async def send_batch(self, requests: Iterator[TeacherRequest]) -> Iterator[TeacherRequest]:
        """Have what the ledger lacks of ``requests`` answered by provider batches; all of them, to go on with."""
        from s3_assets.teacher.batch import answer_in_batches

        listed = list(requests)
        self._paid_in_batch |= await answer_in_batches(self, listed)
        return iter(listed)

    def _absent(self, request: TeacherRequest, key: str) -> str:
        asset, round_ = self.records.step["asset"], self.records.step["round"]
        return (
            f"task {self.task.name}: mode is replay, and the ledger has no answer to a request of {asset} in round "
            f"{round_} ({key}, label {request.label!r}). Import the ledger of the run to replay (`s3-assets ledger "
            "import FILE`), or set teacher.mode: live"
        )

    def _most_attempts(self) -> int:
        # Without randomness the same question gets the same answer.
        return 1 if self.spec.temperature == 0 else self.spec.attempts

    def _read_known(
        self, request: TeacherRequest, known: list[dict[str, Any]], read: Read
    ) -> tuple[Any | None, list[Fault], bool]:
        """Content of the first known answer that can be read, faults up to it, and whether no more may be asked."""
        faults: list[Fault] = []
        answered = [call for call in known if call["response"] is not None]
        for call in answered:
            received = Received(call["response"], call["outcome"] == "refused", call["finish_reason"] == "length")
            content, fault, again = _read_one(request, received, read)
            if fault is not None:
                faults.append(fault)
            if content is not None or not again:
                return content, faults, True
        return None, faults, len(answered) >= self._most_attempts()

    async def _send(self, request: TeacherRequest, key: str, body: str, number: int) -> tuple[Received, int]:
        """One answered attempt and the number of the next, repeating those that fail in passing."""
        backend = self._connect()
        most = self.records.most(body)
        failures = refusals = 0
        while True:
            await self._begin(most)
            asked_at, began = time.time_ns() // 1_000_000, time.perf_counter()
            actual = Amounts(calls=1)
            reply, failure = None, None
            try:
                reply = await backend.ask(request, body, number)
            except (NotAccepted, TeacherUnavailable, TryAgain) as error:
                failure = error
                if isinstance(error, TeacherUnavailable):
                    # Before the turn is given back, so that nobody else takes it.
                    self.stop()
                if isinstance(error, TryAgain) and error.sent:
                    # It may have been written and billed; nobody says how much.
                    actual = most
            finally:
                row = self.records.call(
                    request, key, body, number, asked_at, time.perf_counter() - began, reply, failure
                )
                actual = self.records.actual(row) if reply is not None else actual
                self._pace.end(actual.tokens - most.tokens)
                self.budget.settle(most, actual)
            await self.ledger.journal.keep(CALLS, row)
            number += 1
            if reply is not None:
                self._pace.answered(reply.pause)
                self.tally.bill(reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens, row["cost"])
                return Received(reply.text, reply.refused, reply.finish_reason == "length"), number
            self.tally.failed_calls += 1
            if not isinstance(failure, TryAgain):
                raise failure if failure is not None else AssertionError("neither a reply nor a failure")
            refusals, failures = refusals + failure.refused, failures + (not failure.refused)
            if failures > self.spec.retries:
                raise failure
            await self._back_off(failure, refusals + failures)

    async def _begin(self, most: Amounts) -> None:
        """Reserve the most an attempt can come to and wait for a turn; count the call."""
        await self.budget.reserve(most)
        try:
            await self._pace.begin(most.tokens)
            if self._stopping.is_set():
                self._pace.end(-most.tokens)
                raise TryAgain("the step is ending")
        except BaseException:
            self.budget.settle(most, Amounts())
            raise
        self.tally.calls += 1

    async def _back_off(self, failure: TryAgain, repeats: int) -> None:
        """Wait before the next repeat; ``TeacherUnavailable`` when the endpoint has been silent for too long.

        A busy endpoint is asked again until then, a failing one for ``teacher.retries`` repeats.
        """
        shortest = SHORTEST_WAIT * 2.0 ** min(repeats, 16)
        wait = max(failure.wait or 0.0, min(LONGEST_WAIT, shortest))
        silent = self._pace.failed(wait, refused=failure.refused)
        if max(silent, wait) >= self.spec.patience_seconds:
            said = f"asks to wait {wait:.0f} s" if wait > silent else f"has not answered for {silent:.0f} s"
            raise TeacherUnavailable(
                f"the teacher at {self.url} {said}; teacher.patience_seconds is {self.spec.patience_seconds:g}. "
                f"Its last words: {failure}. Answers received so far are kept; run again to go on."
            ) from failure
        try:
            await asyncio.wait_for(self._stopping.wait(), wait)
        except TimeoutError:
            return
        raise failure

    def _finish(
        self, request: TeacherRequest, key: str, content: Any | None, faults: list[Fault], from_ledger: bool
    ) -> Answer:
        self.tally.done += 1
        if content is None:
            self.tally.unusable += 1
            self._last_faults = faults
            self._judge(faults)
        return Answer(request, key, content, faults, from_ledger)

    def _judge(self, faults: list[Fault]) -> None:
        done, unusable = self.tally.done, self.tally.unusable
        if done < FEWEST_TO_JUDGE or unusable <= self.spec.most_unusable * done:
            return
        self._give_up(faults)

    def conclude(self) -> None:
        """After the last request: ``TooManyUnusable`` when the endpoint accepted or answered none of them."""
        faults, nothing = self._last_faults, self.tally.unusable == self.tally.done
        if nothing and faults and faults[-1].gate in (NOT_ACCEPTED, NO_ANSWER):
            self._give_up(faults)

    def _give_up(self, faults: list[Fault]) -> None:
        done, unusable = self.tally.done, self.tally.unusable
        last = faults[-1].reason if faults else "no answer"
        raise TooManyUnusable(
            f"task {self.task.name}: {unusable} of {done} requests to the teacher brought nothing usable, more than "
            f"teacher.most_unusable ({self.spec.most_unusable:g}) allows. The last: {last}. Answers so far are kept."
        )

    def _connect(self) -> Backend:
        if self._backend is None:
            if self.spec.backend == "transformers":
                from s3_assets.teacher.local import LocalModel

                self._backend = LocalModel(self.task)
            else:
                known = self.ledger.dialect(self.records.teacher_id, self.spec.model)
                client = ChatClient(self.spec, self.url, api_key(self.task, self.url), known)
                client.connection()
                self._backend = client
        return self._backend


def _read_one(request: TeacherRequest, received: Received, read: Read) -> tuple[Any | None, Fault | None, bool]:
    """Content or None, what was wrong, and whether asking again may help."""
    try:
        reading = read(request, received)
    except UnusableAnswer as error:
        return None, error.fault, error.again
    return reading.content, reading.fault, False
