"""``s3-assets run``: rounds through Dagster without the UI.

Belongs here: the order of runs, progress lines, the closing table. Does not belong here: what a step does
(``loop/``), what Dagster shows (``assets/``).
"""

import logging
import os
import re
import secrets
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

from s3_assets import settings
from s3_assets.cli.figures import beyond_schedule, print_rounds
from s3_assets.loop.fingerprints import (
    DRIFT,
    ERROR_SET,
    EXTRAPOLATED_SET,
    GOLD,
    SEED_SET,
    TRAINED_MODEL,
    last_round,
    loop_key,
)
from s3_assets.loop.progress import round_figures, selecting_gains
from s3_assets.loop.state import Board
from s3_assets.loop.stop import should_stop
from s3_assets.store.catalog import ensure_catalog
from s3_assets.store.parts import Warehouse, round_name
from s3_assets.tasks.load import Task, TaskError, get_task
from s3_assets.teacher.ledger import paid_by_round

# Dagster costs 0.8 s: it is imported where a run begins, so that --help does not pay.
if TYPE_CHECKING:
    import dagster as dg


class RunFailed(RuntimeError):
    """A step failed; the message is the step's own."""


def run(
    task: Annotated[str, typer.Argument(help="Task to run.")],
    rounds: Annotated[
        str | None,
        typer.Option("--rounds", help="Rounds to run, as 0-2 or 3; default all that the strategy has a budget for."),
    ] = None,
    until_stop: Annotated[
        bool, typer.Option("--until-stop", help="End earlier when the stop rule says that rounds stopped paying.")
    ] = False,
) -> None:
    """Run rounds of a task in order. What is live already is not done again; a killed run goes on where it was."""
    declared = get_task(task, settings.task_folders())
    first, last = wanted_rounds(rounds, declared)
    console = progress_console()
    run_rounds(console, declared, first, last, until_stop)


def run_rounds(console: Console, task: Task, first: int, last: int, until_stop: bool = False) -> None:
    """Materialize rounds ``first`` to ``last`` in order and print what was achieved.

    The last round ends after its error set: an extrapolated set is made only when a further round is wanted.
    """
    warehouse = settings.warehouse()
    ensure_catalog(warehouse)
    instance = open_instance()
    seconds: dict[int, float] = {}
    command = secrets.token_hex(8)
    if not Board(task, warehouse).is_live(GOLD, 0):
        materialize(instance, task, [GOLD], None, command)
    if (said := beyond_schedule(task, last)) is not None:
        console.print(said, highlight=False)
    reached = last
    for round_ in range(first, last + 1):
        began = time.monotonic()
        if round_ > 0 and not Board(task, warehouse).is_live(EXTRAPOLATED_SET, round_ - 1):
            console.print(f"round {round_ - 1}: extrapolating its errors")
            materialize(instance, task, [EXTRAPOLATED_SET], round_name(round_ - 1), command)
        wanted = _not_live(task, warehouse, round_)
        if wanted:
            console.print(f"round {round_}: {', '.join(wanted)}")
            materialize(instance, task, wanted, round_name(round_), command)
            seconds[round_] = time.monotonic() - began
        else:
            console.print(f"round {round_}: there already, nothing to do")
        stop = should_stop(selecting_gains(task, warehouse, round_), round_ + 1, task.spec.rounds, task.spec.how.stop)
        if until_stop and stop is not None and round_ < last:
            console.print(f"stopped after round {round_}: {stop}")
            reached = round_
            break
    figures = [round_figures(task, warehouse, round_) for round_ in range(reached + 1)]
    print_rounds(console, task, figures, paid_by_round(warehouse, loop_key(task, 0)), seconds)


def wanted_rounds(text: str | None, task: Task) -> tuple[int, int]:
    """First and last round of ``--rounds``; without it those of the strategy's schedule, as far as the task goes."""
    return (0, min(last_round(task), task.spec.rounds - 1)) if text is None else parse_rounds(text, task)


def parse_rounds(text: str, task: Task) -> tuple[int, int]:
    """``0-2`` or ``3`` as first and last round, within what the task allows."""
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text.strip())
    if not match:
        raise TaskError(f"--rounds {text!r}: write one round as 2, or several as 0-2")
    first, last = int(match[1]), int(match[2] or match[1])
    if first > last:
        raise TaskError(f"--rounds {text!r}: the first round comes after the last")
    if last >= task.spec.rounds:
        raise TaskError(
            f"--rounds {text!r}: task {task.name} allows rounds 0-{task.spec.rounds - 1}; raise rounds in its task.yaml"
        )
    return first, last


def progress_console() -> Console:
    """Console that also prints the steps' progress lines."""
    console = Console()
    handler = RichHandler(
        console=console, show_path=False, show_level=False, markup=False, highlighter=None, log_time_format="%H:%M:%S"
    )
    logger = logging.getLogger("s3_assets")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    return console


def open_instance() -> "dg.DagsterInstance":
    """Dagster's instance in the home the UI uses too, so that rounds made here are seen there."""
    import dagster as dg

    home = settings.dagster_home()
    home.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("DAGSTER_HOME", str(home))
    return dg.DagsterInstance.get()


def _not_live(task: Task, warehouse: Warehouse, round_: int) -> list[str]:
    board = Board(task, warehouse)
    return [name for name in (SEED_SET, TRAINED_MODEL, ERROR_SET, DRIFT) if not board.is_live(name, round_)]


def materialize(
    instance: "dg.DagsterInstance", task: Task, assets: Sequence[str], partition: str | None, command: str
) -> None:
    """Materialize assets of a task in this process. ``command`` marks the runs of one command; see ``COMMAND_TAG``."""
    import dagster as dg

    from s3_assets.assets.common import COMMAND_TAG
    from s3_assets.definitions import task_definitions
    from s3_assets.resources import WarehouseResource

    job = task_definitions(task, WarehouseResource()).resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey([task.name, name]) for name in assets],
        partition_key=partition,
        # Progress comes through the package's own logger; Dagster keeps its events for the UI.
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        tags={"s3/task": task.name, COMMAND_TAG: command},
        raise_on_error=False,
    )
    if not result.success:
        raise RunFailed(_first_failure(result))


def _first_failure(result: "dg.ExecuteInProcessResult") -> str:
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.error is not None and data.error.cls_name == "DagsterExecutionInterruptedError":
                return "interrupted; the same command goes on from what is live, and asks no answered question again"
            described = data.user_failure_data.description if data.user_failure_data else None
            return described or data.error_display_string
    return f"run {result.run_id} failed before a step began"
