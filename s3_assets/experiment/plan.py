"""What an arm would ask of its teacher, and what it may.

Belongs here: what an arm plans, and what its strategy made it ask for, held against its budget. Does not belong here:
how a budget is divided (``generation/schedule.py``), counting requests (``asked.py``), comparing budgets
(``leaderboard.py``).
"""

import polars as pl

from s3_assets.experiment.asked import Asked
from s3_assets.generation.schedule import asked_for_a_row, budget, most_diagnoses, round_size, rounds_of, seed_size
from s3_assets.loop.uses import gold_in_use
from s3_assets.tasks.gold import read_gold
from s3_assets.tasks.load import Task, TaskError

# Budgets of arms meant to be equal may differ by this share: sizes are rounded, a few questions come on top.
BUDGET_TOLERANCE = 0.05


def rows_ahead(own: Task) -> tuple[int, int]:
    """Rows that an arm asks for in its seed set, and at most in one of its rounds; without refills."""
    how = own.spec.how
    if not how.synthetic:
        return 0, 0
    if how.one_each:
        return _seed(own), gold_in_use(own, read_gold(own)).filter(pl.col("split") == "steer").height
    return _seed(own), max(_rounds(own), default=0)


def planned(own: Task) -> int | None:
    """Rows, and questions about their labels, that an arm is declared to ask for; None where errors decide how many.

    Questions of the task's own (``verify``, sublabels) are not counted: all arms have those alike.
    """
    how = own.spec.how
    if not how.synthetic:
        return 0
    if how.one_each:
        return None
    return round((_seed(own) + sum(_rounds(own))) * asked_for_a_row(own)) + most_diagnoses(own) * rounds_of(own)


def check_plan(own: Task) -> None:
    """``TaskError`` for an arm that is declared to ask for more than its budget."""
    plan, most = planned(own), budget(own)
    if plan is not None and plan > _allowed(own):
        raise TaskError(
            f"arm {own.spec.strategy} of task {own.name} would ask for {plan:,} rows and label questions "
            f"({_seed(own):,} rows in the seed set, {sum(_rounds(own)):,} in rounds); its budget is {most:,}. "
            "Give it fewer steps, show no diagnosis, or raise rows.seed, rows.per_round or its budget"
        )


def over_budget(own: Task, took: Asked, gold: pl.DataFrame) -> bool:
    """Whether what a strategy made an arm ask for is more than its budget. ``gold`` are all rows of table ``gold``.

    Of label questions those of the strategy's own ``verify`` count, as in ``planned``: what the task has asked about
    labels (``verify``, sublabels) all arms have alike. Rows asked for again by ``rows.refill`` do count: the plan has
    none, how many there are follows from what the arm asks for, and arms that got more rows by them are not equal.
    """
    how = own.spec.how
    asked = took.rows_requested + took.diagnoses
    if how.verify in {"teacher", "both"}:
        asked += took.label_questions - took.diagnoses - _sublabel_questions(own, gold)
    return asked > (_allowed(own) if how.synthetic else 0)


def _sublabel_questions(own: Task, gold: pl.DataFrame) -> int:
    """Questions of the seed set about finer labels: one a steering row of each label whose finer ones gold lacks."""
    if own.spec.seed_rows is not None:
        return 0
    steer = gold_in_use(own, gold).filter(pl.col("split") == "steer")
    finer = [label for label, declared in own.spec.labels.items() if declared.sublabels]
    of_label = [steer.filter(pl.col("label") == label) for label in finer]
    return sum(rows.height for rows in of_label if rows["sublabel"].null_count() == rows.height)


def _allowed(own: Task) -> float:
    most, sizes = budget(own), 1 + rounds_of(own)
    # Every size is rounded, and a round has one row at least.
    return max((1 + BUDGET_TOLERANCE) * most, most + sizes * asked_for_a_row(own))


def _seed(own: Task) -> int:
    return 0 if own.spec.seed_rows is not None else seed_size(own)


def _rounds(own: Task) -> list[int]:
    return [round_size(own, round_) for round_ in range(rounds_of(own))]
