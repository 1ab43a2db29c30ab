"""``s3-assets lineage``: where a row, gold row, request or student comes from, and what it led to.

Belongs here: options, finding the id meant, the steps as JSON. Does not belong here: the chain as a tree
(``lineage_tree.py``), what leads to what (``store/lineage_edges.py``, ``store/lineage_steps.py``).
"""

import json
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

# duckdb and rich's trees cost 0.3 s: imported where an id is looked up, so that --help does not pay.
if TYPE_CHECKING:
    import duckdb

MOST_LISTED = 20

# Every kind of id with the table and column that hold it.
PLACES = (
    ("row", "seed_set", "example_id"),
    ("row", "extrapolated_set", "example_id"),
    ("rejected", "rejected", "row_id"),
    ("gold", "gold", "gold_id"),
    ("request", "teacher_uses", "request_id"),
    ("model", "trained_model", "model_id"),
)


class LineageFormat(StrEnum):
    """How the chain is written."""

    tree = "tree"
    json = "json"


class LineageError(Exception):
    """The id cannot be followed; the message says why and where ids are found."""


def lineage(
    id_: Annotated[
        str,
        typer.Argument(metavar="ID", help="Id of a row, gold row, request or student; its beginning is enough."),
    ],
    task: Annotated[str | None, typer.Option(help="Only in this task.")] = None,
    output_format: Annotated[LineageFormat, typer.Option("--format", "-f", help="json gives every step.")] = (
        LineageFormat.tree
    ),
) -> None:
    """Show where a row comes from and what it did: gold error, request, row, gates, training sets, students."""
    import duckdb

    from s3_assets.settings import warehouse
    from s3_assets.store.catalog import CatalogError, connect, ensure_catalog

    try:
        store = warehouse()
        ensure_catalog(store)
        with connect(store) as con:
            show(con, id_, task, output_format)
    except (CatalogError, LineageError, duckdb.Error, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def show(con: "duckdb.DuckDBPyConnection", wanted: str, task: str | None, shape: LineageFormat) -> None:
    """Print the chain of the one id that begins with ``wanted``, in every arm that has it."""
    from s3_assets.cli.lineage_tree import print_trees

    # One moment for every query below.
    con.execute("BEGIN")
    kind, found = find_id(con, wanted, task)
    if shape is LineageFormat.json:
        told = json.dumps(steps(con, kind, found, task), ensure_ascii=False, indent=1, default=str)
        # JSON lets these stand, a terminal obeys them.
        typer.echo(re.sub(r"[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", told))
    else:
        print_trees(con, kind, found, task)


def steps(con: "duckdb.DuckDBPyConnection", kind: str, found: str, task: str | None) -> list[dict[str, Any]]:
    """Rows of ``lineage_of`` as dictionaries, of one task or all."""
    from s3_assets.cli.lineage_tree import IN_LOOP, Asker

    asker = Asker(con, found)
    loops = asker.loops(kind, task)
    if not loops:
        # A gold row that no arm has come to.
        return asker.ask("FROM lineage_of($id, in_task := $task)", {"task": task})
    return [step for loop in loops for step in asker.ask(f"FROM lineage_of($id, {IN_LOOP})", loop)]


def find_id(con: "duckdb.DuckDBPyConnection", wanted: str, task: str | None) -> tuple[str, str]:
    """Kind and whole id of what ``wanted`` begins; ``LineageError`` unless it is exactly one.

    An id that is both of a row and of a refused one counts as that of the row.
    """
    # Escaped: an underscore would stand for any character.
    each = " UNION ALL ".join(
        f"SELECT {place} AS place, '{kind}' AS kind, {column} AS id FROM {table} "
        f"WHERE starts_with({column}, $wanted) AND ($task IS NULL OR task = $task)"
        for place, (kind, table, column) in enumerate(PLACES)
    )
    query = f"""SELECT arg_min(kind, place), id FROM ({each})
      GROUP BY id ORDER BY id <> $wanted, id LIMIT {MOST_LISTED + 1}"""
    found = con.execute(query, {"wanted": wanted, "task": task}).fetchall() if wanted else []
    if not found:
        where = f" in task {task}" if task is not None else ""
        raise LineageError(
            f"nothing{where} has an id that begins with {wanted!r}; ids are in the columns example_id, gold_id, "
            'request_id and model_id: s3-assets sql "select example_id, text from lineage limit 10"'
        )
    if len(found) > 1 and found[0][1] != wanted:
        listed = "\n".join(f"  {one} ({kind})" for kind, one in found[:MOST_LISTED])
        more = "\n  ..." if len(found) > MOST_LISTED else ""
        raise LineageError(f"{wanted!r} begins several ids; write more of the one meant:\n{listed}{more}")
    return found[0]
