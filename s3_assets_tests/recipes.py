"""The recipes of ``docs/sql.md``: reading them, running them, writing their results into the page.

    .venv/bin/python -m s3_assets_tests.recipes      # after a query or the example changed: look at the difference

Belongs here: the form of the page. Does not belong here: the example (``example_warehouse.py``), what must hold of
recipes (``test_recipes.py``).
"""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from s3_assets.store.catalog import build_catalog, connect
from s3_assets.store.parts import Warehouse
from s3_assets_tests.example_warehouse import write_example
from s3_assets_tests.fakes import REPOSITORY
from s3_assets_tests.warehouses import LATER

PAGE = REPOSITORY / "docs" / "sql.md"

# A heading with its number, whatever is said about it, the query, and the table that follows it.
_RECIPE = re.compile(
    r"^### (\d+)\. (.+?)\n\n(.*?)^```sql\n(.*?)^```\n(?:\n((?:^\|[^\n]*\n)+))?", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Recipe:
    """One question with its query and its result as the page shows it."""

    number: int
    question: str
    query: str
    result: str


def recipes(page: str) -> list[Recipe]:
    """Recipes of the page in order."""
    return [
        Recipe(int(match[1]), match[2], match[4].strip().rstrip(";"), match[5] or "")
        for match in _RECIPE.finditer(page)
    ]


def example_session(folder: Path) -> duckdb.DuckDBPyConnection:
    """The example warehouse, written into ``folder``, in a session that sees all of it."""
    warehouse = Warehouse(folder)
    build_catalog(warehouse)
    write_example(warehouse)
    con = connect(warehouse)
    con.execute(LATER)
    return con


def shown(con: duckdb.DuckDBPyConnection, query: str) -> str:
    """The result of a query as a Markdown table."""
    con.execute(query)
    names = [column[0] for column in con.description or []]
    rows = [[_cell(value) for value in row] for row in con.fetchall()]
    lines = [names, ["---"] * len(names), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def with_results(page: str, con: duckdb.DuckDBPyConnection) -> str:
    """The page with the results that its queries have now."""

    def renewed(match: re.Match[str]) -> str:
        before = match[0][: match.start(5) - match.start()] if match[5] else match[0] + "\n"
        return before + shown(con, match[4].strip().rstrip(";"))

    return _RECIPE.sub(renewed, page)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_cell(inner) for inner in value) + "]"
    return "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, example_session(Path(folder)) as con:
        PAGE.write_text(with_results(PAGE.read_text(), con))


if __name__ == "__main__":
    main()
