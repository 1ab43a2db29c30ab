"""The ``extrapolated_set`` asset. Only its declaration belongs here; error extrapolation is in ``generation/``."""

from typing import Any

import dagster as dg
import polars as pl

from s3_assets.assets.common import TEACHER_NUMBERS, paying_run, task_asset
from s3_assets.assets.shown import Events, StepConfig, run_step, sample_table
from s3_assets.loop.checks import ROWS_CHECKS
from s3_assets.loop.fingerprints import ERROR_SET, EXTRAPOLATED_SET, GOLD, SEED_SET
from s3_assets.loop.publish import StepResult
from s3_assets.loop.quality_checks import ROWS_WARNINGS
from s3_assets.loop.steps import make_extrapolated_set
from s3_assets.partitions import round_number
from s3_assets.resources import WarehouseResource
from s3_assets.tasks.load import Task

DESCRIPTION = (
    "D_add: new examples the teacher writes from each error of this round (paper, Algorithm 3).\n\n"
    "The next round's seed set is made from it; that edge is not drawn in the graph.\n\n"
    f"{TEACHER_NUMBERS}"
)


def extrapolated_set_asset(task: Task) -> dg.AssetsDefinition:
    """``<task>/extrapolated_set``, by round."""
    upstream = [GOLD, SEED_SET, ERROR_SET]
    kinds: set[str] = {task.spec.teacher.backend}
    declare = task_asset(task, EXTRAPOLATED_SET, DESCRIPTION, upstream, kinds, (*ROWS_CHECKS, *ROWS_WARNINGS))

    @declare
    def extrapolated_set(context: dg.AssetExecutionContext, config: StepConfig, warehouse: WarehouseResource) -> Events:
        store, round_ = warehouse.open(), round_number(context.partition_key)

        def extra(result: StepResult) -> dict[str, Any]:
            gold = store.live(GOLD, {"task": task.name})
            if gold is None or result.rows.is_empty():
                return {}
            errors = gold.read().select("gold_id", error=pl.concat_str(task.spec.text_fields, separator=" / "))
            rows = result.rows.join(errors, on="gold_id", maintain_order="left")
            return {"sample": sample_table(rows.select("error", "label", *task.spec.text_fields))}

        def step() -> StepResult:
            return make_extrapolated_set(task, store, round_, config.force, paying_run(context))

        yield from run_step(context, step, extra)

    return extrapolated_set
