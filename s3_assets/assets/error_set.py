"""The ``error_set`` asset. Only its declaration belongs here; the rule is in ``loop/steps.py``."""

import dagster as dg

from s3_assets.assets.common import task_asset
from s3_assets.assets.shown import Events, StepConfig, run_step
from s3_assets.loop.fingerprints import ERROR_SET, GOLD, TRAINED_MODEL
from s3_assets.loop.steps import make_error_set
from s3_assets.partitions import round_number
from s3_assets.resources import WarehouseResource
from s3_assets.tasks.load import Task

DESCRIPTION = "D_mis: the steering gold that the student of this round gets wrong (paper, Algorithm 2)."


def error_set_asset(task: Task) -> dg.AssetsDefinition:
    """``<task>/error_set``, by round."""

    @task_asset(task, ERROR_SET, DESCRIPTION, [GOLD, TRAINED_MODEL], {"polars"})
    def error_set(context: dg.AssetExecutionContext, config: StepConfig, warehouse: WarehouseResource) -> Events:
        store, round_ = warehouse.open(), round_number(context.partition_key)
        sample = ["label", "prediction", "probability", *task.spec.text_fields]
        yield from run_step(context, lambda: make_error_set(task, store, round_, config.force), sample=sample)

    return error_set
