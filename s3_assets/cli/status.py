"""``s3-assets status``. Only the printed table belongs here; judging states is in ``loop/state.py``."""

from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from s3_assets import settings
from s3_assets.cli.figures import beyond_schedule, percent
from s3_assets.loop.fingerprints import GOLD, ROUND_ASSETS
from s3_assets.loop.progress import round_figures, selecting_gains
from s3_assets.loop.state import STALE, Board
from s3_assets.loop.stop import should_stop
from s3_assets.tasks.load import Task, TaskError, find_tasks, get_task, load_task

_COLOURS = {"live": "green", "stale": "yellow", "missing": "dim"}


def status(task: Annotated[str | None, typer.Argument(help="Only this task.")] = None) -> None:
    """Show tasks and rounds: what is live, stale or missing, judged by input fingerprints, and accuracies."""
    console = Console()
    if task is not None:
        _show(console, get_task(task, settings.task_folders()))
        return
    folders = find_tasks(settings.task_folders())
    for name, folder in folders.items():
        try:
            _show(console, load_task(folder))
        except TaskError as error:
            console.print(f"[bold]{name}[/bold] [red]cannot be read[/red]")
            console.print(str(error), markup=False, highlight=False)
    if not folders:
        console.print("no tasks; `s3-assets new-task NAME` makes one")


def _show(console: Console, task: Task) -> None:
    warehouse = settings.warehouse()
    board = Board(task, warehouse)
    gold = board.step(GOLD, 0)
    console.print(f"[bold]{task.name}[/bold]  {task.spec.description}", highlight=False)
    console.print(f"  gold: [{_COLOURS[gold.state]}]{gold.state}[/]")
    rounds = board.rounds()
    if not rounds:
        console.print(f"  no rounds yet; `s3-assets run {task.name}`")
        return
    # Ten columns in 80 characters: long names take two lines.
    names = (name.replace("_", "\n") for name in ROUND_ASSETS)
    shown = Table(
        *("round", *names, "rows", "errors", "held\nout %", "test\n%"),
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    reasons = []
    for round_ in rounds:
        figures = round_figures(task, warehouse, round_)
        states = [board.step(asset, round_) for asset in ROUND_ASSETS]
        reasons += [f"{step.asset} of round {step.round}: {step.why}" for step in states if step.state == STALE]
        shown.add_row(
            str(round_),
            *(f"[{_COLOURS[step.state]}]{step.state}[/]" for step in states),
            str(figures.rows),
            "-" if figures.errors is None else str(figures.errors),
            percent(figures.select),
            percent(figures.test),
        )
    console.print(shown)
    for reason in reasons:
        console.print(f"  stale: {reason}", highlight=False)
    gains, last = selecting_gains(task, warehouse, rounds[-1]), rounds[-1]
    stop = should_stop(gains, last + 1, task.spec.rounds, task.spec.how.stop)
    console.print(f"  stop rule: {stop or 'another round is worth asking for'}", highlight=False)
    if (said := beyond_schedule(task, last)) is not None:
        console.print(f"  {said}", highlight=False)
