"""``s3-assets export``: a round's student as a folder that others can use, and on the hub where that is wanted.

Belongs here: options and what is printed. Does not belong here: what the folder holds (``export/folder.py``), sending
it (``export/hub.py``).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s3_assets import settings
from s3_assets.export.synthetic_rows import DatasetFormat
from s3_assets.tasks.load import TaskError, get_task

# numpy, torch and transformers where they are needed: 3 s, not where --help is asked for.
if TYPE_CHECKING:
    from s3_assets.export.folder import Exported


def export(
    task: Annotated[str, typer.Argument(help="Task whose student is exported.")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder to write; it must not be there.")],
    round_: Annotated[
        int | None,
        typer.Option(
            "--round",
            min=0,
            help="Round of the student; default the latest not clearly below the best on held-out gold.",
        ),
    ] = None,
    rows_format: Annotated[
        DatasetFormat, typer.Option("--format", help="How the rows it learned from are written.")
    ] = DatasetFormat.parquet,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write the model as ONNX too; needs the extra onnx.")] = False,
    push: Annotated[
        str | None,
        typer.Option(
            "--push", metavar="OWNER/NAME", help="Send model and rows to the hub, with the token in HF_TOKEN."
        ),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option("--license", metavar="ID", help="Licence that both cards declare, as the hub calls it: mit."),
    ] = None,
    private: Annotated[bool, typer.Option("--private/--public", help="Who may see what --push makes.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export in DIR.")] = False,
) -> None:
    """Write a task's student as a folder that transformers loads, with a model card and the rows it learned from."""
    declared, to = get_task(task, settings.task_folders()), to.expanduser()

    from s3_assets.export.cards import DATASET
    from s3_assets.export.errors import ExportError
    from s3_assets.export.folder import export_student
    from s3_assets.export.hub import hub_token
    from s3_assets.export.hub import push as send
    from s3_assets.student.errors import StudentError

    try:
        token = None if push is None else hub_token(push)
        done = export_student(
            declared,
            settings.warehouse(),
            to,
            round_=round_,
            shape=rows_format,
            onnx=onnx,
            repo=push,
            licence=licence,
            force=force,
        )
        _tell(done, licence)
        if push is not None and token is not None:
            for address in send(to, push, token, private=private, dataset=DATASET):
                typer.echo(f"sent to {address}{', private' if private else ''}")
    except (ExportError, StudentError) as error:
        raise TaskError(str(error)) from error


def _tell(done: "Exported", licence: str | None) -> None:
    from s3_assets.export.card_words import keeps_texts_of

    task, found = done.facts.task, done.model.agreement
    typer.echo(f"{task.name}: {done.facts.chosen.why}")
    typer.echo(f"{done.folder}: model and its card, {done.model_bytes / 1e6:,.1f} MB")
    if found is not None:
        typer.echo(
            f"  the frozen student as one model: predicts the same for {found.same} of {found.texts} texts of gold, "
            f"probabilities differ by {found.largest:.1g} at most"
        )
    typer.echo(f"{done.rows_file}: {done.rows.rows.height:,} rows it learned from, no gold among them")
    if (kept := keeps_texts_of(task)) is not None:
        typer.echo(f"  but their {'contexts' if task.spec.kind == 'qa' else 'first texts'} are those of {kept}")
    if licence is None:
        typer.echo("No licence is set: say --license, or add one to both README.md, before you pass it on.")
    if task.spec.kind == "qa":
        typer.echo(f"Load it as the code in {done.folder / 'README.md'} does.")
    else:
        typer.echo(f'from transformers import pipeline; classify = pipeline("text-classification", "{done.folder}")')
