"""``s3-assets compare``: strategies side by side, through Dagster without the UI.

Belongs here: which partitions of ``experiment`` to materialize, in which order, progress lines. Does not belong here:
carrying out an arm (``experiment/arms.py``), printing the board (``leaderboard.py``).
"""

import secrets
import time
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from s3_assets import settings
from s3_assets.cli.leaderboard import print_leaderboard
from s3_assets.cli.run import materialize, open_instance, progress_console
from s3_assets.experiment.arms import arms_of, live_row, rows_ahead
from s3_assets.experiment.publish import board_notes
from s3_assets.loop.fingerprints import EXPERIMENT, GOLD, LEADERBOARD
from s3_assets.loop.state import Board
from s3_assets.store.catalog import ensure_catalog
from s3_assets.tasks.load import Task, TaskError, get_task
from s3_assets.tasks.presets import presets


def compare(
    task: Annotated[str, typer.Argument(help="Task to compare strategies on.")],
    arms: Annotated[
        str | None, typer.Option("--arms", help="Arms, separated by commas; default all. `--arms list` lists them.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="Repeats of each arm; default experiment.seeds of the task.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what would be run and the rows it would ask for.")
    ] = False,
) -> None:
    """Run strategies and controls with the same teacher, student and sizes, then show the leaderboard.

    What is live already is not done again; a killed comparison goes on where it was.
    """
    if arms == "list":
        for name, strategy in presets().items():
            typer.echo(f"{name:18} {strategy.summary}")
        return
    declared = get_task(task, settings.task_folders())
    wanted, repeats = parse_arms(arms, declared), parse_seeds(seeds, declared)
    if dry_run:
        _list_ahead(declared, wanted, repeats)
    else:
        compare_arms(progress_console(), declared, wanted, repeats)


def compare_arms(console: Console, task: Task, arms: Sequence[str], seeds: int) -> None:
    """Materialize what is missing, seed by seed, then the leaderboard, and print it."""
    from s3_assets.partitions import experiment_key  # imports Dagster, 0.8 s

    warehouse = settings.warehouse()
    ensure_catalog(warehouse)
    instance = open_instance()
    command = secrets.token_hex(8)
    if not Board(task, warehouse).is_live(GOLD, 0):
        materialize(instance, task, [GOLD], None, command)
    for seed in range(seeds):
        for place, arm in enumerate(arms, start=1):
            where = f"seed {seed}, arm {place} of {len(arms)}: {arm}"
            if live_row(task, warehouse, arm, seed) is not None:
                console.print(f"{where} is there already")
                continue
            console.print(where)
            began = time.monotonic()
            materialize(instance, task, [EXPERIMENT], experiment_key(arm, seed), command)
            console.print(f"{where} took {time.monotonic() - began:.0f} s")
    materialize(instance, task, [LEADERBOARD], None, command)
    board = warehouse.live(LEADERBOARD, {"task": task.name})
    if board is not None:
        print_leaderboard(console, task, board.read(), board_notes(task, warehouse, board))


def _list_ahead(task: Task, arms: Sequence[str], seeds: int) -> None:
    """What would be run. Arms share requests, so what is paid for is less than the sum of their rows."""
    warehouse = settings.warehouse()
    for seed in range(seeds):
        for arm in arms:
            if live_row(task, warehouse, arm, seed) is not None:
                asks = "is there already"
            else:
                in_seed, in_round = rows_ahead(task, arm)
                rounds = f" and at most {in_round} in each of {task.spec.experiment.rounds} rounds" if in_round else ""
                asks = f"asks for {in_seed} rows in the seed set{rounds}" if in_seed or in_round else "asks for nothing"
            typer.echo(f"seed {seed}, {arm}: {asks}")
    typer.echo(
        "requests of one arm are free for the others of its seed"
        + ("; refused rows are asked for again" if task.spec.rows.refill else "")
        + ("; sublabels that gold does not have take label questions" if _asks_labels(task) else "")
        + f". `s3-assets estimate {task.name}` says what rows cost"
    )


def _asks_labels(task: Task) -> bool:
    return task.spec.fields.sublabel is None and any(label.sublabels for label in task.spec.labels.values())


def parse_arms(text: str | None, task: Task) -> list[str]:
    """Arms of ``--arms``, in the order of the strategies; ``TaskError`` naming the known ones for another."""
    if text is None:
        return arms_of(task)
    wanted = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in task.spec.arms]
    if unknown or not wanted:
        raise TaskError(
            f"--arms {text!r}: no arm {', '.join(unknown) or 'named'}; arms are {', '.join(task.spec.arms)}"
        )
    return [name for name in task.spec.arms if name in wanted]


def parse_seeds(seeds: int | None, task: Task) -> int:
    """Repeats asked for, within the partitions the task declares."""
    most = task.spec.experiment.seeds
    if seeds is not None and seeds > most:
        raise TaskError(f"--seeds {seeds}: task {task.name} has {most}; raise experiment.seeds in its task.yaml")
    return most if seeds is None else seeds
