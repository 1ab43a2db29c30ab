"""Strategies: the ways of making a training set that can be run and compared.

Belongs here: what each strategy asks for and trains on, as data. Does not belong here: doing it (``generation/``,
``loop/``), which sizes it is done at (``spec.py``), comparing (``experiment/``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Strategy:
    """How one arm makes its training set.

    ``rationales``: seed requests for single texts are given rationales. ``grown``: the rows of all rounds are asked for
    at once, in the seed set. ``extrapolates``: gold rows that new rows are written from, None for no rounds.
    ``one_each``: one row from each, else ``rows.per_round`` rows from all of them in turn. ``shows_prediction``: the
    teacher is told the student's wrong answer. ``gold``: whether the last student is trained on steering and selecting
    gold too, or on those alone.
    """

    summary: str
    rationales: bool = True
    grown: bool = False
    extrapolates: Literal["errors", "gold"] | None = "errors"
    one_each: bool = False
    shows_prediction: bool = False
    gold: Literal["none", "added", "alone"] = "none"

    @property
    def synthetic(self) -> bool:
        """Whether a teacher is asked at all."""
        return self.gold != "alone"


_SYNTHETIC = {
    "seed_only": Strategy("the seed set of round 0, no rounds", extrapolates=None),
    "more_seed": Strategy("a seed set grown by the rows of s3's rounds, no rounds", extrapolates=None, grown=True),
    "goldgen": Strategy("GoldGen: rounds that extrapolate random steering gold instead of errors", extrapolates="gold"),
    "s3": Strategy("the paper's rule: errors in turn until the round has its rows, prediction not shown"),
    "default": Strategy(
        "the project's strategy: errors in turn, the teacher is shown the wrong prediction", shows_prediction=True
    ),
}

GOLD_ADDED = "+gold"


def strategies() -> Mapping[str, Strategy]:
    """All strategies by name, controls first."""
    return {
        "gold_only": Strategy("steering and selecting gold alone, no teacher", extrapolates=None, gold="alone"),
        "zerogen": Strategy(
            "ZeroGen: more_seed without rationales; the same as more_seed for pairs and questions",
            rationales=False,
            grown=True,
            extrapolates=None,
        ),
        **_SYNTHETIC,
        "s3_literal": Strategy("the paper to the letter: exactly one row from each error", one_each=True),
        **{
            f"{name}{GOLD_ADDED}": replace(
                strategy, gold="added", summary=f"{name}, gold added to the last student's training"
            )
            for name, strategy in _SYNTHETIC.items()
        },
    }


def loop_strategies() -> list[str]:
    """Strategies that a task's own loop may follow: those with rounds, and no gold in training."""
    return [name for name, one in strategies().items() if one.extrapolates is not None and one.gold == "none"]
