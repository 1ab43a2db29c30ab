"""What an arm would ask of its teacher, and what it may.

Belongs here: sizes of an arm before it runs, held against its budget. Does not belong here: how a budget is divided
(``generation/schedule.py``), counting what was asked (``asked.py``), comparing budgets (``leaderboard.py``).
"""

import polars as pl

from s3_assets.generation.schedule import MOST_DIAGNOSES, budget, round_size, rounds_of, seed_size
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
        return _seed(own), read_gold(own).filter(pl.col("split") == "steer").height
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
    diagnoses = MOST_DIAGNOSES * rounds_of(own) if "diagnosis" in how.shows else 0
    return (_seed(own) + sum(_rounds(own))) * _asked_for_a_row(own) + diagnoses


def check_plan(own: Task) -> None:
    """``TaskError`` for an arm that is declared to ask for more than its budget."""
    plan, most, sizes = planned(own), budget(own), 1 + rounds_of(own)
    # Every size is rounded, and a round has one row at least.
    allowed = max((1 + BUDGET_TOLERANCE) * most, most + sizes * _asked_for_a_row(own))
    if plan is not None and plan > allowed:
        raise TaskError(
            f"arm {own.spec.strategy} of task {own.name} would ask for {plan:,} rows and label questions "
            f"({_seed(own):,} rows in the seed set, {sum(_rounds(own)):,} in rounds); its budget is {most:,}. "
            "Set its seed_share, so that the budget is divided, or raise rows.seed, rows.per_round or its budget"
        )


def _seed(own: Task) -> int:
    return 0 if own.spec.seed_rows is not None else seed_size(own)


def _rounds(own: Task) -> list[int]:
    return [round_size(own, round_) for round_ in range(rounds_of(own))]


def _asked_for_a_row(own: Task) -> int:
    """A row, and the most label questions about it that the strategy itself brings."""
    asks = own.spec.how.verify in {"teacher", "both"}
    return 1 + own.spec.verifying.questions if asks else 1
