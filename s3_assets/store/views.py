"""The catalog's SQL over files: one view per table with its live rows, and ``parts``.

Belongs here: what makes a part live, as SQL; no other view reads files. Does not belong here: tables and their
comments (``tables.py``), views that join views (``joined_views.py``), the catalog file (``catalog.py``). No view may
need a DuckDB extension beyond core_functions, icu, json and parquet.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from s3_assets.store.columns import Column, Table
from s3_assets.store.tables import tables

# A stamp younger than this may be listed by glob() and not by read_parquet() in one query.
LAG = "1 second"
AS_OF = f"coalesce(getvariable('as_of')::TIMESTAMPTZ, now() - INTERVAL {LAG})"
AS_OF_COMMENT = (
    "Moment the views show: the variable as_of (SET VARIABLE as_of = TIMESTAMPTZ '...'), else one second ago."
)

_TYPES = {
    pl.String: "VARCHAR",
    pl.Int64: "BIGINT",
    pl.Int32: "INTEGER",
    pl.Float64: "DOUBLE",
    pl.Float32: "FLOAT",
    pl.Boolean: "BOOLEAN",
    pl.Date: "DATE",
}


@dataclass(frozen=True)
class View:
    """One view: its comment, its columns with theirs in order, and the query."""

    name: str
    comment: str
    columns: dict[str, str]
    query: str

    def statements(self) -> list[str]:
        """What makes it, with its comments."""
        return [f"CREATE VIEW {self.name} AS {self.query}", *self.comments("VIEW")]

    def comments(self, what: str) -> list[str]:
        """Its comments, as those of a ``VIEW`` or of a ``TABLE`` with its columns."""
        return [
            f"COMMENT ON {what} {self.name} IS {literal(self.comment)}",
            *(f'COMMENT ON COLUMN {self.name}."{name}" IS {literal(text)}' for name, text in self.columns.items()),
        ]


@dataclass(frozen=True)
class Macro:
    """One macro: its parameters, its comment and its body, an expression or, of a ``table`` macro, a query."""

    name: str
    parameters: tuple[str, ...]
    comment: str
    body: str
    table: bool = False

    def statements(self) -> list[str]:
        """What makes it, with its comment."""
        made = f"CREATE MACRO {self.name}({', '.join(self.parameters)}) AS {'TABLE ' if self.table else ''}{self.body}"
        return [made, f"COMMENT ON MACRO {'TABLE ' if self.table else ''}{self.name} IS {literal(self.comment)}"]


def literal(value: str) -> str:
    """``value`` as an SQL string."""
    return "'" + value.replace("'", "''") + "'"


def file_views(root: Path) -> list[View]:
    """The views over the files of the warehouse at ``root``."""
    return [*(_table_view(root, table) for table in tables().values()), _parts(root)]


def duckdb_type(dtype: pl.DataType) -> str:
    """DuckDB's name of a Polars type; ``KeyError`` for one that no table should use."""
    if isinstance(dtype, pl.Array):
        return f"{duckdb_type(_inner(dtype))}[{dtype.size}]"
    if isinstance(dtype, pl.List):
        return f"{duckdb_type(_inner(dtype))}[]"
    if isinstance(dtype, pl.Datetime):
        return "TIMESTAMPTZ" if dtype.time_zone else "TIMESTAMP"
    return _TYPES[dtype.base_type()]


def _inner(dtype: pl.Array | pl.List) -> pl.DataType:
    return dtype.inner if isinstance(dtype.inner, pl.DataType) else dtype.inner()


def anchor(table: Table) -> Path:
    """Where the part without rows is that gives the columns of ``table``, from the warehouse on: as deep as all are."""
    # No task is called so.
    folder = Path(table.name, *(f"{key}={'0' if key == 'seed' else '-'}" for key in table.keys))
    return folder / "0000000000000-anchor.parquet"


def _glob(root: Path, table: Table) -> str:
    # The root may hold glob characters; pending files (.*.tmp) and strangers do not match. Level by level, which takes
    # half as long as any depth.
    folder = re.sub(r"([\[\]*?])", r"[\1]", (root / table.name).as_posix())
    return f"{folder}/{'*/' * len(table.keys)}[0-9]*.parquet"


def _stamp(file: str) -> str:
    return f"make_timestamptz(1000 * try_cast(left(parse_filename({file}), 13) AS BIGINT))"


def _folder(file: str) -> str:
    return f"regexp_replace({file}, '[^/]*$', '')"


