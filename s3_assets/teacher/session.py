"""Asking many questions for one step: from the ledger where answered, else from the teacher, within the budget.

Belongs here: the order of work: ids, claims, ledger, teacher; answers handed on in the order of their requests. Does
not belong here: one request's attempts (``attempts.py``), the wire (``client.py``), durability (``ledger.py``), what
to ask and how to read it (``generation/``).
"""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.tasks.load import Task
from s3_assets.teacher.answer import Answer, Read
from s3_assets.teacher.attempts import Asker
from s3_assets.teacher.endpoint import endpoint
from s3_assets.teacher.ledger import Ledger
from s3_assets.teacher.progress import Tally
from s3_assets.teacher.request import TeacherRequest

# Requests looked up in the ledger at once, and requests begun whose answers are not handed on yet. Together they bound
# memory whatever is asked.
LOOKED_UP_AT_ONCE = 256
FEWEST_OPEN = 1024

SECONDS_BETWEEN_LOOKS = 0.2


@dataclass
class _Item:
    """One request on its way: its place in the order, its key, the attempts the ledger has."""

    place: int
    request: TeacherRequest
    key: str
    known: list[dict[str, Any]]


class TeacherSession:
    """Asks on behalf of one step (task, arm, seed, round, asset). Open it with ``teacher_session``."""

    def __init__(self, task: Task, ledger: Ledger, asker: Asker, runner: asyncio.Runner) -> None:
        self._spec, self._ledger, self._asker, self._runner = task.spec.teacher, ledger, asker, runner
        self._stop: BaseException | None = None
        self.tally: Tally = asker.tally

    def share_budget(self, other: Asker) -> None:
        """Let another teacher's asker spend from this session's budget."""
        other.budget.share(self._asker.budget)

    def ask(self, requests: Iterable[TeacherRequest], read: Read) -> list[Answer]:
        """Answers in the order of ``requests``; see ``stream``."""
        answers: list[Answer] = []
        self.stream(requests, read, answers.append)
        return answers

    def stream(self, requests: Iterable[TeacherRequest], read: Read, take: Callable[[Answer], None]) -> None:
        """Hand every answer to ``take``, in the order of ``requests``, which are drawn as the work goes on.

        ``read`` turns an answer into content or raises ``UnusableAnswer``. Such an answer is asked again up to
        ``teacher.attempts`` times, then handed on with its faults. Raises ``TeacherUnavailable``,
        ``TooManyUnusable`` or ``BudgetExhausted`` after answers under way have arrived and are kept.
        """
        self._stop = None
        try:
            self._runner.run(self._stream(iter(requests), read, take))
        finally:
            self._ledger.claims.release_all()

    async def _stream(self, requests: Iterator[TeacherRequest], read: Read, take: Callable[[Answer], None]) -> None:
        if self._spec.mode == "batch":
            requests = await self._asker.send_batch(requests)
        ordered = _Ordered(take, max(FEWEST_OPEN, 8 * self._spec.concurrency))
        waiting: asyncio.Queue[_Item | None] = asyncio.Queue()
        # More than may be in flight: a request that waits for its repeat must not keep another from its turn.
        asyncio.get_running_loop().set_exception_handler(self._in_a_callback)
        workers = [asyncio.create_task(self._work(waiting, read, ordered)) for _ in range(2 * self._spec.concurrency)]
        try:
            await self._feed(requests, read, ordered, waiting)
        except asyncio.CancelledError:
            for worker in workers:
                worker.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - raised below, after what is in flight
            self._fail(error)
        if isinstance(self._stop, Exception | None):
            for _ in workers:
                waiting.put_nowait(None)
        else:
            # An interrupt does not wait for what is in flight.
            for worker in workers:
                worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        if self._stop is not None:
            raise self._stop

    async def _feed(
        self,
        requests: Iterator[TeacherRequest],
        read: Read,
        ordered: "_Ordered",
        waiting: "asyncio.Queue[_Item | None]",
    ) -> None:
        """Draw requests, hand on what the ledger answers, queue the rest; those asked elsewhere are waited for."""
        elsewhere: list[_Item] = []
        place = itertools.count()
        more = True
        while (more or elsewhere) and self._stop is None:
            drawn: list[TeacherRequest] = []
            # Whole lots only: one lookup for each answer would cost more than the answer.
            room = ordered.most - ordered.open >= LOOKED_UP_AT_ONCE
            while more and room and len(drawn) < LOOKED_UP_AT_ONCE:
                request = next(requests, None)
                if request is None:
                    more = False
                else:
                    ordered.open += 1
                    drawn.append(request)
            self.tally.requests += len(drawn)
            fresh = [_Item(next(place), request, self._asker.records.key(request), []) for request in drawn]
            # Claimed before looked up: whoever held the claim has its answer in the ledger by then.
            mine: list[_Item] = []
            held: list[_Item] = []
            for item in (*elsewhere, *fresh):
                (mine if self._ledger.claims.take(item.key) else held).append(item)
            elsewhere = held
            if mine:
                known = await asyncio.to_thread(self._ledger.calls, [item.key for item in mine])
                for item in mine:
                    item.known = known.get(item.key, [])
                    answer = self._asker.recall(item.request, item.key, item.known, read)
                    if answer is not None:
                        self._done(item, answer, ordered)
                    else:
                        waiting.put_nowait(item)
            if not drawn:
                # Full, or only waiting for others: answers must come before there is more to do.
                await ordered.moved(SECONDS_BETWEEN_LOOKS)
        while ordered.open and self._stop is None:
            await ordered.moved(SECONDS_BETWEEN_LOOKS)
        if self._stop is None:
            self._asker.conclude()

    async def _work(self, waiting: "asyncio.Queue[_Item | None]", read: Read, ordered: "_Ordered") -> None:
        while (item := await waiting.get()) is not None:
            if self._stop is not None:
                continue
            try:
                answer = await self._asker.ask(item.request, item.key, item.known, read)
                self._done(item, answer, ordered)
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001 - the first ends the step, Dagster's interrupt too
                # Others finish what they have in flight: it is paid for.
                self._fail(error)

    def _done(self, item: _Item, answer: Answer, ordered: "_Ordered") -> None:
        self._ledger.claims.release(item.key)
        ordered.put(item.place, answer)
        self.tally.show(self._asker.in_flight)

    def _fail(self, error: BaseException) -> None:
        self._stop = self._stop or error
        self._asker.stop()

    def _in_a_callback(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A signal handler may raise wherever the loop is; asyncio would only log what is raised in a callback."""
        error = context.get("exception")
        if isinstance(error, BaseException) and not isinstance(error, Exception):
            self._fail(error)
        else:
            loop.default_exception_handler(context)


class _Ordered:
    """Hands answers on in the order of their places. ``open`` counts requests begun and not handed on."""

    def __init__(self, take: Callable[[Answer], None], most: int) -> None:
        self._take, self.most = take, most
        self.open = self._next = 0
        self._early: dict[int, Answer] = {}
        self._moved = asyncio.Event()

    def put(self, place: int, answer: Answer) -> None:
        self._early[place] = answer
        while self._next in self._early:
            self._take(self._early.pop(self._next))
            self._next += 1
            self.open -= 1
        self._moved.set()

    async def moved(self, longest: float) -> None:
        """Return when an answer came, or after ``longest`` seconds."""
        self._moved.clear()
        try:
            await asyncio.wait_for(self._moved.wait(), longest)
        except TimeoutError:
            return


async def _end(asker: Asker) -> None:
    """End what an interrupt left going, then close."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await asker.close()


@contextmanager
def teacher_session(
    task: Task,
    warehouse: Warehouse,
    key: RoundKey,
    asset: str,
    run_id: str | None = None,
    beside: TeacherSession | None = None,
) -> Iterator[TeacherSession]:
    """A session for one step; starts the embedded teacher if the task asks for it.

    ``run_id`` names what ``budget.per_run`` is counted by. ``beside`` is another session of the step, with another
    teacher, that is not asked at the same time: both spend from one budget.
    """
    with Ledger(warehouse) as ledger, endpoint(task) as url, asyncio.Runner() as runner:
        asker = Asker(task, warehouse, key, asset, run_id, ledger, url)
        if beside is not None:
            beside.share_budget(asker)
        try:
            yield TeacherSession(task, ledger, asker, runner)
        finally:
            runner.run(_end(asker))
            asker.tally.close()
