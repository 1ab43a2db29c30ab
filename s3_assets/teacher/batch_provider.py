"""The provider's side of batches: files and batches in the OpenAI wire format, through the ``openai`` package.

Belongs here: uploading, creating, finding, looking, reading result lines; repeating while the endpoint is busy. Does
not belong here: which requests go into a batch (``batch.py``), recording results (``batch_rows.py``), state on disk
(``batch_state.py``).
"""

import asyncio
import functools
import itertools
import json
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, TypeVar

from s3_assets.tasks.teacher_spec import TeacherSpec
from s3_assets.teacher.attempts import LONGEST_WAIT, SHORTEST_WAIT
from s3_assets.teacher.client import LONGEST_CAUSE, read_completion
from s3_assets.teacher.dialect import Dialect
from s3_assets.teacher.limits import asked_wait
from s3_assets.teacher.reply import Reply, TeacherUnavailable

if TYPE_CHECKING:
    import openai
    from openai.types import Batch

log = logging.getLogger(__name__)

T = TypeVar("T")

# Key of a batch's metadata under which its name in the state file is kept.
METADATA = "s3_batch"

# A file of 190 MB takes its time on a slow line, and the provider reads it before it answers.
UPLOAD_SECONDS = 600.0

GOES_ON = "Batches already sent go on at the provider; the same command picks them up"

_NO_BATCHES = "it seems to offer no provider batches; set teacher.mode: live to ask it directly"


@dataclass(frozen=True)
class Line:
    """What became of one request of a batch: a reply, or a cause in words."""

    custom_id: str
    reply: Reply | None
    cause: str | None


@dataclass(frozen=True)
class _Failure:
    """Why a call brought nothing; ``wait`` is what the endpoint asks for, in seconds, ``status`` 0 if it was silent."""

    cause: str
    wait: float | None = None
    status: int = 0


