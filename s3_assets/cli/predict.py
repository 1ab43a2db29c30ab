"""``s3-assets predict``: what a trained student says of a text, or of every row of a file.

Belongs here: options, the table, progress, what is said on standard error. Does not belong here: which student
(``loop/best_student.py``), reading (``tasks/own_texts.py``), asking (``student/asked.py``), files
(``store/whole_file.py``).
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from s3_assets import settings
from s3_assets.loop.best_student import choose_student
from s3_assets.store.whole_file import (
    CSV,
    ENDINGS,
    JSONL,
    PARQUET,
    FileError,
    refuse_place,
    whole_file,
    writing_to,
)
from s3_assets.tasks.load import Task, TaskError, get_task
from s3_assets.tasks.own_texts import OwnTexts, read_lines, read_texts, typed_texts

# numpy, and torch and transformers where a student is loaded: 3 s, not where --help is asked for.
if TYPE_CHECKING:
    import polars as pl

    from s3_assets.student.asked import Asking

STANDARD_INPUT = Path("-")


class PredictFormat(StrEnum):
    """How predictions are written."""

    table = "table"
    csv = CSV
    jsonl = JSONL
    parquet = PARQUET


def predict(
    task: Annotated[str, typer.Argument(help="Task whose student is asked.")],
    text: Annotated[
        str | None, typer.Argument(help="Text to ask about; of questions the context. Or give --file.")
    ] = None,
    text2: Annotated[
        str | None, typer.Option("--text2", help="The other text of a pair, or the question about the context.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            metavar="FILE",
            help="CSV, JSONL or Parquet with columns as the task's gold has, or .txt with a text a line; - reads lines "
            "from standard input.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write .csv, .jsonl or .parquet instead of printing.")
    ] = None,
    round_: Annotated[
        int | None,
        typer.Option(
            "--round",
            min=0,
            help="Round of the student; default the latest not clearly below the best on held-out gold.",
        ),
    ] = None,
    output_format: Annotated[
        PredictFormat | None,
        typer.Option("--format", help="Default a table of a text, csv of a file, or what --out ends in."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file of --out if it is there.")] = False,
) -> None:
    """Ask a task's student about a text, or about all rows of a file, with the probability of every label."""
    declared = get_task(task, settings.task_folders())
    shape = _shape(file, out, output_format)
    if out is not None:
        out = out.expanduser()
        try:
            refuse_place(out, overwrite=force)
        except FileError as error:
            raise TaskError(f"--out {error}") from error
    texts = _texts(declared, text, text2, file)

    from s3_assets.student.asked import Asking, refuse_names
    from s3_assets.student.load import load_student

    refuse_names(declared, texts)
    chosen = choose_student(declared, settings.warehouse(), round_)
    typer.echo(f"{declared.name}: {chosen.why}", err=True)
    asking = Asking(declared, load_student(chosen.folder), texts)
    if shape is PredictFormat.table:
        for answered in asking.answered():
            _print(declared, answered)
        return
    try:
        written = nullcontext(writing_to(sys.stdout, shape)) if out is None else whole_file(out, shape)
        with written as write, _progress(asking, shown=out is not None or not sys.stdout.isatty()) as pieces:
            for answered in pieces:
                write(answered)
    except FileError as error:
        raise TaskError(f"--out {error}") from error
    if file is not None or out is not None:
        for line in _closing(asking, out):
            typer.echo(line, err=True)


def _shape(file: Path | None, out: Path | None, wanted: PredictFormat | None) -> PredictFormat:
    if wanted is PredictFormat.table and (file is not None or out is not None):
        raise TaskError("--format table is for a text on the command line; a file of rows is written as csv or jsonl")
    if wanted is PredictFormat.parquet and out is None:
        raise TaskError("--format parquet goes to a file: name it with --out FILE")
    if wanted is not None:
        return wanted
    if out is not None:
        if out.suffix.lower() not in ENDINGS:
            raise TaskError(f"--out {out}: ends in none of {', '.join(ENDINGS)}; choose one of them, or --format")
        return PredictFormat(ENDINGS[out.suffix.lower()])
    return PredictFormat.table if file is None else PredictFormat.csv


def _texts(task: Task, text: str | None, text2: str | None, file: Path | None) -> OwnTexts:
    if (text is None) == (file is None):
        raise TaskError("give either a TEXT to ask about or a --file of them")
    if file is None:
        return typed_texts(task, text or "", text2)
    if text2 is not None:
        raise TaskError("--text2 goes with TEXT; a file has both texts in its columns")
    if file == STANDARD_INPUT:
        return read_lines(task, sys.stdin.buffer, "standard input")
    return read_texts(task, file.expanduser())


@contextmanager
def _progress(asking: "Asking", *, shown: bool) -> Iterator[Iterator["pl.DataFrame"]]:
    """The answered pieces, with a bar on standard error where that is a terminal and rows do not go there too."""
    console = Console(stderr=True)
    columns = (TextColumn("predicting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Standard output is what the rows go to: the bar must not take it over.
    bar = Progress(
        *columns,
        console=console,
        disable=not (shown and console.is_terminal),
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with bar:
        job = bar.add_task("", total=asking.texts.rows)

        def answered() -> Iterator["pl.DataFrame"]:
            for piece in asking.answered():
                yield piece
                bar.advance(job, piece.height)

        yield answered()


def _print(task: Task, answered: "pl.DataFrame") -> None:
    """The answer to one text: labels by probability, or the span with its place."""
    from s3_assets.student.asked import PREDICTION, PROBABILITY, START, answer_names

    row = answered.row(0, named=True)
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column("answer" if task.spec.kind == "qa" else "label", overflow="fold")
    shown.add_column("probability", justify="right")
    if task.spec.kind == "qa":
        shown.add_column("from character", justify="right")
        # Text, so that brackets in an answer are not read as markup.
        place = "-" if row[START] is None else str(row[START])
        shown.add_row(Text(row[PREDICTION]), f"{row[PROBABILITY]:.3f}", place)
    else:
        names = dict(zip(task.spec.labels, answer_names(task)[2:], strict=True))
        for label in sorted(names, key=lambda label: row[names[label]], reverse=True):
            style = "bold" if label == row[PREDICTION] else ""
            shown.add_row(Text(label, style=style), f"{row[names[label]]:.3f}")
    Console(file=sys.stdout).print(shown)


def _closing(asking: "Asking", out: Path | None) -> Iterator[str]:
    """What was done, what was left out, and how often the file's own labels agree."""
    yield _rows(asking.rows - asking.without_text, "predicted") + ("" if out is None else f", written to {out}")
    if asking.without_text:
        first = ", ".join(map(str, asking.empty))
        more = ", ..." if asking.without_text > len(asking.empty) else ""
        yield _rows(asking.without_text, f"without a text and so without a prediction: {first}{more}")
    columns, found = asking.texts.columns, asking.agreement
    told = columns.get("label", columns.get("answer"))
    if told is None:
        return
    where = f"{asking.texts.place}, by its column {told!r}"
    if found.rows:
        share, of = f"{100 * found.right / found.rows:.1f}%", f"{found.rows:,}"
        if "answer" in columns:
            yield f"{where}: {share} of {of} answers exact, mean F1 {100 * found.f1 / found.rows:.1f}%"
        else:
            yield f"{where}: {share} of {of} rows right"
        yield "that is a figure of your own file, not of the task's gold; rows the student learned from count as well"
    for count, what in ((found.missing, "an empty one"), (found.unknown, "one that is no label of the task")):
        if count:
            yield f"{where}: {_rows(count, f'with {what} not counted')}"


def _rows(count: int, what: str) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'} {what}"
