"""A snapshot: one DuckDB file with the live rows of one moment, to keep or to send, without the warehouse.

Belongs here: copying live rows into native tables, and the derived views on top of them. Does not belong here: what the
views say (``derived.py``), the catalog over the warehouse (``catalog.py``).
"""

import fcntl
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from s3_assets.store.catalog import STORAGE_VERSION, CatalogError, ensure_catalog
from s3_assets.store.columns import Table
from s3_assets.store.derived import derived_statements
from s3_assets.store.parts import Warehouse, sync
from s3_assets.store.tables import tables
from s3_assets.store.views import AS_OF, Macro, View, duckdb_type, file_views, literal

EMBEDDINGS, CALLS, PARTS = "embeddings", "teacher_calls", "parts"


class SnapshotError(RuntimeError):
    """The snapshot cannot be written; the message says why and what to do."""


@dataclass(frozen=True)
class Snapshot:
    """What was written: the moment it shows, rows by table, and the size of the file in bytes."""

    path: Path
    as_of: datetime
    rows: dict[str, int]
    size: int


def write_snapshot(
    warehouse: Warehouse,
    path: Path,
    tasks: Sequence[str] = (),
    *,
    embeddings: bool = True,
    force: bool = False,
    tell: Callable[[str, int], None] | None = None,
) -> Snapshot:
    """Write the live rows of ``tasks`` (all by default) to ``path``; it is there complete or not at all.

    Without ``embeddings`` their table is empty. ``tell`` is called after each table. ``SnapshotError`` where the file
    is there and not ``force``, its folder is not, or a task is unknown; ``CatalogError`` without a readable catalog.
    """
    if path.exists() and not force:
        raise SnapshotError(f"{path} is there already; --force replaces it")
    if not path.parent.is_dir():
        raise SnapshotError(f"there is no folder {path.parent}")
    if path.resolve() == warehouse.catalog_path:
        raise SnapshotError(f"{path} is the catalog of the warehouse; choose another file")
    ensure_catalog(warehouse)
    with _unfinished(path) as pending:
        try:
            with duckdb.connect() as con:
                moment, rows = _write(con, warehouse, pending, tasks, embeddings, tell)
            sync(pending)
            size = pending.stat().st_size
            pending.replace(path)
            sync(path.parent)
        except duckdb.IOException as error:
            raise CatalogError(f"cannot write {path}: {error}") from error
    return Snapshot(path, moment, rows, size)


@contextmanager
def _unfinished(path: Path) -> Iterator[Path]:
    """Name of a file to write beside ``path``, removed at the end; first, what killed processes left of it."""
    pending = path.with_name(f".{path.name}-{secrets.token_hex(4)}.tmp")
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        # Whoever writes a snapshot into a folder shares a lock on it, which ends with the process: who has the lock
        # alone knows that nobody is at work on what lies there. Not a lock on the file: DuckDB puts its own there.
        if _lock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
            _remove_unfinished(path)
        _lock(folder, fcntl.LOCK_SH)
        try:
            yield pending
        finally:
            for left in (pending, pending.with_name(pending.name + ".wal")):
                left.unlink(missing_ok=True)
    finally:
        os.close(folder)


def _lock(folder: int, how: int) -> bool:
    try:
        fcntl.flock(folder, how)
    except OSError:
        # Another has it, or the file system has no locks on folders: then nothing is ever removed.
        return False
    return True


def _remove_unfinished(path: Path) -> None:
    left = re.compile(rf"\.{re.escape(path.name)}-[0-9a-f]{{8}}\.tmp(\.wal)?")
    for file in path.parent.iterdir():
        if left.fullmatch(file.name):
            file.unlink(missing_ok=True)


