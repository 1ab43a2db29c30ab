"""The ``drift`` asset. Only its declaration belongs here; the metrics are in ``drift/measures.py``."""

from typing import Any

import dagster as dg
import polars as pl

from s3_assets.assets.common import task_asset
from s3_assets.assets.shown import Events, StepConfig, markdown_table, run_step
from s3_assets.loop.fingerprints import DRIFT, GOLD, SEED_SET
from s3_assets.loop.publish import StepResult
from s3_assets.loop.steps import make_drift
from s3_assets.partitions import round_number
from s3_assets.resources import WarehouseResource
from s3_assets.tasks.load import Task

DESCRIPTION = """How far this round's seed set is from steering gold.

- `label_js`, `vocabulary_js`: Jensen-Shannon divergence of labels and of words, in bits, 0 to 1
- `length_wasserstein`: distance of the lengths, in words
- `oov_share`: share of gold's running words that no row of the seed set holds

The floor of each is what two random halves of steering gold give: sampling alone explains no more than that."""


def drift_asset(task: Task) -> dg.AssetsDefinition:
    """``<task>/drift``, by round."""

    @task_asset(task, DRIFT, DESCRIPTION, [GOLD, SEED_SET], {"scipy"})
    def drift(context: dg.AssetExecutionContext, config: StepConfig, warehouse: WarehouseResource) -> Events:
        store, round_ = warehouse.open(), round_number(context.partition_key)

        def extra(result: StepResult) -> dict[str, Any]:
            over_all = result.rows.filter(pl.col("label").is_null() & pl.col("floor").is_not_null())
            floors = {f"{metric}_floor": floor for metric, floor in over_all.select("metric", "floor").iter_rows()}
            shown = result.rows.select(pl.col("label").fill_null("all"), "metric", "value", "floor")
            return {**floors, "by_label": dg.MetadataValue.md(markdown_table(shown))}

        yield from run_step(context, lambda: make_drift(task, store, round_, config.force), extra)

    return drift
