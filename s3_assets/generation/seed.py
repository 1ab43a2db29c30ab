"""The seed set: what the teacher writes before any error is known (paper, Algorithm 1).

Belongs here: planning rationale and seed requests, reading a task's own seed rows. Does not belong here: asking and
gating (``filling.py``), wording (``prompting/``).
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from s3_assets.generation.answers import read_answer
from s3_assets.generation.filling import SAMPLES_PER_ROUND, Plan, Written, fill, rejected_answer
from s3_assets.generation.gates import Gates
from s3_assets.prompting.contract import EXAMPLES, RATIONALES, examples_schema, messages, rationales_schema
from s3_assets.store.identity import digest, example_id
from s3_assets.tasks.files import read_rows
from s3_assets.tasks.load import Task, TaskError
from s3_assets.teacher.request import TeacherRequest
from s3_assets.teacher.session import TeacherSession


def write_seed_set(
    task: Task, session: TeacherSession, contexts: Sequence[str], gates: Gates, written: Written
) -> None:
    """Ask for ``rows.seed`` examples, spread evenly over the labels.

    Single texts: rationales per label first, a few drawn for each request. Pairs: the second text for a context
    drawn from ``contexts`` (first texts of steering gold). Labels that got no rationales are written without.
    """
    rationales = _list_rationales(task, session, written) if task.spec.kind == "single" else {}
    fill(session, seed_plan(task, rationales, contexts), seed_wanted(task), gates, written)


def seed_wanted(task: Task) -> dict[str, int]:
    """Rows asked for by label; the first labels get the remainder."""
    share, rest = divmod(task.spec.rows.seed, len(task.spec.labels))
    return {label: share + (place < rest) for place, label in enumerate(task.spec.labels)}


def rationale_requests(task: Task) -> list[TeacherRequest]:
    """One request per label for its rationales."""
    count = task.spec.rationales.per_label
    return [
        TeacherRequest(
            kind=RATIONALES,
            messages=messages(task, "rationales", {"label": label, "labels": list(task.spec.labels), "count": count}),
            schema=rationales_schema(),
            sample=0,
            slot=label,
            label=label,
        )
        for label in task.spec.labels
    ]


def seed_plan(task: Task, rationales: Mapping[str, Sequence[str]], contexts: Sequence[str]) -> Plan:
    """Requests for missing seed rows by label. The same task, seed and wave always give the same requests."""

    def plan(missing: Mapping[str, int], wave: int) -> Iterator[TeacherRequest]:
        asked: dict[str, int] = {}
        for label, rows in missing.items():
            rng = random.Random(f"{task.spec.seed} {label} {wave}")
            for count in _portions(rows, task.spec.rows.per_call):
                facts: dict[str, Any] = {"label": label, "labels": list(task.spec.labels), "count": count}
                context = rng.choice(contexts) if task.spec.kind == "pair" else None
                if context is not None:
                    facts["given"] = {"text": context}
                elif rationales.get(label):
                    listed = rationales[label]
                    facts["rationales"] = rng.sample(listed, min(task.spec.rationales.per_request, len(listed)))
                prompt = messages(task, "seed", facts)
                # The same draw may come twice; its sample number then asks for another answer.
                drawn = digest(prompt[-1]["content"])
                repeat = asked[drawn] = asked.get(drawn, -1) + 1
                yield TeacherRequest(
                    kind=EXAMPLES,
                    messages=prompt,
                    schema=examples_schema(task.spec.text_fields),
                    sample=wave * SAMPLES_PER_ROUND + repeat,
                    slot=label,
                    label=label,
                    rows_requested=count,
                    context=context if task.spec.pair.keep_context else None,
                )

    return plan


def read_seed_rows(task: Task) -> list[dict[str, Any]]:
    """The task's own seed rows (``seed_rows``, Parquet, CSV or JSONL with text, text2 for pairs, and label)."""
    if task.spec.seed_rows is None:
        return []
    file = task.path(task.spec.seed_rows)
    frame = read_rows(file, f"seed_rows of task {task.name}")
    needed = [*task.spec.text_fields, "label"]
    missing = [column for column in needed if column not in frame.columns]
    if missing:
        raise TaskError(f"{file}: no column {', '.join(missing)}; seed rows need {', '.join(needed)}")
    rows = frame.select(pl.col(column).cast(pl.String).str.strip_chars() for column in needed).to_dicts()
    for place, row in enumerate(rows, start=1):
        if row["label"] not in task.spec.labels or any(not row[field] for field in task.spec.text_fields):
            allowed = ", ".join(task.spec.labels)
            raise TaskError(f"{file}: row {place}: empty text or unknown label {row['label']!r}; allowed: {allowed}")
    return [
        {**row, "text2": row.get("text2"), "example_id": example_id(row["text"], row.get("text2"), row["label"])}
        for row in rows
    ]


def _list_rationales(task: Task, session: TeacherSession, written: Written) -> dict[str, list[str]]:
    answers = session.ask(rationale_requests(task), read_answer)
    written.rejected.extend(rejected_answer(answer, fault) for answer in answers for fault in answer.faults)
    return {answer.request.label: list(dict.fromkeys(answer.content or [])) for answer in answers}


def _portions(rows: int, most: int) -> list[int]:
    whole, rest = divmod(rows, most)
    return [most] * whole + ([rest] if rest else [])
