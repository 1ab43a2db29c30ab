"""What the ledger is told of a step's attempts and uses, and what an attempt can come to.

Belongs here: rows of ``teacher_calls`` and ``teacher_uses``, amounts for the budget. Does not belong here: writing rows
(``journal.py``), making attempts (``attempts.py``).
"""

import time
from typing import Any

from s3_assets.store.parts import RoundKey
from s3_assets.tasks.load import Task
from s3_assets.teacher.budget import Amounts
from s3_assets.teacher.money import Price
from s3_assets.teacher.reply import Reply
from s3_assets.teacher.request import TeacherRequest, request_id, teacher_id

# A reservation takes one token for every so many bytes of a prompt: more than tokenizers make of text in any script.
BYTES_PER_TOKEN = 2

# An estimate of what was used, where an endpoint does not say.
CHARACTERS_PER_TOKEN = 4


class Records:
    """Rows for one step: who asks, whom, at which price."""

    def __init__(
        self, task: Task, key: RoundKey, asset: str, run_id: str | None, url: str, price: Price | None
    ) -> None:
        self._spec, self._price, self._run_id = task.spec.teacher, price, run_id
        self.step = {**key.columns(), "asset": asset}
        self.teacher_id = teacher_id(task, url)

    def key(self, request: TeacherRequest) -> str:
        """The request's key in the ledger."""
        return request_id(request, self.teacher_id, self._spec)

    def most(self, body: str) -> Amounts:
        """The most one attempt can come to."""
        prompt, written = len(body.encode()) // BYTES_PER_TOKEN, self._spec.max_tokens
        money = self._price.cost(prompt, written) if self._price else 0.0
        return Amounts(1, prompt + written, money)

    def actual(self, call: dict[str, Any]) -> Amounts:
        """What an answered attempt came to, by its row; tokens are estimated where the endpoint does not say."""
        prompt, written = call["prompt_tokens"], call["completion_tokens"]
        if prompt is None or written is None:
            prompt, written = (len(call[name]) // CHARACTERS_PER_TOKEN for name in ("request", "response"))
        return Amounts(1, prompt + written, call["cost"] or 0.0)

    def call(
        self,
        request: TeacherRequest,
        key: str,
        body: str,
        number: int,
        asked_at: int,
        took: float,
        reply: Reply | None,
        failure: Exception | None,
        batch_id: str | None = None,
    ) -> dict[str, Any]:
        """A row of ``teacher_calls``. ``asked_at`` is in milliseconds, ``took`` in seconds."""
        cost = self._cost(reply, batch_id is not None)
        return {
            "request_id": key,
            "sample": request.sample,
            "attempt": number,
            "teacher_id": self.teacher_id,
            "model": self._spec.model,
            "kind": request.kind,
            "request": body,
            "response": reply.text if reply else None,
            "finish_reason": reply.finish_reason if reply else None,
            "outcome": "failed" if reply is None else "refused" if reply.refused else "answered",
            "cause": None if failure is None else str(failure),
            "prompt_tokens": reply.prompt_tokens if reply else None,
            "cached_tokens": reply.cached_tokens if reply else None,
            "completion_tokens": reply.completion_tokens if reply else None,
            "cost": cost,
            "price_version": self._price.version if cost is not None and self._price else None,
            "latency_seconds": took,
            "dialect": reply.dialect if reply else None,
            "batch_id": batch_id,
            **self.step,
            "run_id": self._run_id,
            "asked_at": asked_at,
        }

    def use(self, request: TeacherRequest, key: str, *, from_ledger: bool) -> dict[str, Any]:
        """A row of ``teacher_uses``."""
        return {
            **self.step,
            "gold_id": request.gold_id,
            "request_id": key,
            "kind": request.kind,
            "rows_requested": request.rows_requested,
            "from_ledger": from_ledger,
            "used_at": time.time_ns() // 1_000_000,
        }

    def _cost(self, reply: Reply | None, in_batch: bool) -> float | None:
        if self._price is None or reply is None or reply.prompt_tokens is None or reply.completion_tokens is None:
            return None
        factor = self._spec.batch_price_factor if in_batch else 1.0
        return factor * self._price.cost(reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens or 0)