def _table_view(root: Path, table: Table) -> View:
    # A folder above that is called a=b would give every row a column a.
    by_path = bool(table.keys) and "=" not in root.as_posix()
    columns = ",\n  ".join(f'{_column(table, c, by_path)} AS "{c.name}"' for c in table.columns)
    glob = literal(_glob(root, table))
    if table.log:
        shown = f"{_stamp('_part')} <= as_of()"
    else:
        # The newest part may have no rows, so it is found by name, not among the rows.
        shown = f"""_part IN (
  SELECT max(file) FROM glob({glob}) WHERE {_stamp("file")} <= as_of() GROUP BY {_folder("file")}
)"""
    # By name: parts written before a column was added show null in it. Columns that folders name are read from paths:
    # files of other tasks or rounds than are asked for are not opened.
    levels = ", ".join(f"{key}: {'BIGINT' if key == 'seed' else 'VARCHAR'}" for key in table.keys)
    hive = f"hive_partitioning = true, hive_types = {{{levels}}}" if by_path else "hive_partitioning = false"
    query = f"""SELECT
  {columns}
FROM read_parquet({glob}, union_by_name = true, {hive}, filename = '_part')
WHERE {shown}"""
    return View(table.name, table.comment, {c.name: c.comment for c in table.columns}, query)


def _column(table: Table, column: Column, by_path: bool) -> str:
    if by_path and column.name == "round" and column.name in table.keys:
        return "try_cast(replace(\"round\", 'round_', '') AS BIGINT)"
    return f'"{column.name}"::{duckdb_type(column.dtype)}'


def _parts(root: Path) -> View:
    globs = ", ".join(literal(_glob(root, table)) for table in tables().values())
    logs = ", ".join(literal(name) for name, table in tables().items() if table.log)
    # Notes are joined by path: DuckDB opens no file where nobody asks for them.
    query = f"""WITH noted AS (
  SELECT
    file_name AS path,
    max(decode(value)) FILTER (decode(key) = 'data_version') AS data_version,
    max(decode(value)) FILTER (decode(key) = 'input_fingerprint') AS input_fingerprint,
    max(decode(value)) FILTER (decode(key) = 'inputs') AS inputs
  FROM parquet_kv_metadata([{globs}])
  GROUP BY file_name
), named AS (
  SELECT file AS path, substr(file, {len(root.as_posix()) + 2}) AS place, {_stamp("file")} AS stamp FROM glob([{globs}])
), keyed AS (
  SELECT
    *,
    split_part(place, '/', 1) AS table_name,
    ends_with(path, '-reset.parquet') AS reset,
    max(path) FILTER (stamp <= as_of()) OVER (PARTITION BY {_folder("path")}) AS newest
  FROM named
  WHERE stamp > TIMESTAMPTZ 'epoch'
)
SELECT
  table_name,
  path,
  {_level("task")} AS task,
  {_level("arm")} AS arm,
  try_cast({_level("seed")} AS BIGINT) AS seed,
  try_cast(replace({_level("round")}, 'round_', '') AS BIGINT) AS round,
  {_level("asset")} AS asset,
  stamp,
  stamp <= as_of() AND NOT reset AND (table_name IN ({logs}) OR path = newest) AS live,
  reset,
  data_version,
  input_fingerprint,
  inputs
FROM keyed
LEFT JOIN noted USING (path)"""
    return View(
        "parts",
        "Every Parquet part of the warehouse, live or not.",
        {
            "table_name": "Table the part belongs to.",
            "path": "Absolute path of the file.",
            "task": "Task, from the path; null where the table has no such level.",
            "arm": "Arm, from the path; null where the table has no such level.",
            "seed": "Seed, from the path; null where the table has no such level.",
            "round": "Round, from the path; null where the table has no such level.",
            "asset": "Asset, from the path; null where the table has no such level.",
            "stamp": "When the part was published.",
            "live": "Whether the part's rows show in the table's view.",
            "reset": "Whether the part empties its partition.",
            "data_version": "Content hash of the part's rows; as the other notes, null for a moment after publishing.",
            "input_fingerprint": "Fingerprint of what the part was made from; null when not noted.",
            "inputs": "JSON of the parts it was made from; null when not noted.",
        },
        query,
    )


def _level(name: str) -> str:
    return f"nullif(regexp_extract(place, '/{name}=([^/]*)/', 1), '')"