class BatchProvider:
    """One endpoint's files and batches. What may pass is repeated for ``teacher.patience_seconds``.

    All calls raise ``TeacherUnavailable`` when that is over, or when repeating would not help.
    """

    def __init__(self, spec: TeacherSpec, url: str, key: str) -> None:
        self._spec, self._url, self._key = spec, url, key
        self._made: openai.AsyncOpenAI | None = None

    @property
    def _api(self) -> "openai.AsyncOpenAI":
        if self._made is None:
            import openai  # about 0.7 s

            # Not the client that asks directly: its headers say that every body is JSON.
            http = openai.DefaultAioHttpClient(timeout=self._spec.timeout_seconds)
            self._made = openai.AsyncOpenAI(api_key=self._key, base_url=self._url, max_retries=0, http_client=http)
            if self._made.base_url.host.endswith(".azure.com"):
                http.headers["api-key"] = self._key
        return self._made

    async def close(self) -> None:
        """Close connections."""
        if self._made is not None:
            await self._made.close()

    async def upload(self, name: str, file: IO[bytes]) -> str:
        """Send a file of requests; the provider's id of it."""
        # Its length is read from the file system.
        file.flush()
        part = (f"{name}.jsonl", file, "application/jsonl")
        timeout = max(UPLOAD_SECONDS, self._spec.timeout_seconds)
        sent = await self._patiently(lambda: self._api.files.create(file=part, purpose="batch", timeout=timeout))
        return sent.id

    async def create(self, key: str, file_id: str) -> "Batch":
        """Begin a batch of an uploaded file. Looked for before it is asked for again, so that it is begun once."""
        attempts = itertools.count()

        async def create() -> "Batch":
            # An attempt that got no answer may have begun it.
            found = await self._find(key) if next(attempts) else None
            return found or await self._api.batches.create(
                completion_window="24h",
                endpoint="/v1/chat/completions",
                input_file_id=file_id,
                metadata={METADATA: key},
            )

        return await self._patiently(create)

    async def find(self, key: str) -> "Batch | None":
        """The batch of this key, if one was begun."""
        return await self._patiently(lambda: self._find(key))

    async def look(self, batch_id: str, unknown: str) -> "Batch":
        """The batch as it is now; ``unknown`` says what to do when the provider does not have it."""
        return await self._patiently(lambda: self._api.batches.retrieve(batch_id), unknown)

    async def results(self, batch: "Batch", dialect: Dialect) -> AsyncIterator[Line]:
        """What became of the requests of a batch that has ended, those with answers first; some may be missing."""
        for file_id in (batch.output_file_id, batch.error_file_id):
            if not file_id:
                continue
            with tempfile.TemporaryFile() as local:
                await self._patiently(functools.partial(self._download, file_id, local))
                local.seek(0)
                for text in local:
                    line = self._read(text, batch.id, dialect) if text.strip() else None
                    if line is not None:
                        yield line

    def refusal(self, batch: "Batch") -> str:
        """Why a batch failed, in the provider's words."""
        errors = (batch.errors.data if batch.errors else None) or []
        said = [
            (f"line {error.line}: " if error.line is not None else "") + (error.message or error.code or "no reason")
            for error in errors[:3]
        ]
        more = f" (and {len(errors) - 3} more)" if len(errors) > 3 else ""
        return self._clean("; ".join(said) or "no reason given") + more

    async def _find(self, key: str) -> "Batch | None":
        async for batch in self._api.batches.list(limit=100):
            # One whose file was refused did nothing, and another may be sent in its place.
            if (batch.metadata or {}).get(METADATA) == key and batch.status != "failed":
                return batch
        return None

    async def _download(self, file_id: str, into: IO[bytes]) -> None:
        into.seek(0)
        into.truncate()
        async with self._api.files.with_streaming_response.content(file_id) as response:
            async for piece in response.iter_bytes():
                into.write(piece)

    def _read(self, text: bytes, batch_id: str, dialect: Dialect) -> Line | None:
        try:
            said = json.loads(text)
            custom_id, response = said["custom_id"], said.get("response") or {}
            body, status = response.get("body"), response.get("status_code")
            error = said.get("error") or (body.get("error", body) if isinstance(body, dict) else body)
        except (ValueError, KeyError, TypeError, AttributeError):
            log.warning("batch %s has a line that is no result: %s", batch_id, self._clean(repr(text)))
            return None
        if status == 200:
            try:
                return Line(custom_id, read_completion(body, dialect), None)
            except ValueError:
                error = "no chat completion"
        words = error.get("message") or error.get("code") or str(error) if isinstance(error, dict) else str(error)
        return Line(custom_id, None, self._clean(f"HTTP {status}: {words}" if status else words))

    async def _patiently(self, call: Callable[[], Awaitable[T]], unknown: str = _NO_BATCHES) -> T:
        """The result of ``call``, repeated with growing waits while failures may pass; ``unknown`` explains a 404."""
        began: float | None = None
        for repeats in itertools.count(1):
            result = await self._attempt(call)
            if not isinstance(result, _Failure):
                return result
            if 400 <= result.status < 500 and result.status not in (408, 409, 429):
                hint = self._hint(result.status, unknown)
                raise TeacherUnavailable(f"the teacher at {self._url} answered {result.cause}; {hint}")
            began = time.monotonic() if began is None else began
            silent = time.monotonic() - began
            wait = max(result.wait or 0.0, min(LONGEST_WAIT, SHORTEST_WAIT * 2.0 ** min(repeats, 16)))
            if max(silent, wait) >= self._spec.patience_seconds:
                said = f"asks to wait {wait:.0f} s" if wait > silent else f"has not answered for {silent:.0f} s"
                raise TeacherUnavailable(
                    f"the teacher at {self._url} {said}; teacher.patience_seconds is {self._spec.patience_seconds:g}. "
                    f"Its last words: {result.cause}. {GOES_ON}."
                )
            log.info("the teacher's batches: %s; trying again in %.1f s", result.cause, wait)
            await asyncio.sleep(wait)
        raise AssertionError("counting does not end")

    async def _attempt(self, call: Callable[[], Awaitable[T]]) -> "T | _Failure":
        """The result, or why there is none. Errors end here: what the ``openai`` package says may repeat the key."""
        import httpx2
        import openai

        try:
            result = await call()
        except openai.APIStatusError as error:
            cause = f"HTTP {error.status_code}: {_message(error.body) or error.response.reason_phrase}"
            return _Failure(self._clean(cause), asked_wait(error.response.headers), error.status_code)
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            return _Failure(self._clean(f"no connection: {error.__cause__ or error}"))
        # What the package makes of an answer that is no JSON: a page of some gateway.
        return _Failure(self._clean(f"HTTP 200 without JSON: {result}")) if isinstance(result, str) else result

    def _hint(self, status: int, unknown: str) -> str:
        hints = {
            401: f"check the key in {self._spec.api_key_env}",
            403: f"check what the key in {self._spec.api_key_env} may use",
            404: unknown,
            405: unknown,
        }
        return hints.get(status, "the batch was not accepted")

    def _clean(self, text: str) -> str:
        """A server's words without the key, which some repeat."""
        return text.replace(self._key, "***")[:LONGEST_CAUSE] if len(self._key) > len("none") else text[:LONGEST_CAUSE]


def _message(body: Any) -> str:
    if isinstance(body, dict):
        return str(body.get("message") or body.get("detail") or body)
    return "" if body is None else str(body)
