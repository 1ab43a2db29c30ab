"""``s3-assets sql``: formats, limits, as-of, and what it says when a query cannot be run."""

import csv
import io
import json
from pathlib import Path

import duckdb
import polars as pl
import pytest
import typer
from typer.testing import CliRunner, Result

from s3_assets.cli.sql import SqlError, run_sql, sql
from s3_assets.store.catalog import CatalogError, build_catalog
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets_tests.test_parts import frame_of

KEY = RoundKey("toy", "s3", 0, 0)
# Later than any part of the tests, so that they need not wait for the second the views look back.
LATER = "2200-01-01"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    warehouse = Warehouse(tmp_path_factory.mktemp("sql") / "warehouse")
    build_catalog(warehouse)
    row = {**KEY.columns(), "label": "positive", "text": 'A "good", [red]film[/red]\non Monday', "item": 3}
    warehouse.write("seed_set", KEY.columns(), frame_of("seed_set", [row, row | {"text": "Schön", "item": None}]))
    return warehouse


@pytest.fixture
def warehouse(filled: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    monkeypatch.setenv("S3_ASSETS_WAREHOUSE", str(filled.root))
    return filled


def ask(*arguments: str, stdin: str | None = None) -> Result:
    app = typer.Typer()
    app.command("sql")(sql)
    return CliRunner().invoke(app, list(arguments), input=stdin)


def test_table_shows_rows_and_their_number(warehouse: Warehouse) -> None:
    result = ask("SELECT label, text FROM seed_set", "--as-of", LATER)
    assert result.exit_code == 0, result.output
    assert "[red]film[/red]" in result.stdout
    assert "Schön" in result.stdout
    assert result.stdout.rstrip().endswith("2 rows")


def test_table_shows_100_rows_and_says_so(warehouse: Warehouse) -> None:
    result = ask("SELECT range AS n FROM range(250)")
    assert "250 rows, the first 100 shown" in result.stdout
    assert result.stdout.count("│") == 2 * 100
    assert "│ 99 │" in result.stdout
    assert "250 rows, the first 5 shown" in ask("SELECT range AS n FROM range(250)", "--limit", "5").stdout


def test_table_folds_long_cells(warehouse: Warehouse) -> None:
    word = "abcdefghij" * 30
    result = ask(f"SELECT '{word}' AS word")
    letters = "".join(c for c in result.stdout.split("word", 1)[1] if c in "abcdefghij")
    assert letters.startswith(word)


def test_csv_is_complete_and_plain(warehouse: Warehouse) -> None:
    result = ask("SELECT text, item, label = 'x' AS flag FROM seed_set", "--format", "csv", "--as-of", LATER)
    rows = list(csv.reader(io.StringIO(result.stdout)))
    assert rows == [
        ["text", "item", "flag"],
        ['A "good", [red]film[/red]\non Monday', "3", "false"],
        ["Schön", "", "false"],
    ]
    assert len(ask("SELECT * FROM range(25000)", "-f", "csv").stdout.splitlines()) == 25_001
    assert len(ask("SELECT * FROM range(25000)", "-f", "csv", "--limit", "7").stdout.splitlines()) == 8


def test_json_keeps_types(warehouse: Warehouse) -> None:
    query = """SELECT 1 AS a, 2 AS a, NULL AS b, 'nan'::DOUBLE AS c, [1, 2] AS d, {'x': 1.5} AS e, true AS f,
      TIMESTAMPTZ '2026-01-31 12:00:00+01' AS g, DATE '2026-01-31' AS h, 'é' AS i"""
    assert json.loads(ask(query, "--format", "json").stdout) == [
        {
            "a": 1,
            "a_1": 2,
            "b": None,
            "c": None,
            "d": [1, 2],
            "e": {"x": 1.5},
            "f": True,
            "g": "2026-01-31 11:00:00+00:00",
            "h": "2026-01-31",
            "i": "é",
        }
    ]
    assert json.loads(ask("SELECT 1 AS a WHERE false", "--format", "json").stdout) == []


def test_parquet_goes_to_a_file(warehouse: Warehouse, tmp_path: Path) -> None:
    file = tmp_path / "out.parquet"
    result = ask("SELECT text, item FROM seed_set", "--format", "parquet", "--output", str(file), "--as-of", LATER)
    assert result.exit_code == 0, result.output
    assert pl.read_parquet(file)["item"].to_list() == [3, None]
    assert run_sql(warehouse, "FROM range(5)", "parquet", 2, output=file) == 2
    refused = ask("SELECT 1", "--format", "parquet")
    assert refused.exit_code == 1
    assert "--output FILE" in refused.stderr


def test_csv_goes_to_a_file_and_a_table_does_not(warehouse: Warehouse, tmp_path: Path) -> None:
    assert ask("SELECT 1 AS one", "--format", "csv", "--output", str(tmp_path / "out.csv")).stdout == ""
    assert (tmp_path / "out.csv").read_text() == "one\n1\n"
    assert ask("SELECT 1 AS one", "--output", str(tmp_path / "out.txt")).exit_code == 1


def test_the_query_may_come_from_standard_input(warehouse: Warehouse) -> None:
    assert ask("-", "--format", "csv", stdin="SELECT 40 + 2 AS n").stdout == "n\n42\n"


def test_without_a_query_the_views_are_listed(warehouse: Warehouse) -> None:
    rows = {row["view"]: row["comment"] for row in json.loads(ask("--format", "json").stdout)}
    assert {"seed_set", "rounds", "parts", "row_origin"} <= set(rows)
    assert all(rows.values())


def test_several_statements_show_the_last(warehouse: Warehouse) -> None:
    query = f"SET VARIABLE as_of = TIMESTAMPTZ '{LATER}'; SELECT count(*) AS n FROM seed_set"
    assert ask(query, "--format", "csv").stdout == "n\n2\n"


def test_as_of_travels_back(warehouse: Warehouse) -> None:
    assert ask("SELECT count(*) AS n FROM seed_set", "-f", "csv", "--as-of", "2001-01-01").stdout == "n\n0\n"
    refused = ask("SELECT 1", "--as-of", "yesterday-ish")
    assert refused.exit_code == 1
    assert "is no timestamp" in refused.stderr


def test_an_unknown_table_is_answered_with_the_views(warehouse: Warehouse) -> None:
    result = ask("SELECT * FROM seeds")
    assert result.exit_code == 1
    assert "Table with name seeds does not exist" in result.stderr
    assert "Views: catalog_info, drift, embeddings" in result.stderr


@pytest.mark.parametrize(
    "query",
    [
        "CREATE TABLE mine (a INTEGER)",
        "DROP VIEW seed_set",
        "INSERT INTO seed_set (text) VALUES ('x')",
        "DELETE FROM seed_set",
        "UPDATE seed_set SET text = 'x'",
    ],
)
def test_a_write_is_refused(warehouse: Warehouse, query: str) -> None:
    with pytest.raises(SqlError, match="the catalog is read-only"):
        run_sql(warehouse, query)


def test_a_syntax_error_is_duckdbs_own(warehouse: Warehouse) -> None:
    with pytest.raises(SqlError, match="syntax error"):
        run_sql(warehouse, "SELEC 1")


def test_without_a_catalog_the_command_builds_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CatalogError, match="s3-assets catalog"):
        run_sql(Warehouse(tmp_path), "SELECT 1")
    monkeypatch.setenv("S3_ASSETS_WAREHOUSE", str(tmp_path))
    result = ask()
    assert result.exit_code == 0
    assert "row_origin" in result.stdout
    assert ask("SELECT count(*) AS n FROM seed_set", "--format", "csv").stdout == "n\n0\n"


def test_a_warehouse_that_cannot_be_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("S3_ASSETS_WAREHOUSE", str(tmp_path / "taken"))
    result = ask("SELECT 1")
    assert result.exit_code == 1
    assert "taken" in result.stderr
    assert isinstance(result.exception, SystemExit)


def test_duckdb_knows_what_a_statement_does() -> None:
    kinds = [statement.type for statement in duckdb.extract_statements("INSERT INTO a VALUES (1); SELECT 1")]
    expected = [duckdb.StatementType.INSERT, duckdb.StatementType.SELECT]
    assert kinds == expected, f"extract_statements changed in DuckDB {duckdb.__version__}"
