"""``s3-assets sql``: one query over the catalog, as a table, CSV, JSON or Parquet.

Belongs here: running a query somebody typed and printing what it says. Does not belong here: the views it can ask
(``store/views.py``, ``store/joined_views.py``, ...), opening the catalog (``store/catalog.py``).
"""

import csv
import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

# duckdb, polars (through the store) and rich's tables cost 0.4 s: they are imported where a query is run, so that
# --help does not pay.
if TYPE_CHECKING:
    import duckdb

    from s3_assets.store.parts import Warehouse

TABLE_ROWS = 100
LIST_VIEWS = "SELECT view_name AS view, comment FROM duckdb_views() WHERE NOT internal ORDER BY view_name"


class OutputFormat(StrEnum):
    """How a result is written."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


class SqlError(Exception):
    """The query cannot be run; the message says why and what to do."""


def sql(
    query: Annotated[
        str | None, typer.Argument(help="SQL to run; - reads it from standard input. Without it, the views are listed.")
    ] = None,
    output_format: Annotated[
        OutputFormat, typer.Option("--format", "-f", help="parquet needs --output.")
    ] = OutputFormat.table,
    as_of: Annotated[
        str | None, typer.Option(metavar="TIMESTAMP", help="Show the warehouse as it was then; UTC unless it says.")
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write csv, json or parquet here.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help=f"Show at most so many rows. A table shows {TABLE_ROWS} unless told.")
    ] = None,
) -> None:
    """Query the warehouse. The catalog is read-only and shows live rows only; the view parts lists the rest."""
    from s3_assets.settings import warehouse
    from s3_assets.store.catalog import CatalogError, ensure_catalog

    text, store = sys.stdin.read() if query == "-" else query, warehouse()
    try:
        ensure_catalog(store)
        run_sql(store, text or LIST_VIEWS, output_format, limit, as_of=as_of, output=output)
    except (CatalogError, SqlError, OSError) as error:  # OSError: no place for a warehouse, no file to write
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def run_sql(
    warehouse: "Warehouse",
    query: str,
    output_format: str = OutputFormat.table,
    limit: int | None = None,
    *,
    as_of: str | None = None,
    output: Path | None = None,
) -> int:
    """Run ``query`` and write its rows to ``output`` or standard output; how many rows it has.

    ``limit`` cuts what is shown in a table (100 rows unless told) and what is written in the other formats (all rows
    unless told). ``SqlError`` for a query that DuckDB refuses, ``CatalogError`` when there is no catalog to ask.
    """
    import duckdb

    from s3_assets.store.catalog import connect

    shape = OutputFormat(output_format)
    if shape is OutputFormat.parquet and output is None:
        raise SqlError("parquet goes to a file: name it with --output FILE")
    if shape is OutputFormat.table and output is not None:
        raise SqlError("a table goes to the terminal: choose --format csv, json or parquet with --output")
    with connect(warehouse) as con:
        try:
            if as_of is not None:
                con.execute("SET VARIABLE as_of = ?::TIMESTAMPTZ", [as_of])
        except duckdb.ConversionException as error:
            raise SqlError(f"--as-of {as_of!r} is no timestamp; write it as '2026-01-31 12:00:00'") from error
        try:
            return _write(con, query, shape, limit, output)
        except duckdb.Error as error:
            raise SqlError(_explained(con, query, error)) from error


def _write(
    con: "duckdb.DuckDBPyConnection", query: str, shape: OutputFormat, limit: int | None, output: Path | None
) -> int:
    if shape is OutputFormat.parquet and output is not None:
        return _write_parquet(con, query, limit, output)
    con.execute(query)
    names = _unique([column[0] for column in con.description or []])
    if shape is OutputFormat.table:
        return _print_table(names, _rows(con), TABLE_ROWS if limit is None else limit)
    write = _write_csv if shape is OutputFormat.csv else _write_json
    rows = _first(_rows(con), limit)
    if output is None:
        return write(names, rows, sys.stdout)
    with output.open("w", encoding="utf-8", newline="") as to:
        return write(names, rows, to)


def _rows(con: "duckdb.DuckDBPyConnection") -> Iterator[tuple[Any, ...]]:
    while chunk := con.fetchmany(10_000):
        yield from chunk


def _first(rows: Iterator[tuple[Any, ...]], limit: int | None) -> Iterator[tuple[Any, ...]]:
    for count, row in enumerate(rows):
        if count == limit:
            return
        yield row


def _unique(names: list[str]) -> list[str]:
    """Column names, repeated ones numbered: a JSON object holds a name once."""
    unique: list[str] = []
    for name in names:
        candidate, count = name, 1
        while candidate in unique:
            candidate, count = f"{name}_{count}", count + 1
        unique.append(candidate)
    return unique


def _print_table(names: list[str], rows: Iterator[tuple[Any, ...]], limit: int) -> int:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*names, show_lines=False)
    for column in table.columns:
        column.overflow = "fold"
    count = 0
    for row in rows:
        count += 1
        if count <= limit:
            # Text, so that brackets in a cell are not read as markup.
            table.add_row(*(Text(_cell(value)) for value in row))
    console = Console(file=sys.stdout)
    if names:
        console.print(table)
    console.print(f"{count:,} {'row' if count == 1 else 'rows'}" + _cut(count, limit), highlight=False)
    return count


def _cut(count: int, limit: int) -> str:
    return f", the first {limit:,} shown; --limit or --format csv shows more" if count > limit else ""


def _write_csv(names: list[str], rows: Iterator[tuple[Any, ...]], to: TextIO) -> int:
    writer = csv.writer(to, lineterminator="\n")
    writer.writerow(names)
    count = 0
    for row in rows:
        count += 1
        writer.writerow([_cell(value) for value in row])
    return count


def _write_json(names: list[str], rows: Iterator[tuple[Any, ...]], to: TextIO) -> int:
    to.write("[")
    count = 0
    for row in rows:
        record = {name: _plain(value) for name, value in zip(names, row, strict=True)}
        to.write(("," if count else "") + "\n" + json.dumps(record, ensure_ascii=False, allow_nan=False))
        count += 1
    to.write("\n]\n")
    return count


def _write_parquet(con: "duckdb.DuckDBPyConnection", query: str, limit: int | None, output: Path) -> int:
    relation = con.sql(query)
    if relation is None:
        raise SqlError("the query returns no rows to write")
    relation = relation if limit is None else relation.limit(limit)
    relation.write_parquet(str(output), compression="zstd")
    written = con.execute("SELECT coalesce(sum(num_rows), 0) FROM parquet_file_metadata(?)", [str(output)]).fetchone()
    return int(written[0]) if written else 0


def _cell(value: Any) -> str:
    plain = _plain(value)
    if plain is None:
        return ""
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """``value`` as JSON knows it: times as ISO text, decimals as numbers, what is not a number as null."""
    if isinstance(value, float | Decimal):
        number = float(value)
        return number if abs(number) < float("inf") else None
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _explained(con: "duckdb.DuckDBPyConnection", query: str, error: "duckdb.Error") -> str:
    if "read-only mode" in str(error) or _writes(query):
        return f"the catalog is read-only: it holds views over the parts, which only the pipeline writes.\n{error}"
    if "does not exist" in str(error):
        names = [row[0] for row in con.execute(LIST_VIEWS).fetchall()]
        return f"{error}\nViews: {', '.join(names)}"
    return str(error)


def _writes(query: str) -> bool:
    import duckdb

    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error:
        return False
    kinds = duckdb.StatementType
    writing = {kinds.INSERT, kinds.UPDATE, kinds.DELETE, kinds.MERGE_INTO}
    return any(statement.type in writing for statement in statements)
