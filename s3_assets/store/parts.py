"""Immutable Parquet parts: the truth of the warehouse.

Belongs here: naming, writing, finding and reading parts. A materialization writes a new part; the newest part of
a directory is the live one; nothing is overwritten. Does not belong here: SQL views over parts (``catalog.py``),
what a step reads or when it is stale (``loop/``).
"""

import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from s3_assets.store.columns import Table
from s3_assets.store.identity import frame_digest
from s3_assets.store.tables import table

PART_NAME = re.compile(r"^(\d{13})-([0-9a-z]+)(-reset)?\.parquet$")
DATA_VERSION = "data_version"
INPUT_FINGERPRINT = "input_fingerprint"
INPUTS = "inputs"


@dataclass(frozen=True)
class Part:
    """One Parquet file. ``stamp`` is UTC milliseconds; ``reset`` marks a part that empties its partition."""

    table: str
    path: Path
    stamp: int
    reset: bool

    @property
    def part_id(self) -> str:
        """File name without suffix: time and a random id."""
        return self.path.stem

    def read(self) -> pl.DataFrame:
        """All rows of the part."""
        # The path is a name, not a pattern: a folder may be called a[b].
        return pl.read_parquet(self.path, hive_partitioning=False, glob=False)

    def metadata(self) -> dict[str, str]:
        """What the writer noted: data version, input fingerprint, inputs."""
        noted = pl.read_parquet_metadata(self.path)
        return {key: value for key, value in noted.items() if key != "ARROW:schema"}

    @property
    def data_version(self) -> str:
        """Content hash of the rows."""
        return self.metadata()[DATA_VERSION]


@dataclass(frozen=True)
class RoundKey:
    """One round of one arm of one task: the partition most tables are keyed by."""

    task: str
    arm: str
    seed: int
    round: int

    def at(self, round_: int) -> "RoundKey":
        """The same loop in another round."""
        return RoundKey(self.task, self.arm, self.seed, round_)

    def columns(self) -> dict[str, str | int]:
        """Values of the leading columns of every per-round table."""
        return {"task": self.task, "arm": self.arm, "seed": self.seed, "round": self.round}


def round_name(round_: int) -> str:
    """Partition key and path segment of a round: ``round_00``. Sorts as text up to 99."""
    return f"round_{round_:02d}"


class Warehouse:
    """The folder that holds every part, model and journal."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    @property
    def catalog_path(self) -> Path:
        """The DuckDB file with the views."""
        return self.root / "s3.duckdb"

    @property
    def journal_folder(self) -> Path:
        """Where teacher answers are made durable before they are cut into parts."""
        return self.root / "journal"

    def model_folder(self, key: RoundKey) -> Path:
        """Where the models of a round are kept."""
        return self.root / "models" / key.task / key.arm / f"seed={key.seed}" / round_name(key.round)

    def directory(self, name: str, keys: Mapping[str, str | int]) -> Path:
        """Folder of one partition of table ``name``; ``KeyError`` when a key of the table is missing."""
        folder = self.root / name
        for level in table(name).keys:
            value = round_name(int(keys[level])) if level == "round" else keys[level]
            folder /= f"{level}={value}"
        return folder

    def parts(self, name: str, keys: Mapping[str, str | int]) -> list[Part]:
        """All parts of one partition, oldest first, reset marks included."""
        return sorted(_scan(self.directory(name, keys), name), key=lambda part: part.path.name)

    def live(self, name: str, keys: Mapping[str, str | int]) -> Part | None:
        """The newest part of one partition; None when there is none or it was reset."""
        found = self.parts(name, keys)
        return None if not found or found[-1].reset else found[-1]

    def write(
        self, name: str, keys: Mapping[str, str | int], frame: pl.DataFrame, notes: Mapping[str, str] | None = None
    ) -> Part:
        """Write ``frame`` as a new part and make it live.

        Columns are taken by name; a missing, surplus or mistyped column is a ``ValueError``. ``notes`` go into the
        file's metadata; ``data_version`` defaults to the content hash of the rows. Durable when it returns.
        """
        ordered = _conform(frame, table(name))
        noted = dict(notes or {})
        # Not computed where it is given: of vectors it takes longer than writing them.
        if DATA_VERSION not in noted:
            noted[DATA_VERSION] = frame_digest(ordered)
        return self._publish(name, self.directory(name, keys), ordered, noted, reset=False)

    def retire(self, name: str, keys: Mapping[str, str | int]) -> Part:
        """Empty a partition by a newest part without rows. Older parts stay for time travel. Logs cannot be emptied."""
        if table(name).log:
            raise ValueError(f"{name} is a log: every part of it counts")
        empty = pl.DataFrame(schema=table(name).schema)
        return self._publish(name, self.directory(name, keys), empty, {DATA_VERSION: "reset"}, reset=True)

    def _publish(self, name: str, folder: Path, frame: pl.DataFrame, notes: dict[str, str], reset: bool) -> Part:
        folder.mkdir(parents=True, exist_ok=True)
        unique = secrets.token_hex(4)
        pending = folder / f".{unique}.tmp"
        frame.write_parquet(pending, compression="zstd", metadata=notes)
        with pending.open("rb") as written:
            os.fsync(written.fileno())
        newest = max((part.stamp for part in _scan(folder, name)), default=0)
        # Views look a second back, so the stamp is taken as late as possible and never below the newest part.
        stamp = max(time.time_ns() // 1_000_000, newest + 1)
        path = folder / f"{stamp:013d}-{unique}{'-reset' if reset else ''}.parquet"
        pending.rename(path)
        sync(folder)
        return Part(name, path, stamp, reset)


def _scan(folder: Path, name: str) -> Iterator[Part]:
    if not folder.is_dir():
        return
    for entry in os.scandir(folder):
        match = PART_NAME.match(entry.name)
        # Stamp 0 is the anchor that gives an empty table its columns in SQL.
        if match and int(match[1]) > 0:
            yield Part(name, Path(entry.path), int(match[1]), match[3] is not None)


def _conform(frame: pl.DataFrame, declared: Table) -> pl.DataFrame:
    schema = declared.schema
    missing, surplus = set(schema) - set(frame.columns), set(frame.columns) - set(schema)
    if missing or surplus:
        raise ValueError(f"table {declared.name}: missing columns {sorted(missing)}, unknown columns {sorted(surplus)}")
    ordered = frame.select(list(schema))
    for column, dtype in schema.items():
        if ordered.schema[column] == pl.Null:
            ordered = ordered.with_columns(pl.col(column).cast(dtype))
        elif ordered.schema[column] != dtype:
            raise ValueError(f"table {declared.name}, column {column}: is {ordered.schema[column]}, must be {dtype}")
    return ordered


def sync(place: Path) -> None:
    """Flush a file, or the names in a folder, to disk."""
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
