"""Errors that no rows are written from.

Belongs here: what makes an error hopeless or its label doubtful. Does not belong here: the order of the others
(``errors.py``), the students who give second opinions (``quality/ensemble.py``).
"""

import logging
from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from s3_assets.tasks.load import Task

log = logging.getLogger(__name__)

# Rounds in which rows were written from an error in vain, after which none are.
ROUNDS_IN_VAIN = 2

# A row's label is taken to be wrong when students on other rows give it less than this share of what they give the
# likeliest label. A share, because of many labels even the likeliest has little.
LEAST_SHARE = 0.2


def never_learned(errors: Iterable[str], before: Sequence[tuple[set[str], set[str]]]) -> dict[str, str]:
    """Errors (gold ids) that rows were written from in ``ROUNDS_IN_VAIN`` rounds, and that were errors ever since.

    ``before`` holds, of every round before in order, its errors and the gold ids that rows were written from. An error
    that is passed over stays one, so it is passed over until the student gets it right. Gives the reason by gold id.
    """
    found: dict[str, str] = {}
    for gold_id in errors:
        in_vain = 0
        for wrong, extrapolated in reversed(before):
            if gold_id not in wrong:
                break
            in_vain += gold_id in extrapolated
        if in_vain >= ROUNDS_IN_VAIN:
            found[gold_id] = f"never learned: rows of {in_vain} rounds did not help"
    return found


def mislabelled(task: Task, errors: Iterable[str], steer: pl.DataFrame, seed_rows: pl.DataFrame) -> dict[str, str]:
    """Errors (gold ids) whose label students that were not trained on them doubt, with the reason by gold id.

    ``steer`` is steering gold, with the columns of ``gold``: no other gold is looked at. ``seed_rows`` (columns text,
    text2, label) are trained on too: they must not be written from the errors, or they would speak for the label in
    question. Questions have no labels: nothing is skipped.
    """
    if task.spec.kind == "qa":
        log.info("skips: mislabelled has nothing to go by: questions have no labels")
        return {}
    from s3_assets.generation.held_out import opinions_held_out  # brings torch and scikit-learn: seconds

    said = opinions_held_out(task, steer.select("text", "text2", "label"), seed_rows)
    found, wrong = dict[str, str](), set(errors)
    for gold_id, label, one in zip(steer["gold_id"], steer["label"], said, strict=True):
        if gold_id in wrong and one is not None and one.probability < LEAST_SHARE * one.of_label:
            found[gold_id] = (
                f"mislabelled: others give {one.label} a probability of {one.of_label:.2f}, and its own label {label} "
                f"one of {one.probability:.2f}"
            )
    return found


def unless_all(skipped: Mapping[str, str], errors: Sequence[str]) -> dict[str, str]:
    """``skipped``, or nothing where that would leave no error."""
    if errors and all(gold_id in skipped for gold_id in errors):
        log.warning("skips would pass over all %d errors; none is passed over", len(errors))
        return {}
    return dict(skipped)
