"""``s3-assets report``: a task's rounds as one HTML page.

Belongs here: the command and its messages. Does not belong here: the page (``report/page.py``).
"""

import errno
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from s3_assets import settings
from s3_assets.tasks.load import TaskError, get_task


def report(
    task: Annotated[str, typer.Argument(help="Name of the task.")],
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it here. [default: report_TASK.html]", show_default=False)
    ] = None,
) -> None:
    """Write a page with pictures of a task's rounds: scores, drift, a map of texts, rows, cost, errors."""
    from s3_assets.report.page import read_report, render, write_page  # numpy; matplotlib where it draws

    found = get_task(task, settings.task_folders())
    file = to or Path(f"report_{found.name}.html")
    try:
        _refuse_place(file)
        write_page(file, render(read_report(found, settings.warehouse()), datetime.now(UTC)))
    except OSError as error:
        raise TaskError(
            f"{file}: cannot be written ({error.strerror}); give --to a file in a folder that exists"
        ) from error
    typer.echo(file)


def _refuse_place(file: Path) -> None:
    """Errors that are known before anything is read: ``OSError`` and ``TaskError``."""
    if file.is_dir():
        raise TaskError(f"{file}: is a folder; give --to a file")
    if not file.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
