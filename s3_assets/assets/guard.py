"""The edge across rounds that Dagster cannot draw: a seed set waits for, or refuses without, the round before.

Belongs here: waiting while a run for the missing input is started. Does not belong here: what is live
(``loop/state.py``).
"""

import logging
import time
from collections.abc import Callable

import dagster as dg

from s3_assets.loop.fingerprints import EXTRAPOLATED_SET, SEED_SET
from s3_assets.loop.state import Board, NotReady
from s3_assets.store.parts import Warehouse, round_name
from s3_assets.tasks.load import Task

log = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS = 3600.0
POLL_SECONDS = 2.0


def wait_for_round_before(
    task: Task,
    warehouse: Warehouse,
    round_: int,
    is_being_made: Callable[[], bool],
    longest: float = LONGEST_WAIT_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return once every input of ``seed_set[round_]`` is live; ``NotReady`` when that is not to be expected.

    Waits at most ``longest`` seconds, and only while ``is_being_made()``: a run that is merely queued may be waiting
    for the very slot this step holds.
    """
    waited = 0.0
    while True:
        # Asked before looking, so that a run that finishes in between is seen as finished and its part as live.
        expected = is_being_made()
        try:
            Board(task, warehouse).inputs(SEED_SET, round_)
        except NotReady as error:
            if not expected:
                raise
            if waited >= longest:
                raise NotReady(f"{error} Waited {waited:.0f} s for the run that makes it.") from error
            if waited == 0:
                log.info("seed_set of round %d waits for the run that makes round %d", round_, round_ - 1)
        else:
            return
        sleep(POLL_SECONDS)
        waited += POLL_SECONDS


def started_elsewhere(context: dg.AssetExecutionContext, task: Task, round_: int) -> Callable[[], bool]:
    """Whether another started run will make the extrapolated set of the round before."""
    key = dg.AssetKey([task.name, EXTRAPOLATED_SET])
    filters = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED], tags={"dagster/partition": round_name(round_ - 1)})

    def check() -> bool:
        runs = context.instance.get_runs(filters)
        return any(
            run.run_id != context.run_id and (run.asset_selection is None or key in run.asset_selection) for run in runs
        )

    return check
