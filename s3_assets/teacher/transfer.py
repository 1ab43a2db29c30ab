"""Moving a ledger: every answer in one file, to be used in another warehouse.

Belongs here: writing the file, checking and adding one. Does not belong here: looking answers up (``ledger.py``),
where a run's own rows go (``journal.py``).
"""

import secrets
from pathlib import Path

import polars as pl

from s3_assets.store.parts import Warehouse, sync
from s3_assets.store.tables import table
from s3_assets.teacher.ledger import CALLS, Ledger, scan

# One attempt: two of them may share a number when they were made in two warehouses.
IDENTITY = ["request_id", "attempt", "asked_at"]

# Rows read, compared and written as one part, and rows of the file that a reader must hold at once: some 30 MB with
# long prompts.
ROWS_AT_ONCE = 5_000


class TransferError(ValueError):
    """A ledger cannot be written to, or read from, the file given; the message says why."""


def export_ledger(warehouse: Warehouse, file: Path, *, task: str | None = None, overwrite: bool = False) -> int:
    """Write all attempts of a warehouse, or those paid for ``task``, as one Parquet file; gives how many.

    What a running process has not cut into a part yet is left out. ``TransferError`` when there is nothing to write,
    or ``file`` is there and ``overwrite`` does not say so. The file is put in place at once, when it is complete.
    """
    if file.exists() and not overwrite:
        raise TransferError(f"{file}: exists already; choose another name, or overwrite it with --overwrite")
    if file.is_dir() or not file.absolute().parent.is_dir():
        raise TransferError(f"{file}: {'is a folder' if file.is_dir() else 'its folder does not exist'}")
    calls = pl.LazyFrame(schema=table(CALLS).schema)
    if warehouse.root.is_dir():
        # Opening it cuts journals that processes left behind into parts.
        with Ledger(warehouse):
            calls = scan(warehouse, CALLS)
    if task is not None:
        calls = calls.filter(pl.col("task") == task)
    # Only keys are held in memory, whatever prompts and answers weigh.
    keys = calls.select(IDENTITY).with_row_index("place").collect()
    if keys.is_empty():
        raise TransferError(
            f"{warehouse.root}: no answers to export" + (f" of task {task}" if task is not None else "")
        )
    kept = keys.unique(IDENTITY, keep="first")["place"]
    if kept.len() < keys.height:
        calls = calls.with_row_index("place").filter(pl.col("place").is_in(kept.implode())).drop("place")
    pending = file.absolute().with_name(f".{secrets.token_hex(4)}.tmp")
    try:
        calls.sink_parquet(pending, compression="zstd", row_group_size=ROWS_AT_ONCE)
        sync(pending)
        pending.replace(file)
        sync(file.absolute().parent)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise TransferError(f"{file}: cannot be written: {error}") from error
    finally:
        pending.unlink(missing_ok=True)
    return kept.len()


def import_ledger(warehouse: Warehouse, file: Path) -> tuple[int, int]:
    """Add the attempts of an exported file that the ledger lacks; gives how many were added and were there already.

    What is there keeps its place: where both know a request by different attempts, those of the file are numbered after
    it, so that a step gets the answer it got before. ``TransferError`` when the file is not an exported ledger.
    """
    rows = _checked(file)
    added = there = 0
    with Ledger(warehouse) as ledger:
        for start in range(0, rows.select(pl.len()).collect().item(), ROWS_AT_ONCE):
            lot = rows.slice(start, ROWS_AT_ONCE).collect()
            fresh = _renumbered(
                warehouse, ledger.unknown(CALLS, lot.unique(IDENTITY, keep="first", maintain_order=True))
            )
            if not fresh.is_empty():
                warehouse.write(CALLS, {}, fresh)
            added, there = added + fresh.height, there + lot.height - fresh.height
    return added, there


def _checked(file: Path) -> pl.LazyFrame:
    """The rows of an exported file."""
    if not file.is_file():
        raise TransferError(f"{file}: no such file")
    try:
        rows = pl.scan_parquet(file, hive_partitioning=False, glob=False)
        found = rows.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise TransferError(f"{file}: not a Parquet file that can be read: {error}") from error
    schema = table(CALLS).schema
    problems = [f"no column {name}" for name in schema if name not in found]
    problems += [f"an unknown column {name}" for name in found if name not in schema]
    problems += [
        f"column {name} is {found[name]}, must be {dtype}"
        for name, dtype in schema.items()
        if name in found and found[name] != dtype
    ]
    if problems:
        raise TransferError(f"{file}: not an exported ledger: {'; '.join(problems)}")
    nameless = rows.filter(pl.any_horizontal(pl.col(IDENTITY).is_null())).select(pl.len()).collect().item()
    if nameless:
        raise TransferError(f"{file}: not an exported ledger: {nameless} rows lack {', '.join(IDENTITY)}")
    return rows.select(list(schema))


def _renumbered(warehouse: Warehouse, fresh: pl.DataFrame) -> pl.DataFrame:
    """Rows with attempts numbered after those the ledger has; without those that were renumbered and added before."""
    asked = fresh["request_id"].unique()
    there = scan(warehouse, CALLS).select(IDENTITY).filter(pl.col("request_id").is_in(asked.implode())).collect()
    clash = fresh.join(there, on=["request_id", "attempt"], how="semi")["request_id"].unique()
    if clash.is_empty():
        return fresh
    clashes = pl.col("request_id").is_in(clash.implode())
    again = fresh.filter(clashes).join(there, on=["request_id", "asked_at"], how="anti")
    last = there.group_by("request_id").agg(pl.col("attempt").max().alias("last"))
    moved = again.join(last, on="request_id").with_columns(pl.col("attempt") + pl.col("last") + 1).drop("last")
    return pl.concat([fresh.filter(~clashes), moved])
