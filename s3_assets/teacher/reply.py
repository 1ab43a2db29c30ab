"""What comes back from one attempt to ask a teacher, and what every way of asking has in common.

Belongs here: the reply value, the errors that tell failures apart, the interface of a backend. Does not belong here:
the wire (``client.py``), models in this process (``local.py``), repeats and budgets (``session.py``).
"""

from dataclasses import dataclass
from typing import Protocol

from s3_assets.teacher.request import TeacherRequest


class TeacherUnavailable(RuntimeError):
    """The teacher cannot be asked, and asking again would not help."""


class TryAgain(Exception):
    """An attempt failed in a way that may pass. ``wait`` is what the server asks for, in seconds.

    ``refused`` tells a server that is too busy (429, 503) from one that failed. ``sent`` is True when an answer may
    have been written, and billed, that never arrived.
    """

    def __init__(self, cause: str, wait: float | None = None, *, refused: bool = False, sent: bool = False) -> None:
        super().__init__(cause)
        self.wait, self.refused, self.sent = wait, refused, sent


class NotAccepted(Exception):
    """The endpoint does not accept this one request (HTTP 400 and alike); others may fare better."""


@dataclass(frozen=True)
class Reply:
    """What came back from one attempt. ``text`` is raw; tokens are None when the endpoint does not say.

    ``prompt_tokens`` include ``cached_tokens``. ``dialect`` says which form of the request was accepted.
    ``pause`` is how many seconds the endpoint's headers ask not to be asked, None when it takes requests now.
    """

    text: str
    refused: bool
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None = None
    dialect: str | None = None
    pause: float | None = None


class Backend(Protocol):
    """One teacher, asked asynchronously. Not retried here: every attempt is the caller's to count and to record."""

    async def ask(self, request: TeacherRequest, body: str, attempt: int) -> Reply:
        """One attempt. ``body`` is the request as JSON in the wire format of chat completions.

        ``TryAgain`` for what may pass, ``NotAccepted`` for what this request alone must bear, ``TeacherUnavailable``
        for what stands in the way of all.
        """
        ...

    async def close(self) -> None:
        """Give back connections and memory."""
        ...
