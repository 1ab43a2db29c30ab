"""The ``experiment`` asset. Only its declaration belongs here; arms are carried out in ``experiment/arms.py``."""

import dagster as dg

from s3_assets.assets.common import paying_run, task_asset
from s3_assets.assets.shown import Events, StepConfig, run_step
from s3_assets.experiment.arms import run_arm
from s3_assets.loop.checks import ChecksFailed
from s3_assets.loop.fingerprints import EXPERIMENT, GOLD
from s3_assets.loop.publish import StepResult
from s3_assets.partitions import arm_and_seed
from s3_assets.resources import WarehouseResource
from s3_assets.tasks.load import Task
from s3_assets.tasks.presets import presets

DESCRIPTION = (
    "Controls and repeats: one way of making the training set (arm) with one seed, by the same teacher and student and "
    "at the same sizes as the task's own loop.\n\n"
    + "\n".join(f"- `{name}`: {strategy.summary}" for name, strategy in presets().items())
    + "\n- `default~OPTION`, and the same of a task's own strategies: without that option"
    + "\n\nRows of its rounds stand in the tables of the loop under the arm's name. Requests that another arm asked "
    "come from the ledger, trainings from the same rows are taken over. `teacher_budget` is rows requested plus "
    "questions, `over_budget` whether that is more than the arm may ask for; `cost` counts all of the arm's requests, "
    "whoever paid."
)


def experiment_asset(task: Task) -> dg.AssetsDefinition:
    """``<task>/experiment``, by arm and seed."""
    kinds: set[str] = {task.spec.teacher.backend, "pytorch"}

    @task_asset(task, EXPERIMENT, DESCRIPTION, [GOLD], kinds, op_tags=task.spec.student.op_tags)
    def experiment(context: dg.AssetExecutionContext, config: StepConfig, warehouse: WarehouseResource) -> Events:
        key = context.partition_key
        if not isinstance(key, dg.MultiPartitionKey):
            raise dg.Failure(f"partition {key!r} names no arm and seed")
        arm, seed = arm_and_seed(key)
        store = warehouse.open()

        def step() -> StepResult:
            try:
                return run_arm(task, store, arm, seed, config.force, paying_run(context))
            except ChecksFailed as error:
                # The checks are those of the loop's assets, which this one does not declare.
                raise dg.Failure(str(error), allow_retries=False) from error

        yield from run_step(context, step)

    return experiment
