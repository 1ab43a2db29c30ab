"""The ``drift`` asset. Only its declaration belongs here; the metrics are in ``drift/measures.py``."""

import dagster as dg

from s3_assets.assets.common import task_asset
from s3_assets.assets.shown import Events, StepConfig, run_step
from s3_assets.loop.fingerprints import DRIFT, GOLD, SEED_SET
from s3_assets.loop.steps import make_drift
from s3_assets.partitions import round_number
from s3_assets.resources import WarehouseResource
from s3_assets.tasks.load import Task

SENTENCE = "How far this round's seed set is from steering gold: labels, length, vocabulary, each beside its floor."


def drift_asset(task: Task) -> dg.AssetsDefinition:
    """``<task>/drift``, by round."""

    @task_asset(task, DRIFT, SENTENCE, [GOLD, SEED_SET], {"scipy"})
    def drift(context: dg.AssetExecutionContext, config: StepConfig, warehouse: WarehouseResource) -> Events:
        store, round_ = warehouse.open(), round_number(context.partition_key)
        yield from run_step(
            context, lambda: make_drift(task, store, round_, config.force), sample=["label", "metric", "value", "floor"]
        )

    return drift
