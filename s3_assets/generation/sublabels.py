"""Finer labels: in which proportions the rows of a label are asked for.

Belongs here: counting finer labels in steering gold, dividing rows among them. Does not belong here: the requests for
rows (``seed.py``).
"""

import logging
from collections.abc import Mapping

import polars as pl

from s3_assets.generation.answers import read_answer
from s3_assets.generation.filling import SAMPLES_PER_SEED, Written, rejected_answer
from s3_assets.prompting.contract import LABEL, label_schema, messages
from s3_assets.tasks.load import Task
from s3_assets.teacher.request import TeacherRequest
from s3_assets.teacher.session import TeacherSession

log = logging.getLogger(__name__)

Shares = Mapping[str, Mapping[str, int]]


def count_sublabels(
    task: Task, session: TeacherSession, steer: pl.DataFrame, written: Written
) -> dict[str, dict[str, int]]:
    """How many steering rows each finer label has, by label; labels without finer ones are left out.

    Counted in gold where it has them (``fields.sublabel``); else the teacher is asked which one each row of the label
    is, one label question a row. ``steer`` has the columns of ``gold``. Where nothing is found they count alike.
    """
    counts = {}
    for label, declared in task.spec.labels.items():
        if not declared.sublabels:
            continue
        rows = steer.filter(pl.col("label") == label)
        known = rows["sublabel"].drop_nulls().to_list()
        if not known:
            answers = session.ask([_question(task, label, row) for row in rows.iter_rows(named=True)], read_answer)
            written.rejected.extend(rejected_answer(answer, fault) for answer in answers for fault in answer.faults)
            known = [answer.content for answer in answers if answer.content is not None]
        found = {name: known.count(name) for name in declared.sublabels}
        if not any(found.values()):
            log.warning("label %s: nothing says which of %s its rows are; asking evenly", label, ", ".join(found))
            found = dict.fromkeys(found, 1)
        counts[label] = found
    return counts


def divide(rows: int, counts: Mapping[str, int] | None) -> dict[str | None, int]:
    """``rows`` divided in the proportions of ``counts``, largest remainders first; all under None without any."""
    if not counts:
        return {None: rows}
    total = sum(counts.values())
    exact = {name: rows * count / total for name, count in counts.items()}
    whole = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(exact, key=lambda name: whole[name] - exact[name])
    for name in by_remainder[: rows - sum(whole.values())]:
        whole[name] += 1
    return {name: count for name, count in whole.items() if count}


def _question(task: Task, label: str, row: Mapping[str, str]) -> TeacherRequest:
    names = tuple(task.spec.labels[label].sublabels)
    facts = {"labels": list(names), "example": {name: row[name] for name in task.spec.text_fields}}
    return TeacherRequest(
        kind=LABEL,
        messages=messages(task, "label", facts, task.spec.labels[label].sublabels),
        schema=label_schema(names),
        sample=task.spec.seed * SAMPLES_PER_SEED,
        slot=row["gold_id"],
        label=label,
        gold_id=row["gold_id"],
    )
