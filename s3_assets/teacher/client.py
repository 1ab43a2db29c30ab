"""Talking to a chat endpoint: one attempt, with its outcome told apart.

Belongs here: the OpenAI wire format through the ``openai`` package, and starting the embedded teacher when a task
asks for it. Does not belong here: repeats, budgets, the ledger (``session.py``, ``ledger.py``).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from s3_assets.tasks.load import Task, TaskError
from s3_assets.teacher.request import DEFAULT_BASE_URL, TeacherRequest, grammar_digest, sampling

if TYPE_CHECKING:
    import openai

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class TeacherUnavailable(RuntimeError):
    """The teacher cannot be asked, and asking again would not help."""


class TryAgain(Exception):
    """An attempt failed in a way that may pass. ``wait`` is what the server asks for, in seconds."""

    def __init__(self, cause: str, wait: float | None) -> None:
        super().__init__(cause)
        self.wait = wait


@dataclass(frozen=True)
class Reply:
    """What came back from one attempt. ``text`` is raw; tokens are None when the endpoint does not say."""

    text: str
    refused: bool
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None


@contextmanager
def endpoint(task: Task) -> Iterator[str]:
    """Base URL of the task's teacher. The embedded teacher is started here and stopped on leaving."""
    spec = task.spec.teacher
    if spec.backend == "embedded":
        from s3_assets.teacher.embedded.server import embedded_teacher

        grammar_digest(task)
        with embedded_teacher(task.path(spec.grammar)) as url:
            yield url
    else:
        yield base_url(task)


def base_url(task: Task) -> str:
    """Where a task's teacher answers: the YAML's ``base_url``, else ``OPENAI_BASE_URL``, else OpenAI."""
    if task.spec.teacher.backend == "embedded":
        return "http://127.0.0.1/v1"
    return task.spec.teacher.base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL


def check_teacher(task: Task) -> None:
    """``TaskError`` for what can be known without asking: a missing key, a grammar that cannot serve the task."""
    _api_key(task, base_url(task))
    if task.spec.teacher.backend != "embedded":
        return
    from s3_assets.teacher.embedded.grammar import load_grammar

    grammar_digest(task)
    if task.spec.kind != "single":
        raise TaskError(f"task {task.name}: the embedded teacher writes single texts only; name another teacher")
    file = task.path(task.spec.teacher.grammar)
    missing = sorted(set(task.spec.labels) - set(load_grammar(file).labels))
    if missing:
        raise TaskError(f"{file}: has no texts for the labels {', '.join(missing)} of task {task.name}; add them")


class ChatClient:
    """One endpoint, asked asynchronously. Not retried here: every attempt is the caller's to count."""

    def __init__(self, task: Task, url: str) -> None:
        self._spec = task.spec.teacher
        self._url = url
        self._key = _api_key(task, url)
        self._client: openai.AsyncOpenAI | None = None

    def connection(self) -> "openai.AsyncOpenAI":
        """The client under it, made when first asked for: about 0.7 s that are no part of an attempt's latency."""
        import openai

        if self._client is None:
            self._client = openai.AsyncOpenAI(
                api_key=self._key, base_url=self._url, max_retries=0, timeout=self._spec.timeout_seconds
            )
        return self._client

    async def ask(self, request: TeacherRequest, attempt: int) -> Reply:
        """One attempt. ``TryAgain`` for what may pass (429, 5xx, timeout), ``TeacherUnavailable`` for what will not."""
        import openai

        # The embedded teacher draws by this number, so that a resumed run is answered like an uninterrupted one.
        headers = {"x-s3-sample": str(request.sample * 100 + attempt)} if self._spec.backend == "embedded" else None
        try:
            done = await self.connection().chat.completions.create(  # type: ignore[call-overload]
                model=self._spec.model,
                messages=[dict(message) for message in request.messages],
                response_format=request.response_format,
                extra_headers=headers,
                **sampling(self._spec),
            )
        except (openai.RateLimitError, openai.InternalServerError) as error:
            raise TryAgain(f"HTTP {error.status_code}: {error.message}", _wait_asked(error)) from error
        except openai.APIConnectionError as error:  # includes timeouts
            raise TryAgain(f"no answer from {self._url}: {error.__cause__ or error}", None) from error
        except openai.APIStatusError as error:
            raise TeacherUnavailable(_explain(error, self._url, self._spec.api_key_env, self._spec.model)) from error
        choice, usage = done.choices[0], done.usage
        return Reply(
            text=choice.message.content or choice.message.refusal or "",
            refused=bool(choice.message.refusal),
            finish_reason=choice.finish_reason,
            prompt_tokens=usage.prompt_tokens if usage else None,
            completion_tokens=usage.completion_tokens if usage else None,
        )

    async def close(self) -> None:
        """Close connections."""
        if self._client is not None:
            await self._client.close()


def _api_key(task: Task, url: str) -> str:
    spec = task.spec.teacher
    key = os.environ.get(spec.api_key_env)
    if key:
        return key
    if urlsplit(url).hostname in _LOOPBACK:
        return "none"
    raise TaskError(
        f"task {task.name}: its teacher at {url} needs an API key; set the environment variable {spec.api_key_env} "
        "(or name another one under teacher.api_key_env)"
    )


def _wait_asked(error: "openai.APIStatusError") -> float | None:
    try:
        return float(error.response.headers.get("retry-after", ""))
    except ValueError:
        return None


def _explain(error: "openai.APIStatusError", url: str, key_variable: str, model: str) -> str:
    hints = {
        401: f"check the key in {key_variable}",
        403: f"check what the key in {key_variable} may use",
        404: f"check teacher.base_url and that the endpoint serves model {model!r}",
    }
    hint = hints.get(error.status_code, "the request was not accepted")
    return f"the teacher at {url} answered HTTP {error.status_code}: {error.message}; {hint}"
