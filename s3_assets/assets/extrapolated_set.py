"""The ``extrapolated_set`` asset. Only its declaration belongs here; error extrapolation is in ``generation/``."""

import dagster as dg

from s3_assets.assets.common import task_asset
from s3_assets.assets.shown import Events, StepConfig, run_step
from s3_assets.loop.checks import LABELS_KNOWN, NO_GOLD_TEXT
from s3_assets.loop.fingerprints import ERROR_SET, EXTRAPOLATED_SET, GOLD, SEED_SET
from s3_assets.loop.steps import make_extrapolated_set
from s3_assets.partitions import round_number
from s3_assets.resources import WarehouseResource
from s3_assets.tasks.load import Task

SENTENCE = (
    "D_add: new examples the teacher writes from each error of this round (paper, Algorithm 3). The next round's seed "
    "set is made from it; that edge is not drawn in the graph."
)


def extrapolated_set_asset(task: Task) -> dg.AssetsDefinition:
    """``<task>/extrapolated_set``, by round."""
    upstream = [GOLD, SEED_SET, ERROR_SET]
    declare = task_asset(task, EXTRAPOLATED_SET, SENTENCE, upstream, {"openai"}, (LABELS_KNOWN, NO_GOLD_TEXT))

    @declare
    def extrapolated_set(context: dg.AssetExecutionContext, config: StepConfig, warehouse: WarehouseResource) -> Events:
        store, round_ = warehouse.open(), round_number(context.partition_key)
        yield from run_step(
            context,
            lambda: make_extrapolated_set(task, store, round_, config.force),
            sample=["gold_id", "label", "text"],
        )

    return extrapolated_set
