"""Error extrapolation: new examples from each error of the student (paper, Algorithm 3).

Belongs here: how many rows each error gets, planning requests. Does not belong here: finding errors
(``loop/``), asking and gating (``filling.py``), wording (``prompting/``).
"""

import random
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from s3_assets.generation.filling import SAMPLES_PER_ROUND, Plan, Written, fill
from s3_assets.generation.gates import Gates
from s3_assets.prompting.contract import EXAMPLES, examples_schema, messages
from s3_assets.tasks.load import Task
from s3_assets.teacher.request import TeacherRequest
from s3_assets.teacher.session import TeacherSession


def write_extrapolated_set(
    task: Task, session: TeacherSession, errors: pl.DataFrame, round_: int, gates: Gates, written: Written
) -> None:
    """Ask for ``rows.per_error`` examples from each error, with the error's gold label.

    ``errors`` has the columns of the ``error_set`` table. Rows keep the gold id of the error they came from.
    """
    fill(session, error_plan(task, errors, round_), error_wanted(task, errors, round_), gates, written)


def error_wanted(task: Task, errors: pl.DataFrame, round_: int) -> dict[str, int]:
    """Rows asked for by gold id. With a cap per round, errors are drawn at random rather than hardest first."""
    each, cap = task.spec.rows.per_error, task.spec.rows.per_round
    ids = errors["gold_id"].to_list()
    if cap is None or len(ids) * each <= cap:
        return dict.fromkeys(ids, each)
    drawn = random.Random(f"{task.spec.seed} errors {round_}").sample(ids, len(ids))
    return {gold_id: min(each, cap - place * each) for place, gold_id in enumerate(drawn) if cap > place * each}


def error_plan(task: Task, errors: pl.DataFrame, round_: int) -> Plan:
    """One request per error and wave. Sample numbers differ by round, so that a lasting error gets new answers."""
    by_id = {row["gold_id"]: row for row in errors.iter_rows(named=True)}

    def plan(missing: Mapping[str, int], wave: int) -> Iterator[TeacherRequest]:
        for gold_id, count in missing.items():
            yield _request(task, by_id[gold_id], count, round_ * SAMPLES_PER_ROUND + wave)

    return plan


def _request(task: Task, error: Mapping[str, Any], count: int, sample: int) -> TeacherRequest:
    example = {name: error[name] for name in task.spec.text_fields}
    facts: dict[str, Any] = {
        "label": error["label"],
        "labels": list(task.spec.labels),
        "count": count,
        "example": {**example, "label": error["label"], "predicted": error["prediction"]},
    }
    context = error["text"] if task.spec.kind == "pair" and task.spec.pair.keep_context else None
    if context is not None:
        facts["given"] = {"text": context}
    return TeacherRequest(
        kind=EXAMPLES,
        messages=messages(task, "extrapolate", facts),
        schema=examples_schema(task.spec.text_fields),
        sample=sample,
        slot=error["gold_id"],
        label=error["label"],
        gold_id=error["gold_id"],
        rows_requested=count,
        context=context,
    )
