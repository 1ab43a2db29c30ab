"""Where things lie: the project root, task folders, the warehouse, Dagster's home.

Belongs here: reading the environment (``S3_ASSETS_TASKS``, ``S3_ASSETS_WAREHOUSE``, ``DAGSTER_HOME``) and its
defaults. Does not belong here: what a task declares (``tasks/spec.py``).
"""

import os
from pathlib import Path

from s3_assets.store.parts import Warehouse


def project_root() -> Path:
    """The checkout that holds this package, or the current folder for an installed copy."""
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "workspace.yaml").exists() else Path.cwd()


def task_folders() -> list[Path]:
    """Folders that hold task folders: ``data/tasks`` and those in ``S3_ASSETS_TASKS`` (separated by ``:``)."""
    extra = os.environ.get("S3_ASSETS_TASKS", "")
    return [
        project_root() / "data" / "tasks",
        *(Path(part).expanduser().resolve() for part in extra.split(os.pathsep) if part),
    ]


def warehouse() -> Warehouse:
    """The warehouse: ``S3_ASSETS_WAREHOUSE``, or ``data/warehouse`` in the project."""
    place = os.environ.get("S3_ASSETS_WAREHOUSE")
    return Warehouse(Path(place).expanduser() if place else project_root() / "data" / "warehouse")


def dagster_home() -> Path:
    """Dagster's home: ``DAGSTER_HOME``, or ``dagster_home`` in the project, shared by the UI and the commands."""
    place = os.environ.get("DAGSTER_HOME")
    return Path(place).expanduser().resolve() if place else project_root() / "dagster_home"
