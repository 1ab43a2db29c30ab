"""Results of provider batches as rows of the ledger, each recorded once however often they are read.

Belongs here: what of a step's requests is recorded, rows for result lines, what they cost. Does not belong here: when
batches are sent and read (``batch.py``), the wire (``batch_provider.py``).
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from s3_assets.teacher.attempts import Asker
from s3_assets.teacher.batch_provider import Line
from s3_assets.teacher.batch_state import BatchState
from s3_assets.teacher.budget import Amounts
from s3_assets.teacher.ledger import CALLS
from s3_assets.teacher.reply import NotAccepted
from s3_assets.teacher.request import TeacherRequest, request_body

T = TypeVar("T")

# Requests looked up, and rows written, at once.
LOT = 1000

# Begins the cause of every row that a batch failed to answer; the batch's id follows.
_BY_BATCH = "batch "


class BatchRows:
    """Rows of one step's requests. ``requests`` has those the step asks, by key; ``answered`` grows by what came."""

    def __init__(self, asker: Asker, requests: Sequence[TeacherRequest]) -> None:
        self._asker = asker
        # A request that comes twice is in it once.
        self.requests = {asker.records.key(request): request for request in requests}
        self.answered: set[str] = set()

    async def unrecorded(self, keys: Sequence[str]) -> list[str]:
        """Those of ``keys`` that are not answered and that no batch has failed to answer."""
        left: list[str] = []
        for lot in lots(keys):
            known = await asyncio.to_thread(self._asker.ledger.calls, lot)
            left += [key for key in lot if not any(map(_is_recorded, known.get(key, [])))]
        return left

    async def record(self, state: BatchState, lines: Sequence[Line], took: float) -> Amounts:
        """Record ``lines`` but for those an earlier run recorded, on disk when this returns; what they came to.

        ``took`` is how many seconds the batch took. Every line must be of one of ``requests``.
        """
        known = await asyncio.to_thread(self._asker.ledger.calls, [line.custom_id for line in lines])
        rows: list[dict[str, Any]] = []
        for line in lines:
            before = known.get(line.custom_id, [])
            cause = None if line.cause is None else f"{_BY_BATCH}{state.batch_id}: {line.cause}"
            if not any(_is_same(call, line, cause) for call in before):
                number = max((call["attempt"] for call in before), default=-1) + 1
                rows.append(self._row(state, line, cause, number, took))
        await asyncio.gather(*(self._asker.ledger.journal.keep(CALLS, row) for row in rows))
        return total([self._count(row) for row in rows])

    def most(self, keys: Sequence[str]) -> Amounts:
        """The most that a batch of ``keys`` can come to."""
        spec = self._asker.spec
        most = total([self._asker.records.most(request_body(self.requests[key], spec)) for key in keys])
        return Amounts(most.calls, most.tokens, most.money * spec.batch_price_factor)

    def _row(self, state: BatchState, line: Line, cause: str | None, number: int, took: float) -> dict[str, Any]:
        request = self.requests[line.custom_id]
        body = request_body(request, self._asker.spec)
        failure = None if cause is None else NotAccepted(cause)
        return self._asker.records.call(
            request, line.custom_id, body, number, state.asked_at, took, line.reply, failure, state.batch_id
        )

    def _count(self, row: dict[str, Any]) -> Amounts:
        tally = self._asker.tally
        tally.calls += 1
        if row["response"] is None:
            tally.failed_calls += 1
            return Amounts(calls=1)
        self.answered.add(row["request_id"])
        tally.bill(row["prompt_tokens"], row["completion_tokens"], row["cached_tokens"], row["cost"])
        return self._asker.records.actual(row)


def total(amounts: Sequence[Amounts]) -> Amounts:
    """The sum of ``amounts``."""
    return Amounts(
        sum(one.calls for one in amounts), sum(one.tokens for one in amounts), sum(one.money for one in amounts)
    )


def lots(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """``items`` in pieces of ``LOT``."""
    for start in range(0, len(items), LOT):
        yield items[start : start + LOT]


def _is_recorded(call: dict[str, Any]) -> bool:
    return call["response"] is not None or (call["cause"] or "").startswith(_BY_BATCH)


def _is_same(call: dict[str, Any], line: Line, cause: str | None) -> bool:
    """Whether ``call`` is the row of ``line``, written by a run that ended before it removed the state file."""
    if line.reply is None:
        return bool(call["cause"] == cause)
    return bool(call["response"] == line.reply.text and call["finish_reason"] == line.reply.finish_reason)
