"""What every request carries, whatever its wording: an answer schema and its inputs as one JSON block.

Belongs here: schemas, the JSON block, messages. Does not belong here: the wording (``templates.py``), what to ask
for (``generation/``).
"""

import json
from collections.abc import Mapping
from typing import Any

from s3_assets.prompting.templates import render
from s3_assets.tasks.load import Task

RATIONALES = "rationales"
EXAMPLES = "examples"

# Order of the keys in the JSON block; only those that apply are written.
_ORDER = ("label", "labels", "count", "rationales", "given", "example")


def messages(task: Task, role: str, facts: Mapping[str, Any]) -> tuple[dict[str, str], ...]:
    """System and user message of a request. The user message ends with ``facts`` as a fenced JSON block.

    The block keeps example text apart from instructions, so that text cannot pass for an instruction.
    """
    example = facts.get("example") or {}
    words = {
        "keep_context": task.spec.pair.keep_context,
        "predicted": example.get("predicted"),
        "rationales": facts.get("rationales"),
        "label": facts["label"],
        "count": facts["count"],
    }
    block = {key: facts[key] for key in _ORDER if facts.get(key) is not None}
    prompt = render(task, role, **words)
    # Backquotes in a text would end the fence; as an escape they mean the same to a JSON reader.
    content = json.dumps(block, ensure_ascii=False, indent=1).replace("`", "\\u0060")
    fenced = f"```json\n{content}\n```"
    return (
        {"role": "system", "content": render(task, "system", **words)},
        {"role": "user", "content": f"{prompt.rstrip()}\n\n{fenced}"},
    )


def rationales_schema() -> dict[str, Any]:
    """``{"rationales": [str, ...]}``."""
    return _list_schema(RATIONALES, {"type": "string"})


def examples_schema(fields: tuple[str, ...]) -> dict[str, Any]:
    """``{"examples": [{field: str, ...}, ...]}`` for the task's text fields."""
    item = {
        "type": "object",
        "properties": {field: {"type": "string"} for field in fields},
        "required": list(fields),
        "additionalProperties": False,
    }
    return _list_schema(EXAMPLES, item)


def _list_schema(name: str, item: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": "array", "items": item}},
        "required": [name],
        "additionalProperties": False,
    }
