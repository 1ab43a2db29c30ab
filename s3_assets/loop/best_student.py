"""Which saved student of a task's own loop is meant, where a person uses one.

Belongs here: choosing a round by held-out gold, refusing rounds that are not live. Does not belong here: asking the
student (``student/asked.py``), what is live (``state.py``), the gain that stops the loop (``stop.py``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from s3_assets.loop.cross_fitting import held_out_scores
from s3_assets.loop.fingerprints import TRAINED_MODEL, loop_key
from s3_assets.loop.state import LIVE, MISSING, Board, NotReady, StepState
from s3_assets.loop.steps import live_predictions
from s3_assets.store.parts import Part, Warehouse
from s3_assets.student.clearly_worse import clearly_worse
from s3_assets.tasks.load import Task

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Chosen:
    """A saved student: its round, the folder it was saved to (absolute) and its row of table ``trained_model``.

    ``why`` is a sentence for the person who uses it.
    """

    round: int
    folder: Path
    row: dict[str, Any]
    why: str


def choose_student(task: Task, warehouse: Warehouse, round_: int | None = None) -> Chosen:
    """The student of the latest live round that held-out gold does not clearly put below the best; or of ``round_``.

    The best is the round with the highest mean score: the share right, of questions the mean F1, as in ``stop.py``.
    Clearly is by more than one standard error of the paired difference (``student/clearly_worse.py``): a later student
    has learned all that an earlier one has and more, and which of four rounds is highest on 100 rows says little. Where
    no live round has a score, the last is taken. Test gold plays no part. ``NotReady`` where ``round_`` has no live
    student, or no round has one.
    """
    board = Board(task, warehouse)
    states = [board.step(TRAINED_MODEL, number) for number in board.rounds()]
    made = [state for state in states if state.state != MISSING]
    if round_ is not None:
        return _asked_for(task, warehouse, board.step(TRAINED_MODEL, round_), made)
    rows = {state.round: _row(state.part) for state in made if state.state == LIVE and state.part is not None}
    if not rows:
        raise NotReady(_none_live(task, made))
    judged = {number: held_out_scores(live_predictions(warehouse, loop_key(task, number))) for number in rows}
    scores = {number: _mean(gold) for number, gold in judged.items() if gold.height}
    if scores:
        best = max(scores, key=lambda number: (scores[number], number))
        kept = max(number for number in scores if not _clearly_worse(judged[number], judged[best]))
        ground = _ground(task, kept, best, scores, judged[kept])
    else:
        kept = max(rows)
        ground = "the last, as no held-out gold judged any of them"
    passed = [f"round {state.round}, which is stale ({state.why})" for state in made if state.state != LIVE]
    passed += [f"round {number}, which no held-out gold judged" for number in rows if scores and number not in scores]
    over = f"; passed over: {', '.join(passed)}" if passed else ""
    return _chosen(warehouse, kept, rows[kept], f"{_place(kept, made)}: {ground}{over}")


def _asked_for(task: Task, warehouse: Warehouse, state: StepState, made: Sequence[StepState]) -> Chosen:
    if state.state != LIVE or state.part is None:
        why = f" ({state.why})" if state.why else ""
        known = f"; rounds with a student: {_numbers(made)}" if made and state.state == MISSING else ""
        most = task.spec.rounds - 1
        what = (
            f"task {task.name} allows rounds 0-{most}"
            if state.round > most
            else f"run `s3-assets run {task.name} --rounds {_up_to(state.round)}`"
        )
        raise NotReady(f"the student of round {state.round} of task {task.name} is {state.state}{why}{known}; {what}")
    return _chosen(warehouse, state.round, _row(state.part), f"{_place(state.round, made)}: asked for")


def _none_live(task: Task, made: Sequence[StepState]) -> str:
    if not made:
        return f"task {task.name} has no student yet; run `s3-assets run {task.name}`"
    told = "; ".join(f"round {state.round}: {state.why}" for state in made)
    last = max(state.round for state in made)
    return (
        f"task {task.name} has no student that is live ({told}); run `s3-assets run {task.name} --rounds "
        f"{_up_to(last)}`, or take back what was changed"
    )


def _chosen(warehouse: Warehouse, round_: int, row: dict[str, Any], why: str) -> Chosen:
    if row["path"] is None:
        raise NotReady(f"the student of round {round_} of task {row['task']} was measured and not kept")
    return Chosen(round_, warehouse.root / row["path"], row, why)


def _row(part: Part) -> dict[str, Any]:
    return part.read().row(0, named=True)


def _mean(judged: pl.DataFrame) -> float:
    return float(judged["score"].to_numpy().mean())


def _clearly_worse(judged: pl.DataFrame, best: pl.DataFrame) -> bool:
    pairs = judged.join(best, on="gold_id", suffix="_best")
    return clearly_worse(pairs["score"].to_list(), pairs["score_best"].to_list())


def _ground(task: Task, kept: int, best: int, scores: Mapping[int, float], judged: pl.DataFrame) -> str:
    """What the round is taken by, with the figures."""
    selects = judged.filter(pl.col("split") == "select").height > 0
    gold = "selecting gold" if selects else "steering gold, judged by students of folds as no gold selects"
    figure = f"{100 * scores[kept]:.1f}%"
    shown = (
        f"mean F1 {figure} of {judged.height} questions"
        if task.spec.kind == "qa"
        else f"{figure} of {judged.height} rows right"
    )
    if kept == best:
        return f"best on {gold} ({shown})"
    return f"latest not clearly below round {best} ({100 * scores[best]:.1f}%) on {gold} ({shown})"


def _place(round_: int, made: Sequence[StepState]) -> str:
    return f"round {round_} of {_numbers(made)}" if len(made) > 1 else f"round {round_}, the only one"


def _numbers(made: Sequence[StepState]) -> str:
    first, last = (pick(state.round for state in made) for pick in (min, max))
    return str(first) if first == last else f"{first}-{last}"


def _up_to(round_: int) -> str:
    return f"0-{round_}" if round_ else "0"
