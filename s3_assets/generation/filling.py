"""Asking until the rows wanted are accepted, within bounds.

Belongs here: waves of requests, turning answers into accepted and rejected rows. Does not belong here: what to ask
in a wave (``seed.py``, ``extrapolate.py``), the gates themselves (``quality/gates.py``), second
opinions on labels (``verify.py``).
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from s3_assets.generation.answers import read_answer
from s3_assets.prompting.contract import EXAMPLES
from s3_assets.quality.candidate import Refusal
from s3_assets.quality.gates import Gates, Judged
from s3_assets.store.identity import example_id
from s3_assets.tasks.answers import locate
from s3_assets.tasks.spec import ANSWER
from s3_assets.teacher.answer import Answer, Fault
from s3_assets.teacher.request import TeacherRequest
from s3_assets.teacher.session import TeacherSession

log = logging.getLogger(__name__)

# The first wave asks for what is wanted; with refill, later ones for what is missing, and for more where many rows are
# refused; in all at most three times what is wanted.
MOST_WAVES = 4
MOST_AT_ONCE, MOST_IN_ALL = 2.0, 3.0

# Sample numbers of one seed, and within it of one round, are below these: seeds and rounds never share one, so that
# another seed gets answers of its own and a lasting error gets new ones.
SAMPLES_PER_SEED = 1_000_000
SAMPLES_PER_ROUND = 1000

SURPLUS = "surplus"
RESPONSE, ROW = "response", "row"

Plan = Callable[[Mapping[str, int], int], Iterable[TeacherRequest]]

# Takes rows that passed the gates, gives those that are kept; it notes the others in ``Written`` itself.
Verify = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


@dataclass
class Written:
    """Rows as dictionaries without the leading round columns. ``shortfall`` counts wanted rows not reached, by slot.

    ``judge`` counts what another teacher was asked for labels.
    """

    accepted: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    shortfall: dict[str, int] = field(default_factory=dict)
    judge: dict[str, int | float] = field(default_factory=dict)


def fill(
    session: TeacherSession,
    plan: Plan,
    wanted: Mapping[str, int],
    gates: Gates,
    written: Written,
    verify: Verify | None = None,
    *,
    refill: bool,
) -> None:
    """Ask for the rows wanted of every slot (a label, or a gold row).

    With ``refill`` refused rows are asked for again, at most ``MOST_WAVES`` times in all; without it exactly the rows
    wanted are asked for, once.

    ``plan(missing, wave)`` gives the requests for rows by slot. ``written`` fills as answers come, so that it holds
    what was rejected even when this raises.
    """
    missing = {slot: count for slot, count in wanted.items() if count > 0}
    have: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    fresh: dict[tuple[str, int], tuple[str, dict[str, Any]]] = {}

    def take(answer: Answer) -> None:
        slot = answer.request.slot
        asked[slot] += answer.request.rows_requested
        written.rejected.extend(rejected_answer(answer, fault) for fault in answer.faults)
        for place, item in enumerate(answer.content or ()):
            full = have[slot] >= wanted[slot]
            judged = gates.judge(_completed(item, answer.request), answer.request.label, remember=not full)
            refusal = judged.refusal
            if refusal is None and full:
                refusal = Refusal(SURPLUS, "accepted, but more than was wanted")
            if refusal is not None:
                written.rejected.append(_refused(answer, place, judged.item, refusal))
            else:
                have[slot] += 1
                fresh[answer.request_id, place] = slot, _accepted(answer, place, judged)
        session.tally.accepted = len(written.accepted) + len(fresh)
        session.tally.rejected = len(written.rejected)

    for wave in range(MOST_WAVES if refill else 1):
        asking = missing if wave == 0 else _more(missing, wanted, have, asked)
        if not asking:
            break
        session.stream(plan(asking, wave), read_answer, take)
        rows = [row for _, row in fresh.values()]
        kept = rows if verify is None else _judged_again(rows, verify(rows), gates, written)
        stays = {(row["request_id"], row["item"]) for row in kept}
        have.subtract(slot for key, (slot, _) in fresh.items() if key not in stays)
        written.accepted.extend(kept)
        fresh.clear()
        session.tally.accepted, session.tally.rejected = len(written.accepted), len(written.rejected)
        missing = {slot: count - have[slot] for slot, count in wanted.items() if count > have[slot]}
    if missing and refill:
        log.warning("%d rows short: %d were asked for", sum(missing.values()), sum(asked.values()))
    written.shortfall = missing


def _judged_again(
    rows: Sequence[Mapping[str, Any]], kept: Iterable[dict[str, Any]], gates: Gates, written: Written
) -> list[dict[str, Any]]:
    """Rows kept by second opinions, those with a new label past the gates under it. Rows taken back are forgotten."""
    before = {(row["request_id"], row["item"]): row for row in rows}
    kept, left = list(kept), []
    stays = {(row["request_id"], row["item"]) for row in kept}
    for place, was in before.items():
        if place not in stays:
            gates.forget(was)
    for row in kept:
        was = before[row["request_id"], row["item"]]
        if row["label"] != was["label"]:
            gates.forget(was)
            refusal = gates.judge(row, row["label"]).refusal
            if refusal is not None:
                written.rejected.append(refused_row(row, refusal.gate, refusal.reason, refusal.value))
                continue
        left.append(row)
    return left


def _more(
    missing: Mapping[str, int], wanted: Mapping[str, int], have: Mapping[str, int], asked: Mapping[str, int]
) -> dict[str, int]:
    """Rows to ask for so that the missing ones are likely to be among those accepted, by slot; bounded."""
    asking = {}
    for slot, count in missing.items():
        over = min(MOST_AT_ONCE, asked[slot] / have[slot]) if have[slot] else MOST_AT_ONCE
        asking[slot] = min(math.ceil(count * over), int(MOST_IN_ALL * wanted[slot]) - asked[slot])
    return {slot: count for slot, count in asking.items() if count > 0}


def _completed(item: Any, request: TeacherRequest) -> Any:
    """The row with what it must keep whatever the teacher made of it, and its answer as it stands in its context."""
    if not isinstance(item, dict):
        return item
    written = request.schema["properties"][EXAMPLES]["items"]["required"]
    # Fields that were not asked for come from endpoints that enforce no schema; no column is theirs.
    row: dict[str, Any] = {name: item[name] for name in written if name in item} | dict(request.keeps)
    context, answer = row.get("text"), row.get(ANSWER)
    if isinstance(context, str) and isinstance(answer, str):
        found = locate(context, answer, request.near)
        row |= {"answer_start": None} if found is None else {ANSWER: context[slice(*found)], "answer_start": found[0]}
    return row


def _accepted(answer: Answer, place: int, judged: Judged) -> dict[str, Any]:
    item, label = judged.item, answer.request.label
    span = item.get(ANSWER)
    # The context of a span stays as it is: its answer has a place in it.
    text = item["text"] if span is not None else item["text"].strip()
    text2 = item["text2"].strip() if "text2" in item else None
    return {
        "example_id": example_id(text, text2, label, span),
        "text": text,
        "text2": text2,
        "label": label,
        "sublabel": answer.request.sublabel,
        ANSWER: span,
        "answer_start": item.get("answer_start"),
        **_cause(answer, place),
        "repairs": ", ".join(judged.repairs) or None,
        "confidence": None,
    }


def _refused(answer: Answer, place: int, item: Any, refusal: Refusal) -> dict[str, Any]:
    texts = item if isinstance(item, dict) else {}
    text, text2, span = (
        value if isinstance(value := texts.get(name), str) else None for name in ("text", "text2", ANSWER)
    )
    label = answer.request.label
    return {
        **_cause(answer, place),
        "text": text,
        "text2": text2,
        "label": label,
        ANSWER: span,
        "row_id": None if text is None else example_id(text.strip(), text2.strip() if text2 else None, label, span),
        "stage": ROW,
        "gate": refusal.gate,
        "reason": refusal.reason,
        "value": refusal.value,
        "raw": None if text is not None else str(item),
    }


def refused_row(row: Mapping[str, Any], gate: str, reason: str, value: float | None = None) -> dict[str, Any]:
    """The row of ``rejected`` for an accepted row that is taken back."""
    kept = ("gold_id", "request_id", "item", "text", "text2", "label", ANSWER)
    why = {"row_id": row["example_id"], "stage": ROW, "gate": gate, "reason": reason, "value": value, "raw": None}
    return {**{name: row[name] for name in kept}, **why}


def portions(rows: int, most: int) -> list[int]:
    """``rows`` in requests of at most ``most``."""
    whole, rest = divmod(rows, most)
    return [most] * whole + ([rest] if rest else [])


def rejected_answer(answer: Answer, fault: Fault) -> dict[str, Any]:
    """The row of ``rejected`` for a fault of a whole answer."""
    return {
        **_cause(answer, None),
        "text": None,
        "text2": None,
        "label": answer.request.label,
        ANSWER: None,
        "row_id": None,
        "stage": RESPONSE,
        "gate": fault.gate,
        "reason": fault.reason,
        "value": fault.value,
        "raw": fault.raw,
    }


def _cause(answer: Answer, place: int | None) -> dict[str, Any]:
    return {"gold_id": answer.request.gold_id, "request_id": answer.request_id, "item": place}
