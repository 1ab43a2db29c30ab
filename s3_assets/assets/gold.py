"""The ``gold`` asset. Only its declaration belongs here; reading gold is in ``tasks/gold.py``."""

from typing import Any

import dagster as dg

from s3_assets.assets.common import task_asset
from s3_assets.assets.shown import Events, StepConfig, counts_table, run_step
from s3_assets.loop.fingerprints import GOLD
from s3_assets.loop.publish import StepResult
from s3_assets.loop.quality_checks import SPLITS_APART
from s3_assets.loop.steps import make_gold
from s3_assets.resources import WarehouseResource
from s3_assets.tasks.gold_spec import SPLITS
from s3_assets.tasks.load import Task

DESCRIPTION = (
    "The labelled examples a person brings, each put to one use.\n\n"
    "Errors on `steer` rows are extrapolated, `select` rows choose the epoch and stop the loop, `test` rows are "
    "reported and feed nothing."
)


def gold_asset(task: Task) -> dg.AssetsDefinition:
    """``<task>/gold``, not partitioned."""

    @task_asset(task, GOLD, DESCRIPTION, [], {"polars"}, (SPLITS_APART,))
    def gold(context: dg.AssetExecutionContext, config: StepConfig, warehouse: WarehouseResource) -> Events:
        store = warehouse.open()

        def extra(result: StepResult) -> dict[str, Any]:
            counted = counts_table(result.rows, "label", "split", list(task.spec.labels), SPLITS, "label \\ split")
            return {"rows_by_label": dg.MetadataValue.md(counted)}

        sample = ["split", "label", *task.spec.text_fields]
        yield from run_step(context, lambda: make_gold(task, store, config.force), extra, sample)

    return gold
