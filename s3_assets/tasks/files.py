"""Reading the files of rows that a task names: CSV, JSONL, Parquet.

Belongs here: files to frames, with errors that name the file. Does not belong here: what the rows mean
(``gold.py``, ``generation/seed.py``).
"""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from s3_assets.tasks.load import TaskError

_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    # Everything is text: a label called 1 must not become a number in one file and stay text in another.
    ".csv": lambda file: pl.read_csv(file, infer_schema=False, glob=False),
    ".jsonl": lambda file: pl.read_ndjson(file, infer_schema_length=None),
    ".ndjson": lambda file: pl.read_ndjson(file, infer_schema_length=None),
    ".parquet": lambda file: pl.read_parquet(file, hive_partitioning=False, glob=False),
}


def require_file(file: Path, named_by: str) -> None:
    """``TaskError`` unless ``file`` exists; ``named_by`` says which key of which task names it."""
    if not file.is_file():
        raise TaskError(f"{file}: no such file; {named_by} names it")


def read_rows(file: Path, named_by: str) -> pl.DataFrame:
    """Rows of a file, columns as it has them. ``TaskError`` for a missing, unknown, mis-encoded or broken file."""
    require_file(file, named_by)
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise TaskError(f"{file}: unknown kind of file {file.suffix!r}; allowed: {', '.join(sorted(_READERS))}")
    if file.suffix.lower() != ".parquet":
        _require_utf8(file)
    try:
        return reader(file)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise TaskError(f"{file}: cannot be read as {file.suffix[1:]}: {error}") from error


def _require_utf8(file: Path) -> None:
    content = file.read_bytes()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise TaskError(f"{file}: line {line} is not UTF-8; save the file as UTF-8") from error
