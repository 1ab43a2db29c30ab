"""The sensor that advances the loop until the stop rule. Off by default.

Belongs here: choosing the next run from the task's state. Does not belong here: the stop rule (``loop/stop.py``).
"""

from dataclasses import dataclass

import dagster as dg

from s3_assets.loop.fingerprints import (
    DRIFT,
    ERROR_SET,
    EXTRAPOLATED_SET,
    GOLD,
    ROUND_ASSETS,
    SEED_SET,
    TRAINED_MODEL,
)
from s3_assets.loop.progress import selecting_gains
from s3_assets.loop.state import Board
from s3_assets.loop.stop import should_stop
from s3_assets.resources import WarehouseResource
from s3_assets.store.identity import digest
from s3_assets.store.parts import Warehouse, round_name
from s3_assets.tasks.load import Task, TaskError

IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


@dataclass(frozen=True)
class NextRun:
    """The assets and round the loop should make next; ``round`` is None for gold."""

    assets: tuple[str, ...]
    round: int | None


def next_run(task: Task, warehouse: Warehouse) -> NextRun | str:
    """What to run next for a task, or why nothing should run."""
    board = Board(task, warehouse)
    if not board.is_live(GOLD, 0):
        return NextRun((GOLD,), None)
    for round_ in range(task.spec.rounds):
        if not board.is_live(ERROR_SET, round_) or not board.is_live(DRIFT, round_):
            return NextRun((SEED_SET, TRAINED_MODEL, ERROR_SET, DRIFT), round_)
        reason = should_stop(selecting_gains(task, warehouse, round_), round_ + 1, task.spec.rounds, task.spec.how.stop)
        if reason is not None:
            return reason
        if not board.is_live(EXTRAPOLATED_SET, round_):
            return NextRun((EXTRAPOLATED_SET,), round_)
    return "all rounds are done"


def advance_sensor(task: Task, warehouse: WarehouseResource) -> dg.SensorDefinition:
    """Sensor ``advance_<task>``: asks for one run at a time, in order, until the stop rule holds."""

    @dg.sensor(
        name=f"advance_{task.name}",
        target=dg.AssetSelection.assets(*(dg.AssetKey([task.name, name]) for name in (GOLD, *ROUND_ASSETS))),
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=f"Runs the rounds of {task.name} in order until they stop paying on held-out gold.",
    )
    def advance(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        running = context.instance.get_runs(dg.RunsFilter(statuses=IN_PROGRESS, tags={"s3/task": task.name}), limit=1)
        if running:
            return dg.SkipReason(f"run {running[0].run_id} is under way")
        try:
            store = warehouse.open()
            wanted, board = next_run(task, store), Board(task, store)
        except TaskError as error:
            return dg.SkipReason(str(error))
        if isinstance(wanted, str):
            return dg.SkipReason(f"the loop is done: {wanted}")
        selection = [dg.AssetKey([task.name, name]) for name in wanted.assets]
        partition = None if wanted.round is None else round_name(wanted.round)
        # The same state is asked for once: a run that failed is for a person to look at, not to repeat for ever.
        state = digest([wanted.assets, wanted.round, [step.part.part_id if step.part else None for step in board]])
        request = dg.RunRequest(state, partition_key=partition, asset_selection=selection, tags={"s3/task": task.name})
        return dg.SensorResult(run_requests=[request])

    return advance
