"""How fast an endpoint is asked: requests in flight, requests and tokens per minute, and giving way when it refuses.

Belongs here: waiting before an attempt, learning from refusals and headers. Does not belong here: sending
(``client.py``), how often one request is repeated (``session.py``), money (``budget.py``).
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

# Refusals among the latest attempts: above the first share fewer requests are kept in flight, above the second none is
# sent until the wait asked for is over. Below, only the refused request waits.
EASE_SHARE, PAUSE_SHARE, LATEST = 0.2, 0.5, 40

# How much of a limit per minute may be used at once, in seconds of it.
BURST_SECONDS = 1.0

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


@dataclass
class Rate:
    """A limit per minute, kept evenly (generic cell rate algorithm). ``clock`` gives seconds."""

    per_minute: float
    clock: Callable[[], float] = time.monotonic
    _free_at: float = field(default=0.0, init=False)

    def wait(self, amount: float) -> float:
        """Book ``amount`` and return how many seconds to wait before using it."""
        now = self.clock()
        self._free_at = max(self._free_at, now - BURST_SECONDS) + amount * 60 / self.per_minute
        return max(0.0, self._free_at - now)

    def correct(self, amount: float) -> None:
        """Book ``amount`` more, or less when negative, after the fact."""
        self._free_at += amount * 60 / self.per_minute


class Pace:
    """Turns to ask one endpoint. ``most`` is the largest number of requests in flight."""

    def __init__(self, most: int, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        self._most = most
        self.allowed = float(most)
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._requests = Rate(requests_per_minute) if requests_per_minute else None
        self._tokens = Rate(tokens_per_minute) if tokens_per_minute else None
        self._paused_until = self._eased_until = 0.0
        self._latest: deque[bool] = deque(maxlen=LATEST)
        self._failing_since: float | None = None

    @property
    def in_flight(self) -> int:
        """Requests being answered."""
        return self._in_flight

    async def begin(self, tokens: int) -> None:
        """Wait for a turn to send a request of about ``tokens`` tokens; ``end`` gives it back."""
        while self._in_flight >= max(1, int(self.allowed)):
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        self._in_flight += 1
        try:
            for rate, amount in ((self._requests, 1), (self._tokens, tokens)):
                if rate is not None and (wait := rate.wait(amount)) > 0:
                    await asyncio.sleep(wait)
            while (wait := self._paused_until - time.monotonic()) > 0:
                await asyncio.sleep(wait)
        except asyncio.CancelledError:
            self.end(0)
            raise

    def end(self, surplus: int) -> None:
        """Give a turn back. ``surplus`` tokens were used beyond those it began with."""
        self._in_flight -= 1
        if self._tokens and surplus:
            self._tokens.correct(surplus)
        self._wake()

    def answered(self, pause: float | None) -> None:
        """An answer came; ``pause`` is how long the endpoint asks not to be asked, in seconds."""
        now = time.monotonic()
        self._failing_since = None
        self._latest.append(False)
        if pause:
            self._paused_until = max(self._paused_until, now + pause)
        if self.allowed < self._most and now >= self._eased_until:
            # One more for every round of answers.
            self.allowed = min(self._most, self.allowed + 1 / self.allowed)
            self._wake()

    def failed(self, wait: float, *, refused: bool) -> float:
        """An attempt failed and will be repeated after ``wait`` seconds; how long nothing has been answered.

        ``refused``: the endpoint is too busy, and is asked less.
        """
        now = time.monotonic()
        self._failing_since = now if self._failing_since is None else self._failing_since
        if refused:
            self._latest.append(True)
            share = sum(self._latest) / LATEST
            if share > EASE_SHARE and now >= self._eased_until:
                self.allowed, self._eased_until = max(1.0, self.allowed / 2), now + max(1.0, wait)
            if share > PAUSE_SHARE:
                self._paused_until = max(self._paused_until, now + wait)
        return now - self._failing_since

    def _wake(self) -> None:
        free = max(1, int(self.allowed)) - self._in_flight
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds a refusing server asks to wait, by ``retry-after-ms`` or ``retry-after`` (seconds, a date), or None."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        said = headers.get(name)
        if said is None:
            continue
        try:
            return max(0.0, float(said) * unit)
        except ValueError:
            return _until(said)
    return None


def asked_pause(headers: Mapping[str, str]) -> float | None:
    """Seconds until the endpoint takes requests again when its headers say none are left, else None.

    ``x-ratelimit-remaining-requests`` or ``-tokens`` at 0, with ``x-ratelimit-reset-*`` as in ``6m0.5s``.
    """
    pauses = [
        span
        for what in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{what}") == "0"
        and (span := _seconds(headers.get(f"x-ratelimit-reset-{what}", "")))
    ]
    return max(pauses, default=None)


def _seconds(text: str) -> float:
    return sum(float(amount) * _UNITS[unit] for amount, unit in _SPAN.findall(text))


def _until(date: str) -> float | None:
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - time.time())
    except ValueError:
        return None
