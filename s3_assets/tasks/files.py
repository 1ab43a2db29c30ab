"""Reading the files of rows that a task names: CSV, JSONL, Parquet, on this disk or on the hub.

Belongs here: what a task names to files, files to frames, with errors that name the file. Does not belong here: what
the rows mean (``gold.py``, ``generation/seed.py``), bringing files from the hub (``hub.py``).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from s3_assets.tasks.hub import bring, hub_file, local_copy
from s3_assets.tasks.load import Task, TaskError


@dataclass(frozen=True)
class _Kind:
    """How files of a kind are read whole and piece by piece, with the same ``options``."""

    read: Callable[..., pl.DataFrame]
    scan: Callable[..., pl.LazyFrame]
    options: dict[str, Any]


_LINES = _Kind(pl.read_ndjson, pl.scan_ndjson, {"infer_schema_length": None})
_KINDS = {
    # Everything is text: a label called 1 must not become a number in one file and stay text in another.
    ".csv": _Kind(pl.read_csv, pl.scan_csv, {"infer_schema": False, "glob": False}),
    ".jsonl": _LINES,
    ".ndjson": _LINES,
    ".parquet": _Kind(pl.read_parquet, pl.scan_parquet, {"hive_partitioning": False, "glob": False}),
}


@dataclass(frozen=True)
class NamedFile:
    """A file as a task names it: a path relative to its folder, or a file on the hub.

    ``key`` is the name of a local copy of a hub file; messages say by ``named_by`` who names the file, and by
    ``columns`` what it must hold.
    """

    task: Task
    key: str
    named: str
    named_by: str
    columns: tuple[str, ...]

    @property
    def on_hub(self) -> bool:
        """Whether the task names a file on the hub; a local copy may stand in for it."""
        return hub_file(self.named, self.named_by) is not None

    def local(self) -> Path | None:
        """The file on this disk, without asking anyone: the path named, or the local copy; None without a copy."""
        return local_copy(self.task.folder, self.key) if self.on_hub else self.task.path(self.named)

    def find(self) -> Path:
        """The file on this disk, brought from the hub where it must be."""
        remote = hub_file(self.named, self.named_by)
        if remote is None:
            return self.task.path(self.named)
        copy = local_copy(self.task.folder, self.key)
        return copy or bring(remote, self.task.folder, self.key, self.named_by, self.columns)

    def source(self) -> str:
        """The file as tables name it: as the task does, or the local copy."""
        there = self.local()
        return there.name if self.on_hub and there is not None else self.named

    def content(self) -> bytes:
        """What a hash of the file goes by. Of a hub file its name, and the bytes of a local copy; asks nobody."""
        there, name = self.local(), self.named.encode() + b"\0" if self.on_hub else b""
        if there is None:
            return name
        require_file(there, self.named_by)
        return name + there.read_bytes()

    def digest(self) -> str:
        """Hash of ``content``."""
        return hashlib.blake2b(self.content(), digest_size=16).hexdigest()

    def read(self) -> pl.DataFrame:
        """Rows of the file, columns as it has them."""
        return read_rows(self.find(), self.named_by)


def named_file(task: Task, key: str, named: str, columns: tuple[str, ...]) -> NamedFile:
    """The file that a key of a task's YAML, ``contexts`` or ``seed_rows``, names."""
    return NamedFile(task, key, named, f"{key} of task {task.name}", columns)


def require_file(file: Path, named_by: str) -> None:
    """``TaskError`` unless ``file`` exists; ``named_by`` says which key of which task names it."""
    if not file.is_file():
        raise TaskError(f"{file}: no such file; {named_by} names it")


def read_rows(file: Path, named_by: str) -> pl.DataFrame:
    """Rows of a file, columns as it has them. ``TaskError`` for a missing, unknown, mis-encoded or broken file."""
    require_file(file, named_by)
    kind = _kind(file)
    if file.suffix.lower() != ".parquet":
        _require_utf8(file)
    try:
        return kind.read(file, **kind.options)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(file, error) from error


def scan_rows(file: Path, *others: str) -> pl.LazyFrame:
    """Rows of a file that is there, to be read piece by piece: what is broken in it is found when it is come to.

    ``TaskError`` for an unknown kind; ``others`` are endings that whoever asks reads on its own.
    """
    kind = _kind(file, *others)
    return kind.scan(file, **kind.options)


def unreadable(file: Path, error: Exception) -> TaskError:
    """What is said of a file that its reader stumbled over."""
    return TaskError(f"{file}: cannot be read as {file.suffix[1:]}: {error}")


def text_column(rows: pl.DataFrame, column: str, place: Path) -> pl.Expr:
    """``column`` as text, without space around it. ``TaskError`` where it holds lists or structures."""
    if rows.schema[column].is_nested():
        raise TaskError(f"{place}: column {column!r} holds {rows.schema[column]}, not one text a row")
    return pl.col(column).cast(pl.String).str.strip_chars()


def _kind(file: Path, *others: str) -> _Kind:
    found = _KINDS.get(file.suffix.lower())
    if found is None:
        allowed = ", ".join(sorted((*_KINDS, *others)))
        raise TaskError(f"{file}: unknown kind of file {file.suffix!r}; allowed: {allowed}")
    return found


def _require_utf8(file: Path) -> None:
    content = file.read_bytes()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise TaskError(f"{file}: line {line} is not UTF-8; save the file as UTF-8") from error
