"""The strategies that ship: controls, the paper's, the project's own, and its options one by one.

Belongs here: named strategies as data. Does not belong here: what options mean (``strategy.py``), strategies of a
task's own (``spec.py``, key ``strategies``).
"""

import functools
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from s3_assets.tasks.strategy import Strategy

GOLD_ADDED = "+gold"

# Between an arm and the option it goes without: default~explore is default without its exploration.
WITHOUT = "~"

# What `compare --arms` takes in place of names.
ALL, ABLATIONS, LIST = "all", "ablations", "list"


@functools.cache
def presets() -> Mapping[str, Strategy]:
    """Controls, the paper's way and the project's own by name, controls first."""
    seed_only = Strategy(summary="the seed set of round 0, no rounds", extrapolates=None)
    more_seed = Strategy(
        summary="a seed set grown by the rows of s3's rounds, no rounds", extrapolates=None, grown=True
    )
    goldgen = Strategy(
        summary="GoldGen: rounds that extrapolate random steering gold instead of errors", extrapolates="gold"
    )
    s3 = Strategy(summary="the paper's rule: errors in turn until the round has its rows, prediction not shown")
    shown = _changed(s3, "s3, and the teacher is shown the wrong prediction", shows=("prediction",))
    default = Strategy(
        summary="the project's strategy: small seed set, all gold steers and is learned by cross-fitting, rows by "
        "doubt",
        seed_share=0.125,
        steps=3,
        by="doubt",
        explore=0.25,
        shows=("prediction", "contrast"),
        steers="dev",
        cross_fit=2,
        gold="crossed",
    )
    frugal = _changed(default, "default on half the budget, in two rounds", budget=0.5, steps=2)
    plain = {"seed_only": seed_only, "more_seed": more_seed, "goldgen": goldgen, "s3": s3, "default": default}
    return {
        "gold_only": Strategy(summary="steering and selecting gold alone, no teacher", extrapolates=None, gold="alone"),
        "zerogen": _changed(
            more_seed,
            "ZeroGen: more_seed without rationales; the same as more_seed for pairs and questions",
            rationales=False,
        ),
        **plain,
        "s3_shown": shown,
        "frugal": frugal,
        "paper": _changed(s3, "the paper to the letter: exactly one row from each error", one_each=True),
        **{
            f"{name}{GOLD_ADDED}": _changed(one, f"{name}, gold added to the last student's training", gold="added")
            for name, one in plain.items()
            if one.gold == "none"
        },
    }


def ablations(name: str, strategy: Strategy) -> Mapping[str, Strategy]:
    """``strategy`` without each of its options, the option as the paper's rule has it: ``default~explore``, ...

    What is no strategy without an option (rows grown in the seed set, and rounds) is left out.
    """
    paper = Strategy()
    found: dict[str, Strategy] = {}
    for option in Strategy.model_fields:
        if option == "summary" or getattr(strategy, option) == getattr(paper, option):
            continue
        changes = {option: getattr(paper, option)}
        if option == "cross_fit":
            # What needs the students of the folds goes with them.
            gold = "none" if strategy.gold == "crossed" else strategy.gold
            changes |= {"ensemble": False, "distil": False, "gold": gold}
        try:
            found[f"{name}{WITHOUT}{option}"] = _changed(strategy, f"{name} without {option}", **changes)
        except ValidationError:
            continue
    return found


def arms_with(own: Mapping[str, Strategy]) -> Mapping[str, Strategy]:
    """Strategies by name: those that ship, a task's ``own``, then ``default`` and those without each option."""
    tried = {"default": presets()["default"], **own}
    without = {name: one for of, strategy in tried.items() for name, one in ablations(of, strategy).items()}
    return {**presets(), **own, **without}


def of_loops(arms: Mapping[str, Strategy]) -> list[str]:
    """Those that a task's own loop may follow: with rounds, and students that gold can judge."""
    return [name for name, one in arms.items() if one.extrapolates is not None and one.judged]


def _changed(strategy: Strategy, summary: str, **changes: Any) -> Strategy:
    # Not model_copy, which would skip the rules.
    return Strategy.model_validate({**strategy.model_dump(), "summary": summary, **changes})
