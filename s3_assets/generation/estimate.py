"""What a step would ask for, counted before anything is asked.

Belongs here: calls and tokens from the prompts as they would be sent. Does not belong here: prices, budgets
(``teacher/session.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from s3_assets.generation.extrapolate import error_plan, error_wanted
from s3_assets.generation.seed import rationale_requests, seed_plan, seed_wanted
from s3_assets.tasks.load import Task
from s3_assets.teacher.request import TeacherRequest

# English text of most tokenizers; an estimate is all this is for.
CHARACTERS_PER_TOKEN = 4
TOKENS_PER_RATIONALE = 12


@dataclass(frozen=True)
class Estimate:
    """Calls, and tokens read and written together."""

    calls: int
    tokens: int


def estimate_seed(task: Task, gold: pl.DataFrame) -> Estimate:
    """The seed set of round 0, without what gates refuse and is asked again. Zero for a task with own seed rows."""
    if task.spec.seed_rows is not None:
        return Estimate(0, 0)
    listing = rationale_requests(task) if task.spec.kind == "single" else []
    stand_ins = {label: ["r" * CHARACTERS_PER_TOKEN * TOKENS_PER_RATIONALE] for label in task.spec.labels}
    contexts = gold.filter(pl.col("split") == "steer")["text"].unique(maintain_order=True).to_list()
    requests = seed_plan(task, stand_ins, contexts)(seed_wanted(task), 0)
    written = len(listing) * task.spec.rationales.per_label * TOKENS_PER_RATIONALE
    return Estimate(
        len(listing) + len(requests), _read(listing) + _read(requests) + written + _rows(task, gold, requests)
    )


def estimate_extrapolation(task: Task, gold: pl.DataFrame) -> Estimate:
    """One error of mean length; the number of errors is known only after training."""
    steer = gold.filter(pl.col("split") == "steer").with_columns(pl.col("label").alias("prediction"))
    requests = error_plan(task, steer, 0)(error_wanted(task, steer, 0), 0)
    tokens = _read(requests) + _rows(task, gold, requests)
    return Estimate(1, round(tokens / len(requests)))


def _read(requests: Sequence[TeacherRequest]) -> int:
    return sum(len(message["content"]) for request in requests for message in request.messages) // CHARACTERS_PER_TOKEN


def _rows(task: Task, gold: pl.DataFrame, requests: Sequence[TeacherRequest]) -> int:
    """Tokens written for the rows asked for, at gold's mean length, JSON punctuation included."""
    length = sum(gold[name].str.len_chars().sum() / gold.height + 16 for name in task.spec.text_fields)
    return round(sum(request.rows_requested for request in requests) * length / CHARACTERS_PER_TOKEN)
