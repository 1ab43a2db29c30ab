"""What errors that are alike have in common, in one line of the teacher.

Belongs here: one question for each group of errors. Does not belong here: grouping (``selection/clusters.py``), rows
written with the answer in view (``extrapolate.py``), wording (``prompting/``).
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from s3_assets.generation.answers import read_answer
from s3_assets.generation.filling import SAMPLES_PER_ROUND, SAMPLES_PER_SEED, Written, rejected_answer
from s3_assets.generation.schedule import MOST_DIAGNOSES
from s3_assets.prompting.contract import DIAGNOSIS, diagnosis_schema, messages
from s3_assets.selection.choice import Choice, Source
from s3_assets.tasks.load import Task
from s3_assets.tasks.spec import ANSWER
from s3_assets.teacher.request import TeacherRequest
from s3_assets.teacher.session import TeacherSession

log = logging.getLogger(__name__)

MOST_ERRORS_SHOWN = 5


def diagnosed(
    task: Task, session: TeacherSession, choice: Choice, sources: pl.DataFrame, round_: int, written: Written
) -> Choice:
    """``choice``, its errors with what the teacher says of their cluster; unchanged where the strategy shows none.

    ``sources`` is as in ``write_extrapolated_set``. A cluster of which no row is asked for gets no question. A question
    that is not answered is noted in ``written`` and leaves its errors without. The embedded teacher cannot answer any.
    """
    if "diagnosis" not in task.spec.how.shows:
        return choice
    if task.spec.teacher.backend == "embedded":
        log.warning("shows: diagnosis is left out: the embedded teacher cannot answer it")
        return choice
    requests = diagnosis_requests(task, choice, sources, round_)
    answers = session.ask(list(requests.values()), read_answer)
    written.rejected.extend(rejected_answer(answer, fault) for answer in answers for fault in answer.faults)
    said = {cluster: answer.content for cluster, answer in zip(requests, answers, strict=True) if answer.content}
    return choice.with_diagnoses(said)


def diagnosis_requests(task: Task, choice: Choice, sources: pl.DataFrame, round_: int) -> dict[int, TeacherRequest]:
    """The question about each cluster, at most ``MOST_DIAGNOSES``: of those with the most rows.

    It shows the first errors by rows asked for, then by gold id.
    """
    by_id = {row["gold_id"]: row for row in sources.iter_rows(named=True)}
    members: dict[int, list[Source]] = {}
    for source in sorted(choice.sources, key=lambda one: (-one.rows_requested, one.gold_id)):
        if source.cluster is not None:
            members.setdefault(source.cluster, []).append(source)
    most = sorted(members, key=lambda cluster: (-sum(one.rows_requested for one in members[cluster]), cluster))
    asked = {cluster: members[cluster] for cluster in most[:MOST_DIAGNOSES] if members[cluster][0].rows_requested}
    return {
        cluster: _question(task, [by_id[source.gold_id] for source in own[:MOST_ERRORS_SHOWN]], cluster, round_)
        for cluster, own in asked.items()
    }


def _question(task: Task, errors: Sequence[Mapping[str, Any]], cluster: int, round_: int) -> TeacherRequest:
    right = ANSWER if task.spec.kind == "qa" else "label"
    shown = [
        {**{name: row[name] for name in task.spec.text_fields}, right: row[right], "predicted": row["prediction"]}
        for row in errors
    ]
    labels = {} if task.spec.kind == "qa" else {"labels": list(task.spec.labels)}
    return TeacherRequest(
        kind=DIAGNOSIS,
        messages=messages(task, "diagnosis", {**labels, "errors": shown}),
        schema=diagnosis_schema(),
        sample=task.spec.seed * SAMPLES_PER_SEED + round_ * SAMPLES_PER_ROUND,
        slot=f"cluster {cluster}",
        label=errors[0]["label"],
    )
