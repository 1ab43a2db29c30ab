"""``s3-assets ledger``. Only the commands belong here; the files are written and read in ``teacher/transfer.py``."""

from pathlib import Path
from typing import Annotated

import typer

from s3_assets import settings
from s3_assets.teacher.transfer import export_ledger, import_ledger

ledger = typer.Typer(
    help="Move a ledger: the teacher's answers, to use them in another warehouse without asking again.",
    no_args_is_help=True,
)


@ledger.command("export")
def export(
    file: Annotated[Path, typer.Argument(help="Parquet file to write.")],
    task: Annotated[str | None, typer.Option("--task", help="Only what was paid for this task.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
) -> None:
    """Write the answers in this warehouse to one file."""
    rows = export_ledger(settings.warehouse(), file.expanduser(), task=task, overwrite=overwrite)
    typer.echo(f"{file}: {rows} teacher calls. `s3-assets ledger import {file}` adds them to another warehouse")


@ledger.command("import")
def import_(file: Annotated[Path, typer.Argument(help="File that `s3-assets ledger export` wrote.")]) -> None:
    """Add the answers of a file to this warehouse; those it has already stay as they are."""
    added, there = import_ledger(settings.warehouse(), file.expanduser())
    typer.echo(f"{added} teacher calls added, {there} there already")
