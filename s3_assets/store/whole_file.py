"""Frames into one file, piece by piece: CSV, JSONL or Parquet; the file appears whole or not at all.

Belongs here: the formats, writing beside and renaming. Does not belong here: parts of the warehouse (``parts.py``),
what is written.
"""

import contextlib
import json
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import polars as pl

from s3_assets.store.parts import sync

CSV, JSONL, PARQUET = "csv", "jsonl", "parquet"

# Format of a file by the ending of its name.
ENDINGS = {".csv": CSV, ".jsonl": JSONL, ".ndjson": JSONL, ".parquet": PARQUET}

Write = Callable[[pl.DataFrame], None]


class FileError(ValueError):
    """The file cannot be written. The message says why and what to do."""


def refuse_place(file: Path, *, overwrite: bool) -> None:
    """``FileError`` where ``file`` cannot be written, or is there and may not be replaced. Before any work is done."""
    if file.is_dir():
        raise FileError(f"{file}: is a folder; name a file")
    if not file.absolute().parent.is_dir():
        raise FileError(f"{file}: its folder does not exist")
    if file.exists() and not overwrite:
        raise FileError(f"{file}: is there already; choose another name, or replace it with --force")


@contextlib.contextmanager
def whole_file(file: Path, shape: str) -> Iterator[Write]:
    """A function that adds the rows of a frame to ``file``, which is there once the block has ended without an error.

    Frames have the same columns. A file that is there is replaced. ``FileError`` where it cannot be written.
    """
    pending = file.absolute().with_name(f".{file.name}-{secrets.token_hex(4)}.tmp")
    opened = _pieces if shape == PARQUET else _appended
    try:
        with opened(pending, file, shape) as write:
            yield write
        with _explained(file):
            sync(pending)
            pending.replace(file)
            sync(file.absolute().parent)
    finally:
        pending.unlink(missing_ok=True)


def writing_to(stream: IO[str], shape: str) -> Write:
    """A function that writes the rows of a frame to ``stream`` as CSV, with names above the first, or as JSONL."""
    above = True

    def write(rows: pl.DataFrame) -> None:
        nonlocal above
        stream.write(flat(rows).write_csv(include_header=above) if shape == CSV else rows.write_ndjson())
        stream.flush()
        above = False

    return write


def flat(rows: pl.DataFrame) -> pl.DataFrame:
    """``rows`` with lists and structures as JSON, for CSV has neither."""
    nested = [name for name, dtype in rows.schema.items() if dtype.is_nested()]
    return rows.with_columns(
        pl.Series(name, [None if value is None else _json(value) for value in rows[name].to_list()], pl.String)
        for name in nested
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


@contextlib.contextmanager
def _appended(pending: Path, file: Path, shape: str) -> Iterator[Write]:
    with _explained(file):
        to = pending.open("x", encoding="utf-8", newline="")
    with to:
        write = writing_to(to, shape)

        def explained(rows: pl.DataFrame) -> None:
            with _explained(file):
                write(rows)

        yield explained


@contextlib.contextmanager
def _pieces(pending: Path, file: Path, _shape: str) -> Iterator[Write]:
    """Frames go to files of their own, which are put together at the end: all rows are never in memory."""
    folder = pending.with_suffix(".pieces")
    with _explained(file):
        folder.mkdir()
    pieces: list[Path] = []

    def write(rows: pl.DataFrame) -> None:
        pieces.append(folder / f"{len(pieces):08d}.parquet")
        with _explained(file):
            rows.write_parquet(pieces[-1])

    try:
        yield write
        with _explained(file):
            pl.scan_parquet(pieces, glob=False, hive_partitioning=False).sink_parquet(pending, compression="zstd")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        raise FileError(f"{file}: cannot be written: {error}") from error
