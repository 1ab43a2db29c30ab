"""How the loop is doing: gains on held-out gold and one row of figures per round.

Belongs here: figures read from live parts, for the stop rule, ``status`` and the closing table. Does not belong
here: printing them (``cli/``), the rule itself (``stop.py``).
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

from s3_assets.drift.names import GOLD_STEER
from s3_assets.loop.cross_fitting import held_out, held_out_scores
from s3_assets.loop.fingerprints import DRIFT, SEED_SET, TRAINED_MODEL, loop_key
from s3_assets.loop.steps import live_predictions
from s3_assets.loop.stop import Gain, gains
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.load import Task

# The drift metric shown where there is room for one.
HEADLINE_DRIFT = "vocabulary_js"


@dataclass(frozen=True)
class Score:
    """Rows right of one split, with the 95% Wilson interval of the share."""

    right: int
    rows: int

    @property
    def share(self) -> float:
        """Accuracy, 0 to 1."""
        return self.right / self.rows

    def interval(self) -> tuple[float, float]:
        """95% Wilson score interval, 0 to 1."""
        from scipy.stats import binomtest  # about 1 s

        bounds = binomtest(self.right, self.rows).proportion_ci(0.95, method="wilson")
        return float(bounds.low), float(bounds.high)


@dataclass(frozen=True)
class RoundFigures:
    """What one round came to. A score is None when its split has no rows or the round has no model.

    ``select`` is of steering gold judged by students of folds where no selecting gold judges the round. Of questions a
    score counts exact matches, and ``select_f1`` and ``test_f1`` are mean F1s, 0 to 1.
    """

    round: int
    rows: int
    errors: int | None
    steer: Score | None
    select: Score | None
    test: Score | None
    drift: float | None
    drift_floor: float | None
    train_seconds: float | None
    select_f1: float | None = None
    test_f1: float | None = None


def selecting_gains(task: Task, warehouse: Warehouse, last_round: int) -> list[Gain]:
    """Gains on held-out gold of rounds 1 to ``last_round``, for questions in F1. Reads no test gold.

    Empty where the strategy holds no gold out: all of it steers, without folds.
    """
    said = (live_predictions(warehouse, loop_key(task, round_)) for round_ in range(last_round + 1))
    return gains([held_out_scores(predictions) for predictions in said])


def round_figures(task: Task, warehouse: Warehouse, round_: int) -> RoundFigures:
    """Figures of a round, from its live parts."""
    key = loop_key(task, round_).columns()
    seed_set, drift, model = (warehouse.live(name, key) for name in (SEED_SET, DRIFT, TRAINED_MODEL))
    said = live_predictions(warehouse, loop_key(task, round_))
    steering = said.filter(pl.col("split") == "steer")
    trained = model.read().row(0, named=True) if model else {}
    measured = _headline(drift.read()) if drift else {}
    return RoundFigures(
        round=round_,
        rows=seed_set.read().height if seed_set else 0,
        errors=steering.filter(~pl.col("correct")).height if steering.height else None,
        steer=_score(steering),
        select=_score(held_out(said)),
        test=_score(said.filter(pl.col("split") == "test")),
        drift=measured.get("value"),
        drift_floor=measured.get("floor"),
        train_seconds=trained.get("train_seconds"),
        select_f1=trained.get("select_f1"),
        test_f1=trained.get("test_f1"),
    )


def _headline(drift: pl.DataFrame) -> dict[str, Any]:
    """The row of table drift that is shown where there is room for one; empty where there is none."""
    # Parts of before the column was added do not say what they compared.
    if "reference" not in drift.columns:
        return {}
    found = drift.filter(pl.col("label").is_null(), reference=GOLD_STEER, metric=HEADLINE_DRIFT)
    return found.row(0, named=True) if found.height else {}


def _score(predictions: pl.DataFrame) -> Score | None:
    if predictions.is_empty():
        return None
    right = predictions.select(pl.coalesce("exact_match", pl.col("correct").cast(pl.Float64)).sum()).item()
    return Score(int(right), predictions.height)
