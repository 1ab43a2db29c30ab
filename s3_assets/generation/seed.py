"""The seed set: what the teacher writes before any error is known (paper, Algorithm 1).

Belongs here: planning rationale and seed requests, reading a task's own seed rows. Does not belong here: asking and
gating (``filling.py``), wording (``prompting/``).
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from s3_assets.generation.answers import read_answer
from s3_assets.generation.contexts import Context, given, kept
from s3_assets.generation.filling import (
    MOST_WAVES,
    SAMPLES_PER_SEED,
    Plan,
    Verify,
    Written,
    fill,
    portions,
    rejected_answer,
)
from s3_assets.generation.schedule import seed_size
from s3_assets.generation.sublabels import Shares, divide
from s3_assets.prompting.contract import (
    EXAMPLES,
    RATIONALES,
    examples_schema,
    label_facts,
    messages,
    rationales_schema,
    written_fields,
)
from s3_assets.quality.gates import Gates
from s3_assets.selection.allocation import divided
from s3_assets.store.identity import digest, example_id
from s3_assets.tasks.answers import locate
from s3_assets.tasks.files import named_file, text_column
from s3_assets.tasks.load import Task, TaskError
from s3_assets.tasks.spec import ANSWER
from s3_assets.teacher.request import TeacherRequest
from s3_assets.teacher.session import TeacherSession


def write_seed_set(
    task: Task,
    session: TeacherSession,
    contexts: Sequence[Context],
    gates: Gates,
    written: Written,
    sublabels: Shares | None = None,
    verify: Verify | None = None,
    steer: pl.DataFrame | None = None,
) -> None:
    """Ask for the rows of the seed set, spread over the labels as ``seed_wanted`` says; ``steer`` is needed for that.

    Single texts: rationales per label first, a few drawn for each request. Pairs and questions: the second text for a
    context drawn from ``contexts``. Labels that got no rationales are written without. ``sublabels`` holds the
    proportions of finer labels, by label. ``verify`` gets a second opinion on labels.
    """
    wanted = task.spec.kind == "single" and task.spec.how.rationales
    rationales = _list_rationales(task, session, written) if wanted else {}
    fill(
        session,
        seed_plan(task, rationales, contexts, sublabels),
        seed_wanted(task, steer),
        gates,
        written,
        verify,
        refill=task.spec.rows.refill,
    )


def seed_wanted(task: Task, steer: pl.DataFrame | None = None) -> dict[str, int]:
    """Rows asked for by label, alike; the first labels get the remainder.

    With prior gold in the shares that labels have in ``steer`` (steering gold, column label), at least one each.
    ``ValueError`` where that is not given.
    """
    labels, size = list(task.spec.labels), seed_size(task)
    if task.spec.how.prior == "uniform":
        share, rest = divmod(size, len(labels))
        return {label: share + (place < rest) for place, label in enumerate(labels)}
    if steer is None:
        raise ValueError("prior: gold takes the shares of labels from steering gold; give it")
    found = steer["label"].to_list()
    wanted = divided(size, {label: found.count(label) for label in labels})
    for label in labels:
        if wanted[label] == 0:
            # From the label that has the most, where that leaves it one.
            most = max(labels, key=wanted.__getitem__)
            wanted[most] -= wanted[most] > 1
            wanted[label] = 1
    return wanted


def rationale_requests(task: Task) -> list[TeacherRequest]:
    """One request per label for its rationales."""
    count = task.spec.rationales.per_label
    return [
        TeacherRequest(
            kind=RATIONALES,
            messages=messages(task, "rationales", {"label": label, "labels": list(task.spec.labels), "count": count}),
            schema=rationales_schema(),
            sample=task.spec.seed * SAMPLES_PER_SEED,
            slot=label,
            label=label,
        )
        for label in task.spec.labels
    ]


def seed_plan(
    task: Task,
    rationales: Mapping[str, Sequence[str]],
    contexts: Sequence[Context],
    sublabels: Shares | None = None,
) -> Plan:
    """Requests for missing seed rows by label. The same task, seed and wave always give the same requests."""

    def plan(missing: Mapping[str, int], wave: int) -> Iterator[TeacherRequest]:
        asked: dict[str, int] = {}
        for label, rows in missing.items():
            rng = random.Random(f"{task.spec.seed} {label} {wave}")
            for sublabel, share in divide(rows, (sublabels or {}).get(label)).items():
                for count in portions(share, task.spec.rows.per_call):
                    facts: dict[str, Any] = {**label_facts(task, label), "count": count}
                    if sublabel is not None:
                        facts["sublabel"] = sublabel
                    context = rng.choice(contexts) if contexts else None
                    if context is not None:
                        facts["given"] = given(context)
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
                        schema=examples_schema(written_fields(task)),
                        sample=task.spec.seed * SAMPLES_PER_SEED + repeat * MOST_WAVES + wave,
                        slot=label,
                        label=label,
                        rows_requested=count,
                        sublabel=sublabel,
                        keeps=kept(task, context),
                        near=context.answer_start if context is not None else None,
                    )

    return plan


def read_seed_rows(task: Task) -> list[dict[str, Any]]:
    """The task's own seed rows (``seed_rows``, Parquet, CSV or JSONL with text, text2, and label or answer)."""
    if task.spec.seed_rows is None:
        return []
    needed = [*task.spec.text_fields, ANSWER if task.spec.kind == "qa" else "label"]
    named = named_file(task, "seed_rows", task.spec.seed_rows, tuple(needed))
    frame, file = named.read(), named.find()
    missing = [column for column in needed if column not in frame.columns]
    if missing:
        raise TaskError(f"{file}: no column {', '.join(missing)}; seed rows need {', '.join(needed)}")
    rows = frame.select(text_column(frame, column, file) for column in needed).to_dicts()
    for place, row in enumerate(rows, start=1):
        if task.spec.kind == "qa":
            found = locate(row["text"] or "", row[ANSWER] or "") if row["text"] and row[ANSWER] else None
            if found is None:
                raise TaskError(f"{file}: row {place}: the answer {row[ANSWER]!r} does not stand in its context")
            row |= {"label": ANSWER, ANSWER: row["text"][slice(*found)], "answer_start": found[0]}
        if row["label"] not in task.spec.labels or any(not row[field] for field in task.spec.text_fields):
            allowed = ", ".join(task.spec.labels)
            raise TaskError(f"{file}: row {place}: empty text or unknown label {row['label']!r}; allowed: {allowed}")
    absent = {"text2": None, "sublabel": None, ANSWER: None, "answer_start": None}
    return [
        {
            **absent,
            **row,
            "example_id": example_id(row["text"], row.get("text2"), row["label"], row.get(ANSWER)),
        }
        for row in rows
    ]


def _list_rationales(task: Task, session: TeacherSession, written: Written) -> dict[str, list[str]]:
    answers = session.ask(rationale_requests(task), read_answer)
    written.rejected.extend(rejected_answer(answer, fault) for answer in answers for fault in answer.faults)
    return {answer.request.label: list(dict.fromkeys(answer.content or [])) for answer in answers}
