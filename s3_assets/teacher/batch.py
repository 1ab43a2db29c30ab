"""Mode batch: what the ledger lacks of a step's requests is answered by provider batches, at their price.

Belongs here: which requests go into a batch, going on with batches of runs that ended early, a batch's budget. Does not
belong here: the wire (``batch_provider.py``), state on disk (``batch_state.py``), rows of the ledger
(``batch_rows.py``), asking what no batch answered (``attempts.py``, as in mode live).

The order is: claims, state file, upload, batch, its id in the state file, rows in the ledger, state file removed. When
a run ends between any two of these, the next finds the state file and goes on from there.
"""

import asyncio
import logging
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from s3_assets.teacher.attempts import Asker
from s3_assets.teacher.batch_provider import GOES_ON, BatchProvider, Line
from s3_assets.teacher.batch_rows import LOT, BatchRows, lots, total
from s3_assets.teacher.batch_state import BatchFile, BatchState, batch_key, states
from s3_assets.teacher.budget import Amounts, Budget, BudgetExhausted
from s3_assets.teacher.dialect import Dialect
from s3_assets.teacher.endpoint import api_key
from s3_assets.teacher.reply import TeacherUnavailable
from s3_assets.teacher.request import TeacherRequest, request_body, teacher_id

if TYPE_CHECKING:
    from openai.types import Batch

log = logging.getLogger(__name__)

# Providers take 50,000 requests and 200 MB in one file.
MOST_REQUESTS = 50_000
MOST_BYTES = 190_000_000

_ENDED = ("completed", "expired", "cancelled")


async def answer_in_batches(asker: Asker, requests: Sequence[TeacherRequest]) -> set[str]:
    """Bring answers to ``requests`` into the ledger by provider batches; the keys of those recorded now.

    What a batch fails to answer is recorded so and left, now and in later runs; so is what another process asks.
    ``TeacherUnavailable`` when the provider cannot be reached or refuses a batch; ``BudgetExhausted``, before anything
    is sent, when the budget does not allow all of it.
    """
    work = _Work(asker, requests)
    try:
        await work.go_on()
        if await work.send():
            await work.go_on()
    except asyncio.CancelledError:
        log.info("%s: ended while waiting. %s.", asker.tally.asset, GOES_ON)
        raise
    finally:
        await work.close()
    return work.rows.answered


@dataclass
class _Open:
    """A batch being worked on: its state file, what is set aside for it, what it came to once it ``ended``."""

    file: BatchFile
    reserved: Amounts
    ended: bool = False
    actual: Amounts = field(default_factory=Amounts)

    def close(self, budget: Budget) -> None:
        """Let the file go and settle. What goes on at the provider may come to all of what is set aside."""
        self.file.close()
        budget.settle(self.reserved, self.actual if self.ended else self.reserved)


