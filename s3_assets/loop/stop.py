"""When the loop stops paying (design: the stop rule).

Belongs here: the paired gain on selecting gold and the rule over rounds. Does not belong here: anything that reads
test gold, running rounds (``cli/run.py``, ``sensors.py``).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

# Rounds in a row without a gain after which the loop stops.
PATIENCE = 2


@dataclass(frozen=True)
class Gain:
    """Paired gain of a round over the best earlier round on selecting gold, in mean score.

    ``standard_error`` is shown, not used: at 50 rows it is about 6 points.
    """

    round: int
    best_earlier: int
    gain: float
    standard_error: float


def gains(by_round: Sequence[pl.DataFrame]) -> list[Gain]:
    """Gain of every round after the first.

    Each frame has ``gold_id`` and ``score`` (0 to 1) for the selecting gold of one round, rounds in order from 0. Rows
    are paired by gold id; a pair missing from either round is left out.
    """
    found = []
    for round_ in range(1, len(by_round)):
        best = max(range(round_), key=lambda earlier: (_mean(by_round[earlier]), -earlier))
        pairs = by_round[round_].join(by_round[best], on="gold_id", suffix="_best")
        difference = pairs["score"].to_numpy() - pairs["score_best"].to_numpy()
        error = float(difference.std(ddof=1)) / math.sqrt(len(difference)) if len(difference) > 1 else 0.0
        found.append(Gain(round_, best, float(difference.mean()) if len(difference) else 0.0, error))
    return found


def should_stop(found: Sequence[Gain], rounds_done: int, max_rounds: int) -> str | None:
    """Why the loop should stop after ``rounds_done`` rounds, or None when another round is worth asking for."""
    if rounds_done >= max_rounds:
        return f"all {max_rounds} rounds are done"
    last = found[-PATIENCE:]
    if len(last) == PATIENCE and all(gain.gain <= 0 for gain in last):
        return f"no gain on selecting gold in {PATIENCE} rounds in a row"
    return None


def _mean(rows: pl.DataFrame) -> float:
    return float(rows["score"].to_numpy().mean()) if rows.height else 0.0
