"""The ``seed_set`` asset. Only its declaration and its guard belong here; writing seed rows is in ``generation/``."""

import dagster as dg
from pydantic import Field

from s3_assets.assets.common import TEACHER_NUMBERS, paying_run, task_asset
from s3_assets.assets.guard import LONGEST_WAIT_SECONDS, started_elsewhere, wait_for_round_before
from s3_assets.assets.shown import Events, StepConfig, run_step
from s3_assets.loop.checks import TRAINING_SET_CHECKS
from s3_assets.loop.fingerprints import GOLD, SEED_SET
from s3_assets.loop.publish import StepResult
from s3_assets.loop.quality_checks import SEED_SET_WARNINGS
from s3_assets.loop.steps import make_seed_set
from s3_assets.partitions import round_number
from s3_assets.resources import WarehouseResource
from s3_assets.tasks.load import Task

DESCRIPTION = (
    "The training set of a round.\n\n"
    "Round 0 is D_seed, what the teacher writes knowing no error (paper, Algorithm 1). Every later round is the seed "
    "set plus the extrapolated set of the round before. That edge across rounds is not drawn in the graph: a round "
    "waits for the one before while its run is started, else it refuses.\n\n"
    f"{TEACHER_NUMBERS}"
)


class SeedSetConfig(StepConfig):
    """Run configuration of ``seed_set``."""

    longest_wait_seconds: float = Field(
        LONGEST_WAIT_SECONDS, ge=0, description="How long to wait for a started run that makes the round before."
    )


def seed_set_asset(task: Task) -> dg.AssetsDefinition:
    """``<task>/seed_set``, by round."""
    kinds: set[str] = {task.spec.teacher.backend}
    declare = task_asset(task, SEED_SET, DESCRIPTION, [GOLD], kinds, (*TRAINING_SET_CHECKS, *SEED_SET_WARNINGS))

    @declare
    def seed_set(context: dg.AssetExecutionContext, config: SeedSetConfig, warehouse: WarehouseResource) -> Events:
        store, round_ = warehouse.open(), round_number(context.partition_key)

        def step() -> StepResult:
            if round_ > 0:
                being_made = started_elsewhere(context, task, round_)
                wait_for_round_before(task, store, round_, being_made, config.longest_wait_seconds)
            return make_seed_set(task, store, round_, config.force, paying_run(context))

        sample = ["label", *task.spec.text_fields, "origin", "first_round"]
        yield from run_step(context, step, sample=sample)

    return seed_set
