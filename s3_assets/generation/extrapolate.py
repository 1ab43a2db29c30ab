"""Extrapolation: new examples from gold rows, the student's errors or others (paper, Algorithm 3).

Belongs here: how many rows each gold row gets, planning requests. Does not belong here: finding errors
(``loop/``), asking and gating (``filling.py``), wording (``prompting/``).
"""

import math
import random
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
from s3_assets.generation.schedule import round_size
from s3_assets.prompting.contract import EXAMPLES, examples_schema, label_facts, messages, written_fields
from s3_assets.quality.gates import Gates
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
) -> None:
    """Ask for the round's examples from ``sources``, each with its row's gold label or answer.

    ``sources`` has the columns of ``gold``, and ``prediction`` where the strategy shows it. Rows keep the gold id they
    were written from. ``verify`` gets a second opinion on labels.
    """
    plan, wanted = source_plan(task, sources, round_), source_wanted(task, sources, round_)
    fill(session, plan, wanted, gates, written, verify, refill=task.spec.rows.refill)


def source_wanted(task: Task, sources: pl.DataFrame, round_: int) -> dict[str, int]:
    """Rows asked for by gold id: as many as the round has, the sources taken in turn, in random order.

    ``rows.per_error`` caps what one of them gets; the paper's rule to the letter gives each exactly one.
    """
    ids, rows = sources["gold_id"].to_list(), task.spec.rows
    if task.spec.how.one_each or not ids:
        return dict.fromkeys(ids, 1)
    drawn = random.Random(f"{task.spec.seed} errors {round_}").sample(ids, len(ids))
    whole, rest = divmod(round_size(task, round_), len(drawn))
    turns = {gold_id: whole + (place < rest) for place, gold_id in enumerate(drawn)}
    return {
        gold_id: count if rows.per_error is None else min(count, rows.per_error) for gold_id, count in turns.items()
    }


def source_plan(task: Task, sources: pl.DataFrame, round_: int) -> Plan:
    """Requests for missing rows by gold id. Sample numbers differ by round: a lasting error gets new answers."""
    by_id = {row["gold_id"]: row for row in sources.iter_rows(named=True)}

    def plan(missing: Mapping[str, int], wave: int) -> Iterator[TeacherRequest]:
        for gold_id, rows in missing.items():
            most = max(task.spec.rows.per_call, math.ceil(rows / MOST_REQUESTS))
            for place, count in enumerate(portions(rows, most)):
                sample = task.spec.seed * SAMPLES_PER_SEED + round_ * SAMPLES_PER_ROUND + place * MOST_WAVES + wave
                yield _request(task, by_id[gold_id], count, sample)

    return plan


def _request(task: Task, source: Mapping[str, Any], count: int, sample: int) -> TeacherRequest:
    example = {name: source[name] for name in task.spec.text_fields}
    asked = label_facts(task, source["label"])
    # As a label for the reader of the block; a question has an answer instead.
    example |= {"label": source["label"]} if asked else {ANSWER: source[ANSWER]}
    if task.spec.how.shows_prediction:
        example["predicted"] = source["prediction"]
    facts: dict[str, Any] = {**asked, "count": count, "example": example}
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
