"""Talking to a chat endpoint: one attempt, with its outcome told apart.

Belongs here: the OpenAI wire format, through the ``openai`` package's connections and credentials; finding out which
form of a request the endpoint accepts. Does not belong here: repeats, budgets, the ledger (``session.py``,
``ledger.py``), starting the teacher of a task (``endpoint.py``).
"""

import asyncio
import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from s3_assets.tasks.teacher_spec import TeacherSpec
from s3_assets.teacher.dialect import Dialect
from s3_assets.teacher.limits import asked_pause, asked_wait
from s3_assets.teacher.reply import NotAccepted, Reply, TeacherUnavailable, TryAgain
from s3_assets.teacher.request import TeacherRequest

if TYPE_CHECKING:
    import httpx2
    import openai

log = logging.getLogger(__name__)

# Longer texts of errors are cut: some servers send pages.
LONGEST_CAUSE = 500

# Codes of a 429 that no waiting cures.
_NO_CREDIT = ("insufficient_quota", "billing_not_active", "billing_hard_limit_reached")

_BUSY = (429, 503, 529)


class ChatClient:
    """One endpoint, asked asynchronously. Not retried here: every attempt is the caller's to count.

    ``known`` is the form of request that the endpoint is known to accept, from earlier answers.
    """

    def __init__(self, spec: TeacherSpec, url: str, key: str, known: Dialect | None = None) -> None:
        self._spec, self._url, self._key = spec, url, key
        self._fixed = spec.structured != "auto" or spec.backend == "embedded"
        declared = None if spec.structured == "auto" else Dialect(spec.structured)
        self._dialect = declared or known or Dialect("json_schema")
        self._found = asyncio.Event()
        if spec.backend == "embedded" or (known is not None and declared is None):
            self._found.set()
        self._finding = asyncio.Lock()
        self._connection: openai.AsyncOpenAI | None = None
        self._http: httpx2.AsyncClient | None = None
        self._target: httpx2.URL | None = None

    def connection(self) -> "openai.AsyncOpenAI":
        """The ``openai`` client under it, made when first asked for: about 0.7 s that are no part of a latency."""
        import openai

        if self._connection is None:
            # Without TLS nothing is verified, and reading the certificates takes 0.2 s; then no redirect is followed.
            secure = self._url.startswith("https:")
            self._http = openai.DefaultAioHttpClient(
                timeout=self._spec.timeout_seconds, verify=secure, follow_redirects=secure
            )
            self._connection = openai.AsyncOpenAI(
                api_key=self._key, base_url=self._url, max_retries=0, http_client=self._http
            )
            said = {**self._connection.default_headers, **self._connection.auth_headers}
            self._http.headers.update({name: value for name, value in said.items() if isinstance(value, str)})
            base = self._connection.base_url
            self._target = base.copy_with(path=f"{base.path.rstrip('/')}/chat/completions")
            if base.host.endswith(".azure.com"):
                self._http.headers["api-key"] = self._key
        return self._connection

    async def ask(self, request: TeacherRequest, body: str, attempt: int) -> Reply:
        """One attempt; see ``Backend``. Until the form is found, one request at a time looks for it."""
        if not self._found.is_set():
            async with self._finding:
                # Whoever had to wait for the first finds the form known.
                if not self._found.is_set():
                    reply = await self._ask(request, body, attempt)
                    self._found.set()
                    return reply
        return await self._ask(request, body, attempt)

    async def close(self) -> None:
        """Close connections."""
        if self._connection is not None:
            await self._connection.close()

    async def _ask(self, request: TeacherRequest, body: str, attempt: int) -> Reply:
        while True:
            dialect = self._dialect
            response = await self._post(dialect.speak(body), request.sample * 100 + attempt)
            if response.status_code == 200:
                return self._reply(response, dialect)
            cause, code = self._cause(response)
            if response.status_code in (400, 415, 422, 501):
                plainer = dialect.plainer(cause, self._fixed)
                if plainer is None:
                    raise NotAccepted(cause)
                log.info("the teacher does not accept requests as %s; asking as %s from now on", dialect, plainer)
                self._dialect = plainer
                continue
            if code in _NO_CREDIT:
                raise TeacherUnavailable(f"the teacher at {self._url} has no credit left: {cause}")
            if response.status_code in _BUSY:
                raise TryAgain(cause, asked_wait(response.headers), refused=True)
            if response.status_code >= 500 or response.status_code in (408, 409):
                raise TryAgain(cause, asked_wait(response.headers))
            raise TeacherUnavailable(f"the teacher at {self._url} answered {cause}; {self._hint(response.status_code)}")

    async def _post(self, body: bytes, sample: int) -> "httpx2.Response":
        import aiohttp
        import httpx2

        self.connection()
        if self._http is None or self._target is None:
            raise RuntimeError("the connection was not made")
        # The embedded teacher draws by this number, so that a resumed run is answered like an uninterrupted one.
        headers = {"x-s3-sample": str(sample)} if self._spec.backend == "embedded" else None
        try:
            # Not through the openai client's own methods: those cost 1.2 to 4.5 ms a call where this takes 0.8.
            return await self._http.post(self._target, content=body, headers=headers)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            # The transport calls every lost connection a connect timeout; its cause tells those never made.
            never_made = isinstance(error.__cause__, aiohttp.ClientConnectorError)
            what = f"no connection to {self._url}" if never_made else "connection lost"
            raise TryAgain(f"{what}: {self._clean(str(error))}", sent=not never_made) from error
        except httpx2.TimeoutException as error:
            raise TryAgain(f"no answer within {self._spec.timeout_seconds:g} s", sent=True) from error
        except httpx2.HTTPError as error:
            raise TryAgain(f"connection lost: {self._clean(str(error) or type(error).__name__)}", sent=True) from error

    def _reply(self, response: "httpx2.Response", dialect: Dialect) -> Reply:
        try:
            reply = read_completion(json.loads(response.content), dialect)
        except ValueError as error:
            raise TryAgain(f"HTTP 200 without a chat completion: {self._clean(response.text)}", sent=True) from error
        return replace(reply, pause=asked_pause(response.headers))

    def _cause(self, response: "httpx2.Response") -> tuple[str, str | None]:
        """Status and message of an error, and its code."""
        code = None
        try:
            said = json.loads(response.content)
            error = said.get("error", said)
            message = (
                error.get("message") or error.get("detail") or str(error) if isinstance(error, dict) else str(error)
            )
            code = error.get("code") if isinstance(error, dict) else None
        except (ValueError, AttributeError):
            message = response.text
        return f"HTTP {response.status_code}: {self._clean(str(message))}", code

    def _clean(self, text: str) -> str:
        """A server's words without the key, which some repeat."""
        return text.replace(self._key, "***")[:LONGEST_CAUSE] if len(self._key) > len("none") else text[:LONGEST_CAUSE]

    def _hint(self, status: int) -> str:
        hints = {
            401: f"check the key in {self._spec.api_key_env}",
            403: f"check what the key in {self._spec.api_key_env} may use",
            404: f"check teacher.base_url and that the endpoint serves model {self._spec.model!r}",
        }
        return hints.get(status, "the request was not accepted")


def read_completion(done: Any, dialect: Dialect) -> Reply:
    """The reply in a chat completion, which was asked for in ``dialect``; ``ValueError`` when ``done`` is none."""
    try:
        choice = done["choices"][0]
        message, usage = choice["message"], done.get("usage") or {}
        content, refusal = message.get("content"), message.get("refusal")
        return Reply(
            # Half characters, which JSON can escape, cannot be stored.
            text=(_text(content) or refusal or "").encode("utf-8", "replace").decode(),
            refused=bool(refusal) or choice.get("finish_reason") == "content_filter",
            finish_reason=choice.get("finish_reason"),
            prompt_tokens=usage.get("prompt_tokens"),
            completion_tokens=usage.get("completion_tokens"),
            cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens"),
            dialect=str(dialect),
        )
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError("not a chat completion") from error


def _text(content: Any) -> str | None:
    """Message content as text; some endpoints send it in pieces."""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else None
