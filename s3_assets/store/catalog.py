"""The catalog: a DuckDB file of views over the parts, for people and reports.

Belongs here: building, checking and opening ``s3.duckdb``. Does not belong here: what the views say (``views.py``,
``derived.py``). The pipeline never writes the file while it runs and never reads through
it: it reads parts by path.
"""

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl

from s3_assets.store.columns import Table
from s3_assets.store.derived import derived_statements
from s3_assets.store.identity import digest
from s3_assets.store.parts import Warehouse
from s3_assets.store.tables import tables
from s3_assets.store.views import AS_OF, AS_OF_COMMENT, Macro, View, anchor, file_views, literal

# Clients from DuckDB 1.4 on can open it.
STORAGE_VERSION = "v1.4.0"
COMMAND = "s3-assets catalog"


class CatalogError(RuntimeError):
    """The catalog is missing, out of date or held by another process; the message says what to do."""


def build_catalog(warehouse: Warehouse) -> Path:
    """Build the catalog anew and put it in place at once. Sessions that have the old one open keep it."""
    for table in tables().values():
        _anchor(warehouse, table)
    pending = warehouse.root / f".s3-{secrets.token_hex(4)}.duckdb"
    leftovers = (pending, _wal(pending))
    try:
        with duckdb.connect() as con:
            con.execute(f"ATTACH {literal(pending.as_posix())} AS s3 (STORAGE_VERSION {literal(STORAGE_VERSION)})")
            con.execute("USE s3")
            con.execute("BEGIN")
            # At once: a quarter less time than one by one.
            con.execute(";\n".join((*_definitions(warehouse.root), *_info(warehouse.root).statements())))
            con.execute("COMMIT")
            con.execute("USE memory")
            con.execute("DETACH s3")
        # A session that opened the old file for writing leaves a log that must not be replayed into the new one.
        _wal(warehouse.catalog_path).unlink(missing_ok=True)
        pending.replace(warehouse.catalog_path)
    finally:
        for file in leftovers:
            file.unlink(missing_ok=True)
    return warehouse.catalog_path


def ensure_catalog(warehouse: Warehouse) -> Path:
    """The catalog, built when it is missing, unreadable, or made for another place or by other definitions."""
    anchored = all((warehouse.root / anchor(table)).exists() for table in tables().values())
    if anchored and warehouse.catalog_path.exists():
        try:
            with duckdb.connect(str(warehouse.catalog_path), read_only=True) as con:
                if _built_from(con) == _fingerprint(warehouse.root):
                    return warehouse.catalog_path
        except duckdb.Error:
            # Torn, foreign, or held for writing by someone: a new file helps in each case.
            pass
    return build_catalog(warehouse)


def connect(warehouse: Warehouse) -> duckdb.DuckDBPyConnection:
    """A read-only session on the catalog, with times in UTC. ``CatalogError`` names the command when it cannot be."""
    path = warehouse.catalog_path
    if not path.exists():
        raise CatalogError(f"there is no catalog at {path}; build it with `{COMMAND}`")
    try:
        con = duckdb.connect(str(path), read_only=True)
    except duckdb.Error as error:
        raise CatalogError(
            f"cannot open {path}: {error}\nClose the session that has it open for writing (open it read-only instead), "
            f"or build a new one with `{COMMAND}`"
        ) from error
    if _built_from(con) != _fingerprint(warehouse.root):
        con.close()
        raise CatalogError(
            f"{path} was built for another folder or by another version of s3_assets; rebuild it with `{COMMAND}`"
        )
    # Parts never change: what a session has read of their footers holds.
    con.execute("SET TimeZone = 'UTC'; SET parquet_metadata_cache = true")
    return con


def _definitions(root: Path) -> list[str]:
    as_of = Macro("as_of", (), AS_OF_COMMENT, AS_OF)
    files = [statement for view in file_views(root) for statement in view.statements()]
    return [*as_of.statements(), *files, *derived_statements()]


def _info(root: Path) -> View:
    built_at = datetime.now(UTC).isoformat(timespec="seconds")
    return View(
        "catalog_info",
        "What this catalog was built from. One row.",
        {
            "root": "Folder of the warehouse it was built for.",
            "definitions": "Hash of the view definitions for that folder; another one means it must be rebuilt.",
            "built_at": "When it was built.",
            "built_by": "Version of DuckDB that built it.",
            "as_of": "Moment the views show in this session.",
        },
        f"SELECT {literal(root.as_posix())} AS root, {literal(_fingerprint(root))} AS definitions, "
        f"TIMESTAMPTZ {literal(built_at)} AS built_at, {literal(duckdb.__version__)} AS built_by, as_of() AS as_of",
    )


def _fingerprint(root: Path) -> str:
    return digest([STORAGE_VERSION, _definitions(root)])


def _built_from(con: duckdb.DuckDBPyConnection) -> str | None:
    try:
        row = con.execute("SELECT definitions FROM catalog_info").fetchone()
    except duckdb.CatalogException:
        return None
    return row[0] if row else None


def _anchor(warehouse: Warehouse, table: Table) -> None:
    """A part without rows, so that the globs of a table always match and its columns are always known."""
    path = warehouse.root / anchor(table)
    if path.exists() and pl.scan_parquet(path, glob=False).collect_schema() == table.schema:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    pending = path.with_name(f".{secrets.token_hex(4)}.tmp")
    pl.DataFrame(schema=table.schema).write_parquet(pending, compression="zstd")
    with pending.open("rb") as written:
        os.fsync(written.fileno())
    pending.replace(path)


def _wal(path: Path) -> Path:
    return path.with_name(path.name + ".wal")
