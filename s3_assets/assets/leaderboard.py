"""The ``leaderboard`` asset. Only its declaration belongs here; its figures are in ``experiment/leaderboard.py``."""

from typing import Any

import dagster as dg

from s3_assets.assets.common import task_asset
from s3_assets.assets.shown import Events, markdown_table, run_step
from s3_assets.experiment.publish import Board, make_leaderboard
from s3_assets.loop.fingerprints import EXPERIMENT, LEADERBOARD
from s3_assets.loop.publish import StepResult
from s3_assets.resources import WarehouseResource
from s3_assets.tasks.load import Task

DESCRIPTION = (
    "Arms of the task over their seeds, best first by mean test score: rows, teacher budget, calls, tokens, cost, "
    "training time, spread over seeds, paired differences from `goldgen` and `gold_only`.\n\n"
    "Made of the partitions of `experiment` whose inputs are still live. Test scores are reported and feed nothing."
)

# Columns of the table in the UI; the rest is in DuckDB.
SHOWN = ("place", "arm", "seeds", "teacher_budget", "score_mean", "score_sd", "vs_goldgen", "vs_gold_only")


def leaderboard_asset(task: Task) -> dg.AssetsDefinition:
    """``<task>/leaderboard``, not partitioned."""

    @task_asset(task, LEADERBOARD, DESCRIPTION, [EXPERIMENT], {"polars", "matplotlib"})
    def leaderboard(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Events:
        from s3_assets.experiment.plot import markdown_image, plot

        store, made = warehouse.open(), list[Board]()

        def step() -> StepResult:
            made.append(make_leaderboard(task, store))
            return made[0].result

        def extra(result: StepResult) -> dict[str, Any]:
            shown: dict[str, Any] = {
                "board": dg.MetadataValue.md(markdown_table(result.rows.select(SHOWN))),
                "plot": dg.MetadataValue.md(markdown_image(plot(result.rows, made[0].experiments))),
            }
            notes = "\n".join(f"- {note}" for note in made[0].notes)
            return shown | {"notes": dg.MetadataValue.md(notes)} if notes else shown

        yield from run_step(context, step, extra)

    return leaderboard
