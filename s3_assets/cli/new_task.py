"""``s3-assets new-task``. Only the command belongs here; what a task may say is in ``tasks/spec.py``."""

import re
from pathlib import Path
from typing import Annotated

import typer

from s3_assets import settings
from s3_assets.tasks.load import TASK_FILE, TaskError, find_tasks
from s3_assets.tasks.spec import TASK_NAME

_TEMPLATES = Path(__file__).parent / "templates"


def new_task(
    name: Annotated[str, typer.Argument(help="Name of the task: lower-case letters, digits and _.")],
    folder: Annotated[
        Path | None, typer.Option("--in", help="Folder of task folders to put it in; default data/tasks.")
    ] = None,
) -> None:
    """Write a commented task.yaml and a gold.csv to replace."""
    if not re.fullmatch(TASK_NAME, name):
        raise TaskError(
            f"{name!r} cannot be a task name; use lower-case letters, digits and _, beginning with a letter"
        )
    known = find_tasks(settings.task_folders())
    place = (folder or settings.task_folders()[0]).resolve() / name
    if name in known or place.exists():
        raise TaskError(f"{known.get(name, place)}: exists already; choose another name")
    place.mkdir(parents=True)
    (place / TASK_FILE).write_text((_TEMPLATES / TASK_FILE).read_text().format(name=name))
    (place / "gold.csv").write_text((_TEMPLATES / "gold.csv").read_text())
    typer.echo(f"written: {place / TASK_FILE} and {place / 'gold.csv'}")
    if place.parent not in settings.task_folders():
        typer.echo(f"set S3_ASSETS_TASKS={place.parent} so that the task is found")
    typer.echo(f"next: put your labelled examples in gold.csv, then `s3-assets check {name}`")
