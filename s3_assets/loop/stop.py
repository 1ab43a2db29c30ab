"""When the loop stops paying (design: the stop rule).

Belongs here: the paired gain on held-out gold and the rule over rounds. Does not belong here: which gold is held out
(``cross_fitting.py``), anything that reads test gold, running rounds (``cli/run.py``, ``sensors.py``).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

Rule = Literal["no_gain", "within_error"]

# Rounds in a row without a gain after which the loop stops.
PATIENCE = 2


@dataclass(frozen=True)
class Gain:
    """Paired gain of a round over the best earlier round on held-out gold, in mean score, with its standard error.

    At 50 rows the error is about 6 points: a rule that asks for gains above it stops early.
    """

    round: int
    best_earlier: int
    gain: float
    standard_error: float


def gains(by_round: Sequence[pl.DataFrame]) -> list[Gain]:
    """Gain of every round after the first.

    Each frame has ``gold_id`` and ``score`` (0 to 1) for the held-out gold of one round, rounds in order from 0. Rows
    are paired by gold id; a pair missing from either round is left out. A round without pairs has no gain.
    """
    found = []
    for round_ in range(1, len(by_round)):
        best = max(range(round_), key=lambda earlier: (_mean(by_round[earlier]), -earlier))
        pairs = by_round[round_].join(by_round[best], on="gold_id", suffix="_best")
        if pairs.is_empty():
            continue
        difference = pairs["score"].to_numpy() - pairs["score_best"].to_numpy()
        error = float(difference.std(ddof=1)) / math.sqrt(len(difference)) if len(difference) > 1 else 0.0
        found.append(Gain(round_, best, float(difference.mean()), error))
    return found


def should_stop(found: Sequence[Gain], rounds_done: int, max_rounds: int, rule: Rule) -> str | None:
    """Why the loop should stop after ``rounds_done`` rounds, or None when another round is worth asking for.

    ``rule`` is the strategy's ``stop``. Without gold that is held out there are no gains, and all rounds are done.
    """
    if rounds_done >= max_rounds:
        return f"all {max_rounds} rounds are done"
    last = found[-PATIENCE:]
    if len(last) < PATIENCE:
        return None
    if all(gain.gain <= 0 for gain in last):
        return f"no gain on held-out gold in {PATIENCE} rounds in a row"
    # Equal rounds have an error of 0, and no gain.
    if rule == "within_error" and all(gain.gain <= 0 or gain.gain < gain.standard_error for gain in last):
        return f"no gain on held-out gold above its standard error in {PATIENCE} rounds in a row"
    return None


def _mean(rows: pl.DataFrame) -> float:
    # A round that judged no gold is no best one.
    return float(rows["score"].to_numpy().mean()) if rows.height else -math.inf