class _Work:
    """One call of ``answer_in_batches``."""

    def __init__(self, asker: Asker, requests: Sequence[TeacherRequest]) -> None:
        self._asker, self._spec, self._ledger = asker, asker.spec, asker.ledger
        self.rows = BatchRows(asker, requests)
        self._teacher_id = teacher_id(asker.task, asker.url)
        self._provider = BatchProvider(asker.spec, asker.url, api_key(asker.task, asker.url))
        self._folder = self._ledger.journal.folder / "batches"
        self._claimed: list[str] = []

    async def close(self) -> None:
        """Let claims go, for the ordinary path to take, and close connections."""
        for key in self._claimed:
            self._ledger.claims.release(key)
        await self._provider.close()

    async def go_on(self) -> None:
        """Finish batches, begun by earlier runs or by other processes, that hold any of the requests."""
        mine = self.rows.requests.keys()
        left = set(await self.rows.unrecorded(list(mine)))
        held: list[BatchFile] = []
        begun: list[_Open] = []
        try:
            # Every process holds them in this order, so that none waits for one that waits for it.
            for path, state in states(self._folder, self._teacher_id, self._spec.model):
                if not mine.isdisjoint(state.requests):
                    file = await BatchFile.hold(path, wait=not left.isdisjoint(state.requests))
                    held += [file] if file is not None else []
            if held:
                # Some may have been waited for.
                left = set(await self.rows.unrecorded(list(mine)))
                for file in held:
                    begun += [one] if (one := await self._adopt(file, left)) is not None else []
                await self._finish(begun)
        finally:
            for one in begun:
                one.close(self._asker.budget)
            for file in held:
                file.close()

    async def send(self) -> bool:
        """Send what is still left in new batches and finish them; whether others were asking some of it."""
        left = await self.rows.unrecorded(list(self.rows.requests))
        claimed = self._claim(left)
        # Looked up once claimed: whoever held the claim has its answer in the ledger by then.
        keys = await self.rows.unrecorded(claimed)
        if keys:
            await self._send(keys)
        return len(claimed) < len(left)

    async def _send(self, keys: Sequence[str]) -> None:
        dialect, budget = self._dialect(), self._asker.budget
        chunks = list(self._chunks(keys, dialect))
        most = [self.rows.most(chunk) for chunk in chunks]
        try:
            budget.fits(total(most))
        except BudgetExhausted as error:
            raise BudgetExhausted(
                f"{error} A batch is set aside whole: {len(keys)} calls of up to {self._spec.max_tokens} tokens "
                "(teacher.max_tokens) beside their prompts."
            ) from None
        begun: list[_Open] = []
        try:
            for chunk, reserved in zip(chunks, most, strict=True):
                begun.append(await self._begin(chunk, dialect, reserved))
            await self._finish(begun)
        finally:
            for one in begun:
                one.close(budget)

    async def _adopt(self, file: BatchFile, left: Collection[str]) -> _Open | None:
        """A batch to be finished; None when there is none, or nothing of it is left to do."""
        pending = [key for key in file.state.requests if key in left]
        if not pending:
            await self._remove_if_done(file)
            return None
        if file.state.batch_id is None:
            batch = await self._provider.find(file.state.key)
            if batch is None:
                # The run ended before there was a batch: its requests are free for another.
                file.remove()
                return None
            file.note(batch.id)
        log.info("%s: going on with batch %s", self._asker.tally.asset, file.state.batch_id)
        self._claim(pending)
        one = _Open(file, self.rows.most(pending))
        self._asker.budget.book(one.reserved)
        return one

    async def _begin(self, keys: Sequence[str], dialect: Dialect, reserved: Amounts) -> _Open:
        """Upload the requests of ``keys`` and have a batch made of them."""
        key, now = batch_key(self._teacher_id, keys), time.time_ns() // 1_000_000
        file = BatchFile.create(
            self._folder, BatchState(key, self._teacher_id, self._spec.model, str(dialect), now, list(keys))
        )
        try:
            with tempfile.TemporaryFile() as lines:
                for one in keys:
                    lines.write(self._line(one, dialect))
                try:
                    uploaded = await self._provider.upload(key, lines)
                except TeacherUnavailable:
                    # Without a file there is no batch.
                    file.remove()
                    raise
            batch = await self._provider.create(key, uploaded)
            file.note(batch.id)
        except BaseException:
            file.close()
            raise
        self._asker.budget.book(reserved)
        log.info("%s: sent batch %s with %d requests", self._asker.tally.asset, batch.id, len(keys))
        return _Open(file, reserved)

    async def _finish(self, begun: Sequence[_Open]) -> None:
        """Look at batches until all have ended, each one's results recorded as it does."""
        waiting = list(begun)
        while waiting:
            for one in list(waiting):
                batch = await self._look(one.file)
                if batch.status == "failed":
                    one.ended = True
                    one.file.remove()
                    raise TeacherUnavailable(
                        f"the teacher at {self._asker.url} refused batch {batch.id}: {self._provider.refusal(batch)}. "
                        "Nothing of it was asked" + (f". {GOES_ON}" if len(waiting) > 1 else "")
                    )
                if batch.status in _ENDED:
                    await self._collect(one, batch)
                    waiting.remove(one)
            if waiting:
                await asyncio.sleep(self._spec.batch_poll_seconds)

    async def _look(self, file: BatchFile) -> "Batch":
        """The batch as it is now, told in a line."""
        state = file.state
        batch = await self._provider.look(
            state.batch_id or "",
            f"it does not know batch {state.batch_id}. Check that the key belongs to the project that sent it; to have "
            f"its requests asked again, remove {file.path}",
        )
        counts, seconds = batch.request_counts, time.time() - state.asked_at / 1000
        done, failed = (counts.completed, counts.failed) if counts else (0, 0)
        said = f"{batch.status}, {done} of {len(state.requests)} requests done, {failed} failed, {seconds:.0f} s"
        log.info("%s: batch %s: %s", self._asker.tally.asset, batch.id, said)
        return batch

    async def _collect(self, one: _Open, batch: "Batch") -> None:
        """Record what became of every request of a batch that has ended."""
        state = one.file.state
        ended = batch.completed_at or batch.expired_at or batch.cancelled_at
        took = float(ended - batch.created_at) if ended else time.time() - state.asked_at / 1000
        dialect = Dialect.parse(state.dialect) or Dialect("json_schema")
        # Requests that this step does not ask keep their results for one that does: only it can word their rows.
        missing = dict.fromkeys(key for key in state.requests if key in self.rows.requests)
        came_to: list[Amounts] = []
        lines: list[Line] = []
        async for line in self._provider.results(batch, dialect):
            if line.custom_id not in self.rows.requests:
                continue
            missing.pop(line.custom_id, None)
            lines.append(line)
            if len(lines) == LOT:
                came_to.append(await self.rows.record(state, lines, took))
                lines = []
        lines += [Line(key, None, f"{batch.status} without an answer to this request") for key in missing]
        came_to += [await self.rows.record(state, lot, took) for lot in lots(lines)]
        one.actual, one.ended = total(came_to), True
        await self._remove_if_done(one.file)

    async def _remove_if_done(self, file: BatchFile) -> None:
        if not await self.rows.unrecorded(file.state.requests):
            file.remove()

    def _claim(self, keys: Sequence[str]) -> list[str]:
        """Those of ``keys`` that no other process asks, claimed until the end."""
        taken = [key for key in keys if self._ledger.claims.take(key)]
        self._claimed += taken
        return taken

    def _dialect(self) -> Dialect:
        if self._spec.structured != "auto":
            return Dialect(self._spec.structured)
        return self._ledger.dialect(self._teacher_id, self._spec.model) or Dialect("json_schema")

    def _line(self, key: str, dialect: Dialect) -> bytes:
        said = dialect.speak(request_body(self.rows.requests[key], self._spec))
        return b'{"custom_id": "%s", "method": "POST", "url": "/v1/chat/completions", "body": %s}\n' % (
            key.encode(),
            said,
        )

    def _chunks(self, keys: Sequence[str], dialect: Dialect) -> Iterator[list[str]]:
        """``keys`` in as many files as they need, in their order."""
        chunk: list[str] = []
        size = 0
        for key in keys:
            more = len(self._line(key, dialect))
            if chunk and (len(chunk) >= MOST_REQUESTS or size + more > MOST_BYTES):
                yield chunk
                chunk, size = [], 0
            chunk.append(key)
            size += more
        yield chunk
