"""The ``seed_set`` asset. Only its declaration and its guard belong here; writing seed rows is in ``generation/``."""

import dagster as dg
from pydantic import Field

from s3_assets.assets.common import task_asset
from s3_assets.assets.guard import LONGEST_WAIT_SECONDS, started_elsewhere, wait_for_round_before
from s3_assets.assets.shown import Events, StepConfig, run_step
from s3_assets.loop.checks import EVERY_CLASS, LABELS_KNOWN, NO_GOLD_TEXT
from s3_assets.loop.fingerprints import GOLD, SEED_SET
from s3_assets.loop.publish import StepResult
from s3_assets.loop.steps import make_seed_set
from s3_assets.partitions import round_number
from s3_assets.resources import WarehouseResource
from s3_assets.tasks.load import Task

SENTENCE = (
    "Training set of a round. Round 0 is D_seed, what the teacher writes knowing no error (paper, Algorithm 1); every "
    "later round is the seed set of the round before plus the extrapolated set of the round before. That edge across "
    "rounds is not drawn in the graph: a round waits for the one before while its run is started, else it refuses."
)


class SeedSetConfig(StepConfig):
    """Run configuration of ``seed_set``."""

    longest_wait_seconds: float = Field(
        LONGEST_WAIT_SECONDS, ge=0, description="How long to wait for a started run that makes the round before."
    )


def seed_set_asset(task: Task) -> dg.AssetsDefinition:
    """``<task>/seed_set``, by round."""
    declare = task_asset(task, SEED_SET, SENTENCE, [GOLD], {"openai"}, (LABELS_KNOWN, NO_GOLD_TEXT, EVERY_CLASS))

    @declare
    def seed_set(context: dg.AssetExecutionContext, config: SeedSetConfig, warehouse: WarehouseResource) -> Events:
        store, round_ = warehouse.open(), round_number(context.partition_key)

        def step() -> StepResult:
            if round_ > 0:
                being_made = started_elsewhere(context, task, round_)
                wait_for_round_before(task, store, round_, being_made, config.longest_wait_seconds)
            return make_seed_set(task, store, round_, config.force)

        yield from run_step(context, step, sample=["label", "text", "origin", "first_round"])

    return seed_set
