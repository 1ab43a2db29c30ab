"""The leaderboard: the arms of a task over their seeds, and whether they were compared at equal budget.

Belongs here: means, spread, intervals and paired differences of finished arms. Does not belong here: running arms,
drawing (``plot.py``), printing (``cli/leaderboard.py``), what the columns mean (``store/experiment_tables.py``).

What the intervals say: how the mean would move with other seeds, with the gold split, the test rows and the teacher's
ledger as they are. They do not cover other test rows: with 88 of those one row is 1.1 points, whatever the seeds say.
With 3 seeds the t interval is 2.5 standard deviations to each side, with 2 it is 9. p values are of single
comparisons, not corrected for how many there are.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from s3_assets.experiment.plan import BUDGET_TOLERANCE
from s3_assets.loop.fingerprints import EXPERIMENT, LEADERBOARD
from s3_assets.store.parts import Warehouse
from s3_assets.store.tables import table
from s3_assets.tasks.presets import presets
from s3_assets.tasks.strategy import Strategy

GOLDGEN = "goldgen"
GOLD_ONLY = "gold_only"

# Scores are shares of test rows: what differs by less is the same score, computed in another order.
_SAME = 1e-9

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds. ``sd`` is None below two seeds.

    ``low`` and ``high`` (95% t interval) and ``p`` (t test against 0) are None below two seeds or when all values are
    the same.
    """

    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None


