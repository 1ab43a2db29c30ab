"""Errors that no rows are written from.

Belongs here: what makes an error hopeless or its label doubtful. Does not belong here: the order of the others
(``errors.py``), the students who give second opinions (``quality/ensemble.py``).
"""

import logging
from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from s3_assets.tasks.load import Task

log = logging.getLogger(__name__)

# Rounds before this one in which rows were written from an error in vain.
ROUNDS_IN_VAIN = 2

# A row's label is taken to be wrong when students on other rows give it less than this, and another label more.
LEAST_PROBABILITY = 0.2


def never_learned(errors: Iterable[str], before: Sequence[tuple[set[str], set[str]]]) -> dict[str, str]:
    """Errors (gold ids) that were errors in each of the ``ROUNDS_IN_VAIN`` rounds before, and extrapolated there.

    ``before`` holds those rounds' errors and the gold ids that rows were written from; fewer rounds than that say
    nothing. Gives the reason by gold id.
    """
    if len(before) < ROUNDS_IN_VAIN:
        return {}
    lasting = set.intersection(*(wrong & extrapolated for wrong, extrapolated in before))
    return {
        gold_id: f"never learned: rows of {ROUNDS_IN_VAIN} rounds did not help"
        for gold_id in errors
        if gold_id in lasting
    }


def mislabelled(task: Task, errors: Iterable[str], gold: pl.DataFrame, seed_rows: pl.DataFrame) -> dict[str, str]:
    """Errors (gold ids) whose label students that were not trained on them doubt, with the reason by gold id.

    ``gold`` has the columns of ``gold``; its test rows are not looked at, selecting rows only calibrate. ``seed_rows``
    (columns text, text2, label) are trained on too: they must not be written from the errors, or they would speak for
    the label in question. Questions have no labels: nothing is skipped.
    """
    if task.spec.kind == "qa":
        log.info("skips: mislabelled has nothing to go by: questions have no labels")
        return {}
    from s3_assets.quality.ensemble import opinions  # its student brings torch, its members scikit-learn: seconds

    known = gold.filter(pl.col("split") != "test")
    fields, student = ("text", "text2", "label"), task.spec.student
    _, said = opinions(
        seed_rows.select(fields),
        known.select(*fields, "split"),
        list(task.spec.labels),
        student.weights,
        student.max_length,
        task.spec.seed,
    )
    judged = pl.concat([known.select("gold_id", "label", "split"), said], how="horizontal").filter(
        pl.col("split") == "steer",
        pl.col("gold_id").is_in(list(errors)),
        pl.col("students_label") != pl.col("label"),
        pl.col("students_probability") < LEAST_PROBABILITY,
    )
    return {
        row["gold_id"]: f"mislabelled: others say {row['students_label']}, and its own label with a probability of "
        f"{row['students_probability']:.2f}"
        for row in judged.iter_rows(named=True)
    }


def unless_all(skipped: Mapping[str, str], errors: Sequence[str]) -> dict[str, str]:
    """``skipped``, or nothing where that would leave no error."""
    if errors and all(gold_id in skipped for gold_id in errors):
        log.warning("skips would pass over all %d errors; none is passed over", len(errors))
        return {}
    return dict(skipped)
