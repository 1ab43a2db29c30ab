"""The code location: every declared task as a group of assets.

Belongs here: joining assets, jobs, sensors and resources. ``[tool.dg]`` and ``workspace.yaml`` both name this module.
Does not belong here: the assets themselves (``assets/``), reading tasks (``tasks/``).
"""

import logging

import dagster as dg

from s3_assets import settings
from s3_assets.assets.drift import drift_asset
from s3_assets.assets.error_set import error_set_asset
from s3_assets.assets.experiment import experiment_asset
from s3_assets.assets.extrapolated_set import extrapolated_set_asset
from s3_assets.assets.gold import gold_asset
from s3_assets.assets.leaderboard import leaderboard_asset
from s3_assets.assets.report import report_asset
from s3_assets.assets.seed_set import seed_set_asset
from s3_assets.assets.trained_model import trained_model_asset
from s3_assets.leaving import leave_quickly
from s3_assets.resources import WarehouseResource
from s3_assets.sensors import advance_sensor
from s3_assets.tasks.load import Task, TaskError, find_tasks, load_task

log = logging.getLogger(__name__)

_ASSETS = (
    gold_asset,
    seed_set_asset,
    trained_model_asset,
    error_set_asset,
    drift_asset,
    extrapolated_set_asset,
    experiment_asset,
    leaderboard_asset,
    report_asset,
)


def task_definitions(task: Task, warehouse: WarehouseResource) -> dg.Definitions:
    """Assets and sensor of one task."""
    return dg.Definitions(
        assets=[make(task) for make in _ASSETS],
        sensors=[advance_sensor(task, warehouse)],
        resources={"warehouse": warehouse},
    )


@dg.definitions
def defs() -> dg.Definitions:
    """All tasks in ``data/tasks`` and ``S3_ASSETS_TASKS``. One that cannot be read is logged and left out."""
    leave_quickly()
    warehouse = WarehouseResource()
    found = []
    for folder in find_tasks(settings.task_folders()).values():
        try:
            found.append(task_definitions(load_task(folder), warehouse))
        except TaskError as error:
            log.error("task left out, see `s3-assets check %s`: %s", folder.name, error)
    return dg.Definitions.merge(*found) if found else dg.Definitions()
