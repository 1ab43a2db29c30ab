"""Reading a teacher's raw answer: JSON in, rationales or examples out.

Belongs here: finding and checking the JSON of an answer. Does not belong here: whether a row is good enough to train
on (``gates.py``), asking (``teacher/``).
"""

import json
import re
from typing import Any

from s3_assets.prompting.contract import EXAMPLES, RATIONALES
from s3_assets.teacher.request import TeacherRequest
from s3_assets.teacher.session import UnusableAnswer

_FENCED = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)


def read_answer(request: TeacherRequest, raw: str) -> list[Any]:
    """The list an answer holds: strings for rationales, objects for examples. ``UnusableAnswer`` says what is wrong."""
    name = RATIONALES if request.kind == RATIONALES else EXAMPLES
    if not raw.strip():
        raise UnusableAnswer("the answer is empty")
    try:
        content = json.loads(_unwrap(raw))
    except json.JSONDecodeError as error:
        raise UnusableAnswer(f"not JSON: {error}") from error
    items = content.get(name) if isinstance(content, dict) else None
    if not isinstance(items, list):
        raise UnusableAnswer(f"the JSON has no list called {name!r}")
    if not items:
        raise UnusableAnswer(f"the list {name!r} is empty")
    if name == RATIONALES:
        usable = [item.strip() for item in items if isinstance(item, str) and item.strip()]
        if not usable:
            raise UnusableAnswer("no rationale is a text")
        return usable
    # More than was asked for is not taken: rows must not depend on how talkative a teacher is.
    return items[: request.rows_requested]


def _unwrap(raw: str) -> str:
    """The JSON inside a fenced block, for endpoints that do not enforce a schema."""
    fenced = _FENCED.search(raw)
    return fenced[1] if fenced and not raw.lstrip().startswith("{") else raw
