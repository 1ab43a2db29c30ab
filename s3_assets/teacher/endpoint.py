"""Where a task's teacher answers, and what can be known of it without asking.

Belongs here: base URL, API key, starting the embedded teacher. Does not belong here: talking to it (``client.py``,
``local.py``).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from s3_assets.tasks.load import Task, TaskError
from s3_assets.teacher.request import DEFAULT_BASE_URL, LOOPBACK, grammar_digest


@contextmanager
def endpoint(task: Task) -> Iterator[str]:
    """Base URL of the task's teacher. The embedded teacher is started here and stopped on leaving."""
    spec = task.spec.teacher
    if spec.backend == "embedded" and spec.mode != "replay":
        from s3_assets.teacher.embedded.server import embedded_teacher

        grammar_digest(task)
        with embedded_teacher(task.path(spec.grammar)) as url:
            yield url
    else:
        yield base_url(task)


def base_url(task: Task) -> str:
    """Where a task's teacher answers: the YAML's ``base_url``, else ``OPENAI_BASE_URL``, else OpenAI."""
    if task.spec.teacher.backend != "openai":
        return "http://127.0.0.1/v1"
    return task.spec.teacher.base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL


def api_key(task: Task, url: str) -> str:
    """The key from the environment; ``none`` where the endpoint is on this machine; else ``TaskError``."""
    spec = task.spec.teacher
    key = os.environ.get(spec.api_key_env)
    if key:
        return key
    if urlsplit(url).hostname in LOOPBACK:
        return "none"
    raise TaskError(
        f"task {task.name}: its teacher at {url} needs an API key; set the environment variable {spec.api_key_env} "
        "(or name another one under teacher.api_key_env)"
    )


def check_teacher(task: Task) -> None:
    """``TaskError`` for what can be known without asking: a missing key, a grammar that cannot serve the task."""
    if task.spec.teacher.mode == "replay":
        return
    api_key(task, base_url(task))
    if task.spec.teacher.backend != "embedded":
        return
    from s3_assets.teacher.embedded.grammar import load_grammar

    grammar_digest(task)
    if task.spec.kind != "single":
        raise TaskError(f"task {task.name}: the embedded teacher writes single texts only; name another teacher")
    if task.spec.fields.sublabel is None and any(label.sublabels for label in task.spec.labels.values()):
        raise TaskError(
            f"task {task.name}: the embedded teacher cannot say which sublabel a gold row has; name the column that "
            "does (fields.sublabel) or another teacher"
        )
    file = task.path(task.spec.teacher.grammar)
    missing = sorted(set(task.spec.labels) - set(load_grammar(file).labels))
    if missing:
        raise TaskError(f"{file}: has no texts for the labels {', '.join(missing)} of task {task.name}; add them")
