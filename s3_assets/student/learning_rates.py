"""Choosing a learning rate by short trainings.

Belongs here: how long they are, what they are judged by. Does not belong here: a training (``train.py``).
"""

import logging
import math
import random
from collections.abc import Callable
from typing import Any

import polars as pl

from s3_assets.student.errors import StudentError
from s3_assets.student.steps import planned_steps
from s3_assets.tasks.student_spec import StudentSpec

log = logging.getLogger(__name__)

# What a short training came to, of its best epoch: rank (the higher, the better) and scores.
Trial = tuple[tuple[float, float], dict[str, float | int | None]]

# A training on rows, judged on others, with options.
Train = Callable[[pl.DataFrame, pl.DataFrame, StudentSpec], Trial]

# Of training rows held out where no gold selects.
SHARE_HELD_OUT = 0.1


def best_rate(
    train: Train, training: pl.DataFrame, select: pl.DataFrame, spec: StudentSpec, seed: int
) -> tuple[float, list[dict[str, Any]]]:
    """The one of ``spec.learning_rates`` whose short training is best on ``select``, and what each came to.

    A short training takes one epoch, or more until half of ``min_steps`` are done, in batches as the whole training
    has, and ranks like a long one; of equals the first. Without rows in ``select`` a tenth of ``training`` is held out
    and judges (``held_out``).
    """
    whole = planned_steps(training.height, spec)
    epochs = max(1, math.ceil(spec.min_steps / 2 / whole.per_epoch))
    short = {"epochs": epochs, "min_steps": 0, "batch_size": whole.batch_size, "patience": None}
    judged_on = "selecting gold"
    if select.is_empty():
        training, select = held_out(training, seed)
        judged_on = "training rows held out"
    found: list[tuple[tuple[float, float], float]] = []
    tried: list[dict[str, Any]] = []
    for rate in spec.learning_rates:
        rank, scores = train(training, select, spec.model_copy(update={**short, "learning_rate": rate}))
        found.append((rank, rate))
        scored = {name.removeprefix("select_"): scores[name] for name in scores if name != "epoch"}
        tried.append({"learning_rate": rate, "judged_on": judged_on, "rows": select.height, **scored})
        log.info("learning rate %g: loss %.3f on %s", rate, scores["select_loss"] or 0.0, judged_on)
    best = max(range(len(found)), key=lambda place: found[place][0])
    log.info("learning rate %g is taken", found[best][1])
    return found[best][1], tried


def held_out(training: pl.DataFrame, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """``training`` without a tenth of its rows, and these, drawn by ``seed`` and label by label.

    Rows with one ``gold_id``, where the column is there, are held out together: one of many rows written from a gold
    row says little when the others are trained on. ``StudentError`` where that leaves fewer than two labels (of
    classifiers) or nothing.
    """
    rng = random.Random(f"{seed} learning rates")
    labels = training["label"].to_list()
    causes = training["gold_id"].to_list() if "gold_id" in training.columns else [None] * training.height
    together: dict[str | int, list[int]] = {}
    for row, cause in enumerate(causes):
        together.setdefault(row if cause is None else cause, []).append(row)
    by_label: dict[str, list[list[int]]] = {}
    for rows in together.values():
        by_label.setdefault(labels[rows[0]], []).append(rows)
    out: set[int] = set()
    for label in sorted(by_label):
        units = rng.sample(by_label[label], len(by_label[label]))
        wanted = round(SHARE_HELD_OUT * sum(map(len, units)))
        taken: list[int] = []
        for rows in units[:-1]:
            if len(taken) >= wanted:
                break
            taken += rows
        out |= set(taken)
    kept = training.filter(pl.Series([row not in out for row in range(training.height)], dtype=pl.Boolean))
    judging = training.filter(pl.Series([row in out for row in range(training.height)], dtype=pl.Boolean))
    if judging.is_empty() or kept["label"].n_unique() < training["label"].n_unique():
        raise StudentError(
            f"student.learning_rates: {training.height} training rows are too few to hold some out and judge by them, "
            "and no gold selects; name one learning_rate"
        )
    return kept, judging
