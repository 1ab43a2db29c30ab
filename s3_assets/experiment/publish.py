"""Making the ``leaderboard`` of a task live.

Belongs here: gathering live rows of ``experiment``, writing the board, what must be said beside it. Does not belong
here: its figures (``leaderboard.py``), its picture (``plot.py``).
"""

import json
from dataclasses import dataclass

import polars as pl

from s3_assets.experiment.arms import live_rows
from s3_assets.experiment.leaderboard import leaderboard, matched
from s3_assets.loop.fingerprints import LEADERBOARD
from s3_assets.loop.publish import Numbers, StepResult
from s3_assets.loop.state import NotReady
from s3_assets.store.parts import INPUTS, Part, Warehouse
from s3_assets.tasks.load import Task


@dataclass(frozen=True)
class Board:
    """The board as it was made live, the rows it was made of, and sentences that belong beside it."""

    result: StepResult
    experiments: pl.DataFrame
    notes: list[str]


def make_leaderboard(task: Task, warehouse: Warehouse) -> Board:
    """Compare the arms whose rows hold. ``NotReady`` when there are none."""
    rows, stale = live_rows(task, warehouse)
    if rows.is_empty():
        what = f"; stale: {', '.join(stale)}" if stale else ""
        raise NotReady(f"task {task.name} has no live experiment{what}. Run `s3-assets compare {task.name}`.")
    board = leaderboard(task.name, rows)
    numbers: Numbers = {
        f"score_{arm}": score for arm, score in board.select("arm", "score_mean").iter_rows() if score is not None
    }
    noted = {INPUTS: json.dumps(_made_of(rows)), "numbers": json.dumps(numbers)}
    part = warehouse.write(LEADERBOARD, {"task": task.name}, board, noted)
    notes = [*matched(board, task.spec.arms), *_left_out(task, stale)]
    return Board(StepResult(part, board, numbers, reused=False, checks=()), rows, notes)


def board_notes(task: Task, warehouse: Warehouse, part: Part) -> list[str]:
    """Sentences that belong beside a board that was made earlier: what is unequal, left out, or newer than it."""
    rows, stale = live_rows(task, warehouse)
    notes = [*matched(part.read(), task.spec.arms), *_left_out(task, stale)]
    if json.loads(part.metadata().get(INPUTS, "{}")) != _made_of(rows):
        notes.append(
            f"older than the experiments that are live now; `s3-assets compare {task.name}` brings it up to date"
        )
    return notes


def _made_of(rows: pl.DataFrame) -> dict[str, str]:
    return {f"{arm}/{seed}": model for arm, seed, model in rows.select("arm", "seed", "model_id").iter_rows()}


def _left_out(task: Task, stale: list[str]) -> list[str]:
    if not stale:
        return []
    return [f"left out, as inputs changed since: {', '.join(stale)}; `s3-assets compare {task.name}` makes them again"]
