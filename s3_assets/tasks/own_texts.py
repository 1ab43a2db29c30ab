"""A person's own texts, to ask a student about: typed, in a file of rows or a line each; read piece by piece.

Belongs here: which columns hold the task's texts, pieces in the order of the file, errors that name the file. Does not
belong here: gold (``gold.py``), asking (``student/asked.py``).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

import polars as pl

from s3_assets.tasks.files import require_file, scan_rows, text_column, unreadable
from s3_assets.tasks.load import Task, TaskError

# Held in memory at once. A student pads less the more rows it can sort by length, and progress moves by this many.
ROWS_AT_ONCE = 1024

LINES = ".txt"


@dataclass(frozen=True)
class OwnTexts:
    """Rows to ask about.

    ``place`` is what messages call them. ``columns`` has the column of each field: those of ``text_fields``, and of the
    task's label (for questions its answer) where there is one. ``rows`` is their number, None where only the end tells.
    ``pieces`` can be read once.
    """

    place: str
    columns: Mapping[str, str]
    names: tuple[str, ...]
    rows: int | None
    pieces: Iterator[pl.DataFrame]

    def texts(self, piece: pl.DataFrame) -> pl.DataFrame:
        """The texts of ``piece`` as a student takes them: text and text2, without space around; null where empty."""
        found = [
            text_column(piece, self.columns[field], Path(self.place)).replace("", None).alias(field)
            if field in self.columns
            else pl.lit(None, pl.String).alias(field)
            for field in ("text", "text2")
        ]
        return piece.select(found)


def typed_texts(task: Task, text: str, text2: str | None) -> OwnTexts:
    """One row, typed by hand. ``TaskError`` where it lacks a text that the task has, or has one more."""
    names = _own_names(task)
    given = {"text": text, "text2": text2}
    if text2 is not None and "text2" not in names:
        raise TaskError(f"task {task.name} asks about single texts; leave out --text2")
    for field, name in names.items():
        if not (given[field] or "").strip():
            option = "TEXT" if field == "text" else "--text2"
            raise TaskError(f"task {task.name} asks about {' and '.join(names.values())}; give {name} as {option}")
    row = pl.DataFrame({name: [given[field]] for field, name in names.items()})
    return OwnTexts("the command line", names, tuple(row.columns), 1, iter([row]))


def read_texts(task: Task, file: Path) -> OwnTexts:
    """Rows of a CSV, JSONL or Parquet file, or a text a line where it ends in .txt.

    The columns are those of the task's gold (``fields``), or named as the fields are. ``TaskError`` for a file that is
    missing, unknown, broken, without rows or without a column; broken lines are found when they are come to.
    """
    require_file(file, "--file")
    if file.suffix.lower() == LINES:
        return read_lines(task, file.open("rb"), str(file))
    try:
        rows = scan_rows(file, LINES)
        schema = rows.collect_schema()
        count = rows.select(pl.len()).collect().item()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(file, error) from error
    columns = _columns(task, schema, file)
    if not count:
        raise TaskError(f"{file}: no rows")
    for field in columns.keys() & {"text", "text2", "label"}:
        text_column(pl.DataFrame(schema=schema), columns[field], file)
    return OwnTexts(str(file), columns, tuple(schema), count, _batches(rows, file))


def read_lines(task: Task, stream: IO[bytes], place: str) -> OwnTexts:
    """A text from each line of ``stream``. ``TaskError`` where the task asks about two texts, or it is not UTF-8."""
    names = _own_names(task)
    if len(names) > 1:
        raise TaskError(
            f"{place}: a line holds one text, and task {task.name} asks about {' and '.join(names.values())}; give a "
            "CSV, JSONL or Parquet file with these columns"
        )
    return OwnTexts(place, names, tuple(names.values()), None, _lines(stream, names["text"], place))


def _own_names(task: Task) -> dict[str, str]:
    """Name of each text field as the task's gold has it."""
    fields = task.spec.fields.model_dump()
    return {field: fields[field] or field for field in task.spec.text_fields}


def _columns(task: Task, schema: Iterable[str], place: Path) -> dict[str, str]:
    """Column of each field that is there. ``TaskError`` for texts that are not."""
    there, fields = list(schema), task.spec.fields.model_dump()
    told = "answer" if task.spec.kind == "qa" else "label"
    known = {field: (fields[field] or field, field) for field in (*task.spec.text_fields, told)}
    found = {field: name for field, names in known.items() for name in reversed(names) if name in there}
    missing = [" or ".join(dict.fromkeys(map(repr, known[field]))) for field in _own_names(task) if field not in found]
    if missing:
        raise TaskError(
            f"{place}: no column {', none '.join(missing)}; it has {', '.join(there)}; name the columns as the gold of "
            f"task {task.name} does"
        )
    return found


def _batches(rows: pl.LazyFrame, file: Path) -> Iterator[pl.DataFrame]:
    try:
        yield from rows.collect_batches(chunk_size=ROWS_AT_ONCE, lazy=True)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(file, error) from error


def _lines(stream: IO[bytes], column: str, place: str) -> Iterator[pl.DataFrame]:
    number = 0
    with stream:
        while lines := list(islice(stream, ROWS_AT_ONCE)):
            texts = []
            for line in lines:
                number += 1
                try:
                    # A byte order mark stands only at the very beginning.
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise TaskError(f"{place}: line {number} is not UTF-8; save it as UTF-8") from error
                texts.append(text.rstrip("\r\n"))
            yield pl.DataFrame({column: texts})
