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
_DEFAULT = "default"
ROLES = ("system", "rationales", "seed", "extrapolate", "label", "shown", "diagnosis")

# Worded alike for all kinds of tasks.
SHARED = ("system", "shown", "diagnosis")


def template_file(task: Task, role: str) -> Path:
    """The template of a role: the task's own, else its variant's for its kind, else the default variant's."""
    # Some roles have no key in the YAML: label questions, and what is shown beside an example, are worded alike.
    own = getattr(task.spec.prompts, role, None)
    if own is None:
        name = f"{role}.md" if role in SHARED else f"{task.spec.kind}_{role}.md"
        file = _SHIPPED / task.spec.prompts.variant / name
        return file if file.is_file() else _SHIPPED / _DEFAULT / name
    file = task.path(own)
    if not file.is_file():
        raise TaskError(f"{file}: no such file; task {task.name} names it under prompts.{role}")
    return file


def render(task: Task, role: str, **facts: Any) -> str:
    """A prompt in words.

    Every template sees description, labels (name to meaning), how the task writes pairs and questions, and the
    request's own facts; what a request does not say is None.
    """
    import jinja2  # about 0.1 s

    spec, file = task.spec, template_file(task, role)
    asked = spec.labels.get(facts.get("label") or "")
    known = {
        "description": spec.description,
        "labels": {name: declared.means for name, declared in spec.labels.items()},
        "sublabels": asked.sublabels if asked is not None else {},
        "writes": spec.pair.writes,
        "keep_context": spec.pair.keep_context,
        "keep_answer": spec.qa.keep_answer,
        "kind": spec.kind,
        **dict.fromkeys(("label", "sublabel", "count", "rationales", "predicted", "answer")),
        **dict.fromkeys(("probability", "contrast", "diagnosis")),
        **facts,
    }
    try:
        return _compiled(file.read_text(encoding="utf-8")).render(known)
    except jinja2.TemplateError as error:
        line = getattr(error, "lineno", None)
        at = f"{file}:{line}" if line else str(file)
        raise TaskError(f"{at}: {error}; a template may use {', '.join(sorted(known))}") from error


def wording(task: Task) -> dict[str, str]:
    """The text of every template the task uses for every strategy alike, by role: what its prompts' words depend on."""
    unused = {"shown", "diagnosis"} if task.spec.kind == "single" else {"rationales", "shown", "diagnosis"}
    asked = task.spec.verifying.by in {"teacher", "both"}
    if not asked and not any(declared.sublabels for declared in task.spec.labels.values()):
        unused.add("label")
    return {role: template_file(task, role).read_text(encoding="utf-8") for role in ROLES if role not in unused}


def wording_shown(task: Task) -> dict[str, str]:
    """The text of the templates for what the task's strategy shows beside an example, by role."""
    shows = set(task.spec.how.shows)
    # Requests have words of their own for the prediction.
    roles = [*(("shown",) if shows - {"prediction"} else ()), *(("diagnosis",) if "diagnosis" in shows else ())]
    return {role: template_file(task, role).read_text(encoding="utf-8") for role in roles}


@functools.lru_cache(maxsize=32)
def _compiled(source: str) -> "jinja2.Template":
    """Compiled once for all requests of a step: 2.5 ms each time otherwise."""
    import jinja2

    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=False)
    return environment.from_string(source)
