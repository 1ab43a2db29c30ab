"""Reading a teacher's raw answer: JSON in, rationales, examples, a label or a diagnosis out, faults named.

Belongs here: finding and checking the JSON of an answer. Does not belong here: whether a row is good enough to train
on (``gates.py``), asking (``teacher/``).
"""

import json
import re
from typing import Any

from s3_assets.prompting.contract import DIAGNOSIS, EXAMPLES, LABEL, RATIONALES
from s3_assets.quality.phrases import REFUSES
from s3_assets.teacher.answer import Fault, Reading, Received, UnusableAnswer
from s3_assets.teacher.request import TeacherRequest

EMPTY, REFUSAL, ECHO = "empty_answer", "refused_answer", "echo"
CUT_OFF, BROKEN, SCHEMA, FEWER = "cut_off", "broken_json", "schema", "fewer_items"

# Characters of a diagnosis; the rest of a longer one is left out.
LONGEST_DIAGNOSIS = 300

_FENCED = re.compile(r"```(?:json)?\s*(.*?)(?:```|\Z)", re.DOTALL)


def read_answer(request: TeacherRequest, received: Received) -> Reading:
    """What an answer holds: a list of strings for rationales, of objects for examples, the label or the diagnosis.

    Not more than was asked for. Of an answer that broke off, the items that are whole. ``UnusableAnswer`` says what is
    wrong when there are none.
    """
    raw = received.text
    if received.refused:
        raise UnusableAnswer(Fault(REFUSAL, "the teacher refused", raw))
    if not raw.strip():
        raise UnusableAnswer(Fault(CUT_OFF if received.cut_off else EMPTY, "the answer is empty", raw))
    name = RATIONALES if request.kind == RATIONALES else EXAMPLES
    content, broken = _parse(raw)
    if content is None:
        raise UnusableAnswer(_unread(request, raw, broken))
    if request.kind == LABEL:
        return _read_label(request, content, raw)
    if request.kind == DIAGNOSIS:
        return _read_diagnosis(content, raw, received.cut_off or broken is not None)
    items = content.get(name) if isinstance(content, dict) else None
    if not isinstance(items, list):
        if isinstance(content, dict) and {"labels", "count"} <= content.keys():
            raise UnusableAnswer(Fault(ECHO, "the answer repeats the question", raw))
        raise UnusableAnswer(Fault(SCHEMA, f"the JSON has no list called {name!r}", raw))
    if name == RATIONALES:
        items = [item.strip() for item in items if isinstance(item, str) and item.strip()]
    elif broken is not None:
        items = [item for item in items if isinstance(item, dict) and set(item) >= _fields(request)]
    cut_off = received.cut_off or broken is not None
    if not items:
        gate, why = (CUT_OFF, "broken off before an item was whole") if cut_off else (FEWER, "the list is empty")
        raise UnusableAnswer(Fault(gate, f"{why}: {name!r}", raw, 0))
    wanted = request.rows_requested
    fault = None
    if cut_off:
        fault = Fault(CUT_OFF, f"broken off after {len(items)} whole items", raw, len(items))
    elif len(items) < wanted:
        fault = Fault(FEWER, f"{len(items)} items where {wanted} were asked for", raw, len(items))
    # More than was asked for is not taken: rows must not depend on how talkative a teacher is.
    return Reading(items[:wanted] if wanted else items, fault)


def _read_label(request: TeacherRequest, content: Any, raw: str) -> Reading:
    allowed = request.schema["properties"][LABEL]["enum"]
    label = content.get(LABEL) if isinstance(content, dict) else None
    if label not in allowed:
        raise UnusableAnswer(Fault(SCHEMA, f"the label is {label!r}, not one of {', '.join(allowed)}", raw))
    return Reading(label)


def _read_diagnosis(content: Any, raw: str, cut_off: bool) -> Reading:
    said = content.get(DIAGNOSIS) if isinstance(content, dict) else None
    if not isinstance(said, str) or not said.strip():
        raise UnusableAnswer(Fault(SCHEMA, f"the JSON has no text called {DIAGNOSIS!r}", raw))
    if cut_off:
        raise UnusableAnswer(Fault(CUT_OFF, "broken off within the diagnosis", raw))
    return Reading(" ".join(said.split())[:LONGEST_DIAGNOSIS])


def _parse(raw: str) -> tuple[Any | None, str | None]:
    """The JSON of an answer and None; what could be read of broken JSON and why it is broken; or None and why."""
    fenced = _FENCED.search(raw)
    text = (fenced[1] if fenced and not raw.lstrip().startswith("{") else raw).strip()
    start = text.find("{")
    try:
        if start >= 0 and not text.startswith("["):
            # There may be words around the object, from endpoints that do not enforce a schema.
            return _storable(json.JSONDecoder().raw_decode(text, start)[0]), None
        return _storable(json.loads(text)), None
    except json.JSONDecodeError as error:
        broken = str(error)
    if start < 0:
        return None, broken
    import jiter

    try:
        return jiter.from_json(text[start:].encode(), partial_mode=True), broken
    except ValueError:
        return None, broken


def _storable(content: Any) -> Any:
    """JSON without what no file of text may hold: halves of characters, which escapes can give."""
    if isinstance(content, str):
        return content.encode("utf-8", "replace").decode()
    if isinstance(content, list):
        return [_storable(item) for item in content]
    if isinstance(content, dict):
        return {_storable(name): _storable(value) for name, value in content.items()}
    return content


def _unread(request: TeacherRequest, raw: str, broken: str | None) -> Fault:
    if REFUSES.search(raw.strip()):
        return Fault(REFUSAL, "the teacher refused", raw)
    if raw.strip() in request.messages[-1]["content"] or request.messages[-1]["content"].strip() in raw:
        return Fault(ECHO, "the answer repeats the question", raw)
    return Fault(BROKEN, f"not JSON: {broken}", raw)


def _fields(request: TeacherRequest) -> set[str]:
    schema = request.schema["properties"][EXAMPLES]["items"]
    return set(schema["required"])
