"""How far a step is with its teacher: counts, and a line now and then.

Belongs here: what is counted and how it is said. Does not belong here: counting it (``session.py``,
``generation/filling.py``).
"""

import logging
import time
from dataclasses import dataclass, field

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 3.0


@dataclass
class Tally:
    """What a step has asked and got so far. Tokens as billed; ``cost`` in US dollars, None when not known."""

    asset: str
    requests: int = 0
    done: int = 0
    from_ledger: int = 0
    calls: int = 0
    failed_calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = 0.0
    unusable: int = 0
    accepted: int = 0
    rejected: int = 0
    expected: int | None = None
    _began: float = field(default_factory=time.monotonic)
    _last: float = field(default_factory=time.monotonic)

    def bill(self, prompt: int | None, completion: int | None, cached: int | None, cost: float | None) -> None:
        """Count one answered call."""
        self.prompt_tokens += prompt or 0
        self.completion_tokens += completion or 0
        self.cached_tokens += cached or 0
        self.cost = None if self.cost is None or cost is None else self.cost + cost

    def numbers(self) -> dict[str, int | float]:
        """For metadata and the closing table."""
        counted: dict[str, int | float] = {
            "teacher_requests": self.requests,
            "teacher_requests_from_ledger": self.from_ledger,
            "teacher_calls": self.calls,
            "teacher_calls_failed": self.failed_calls,
            "unusable_answers": self.unusable,
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "completion_tokens": self.completion_tokens,
        }
        return counted if self.cost is None else counted | {"cost_usd": self.cost}

    def show(self, in_flight: int) -> None:
        """A line when the last is some seconds old."""
        now = time.monotonic()
        if now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = now
        log.info("%s", self.line(in_flight, now - self._began))

    def close(self) -> None:
        """The last line."""
        log.info("%s", self.line(0, time.monotonic() - self._began))

    def line(self, in_flight: int, seconds: float) -> str:
        """Done, in flight, accepted, rejected, cost and time to go, in words."""
        total = f" of {self.expected}" if self.expected is not None else ""
        tokens = self.prompt_tokens + self.completion_tokens
        cost = "" if self.cost is None else f", ${self.cost:.4f}" if self.cost else ""
        said = (
            f"{self.asset}: {self.done}{total} answers ({self.from_ledger} from the ledger), {in_flight} in flight, "
            f"{self.accepted} rows accepted, {self.rejected} rejected, {tokens} tokens{cost}"
        )
        asked = self.done - self.from_ledger
        if self.expected is None or not in_flight or asked <= 0:
            return said
        return f"{said}, about {seconds / asked * (self.expected - self.done):.0f} s to go"
