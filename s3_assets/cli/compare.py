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
from s3_assets.experiment.arms import ablations_of, arm_task, arms_of, live_row, no_arm
from s3_assets.experiment.plan import check_plan, rows_ahead
from s3_assets.experiment.publish import board_notes
from s3_assets.generation.schedule import budget
from s3_assets.loop.fingerprints import EXPERIMENT, GOLD, LEADERBOARD, last_round
from s3_assets.loop.state import Board
from s3_assets.store.catalog import ensure_catalog
from s3_assets.tasks.load import Task, TaskError, get_task
from s3_assets.tasks.presets import ABLATIONS, ALL, LIST, WITHOUT


def compare(
    task: Annotated[str, typer.Argument(help="Task to compare strategies on.")],
    arms: Annotated[
        str | None,
        typer.Option(
            "--arms",
            help="Arms, separated by commas. all (the default): shipped ones and the task's own. ablations: default, "
            "and default without each option. list: only list them.",
        ),
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
    declared = get_task(task, settings.task_folders())
    if arms == LIST:
        _list_arms(declared)
        return
    wanted, repeats = parse_arms(arms, declared), parse_seeds(seeds, declared)
    if dry_run:
        _list_ahead(declared, wanted, repeats)
    else:
        compare_arms(progress_console(), declared, wanted, repeats)


def compare_arms(console: Console, task: Task, arms: Sequence[str], seeds: int) -> None:
    """Materialize what is missing, seed by seed, then the leaderboard, and print it.

    ``TaskError`` before anything is run when an arm would ask for more than its budget.
    """
    from s3_assets.partitions import experiment_key  # imports Dagster, 0.8 s

    for arm in arms:
        check_plan(arm_task(task, arm, 0))
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


def _list_arms(task: Task) -> None:
    whole = {name: strategy.summary for name, strategy in task.spec.arms.items()}
    width = 1 + max(map(len, whole))
    for heading, of_it in (
        ("shipped, and the task's own", [name for name in whole if WITHOUT not in name]),
        ("ablations: one option left out", [name for name in whole if WITHOUT in name]),
    ):
        typer.echo(f"{heading}:")
        for name in of_it:
            typer.echo(f"  {name:{width}} {whole[name]}")


def _list_ahead(task: Task, arms: Sequence[str], seeds: int) -> None:
    """What would be run. Arms share requests, so what is paid for is less than the sum of their rows."""
    warehouse = settings.warehouse()
    for seed in range(seeds):
        for arm in arms:
            own = arm_task(task, arm, seed)
            check_plan(own)
            if live_row(task, warehouse, arm, seed) is not None:
                asks = "is there already"
            else:
                in_seed, in_round = rows_ahead(own)
                rounds = f" and at most {in_round} in each of {last_round(own)} rounds" if in_round else ""
                asks = f"asks for {in_seed} rows in the seed set{rounds}" if in_seed or in_round else "asks for nothing"
                asks += f", budget {budget(own):,}" if own.spec.how.synthetic else ""
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
    """Arms of ``--arms``, in the order of the strategies; ``TaskError`` naming near and known ones for another."""
    words = {ALL: arms_of(task), ABLATIONS: ablations_of(task)}
    named = [name.strip() for name in (ALL if text is None else text).split(",") if name.strip()]
    wanted = [arm for name in named for arm in words.get(name, [name])]
    unknown = [name for name in wanted if name not in task.spec.arms]
    if unknown or not wanted:
        said = no_arm(task, unknown[0] if unknown else "named")
        raise TaskError(f"--arms {text!r}: {said}; {ALL} and {ABLATIONS} stand for several")
    return [name for name in task.spec.arms if name in wanted]


def parse_seeds(seeds: int | None, task: Task) -> int:
    """Repeats asked for, within the partitions the task declares."""
    most = task.spec.experiment.seeds
    if seeds is not None and seeds > most:
        raise TaskError(f"--seeds {seeds}: task {task.name} has {most}; raise experiment.seeds in its task.yaml")
    return most if seeds is None else seeds
