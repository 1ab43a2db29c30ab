"""The ``gold`` asset. Only its declaration belongs here; reading gold is in ``tasks/gold.py``."""

import dagster as dg

from s3_assets.assets.common import task_asset
from s3_assets.assets.shown import Events, StepConfig, run_step
from s3_assets.loop.fingerprints import GOLD
from s3_assets.loop.steps import make_gold
from s3_assets.resources import WarehouseResource
from s3_assets.tasks.load import Task

SENTENCE = "The labelled examples a person brings, each put to one use: steering, selecting or test."


def gold_asset(task: Task) -> dg.AssetsDefinition:
    """``<task>/gold``, not partitioned."""

    @task_asset(task, GOLD, SENTENCE, [], {"polars"})
    def gold(context: dg.AssetExecutionContext, config: StepConfig, warehouse: WarehouseResource) -> Events:
        store = warehouse.open()
        yield from run_step(context, lambda: make_gold(task, store, config.force), sample=["split", "label", "text"])

    return gold
