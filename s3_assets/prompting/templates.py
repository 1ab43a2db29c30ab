"""Prompt templates: which file words which kind of request, and how a task replaces one.

Belongs here: finding and rendering templates. Does not belong here: the JSON block and schemas every request carries
(``contract.py``), what is asked for (``generation/``).
"""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3_assets.tasks.load import Task, TaskError

if TYPE_CHECKING:
    import jinja2

_SHIPPED = Path(__file__).parent / "templates"
ROLES = ("system", "rationales", "seed", "extrapolate")


def template_file(task: Task, role: str) -> Path:
    """The template of a role: the task's own, else the one shipped for its kind."""
    own = getattr(task.spec.prompts, role)
    if own is None:
        return _SHIPPED / ("system.md" if role == "system" else f"{task.spec.kind}_{role}.md")
    file = task.path(own)
    if not file.is_file():
        raise TaskError(f"{file}: no such file; task {task.name} names it under prompts.{role}")
    return file


def render(task: Task, role: str, **facts: Any) -> str:
    """A prompt in words. Every template sees description, labels (name to meaning) and the request's own facts."""
    import jinja2  # about 0.1 s

    file = template_file(task, role)
    known = {"description": task.spec.description, "labels": task.spec.labels, **facts}
    try:
        return _compiled(file.read_text(encoding="utf-8")).render(known)
    except jinja2.TemplateError as error:
        line = getattr(error, "lineno", None)
        at = f"{file}:{line}" if line else str(file)
        raise TaskError(f"{at}: {error}; a template may use {', '.join(sorted(known))}") from error


def wording(task: Task) -> dict[str, str]:
    """The text of every template the task uses, by role: what a prompt's wording depends on."""
    roles = ROLES if task.spec.kind == "single" else ("system", "seed", "extrapolate")
    return {role: template_file(task, role).read_text(encoding="utf-8") for role in roles}


@functools.lru_cache(maxsize=32)
def _compiled(source: str) -> "jinja2.Template":
    """Compiled once for all requests of a step: 2.5 ms each time otherwise."""
    import jinja2

    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=False)
    return environment.from_string(source)
