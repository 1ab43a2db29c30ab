"""Extrapolation: new examples from gold rows, the student's errors or others (paper, Algorithm 3).

Belongs here: planning requests from gold rows. Does not belong here: finding errors (``loop/``), how many rows each
gold row gets (``selection/``), asking and gating (``filling.py``), wording (``prompting/``).
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from s3_assets.generation.contexts import Context, given, kept
from s3_assets.generation.filling import (
    MOST_WAVES,
    SAMPLES_PER_ROUND,
    SAMPLES_PER_SEED,
    Plan,
    Verify,
    Written,
    fill,
    portions,
)
from s3_assets.prompting.contract import EXAMPLES, examples_schema, label_facts, messages, written_fields
from s3_assets.quality.gates import Gates
from s3_assets.selection.choice import Choice, Source
from s3_assets.selection.choose import turns_alike
from s3_assets.tasks.load import Task
from s3_assets.tasks.spec import ANSWER
from s3_assets.teacher.request import TeacherRequest
from s3_assets.teacher.session import TeacherSession

# Requests for one gold row in one wave, so that its sample numbers stay within those of its round.
MOST_REQUESTS = SAMPLES_PER_ROUND // MOST_WAVES


def write_extrapolated_set(
    task: Task,
    session: TeacherSession,
    sources: pl.DataFrame,
    round_: int,
    gates: Gates,
    written: Written,
    verify: Verify | None = None,
    choice: Choice | None = None,
) -> None:
    """Ask for the round's examples, each with its row's gold label or answer. They keep the gold id they came from.

    ``sources`` has the columns of ``gold``, and ``prediction`` and ``probability`` where the strategy shows them (null
    where the student is right). ``choice`` says how many rows each gets and what it is shown with; its contrasts are
    rows of ``sources`` too. Without it the sources take turns alike. ``verify`` gets a second opinion on labels.
    """
    wanted = source_wanted(task, sources, round_) if choice is None else choice.wanted()
    plan = source_plan(task, sources, round_, choice)
    fill(session, plan, wanted, gates, written, verify, refill=task.spec.rows.refill)


def source_wanted(task: Task, sources: pl.DataFrame, round_: int) -> dict[str, int]:
    """Rows asked for by gold id where no choice is made: see ``turns_alike``."""
    return turns_alike(task, sources["gold_id"].to_list(), round_)


def source_plan(task: Task, sources: pl.DataFrame, round_: int, choice: Choice | None = None) -> Plan:
    """Requests for missing rows by gold id. Sample numbers differ by round: a lasting error gets new answers."""
    by_id = {row["gold_id"]: row for row in sources.iter_rows(named=True)}
    shown = {} if choice is None else choice.shown()

    def plan(missing: Mapping[str, int], wave: int) -> Iterator[TeacherRequest]:
        for gold_id, rows in missing.items():
            most = max(task.spec.rows.per_call, math.ceil(rows / MOST_REQUESTS))
            for place, count in enumerate(portions(rows, most)):
                sample = task.spec.seed * SAMPLES_PER_SEED + round_ * SAMPLES_PER_ROUND + place * MOST_WAVES + wave
                yield _request(task, by_id[gold_id], count, sample, _beside(task, by_id, shown.get(gold_id)))

    return plan


def _beside(task: Task, by_id: Mapping[str, Mapping[str, Any]], source: Source | None) -> dict[str, Any]:
    """What a request states beside its example."""
    if source is None:
        return {}
    found: dict[str, Any] = {}
    if source.contrast_id is not None:
        contrast = by_id[source.contrast_id]
        found["contrast"] = {name: contrast[name] for name in (*task.spec.text_fields, "label")}
    if source.diagnosis is not None:
        found["diagnosis"] = source.diagnosis
    return found


def _request(
    task: Task, source: Mapping[str, Any], count: int, sample: int, beside: Mapping[str, Any]
) -> TeacherRequest:
    example = {name: source[name] for name in task.spec.text_fields}
    asked = label_facts(task, source["label"])
    # As a label for the reader of the block; a question has an answer instead.
    example |= {"label": source["label"]} if asked else {ANSWER: source[ANSWER]}
    facts: dict[str, Any] = {**asked, "count": count, "example": example, **beside}
    # Explored rows may be right: then there is nothing to say of them.
    if task.spec.how.shows_prediction and source["prediction"] is not None:
        example["predicted"] = source["prediction"]
        if "probability" in task.spec.how.shows:
            facts["probability"] = source["probability"]
    if source["sublabel"] is not None:
        facts["sublabel"] = source["sublabel"]
    context = _context(task, source)
    if context is not None:
        facts["given"] = given(context)
    return TeacherRequest(
        kind=EXAMPLES,
        messages=messages(task, "extrapolate", facts),
        schema=examples_schema(written_fields(task)),
        sample=sample,
        slot=source["gold_id"],
        label=source["label"],
        gold_id=source["gold_id"],
        rows_requested=count,
        sublabel=source["sublabel"],
        keeps=kept(task, context),
        near=context.answer_start if context is not None else None,
    )


def _context(task: Task, source: Mapping[str, Any]) -> Context | None:
    """What the new rows must keep of their gold row, None for nothing."""
    if not task.spec.keeps_context:
        return None
    with_answer = task.spec.kind == "qa" and task.spec.qa.keep_answer
    return Context(source["text"], *((source[ANSWER], source["answer_start"]) if with_answer else ()))