def _write(
    con: duckdb.DuckDBPyConnection,
    warehouse: Warehouse,
    pending: Path,
    tasks: Sequence[str],
    embeddings: bool,
    tell: Callable[[str, int], None] | None,
) -> tuple[datetime, dict[str, int]]:
    con.execute("SET TimeZone = 'UTC'")
    con.execute(f"ATTACH {literal(warehouse.catalog_path.as_posix())} AS live (READ_ONLY)")
    con.execute(f"ATTACH {literal(pending.as_posix())} AS copied (STORAGE_VERSION {literal(STORAGE_VERSION)})")
    # One moment for every table, a second ago as in the catalog: parts published while this runs do not show.
    con.execute(f"SET VARIABLE as_of = (SELECT {AS_OF})")
    ((moment,),) = con.execute("SELECT getvariable('as_of')::TIMESTAMPTZ").fetchall()
    _refuse_unknown(con, tasks)
    con.execute("USE copied")
    con.execute("BEGIN")
    rows = {}
    for table in tables().values():
        kept = _kept(table, tasks) if embeddings or table.name != EMBEDDINGS else "WHERE false"
        rows[table.name] = _copy(con, table, kept)
        if tell is not None:
            tell(table.name, rows[table.name])
    parts = next(view for view in file_views(warehouse.root) if view.name == PARTS)
    for statement in (*_parts(warehouse, parts, tasks), *_info(moment, tasks)):
        con.execute(statement)
    as_of = Macro("as_of", (), "Moment the snapshot shows.", f"TIMESTAMPTZ {literal(moment.isoformat())}")
    for statement in (*as_of.statements(), *derived_statements()):
        con.execute(statement)
    con.execute("COMMIT")
    con.execute("USE memory")
    con.execute("DETACH copied")
    return moment, rows


def _refuse_unknown(con: duckdb.DuckDBPyConnection, tasks: Sequence[str]) -> None:
    known = {row[0] for row in con.execute("SELECT DISTINCT task FROM live.gold").fetchall()}
    unknown = sorted(set(tasks) - known)
    if unknown:
        raise SnapshotError(
            f"no gold of {', '.join(unknown)} in the warehouse; it has tasks {', '.join(sorted(known)) or '(none)'}"
        )


def _copy(con: duckdb.DuckDBPyConnection, table: Table, kept: str) -> int:
    columns = ", ".join(f'"{name}" {duckdb_type(dtype)}' for name, dtype in table.schema.items())
    con.execute(f"CREATE TABLE {table.name} ({columns})")
    ((count,),) = con.execute(f"INSERT INTO {table.name} SELECT * FROM live.{table.name} {kept}").fetchall()
    view = View(table.name, table.comment, {column.name: column.comment for column in table.columns}, "")
    for statement in view.comments("TABLE"):
        con.execute(statement)
    return int(count)


def _kept(table: Table, tasks: Sequence[str]) -> str:
    if not tasks:
        return ""
    wanted = f"task IN ({', '.join(literal(task) for task in tasks)})"
    if table.name == CALLS:
        # Another task may have paid for an answer that these use.
        return f"WHERE {wanted} OR request_id IN (SELECT request_id FROM live.teacher_uses WHERE {wanted})"
    return f"WHERE {wanted}"


def _parts(warehouse: Warehouse, view: View, tasks: Sequence[str]) -> list[str]:
    # Where the warehouse lay says nothing to whoever gets the file.
    place = len(warehouse.root.as_posix()) + 2
    wanted = f" WHERE task IS NULL OR task IN ({', '.join(literal(task) for task in tasks)})" if tasks else ""
    columns = view.columns | {"path": "Path of the file, in the warehouse it was taken from."}
    return [
        f"CREATE TABLE {PARTS} AS SELECT * REPLACE (substr(path, {place}) AS path) FROM live.{PARTS}{wanted}",
        *View(PARTS, view.comment, columns, "").comments("TABLE"),
    ]


def _info(moment: datetime, tasks: Sequence[str]) -> list[str]:
    columns = {
        "as_of": "Moment the snapshot shows.",
        "tasks": "Tasks it was cut to; null for all.",
        "built_by": "Version of DuckDB that built it.",
    }
    told = literal(", ".join(tasks)) if tasks else "NULL::VARCHAR"
    made = (
        f"CREATE TABLE catalog_info AS SELECT TIMESTAMPTZ {literal(moment.isoformat())} AS as_of, {told} AS tasks, "
        f"{literal(duckdb.__version__)} AS built_by"
    )
    return [made, *View("catalog_info", "What this snapshot was made from. One row.", columns, "").comments("TABLE")]
