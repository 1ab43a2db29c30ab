"""Asking until the rows wanted are accepted, within bounds.

Belongs here: waves of requests, turning answers into accepted and rejected rows. Does not belong here: what to ask
in a wave (``seed.py``, ``extrapolate.py``), the gates themselves (``gates.py``).
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from s3_assets.generation.answers import read_answer
from s3_assets.generation.gates import Gates
from s3_assets.store.identity import example_id
from s3_assets.teacher.request import TeacherRequest
from s3_assets.teacher.session import Answer, TeacherSession

log = logging.getLogger(__name__)

# The first wave asks for what is wanted, later ones for what the gates refused.
MOST_WAVES = 3

# Requests of one slot within a round are numbered below this, so that rounds never share a sample number.
SAMPLES_PER_ROUND = 1000

Plan = Callable[[Mapping[str, int], int], Sequence[TeacherRequest]]


@dataclass(frozen=True)
class Written:
    """Rows as dictionaries without the leading round columns. ``shortfall`` counts wanted rows not reached, by slot."""

    accepted: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    shortfall: dict[str, int]


def fill(session: TeacherSession, plan: Plan, wanted: Mapping[str, int], gates: Gates) -> Written:
    """Ask until every slot (a label, or an error) has the rows wanted, at most ``MOST_WAVES`` times.

    ``plan(missing, wave)`` gives the requests for the rows still missing by slot.
    """
    accepted: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    missing = {slot: count for slot, count in wanted.items() if count > 0}
    for wave in range(MOST_WAVES):
        if not missing:
            break
        have: Counter[str] = Counter()
        for answer in session.ask(plan(missing, wave), read_answer):
            if answer.content is None:
                rejected.append(_unread(answer))
                continue
            for place, written in enumerate(answer.content):
                item = _with_context(written, answer.request.context)
                refusal = gates.refuse(item)
                if refusal is not None:
                    rejected.append(_refused(answer, place, item, *refusal))
                else:
                    have[answer.request.slot] += 1
                    accepted.append(_accepted(answer, place, item))
        missing = {slot: count - have[slot] for slot, count in missing.items() if count > have[slot]}
    if missing:
        log.warning("%d rows short of what was asked for after %d waves", sum(missing.values()), MOST_WAVES)
    return Written(accepted, rejected, missing)


def _with_context(item: Any, context: str | None) -> Any:
    """The row with the context it must keep, whatever the teacher made of it."""
    return {**item, "text": context} if context is not None and isinstance(item, dict) else item


def _accepted(answer: Answer, place: int, item: Mapping[str, Any]) -> dict[str, Any]:
    text, text2 = item["text"].strip(), item["text2"].strip() if "text2" in item else None
    label = answer.request.label
    return {
        "example_id": example_id(text, text2, label),
        "text": text,
        "text2": text2,
        "label": label,
        **_cause(answer, place),
    }


def _refused(answer: Answer, place: int, item: Any, gate: str, reason: str) -> dict[str, Any]:
    texts = item if isinstance(item, dict) else {}
    text, text2 = texts.get("text"), texts.get("text2")
    return {
        **_cause(answer, place),
        "text": text if isinstance(text, str) else None,
        "text2": text2 if isinstance(text2, str) else None,
        "label": answer.request.label,
        "gate": gate,
        "reason": reason,
        "raw": None if isinstance(text, str) else str(item),
    }


def _unread(answer: Answer) -> dict[str, Any]:
    return {
        **_cause(answer, None),
        "text": None,
        "text2": None,
        "label": answer.request.label,
        "gate": "answer",
        "reason": answer.reason,
        "raw": answer.raw,
    }


def _cause(answer: Answer, place: int | None) -> dict[str, Any]:
    return {"gold_id": answer.request.gold_id, "request_id": answer.request_id, "item": place}
