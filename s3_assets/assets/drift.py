"""The ``drift`` asset. Only its declaration belongs here; the metrics are in ``drift/``."""

from typing import Any

import dagster as dg
import polars as pl

from s3_assets.assets.common import task_asset
from s3_assets.assets.shown import Events, StepConfig, markdown_table, run_step
from s3_assets.drift.names import GOLD_STEER
from s3_assets.loop.fingerprints import DRIFT, GOLD, SEED_SET
from s3_assets.loop.publish import StepResult
from s3_assets.loop.state import Board
from s3_assets.loop.steps import make_drift
from s3_assets.partitions import round_number
from s3_assets.report.facts import drift_rows
from s3_assets.resources import WarehouseResource
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.load import Task

DESCRIPTION = """How far this round's seed set is from steering gold, and the rows it added from those before.

- labels and words: `label_js` and `vocabulary_js` (Jensen-Shannon, bits), `length_wasserstein` (words), `oov_share`
- diversity: `distinct_1`, `distinct_2` (different words and pairs over all), `vendi` (rows unlike each other)
- vectors: `mmd2` and its p-value `mmd2_p`, `frechet`, `coverage` and `density` of gold, `c2st_auc` (0.5: alike)

The floor of each is what one random half of the reference scores against the other. Distances above it are more than
sampling explains; coverage, density and diversity are worse below it, where the floor is what gold itself reaches."""


def drift_asset(task: Task) -> dg.AssetsDefinition:
    """``<task>/drift``, by round."""

    @task_asset(task, DRIFT, DESCRIPTION, [GOLD, SEED_SET], {"scipy"})
    def drift(context: dg.AssetExecutionContext, config: StepConfig, warehouse: WarehouseResource) -> Events:
        store, round_ = warehouse.open(), round_number(context.partition_key)

        def extra(result: StepResult) -> dict[str, Any]:
            over_all = result.rows.filter(pl.col("label").is_null(), reference=GOLD_STEER)
            floors = over_all.drop_nulls("floor").select("metric", "floor").iter_rows()
            shown = over_all.select("metric", "value", "ci_low", "ci_high", "floor")
            by_label = result.rows.select("reference", pl.col("label").fill_null("all"), "metric", "value", "floor")
            return {
                **{f"{metric}_floor": floor for metric, floor in floors},
                "against_gold": dg.MetadataValue.md(markdown_table(shown)),
                **_picture(task, store, round_),
                "by_label": dg.MetadataValue.md(markdown_table(by_label)),
            }

        yield from run_step(context, lambda: make_drift(task, store, round_, config.force), extra)

    return drift


def _picture(task: Task, warehouse: Warehouse, round_: int) -> dict[str, dg.MarkdownMetadataValue]:
    """Every metric against steering gold, by round up to this one; nothing where none could be measured."""
    from s3_assets.report.drawing import markdown_picture, png  # matplotlib, 0.5 s
    from s3_assets.report.drift_picture import drift_figure, metrics_of

    rows = drift_rows(Board(task, warehouse), range(round_ + 1))
    if not metrics_of(rows):
        return {}
    return {"by_round": dg.MetadataValue.md(markdown_picture("drift by round", png(drift_figure(rows))))}
