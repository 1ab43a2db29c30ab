"""What every request carries, whatever its wording: an answer schema and its inputs as one JSON block.

Belongs here: schemas, the JSON block, messages. Does not belong here: the wording (``templates.py``), what to ask
for (``generation/``).
"""

import json
from collections.abc import Mapping
from typing import Any

from s3_assets.prompting.templates import render
from s3_assets.tasks.load import Task
from s3_assets.tasks.spec import ANSWER

RATIONALES = "rationales"
EXAMPLES = "examples"
LABEL = "label"
DIAGNOSIS = "diagnosis"

# Order of the keys in the JSON block; only those that apply are written.
_ORDER = ("label", "sublabel", "labels", "count", "rationales", "given", "example", "contrast", "diagnosis", "errors")


def messages(
    task: Task, role: str, facts: Mapping[str, Any], asked: Mapping[str, str] | None = None
) -> tuple[dict[str, str], ...]:
    """System and user message of a request. The user message ends with ``facts`` as a fenced JSON block.

    The block keeps example text apart from instructions, so that text cannot pass for an instruction. ``asked`` holds
    the meanings of the labels of a label question. ``facts["probability"]``, of the wrong prediction, is said in words
    only.
    """
    example = facts.get("example") or {}
    label = facts.get("label")
    declared = task.spec.labels.get(label) if label is not None else None
    words: dict[str, Any] = {
        "keep_context": task.spec.pair.keep_context,
        "writes": task.spec.pair.writes,
        "predicted": example.get("predicted"),
        "probability": None if facts.get("probability") is None else f"{facts['probability']:.0%}",
        "contrast": (facts.get("contrast") or {}).get("label"),
        "diagnosis": facts.get("diagnosis"),
        "rationales": facts.get("rationales"),
        "label": label,
        "sublabel": facts.get("sublabel"),
        "sublabels": declared.sublabels if declared is not None else {},
        "count": facts.get("count"),
        "answer": (facts.get("given") or {}).get(ANSWER),
        "keep_answer": task.spec.qa.keep_answer,
    }
    if asked is not None:
        words["labels"] = asked
    block = {key: facts[key] for key in _ORDER if facts.get(key) is not None}
    prompt = render(task, role, **words)
    if any(words[name] is not None for name in ("probability", "contrast", "diagnosis")):
        # Words of their own, so that those of requests without them stay what they are.
        prompt = f"{prompt.rstrip()}\n{render(task, 'shown', **words)}"
    # Backquotes in a text would end the fence; as an escape they mean the same to a JSON reader.
    content = json.dumps(block, ensure_ascii=False, indent=1).replace("`", "\\u0060")
    fenced = f"```json\n{content}\n```"
    return (
        {"role": "system", "content": render(task, "system", **words)},
        {"role": "user", "content": f"{prompt.rstrip()}\n\n{fenced}"},
    )


def label_facts(task: Task, label: str) -> dict[str, Any]:
    """The label and the labels of a request for examples; questions have none."""
    return {} if task.spec.kind == "qa" else {"label": label, "labels": list(task.spec.labels)}


def written_fields(task: Task) -> tuple[str, ...]:
    """Fields of an example that the teacher writes. The context of a question is never repeated by it."""
    return ("text2", ANSWER) if task.spec.kind == "qa" else task.spec.text_fields


def rationales_schema() -> dict[str, Any]:
    """``{"rationales": [str, ...]}``."""
    return _list_schema(RATIONALES, {"type": "string"})


def examples_schema(fields: tuple[str, ...]) -> dict[str, Any]:
    """``{"examples": [{field: str, ...}, ...]}`` for the fields that the teacher writes."""
    return _list_schema(EXAMPLES, _object({field: {"type": "string"} for field in fields}))


def label_schema(labels: tuple[str, ...]) -> dict[str, Any]:
    """``{"label": str}``, one of ``labels``."""
    return _object({LABEL: {"type": "string", "enum": list(labels)}})


def diagnosis_schema() -> dict[str, Any]:
    """``{"diagnosis": str}``."""
    return _object({DIAGNOSIS: {"type": "string"}})


def _list_schema(name: str, item: dict[str, Any]) -> dict[str, Any]:
    return _object({name: {"type": "array", "items": item}})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