def leaderboard(task: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of table ``leaderboard`` from those of table ``experiment`` of one task.

    Best mean test score first; ties by smaller budget, then by name. Arms without a test score have no place and come
    last: they are not ranked by another split. A mean is null when the figure of any seed is. An arm is not compared
    with itself, nor with a control that asked for less (``unequal``). ``ValueError`` for rows that cannot be compared.
    """
    _refuse_mixed(task, rows)
    arms = _by_arm(rows)
    found = [_arm(arm, of_arm, arms) for arm, of_arm in arms.items()]
    found.sort(key=_order)
    for place, row in enumerate(found, start=1):
        row |= {"task": task, "place": None if row["score_mean"] is None else place}
    return pl.DataFrame(found, schema=table(LEADERBOARD).schema)


def against(board: pl.DataFrame, rows: pl.DataFrame, control: str) -> pl.DataFrame:
    """``board`` with four more columns, ``vs_{control}`` and its ``_low``, ``_high`` and ``_p``, as for ``goldgen``.

    ``rows`` are those of ``experiment`` that the board was made of.
    """
    arms = _by_arm(rows)
    found = [_columns(f"vs_{control}", _difference(arm, arms.get(arm, ()), control, arms)) for arm in board["arm"]]
    return board.with_columns(
        pl.DataFrame(found, schema=dict.fromkeys(_columns(f"vs_{control}", Estimate()), pl.Float64))
    )


def unequal(board: Rows, control: str) -> list[str]:
    """Arms whose difference from ``control`` is not given: they asked for over 5% more. ``board`` are rows of one.

    Scored as the control is, and without a difference: budgets are those of the seeds both have, which a board does
    not hold. Arms that share no seed with the control are among them. None for a control without a teacher.
    The rows have the columns ``vs_{control}``, as they are or by ``against``.
    """
    scored = {row["arm"]: row for row in board if row["score_mean"] is not None}
    if control not in scored or not scored[control]["teacher_budget"]:
        return []
    return [arm for arm, row in scored.items() if arm != control and row[f"vs_{control}"] is None]


def experiment_rows(warehouse: Warehouse, task: str) -> pl.DataFrame:
    """Newest rows of table ``experiment`` of one task: all arms and seeds, those whose inputs changed since too."""
    folders = (warehouse.root / EXPERIMENT / f"task={task}").glob("arm=*/seed=*")
    keys = [
        {"task": task, "arm": folder.parent.name.removeprefix("arm="), "seed": folder.name.removeprefix("seed=")}
        for folder in folders
    ]
    parts = [part for key in keys if (part := warehouse.live(EXPERIMENT, key)) is not None]
    empty = pl.DataFrame(schema=table(EXPERIMENT).schema)
    # An older row may lack a column.
    return pl.concat([empty, *(part.read() for part in parts)], how="diagonal").sort("arm", "seed")


def matched(board: pl.DataFrame, strategies: Mapping[str, Strategy] | None = None) -> list[str]:
    """What arms that are meant to be equal differ in by more than 5%, and differing numbers of seeds, in words.

    Budgets and accepted rows are compared with goldgen's, or without it with those of the first such arm.
    ``strategies``: the task's arms by name; default those that ship.
    """
    arms = {row["arm"]: row for row in board.to_dicts()}
    equal = [arm for arm in equal_budget_arms(strategies) if arm in arms]
    said = []
    if over := [arm for arm, row in arms.items() if row.get("over_budget")]:
        said.append(f"asked for more than the budget of an arm: {', '.join(over)}")
    if dearer := unequal(board.to_dicts(), GOLDGEN):
        said.append(not_given(GOLDGEN, dearer))
    reference = GOLDGEN if GOLDGEN in equal or not equal else equal[0]
    for column, done, what in (
        ("teacher_budget", "asked for {:,.0f} rows and label questions", "not at equal budget"),
        ("synthetic_rows", "trained on {:,.0f} rows of the teacher", "not on equal rows"),
    ):
        for arm in equal:
            value, most = arms[arm][column], arms[reference][column]
            if value is not None and most and abs(value - most) > BUDGET_TOLERANCE * most:
                said.append(f"{arm} {done.format(value)}, {reference} {done.format(most)}: {what}")
    seeds = sorted({row["seeds"] for row in arms.values()})
    if len(seeds) > 1:
        said.append(f"arms have {seeds[0]} to {seeds[-1]} seeds: places are over different seeds, differences are not")
    return said


def not_given(control: str, dearer: Sequence[str]) -> str:
    """Why differences from ``control`` are missing, in words."""
    return (
        f"no difference from {control} is given for {', '.join(dearer)}: asked for over 5% more than it, or has no "
        "seed that it has"
    )


def equal_budget_arms(strategies: Mapping[str, Strategy] | None = None) -> list[str]:
    """Arms that spend the whole budget: not the seed set alone, a share of it, or as many rows as there are errors."""
    return [
        name
        for name, one in (presets() if strategies is None else strategies).items()
        if one.synthetic and one.budget == 1 and (one.grown or (one.extrapolates is not None and not one.one_each))
    ]


def estimate(values: Sequence[float]) -> Estimate:
    """Mean, sample standard deviation, 95% t interval, and p of the t test against 0."""
    # 0.3 s; scipy.stats has the same functions and costs 1 s.
    from scipy.special import stdtr, stdtrit

    if not values:
        return Estimate()
    mean, freedom = statistics.fmean(values), len(values) - 1
    if freedom == 0:
        return Estimate(mean)
    sd = statistics.stdev(values)
    if sd < _SAME:
        # Two or three seeds that agree by chance are no certainty: an interval without width would say so.
        return Estimate(mean, 0.0)
    error = sd / math.sqrt(len(values))
    reach = float(stdtrit(freedom, 0.975)) * error
    p = 2 * float(stdtr(freedom, -abs(mean) / error))
    return Estimate(mean, sd, mean - reach, mean + reach, p)


def _refuse_mixed(task: str, rows: pl.DataFrame) -> None:
    if others := set(rows["task"]) - {task}:
        raise ValueError(f"leaderboard of {task}: rows of other tasks ({', '.join(sorted(others))}); give one task's")
    repeated = rows.filter(pl.struct("arm", "seed").is_duplicated())
    if repeated.height:
        arm, seed = repeated.select("arm", "seed").row(0)
        raise ValueError(f"leaderboard of {task}: {arm} with seed {seed} is there twice; give its newest row")
    for column, what in (("metric", "by different metrics"), ("test_rows", "on different test gold")):
        values = sorted(map(str, rows[column].unique()))
        if len(values) > 1:
            raise ValueError(
                f"leaderboard of {task}: its arms were scored {what} ({column}: {', '.join(values)}), which cannot be "
                f"compared; `s3-assets compare {task}` makes again what is stale"
            )


def _arm(arm: str, rows: Rows, arms: Mapping[str, Rows]) -> dict[str, Any]:
    scores = _numbers(rows, "test_score")
    score = Estimate() if scores is None else estimate(scores)
    cost = _mean(rows, "cost")
    goldgen, gold_only = (_difference(arm, rows, control, arms) for control in (GOLDGEN, GOLD_ONLY))
    prompt, completion = _mean(rows, "prompt_tokens"), _mean(rows, "completion_tokens")
    return {
        "arm": arm,
        "seeds": len(rows),
        **{name: _mean(rows, name) for name in ("synthetic_rows", "gold_rows", "teacher_budget", "calls")},
        "over_budget": any(row["over_budget"] for row in rows),
        "tokens": None if prompt is None or completion is None else prompt + completion,
        "cost": cost,
        "train_seconds": _mean(rows, "train_seconds"),
        "metric": rows[0]["metric"],
        "test_rows": rows[0]["test_rows"],
        "score_mean": score.mean,
        "score_sd": score.sd,
        "ci_low": score.low,
        "ci_high": score.high,
        "exact_match_mean": _mean(rows, "test_exact_match"),
        **_columns("vs_goldgen", goldgen),
        **_columns("vs_gold_only", gold_only),
        "points_per_dollar": 100 * gold_only.mean / cost if cost and gold_only.mean is not None else None,
    }


def _difference(arm: str, rows: Rows, control: str, arms: Mapping[str, Rows]) -> Estimate:
    """The score less that of ``control``, over the seeds that both have; nothing at a larger budget than its."""
    others = {row["seed"]: row for row in arms.get(control, ())} if arm != control else {}
    pairs = [(row, others[row["seed"]]) for row in rows if row["seed"] in others]
    # Budgets of these seeds: where errors or refills decide on them, other seeds have others.
    ours, theirs = (_mean([pair[side] for pair in pairs], "teacher_budget") for side in (0, 1))
    if _dearer(ours, theirs):
        return Estimate()
    scores = [(one["test_score"], other["test_score"]) for one, other in pairs]
    return estimate([one - other for one, other in scores if one is not None and other is not None])


def _dearer(budget: float | None, of_control: float | None) -> bool:
    """Whether a difference would be at a larger budget than the control's; one without a teacher is free for all."""
    return bool(of_control) and budget is not None and budget > (1 + BUDGET_TOLERANCE) * (of_control or 0)


def _columns(name: str, difference: Estimate) -> dict[str, float | None]:
    return {
        name: difference.mean,
        f"{name}_low": difference.low,
        f"{name}_high": difference.high,
        f"{name}_p": difference.p,
    }


def _by_arm(rows: pl.DataFrame) -> dict[str, Rows]:
    return {str(arm): rows.filter(pl.col("arm") == arm).sort("seed").to_dicts() for arm in rows["arm"].unique().sort()}


def _numbers(rows: Rows, column: str) -> list[float] | None:
    values = [float(row[column]) for row in rows if row[column] is not None]
    return values if values and len(values) == len(rows) else None


def _mean(rows: Rows, column: str) -> float | None:
    values = _numbers(rows, column)
    return None if values is None else statistics.fmean(values)


def _order(row: Mapping[str, Any]) -> tuple[bool, float, float, str]:
    score, budget = row["score_mean"], row["teacher_budget"]
    # Rounded as _SAME has it: the same scores added in another order are a tie.
    return score is None, -round(score or 0.0, 9), math.inf if budget is None else budget, row["arm"]
