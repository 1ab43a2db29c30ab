"""The catalog: sessions beside the pipeline, rebuilding, comments, and the DuckDB facts it stands on."""

import multiprocessing
import re
import shutil
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import duckdb
import polars as pl
import pytest

from s3_assets.store.catalog import CatalogError, build_catalog, connect, ensure_catalog
from s3_assets.store.columns import Column, Table
from s3_assets.store.derived import derived_views
from s3_assets.store.parts import Warehouse
from s3_assets.store.tables import tables
from s3_assets.store.views import anchor, duckdb_type, file_views
from s3_assets_tests.test_parts import KEY, write_seeds
from s3_assets_tests.test_views import column, put
from s3_assets_tests.warehouses import LATER

UPSTREAM = f"in DuckDB {duckdb.__version__}"
WRITERS, WRITES = 3, 25


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = Warehouse(tmp_path / "warehouse")
    build_catalog(warehouse)
    return warehouse


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """For tests that write nothing."""
    warehouse = Warehouse(tmp_path_factory.mktemp("empty"))
    build_catalog(warehouse)
    return warehouse


@pytest.fixture(scope="module")
def empty_con(empty: Warehouse) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(empty) as session:
        yield session


def test_views_of_an_empty_warehouse_have_the_declared_columns(empty_con: duckdb.DuckDBPyConnection) -> None:
    for table in tables().values():
        described = empty_con.execute(f"DESCRIBE {table.name}").fetchall()
        assert [row[0] for row in described] == list(table.schema)
        assert [row[1] for row in described] == [
            duckdb_type(dtype).replace("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE") for dtype in table.schema.values()
        ]
        assert column(empty_con, f"SELECT count(*) FROM {table.name}") == [0]


def poll_when_told(path: Path, pipe: Connection) -> None:
    """Child process: an ordinary session, opened once, asked again and again."""
    with duckdb.connect(str(path), read_only=True) as con:
        while pipe.recv():
            pipe.send(column(con, "SELECT label FROM seed_set ORDER BY round"))


def test_open_sessions_see_every_round_and_do_not_hinder_the_writer(warehouse: Warehouse) -> None:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    other = spawn.Process(target=poll_when_told, args=(warehouse.catalog_path, theirs))
    other.start()
    marks: list[str] = []
    with connect(warehouse) as con:
        for mark in ("a", "b", "c"):
            write_seeds(warehouse, 1, mark, KEY.at(len(marks)))
            marks.append(mark)
            time.sleep(1.05)
            ours.send(True)
            assert ours.recv() == marks
            assert column(con, "SELECT label FROM seed_set ORDER BY round") == marks
    ours.send(False)
    other.join()
    assert other.exitcode == 0


def write_rounds(root: Path, writer: int) -> None:
    """Child process: each write replaces a round by 50 to 99 rows that all carry the same mark.

    The first two rounds are fought over by all writers, the third is the writer's own.
    """
    warehouse = Warehouse(root)
    for count in range(WRITES):
        key = KEY.at((0, 1, 2 + writer)[count % 3])
        write_seeds(warehouse, 50 + count, f"{writer}-{count}-{50 + count}", key)


def test_concurrent_writers_and_a_reader(warehouse: Warehouse) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=write_rounds, args=(warehouse.root, i)) for i in range(WRITERS)]
    for writer in writers:
        writer.start()
    query = "SELECT round, min(label), max(label), count(*) FROM seed_set GROUP BY round ORDER BY round"
    seen: set[int] = set()
    reads, ends = 0, float("inf")
    with connect(warehouse) as con:
        while time.monotonic() < ends:
            rows = con.execute(query).fetchall()
            reads += 1
            for _, low, high, count in rows:
                assert low == high, "two parts of one partition were shown together"
                assert count == int(low.split("-")[2]), "a part was shown torn"
            rounds = {row[0] for row in rows}
            assert seen <= rounds, "a round vanished"
            seen = rounds
            if ends == float("inf") and not any(writer.is_alive() for writer in writers):
                ends = time.monotonic() + 1.1
        assert seen == {0, 1, *range(2, 2 + WRITERS)}
        assert column(con, "SELECT count(*) FROM parts") == [WRITERS * WRITES]
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    assert reads > 10


def test_the_catalog_is_read_only_and_connect_names_the_command(warehouse: Warehouse, tmp_path: Path) -> None:
    with connect(warehouse) as con, pytest.raises(duckdb.InvalidInputException, match="read-only"):
        con.execute("CREATE TABLE mine (a INTEGER)")
    with pytest.raises(CatalogError, match="s3-assets catalog"):
        connect(Warehouse(tmp_path / "elsewhere"))


def test_a_moved_warehouse_is_noticed_and_rebuilt(warehouse: Warehouse, tmp_path: Path) -> None:
    write_seeds(warehouse, 1, "a")
    # A copy too: the old views would silently show the parts of the old place.
    shutil.copytree(warehouse.root, tmp_path / "it's [moved]*")
    moved = Warehouse(tmp_path / "it's [moved]*")
    with pytest.raises(CatalogError, match="rebuild it with `s3-assets catalog`"):
        connect(moved)
    ensure_catalog(moved)
    shutil.rmtree(warehouse.root)
    with connect(moved) as con:
        con.execute(LATER)
        assert column(con, "SELECT label FROM seed_set") == ["a"]
        assert column(con, "SELECT task FROM parts") == ["toy"]
        assert column(con, "SELECT root FROM catalog_info") == [str(moved.root)]


def test_ensure_rebuilds_only_when_needed(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    def inode() -> int:
        return ensure_catalog(warehouse).stat().st_ino

    with warehouse.catalog_path.open("rb"):  # Held open, so that the inode number is not given to a new file.
        built = warehouse.catalog_path.stat().st_ino
        assert inode() == built
        (warehouse.root / anchor(tables()["seed_set"])).unlink()
        assert inode() != built
    monkeypatch.setattr("s3_assets.store.catalog.AS_OF", "now()")
    with warehouse.catalog_path.open("rb"):
        built = warehouse.catalog_path.stat().st_ino
        assert inode() != built
        assert inode() == inode()
    warehouse.catalog_path.write_bytes(b"torn")
    with connect_after(ensure_catalog(warehouse)) as con:
        assert column(con, "SELECT count(*) FROM seed_set") == [0]
    warehouse.catalog_path.unlink()
    assert ensure_catalog(warehouse).exists()
    assert not list(warehouse.root.glob(".s3-*"))


def connect_after(path: Path) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str(path), read_only=True)


def hold_for_writing(path: Path, pipe: Connection) -> None:
    """Child process: a person who opens the catalog for writing, makes a table and stays."""
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE TABLE mine (a INTEGER)")
        pipe.send(True)
        pipe.recv()


def test_a_session_open_for_writing_is_named_and_a_new_catalog_gets_round_it(warehouse: Warehouse) -> None:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    holder = spawn.Process(target=hold_for_writing, args=(warehouse.catalog_path, theirs))
    holder.start()
    assert ours.recv()
    write_seeds(warehouse, 1, "a")
    with pytest.raises(CatalogError, match="open it read-only instead"):
        connect(warehouse)
    ensure_catalog(warehouse)
    with connect(warehouse) as con:
        con.execute(LATER)
        assert column(con, "SELECT label FROM seed_set") == ["a"]
    ours.send(True)
    holder.join()
    with connect(warehouse) as con:
        assert column(con, "SELECT count(*) FROM duckdb_tables() WHERE NOT internal") == [0]


def test_an_anchor_follows_its_table(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    place = warehouse.root / anchor(tables()["gold"])
    before = place.stat().st_ino
    build_catalog(warehouse)
    assert place.stat().st_ino == before
    gold = tables()["gold"]
    wider = Table(gold.name, gold.comment, gold.keys, (*gold.columns, Column("weight", pl.Float32, "Weight.")))
    put(warehouse, "gold", {"gold_id": "g1"})
    for module in ("catalog", "views"):
        monkeypatch.setattr(f"s3_assets.store.{module}.tables", lambda: tables() | {"gold": wider})
    with connect_after(ensure_catalog(warehouse)) as con:
        con.execute(LATER)
        assert con.execute("SELECT gold_id, weight FROM gold").fetchall() == [("g1", None)]


def test_everything_has_a_comment(empty: Warehouse, empty_con: duckdb.DuckDBPyConnection) -> None:
    names = {view.name for view in (*file_views(empty.root), *derived_views())} | {"catalog_info"}
    commented = dict(empty_con.execute("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal").fetchall())
    assert set(commented) == names
    assert set(tables()) < names
    assert all(comment and comment.endswith(".") for comment in commented.values())
    columns = empty_con.execute(
        "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal"
    ).fetchall()
    assert {row[0] for row in columns} == names
    assert [row[:2] for row in columns if not row[2] or not row[2].endswith(".")] == []
    assert column(empty_con, "SELECT comment IS NULL FROM duckdb_functions() WHERE function_name = 'as_of'") == [False]


def test_documented_columns_are_the_views_columns(empty: Warehouse, empty_con: duckdb.DuckDBPyConnection) -> None:
    for view in (*file_views(empty.root), *derived_views()):
        assert column(empty_con, f"SELECT column_name FROM (DESCRIBE {view.name})") == list(view.columns), view.name


def test_no_extension_is_needed(empty_con: duckdb.DuckDBPyConnection) -> None:
    loaded = column(empty_con, "SELECT extension_name FROM duckdb_extensions() WHERE loaded ORDER BY ALL")
    assert loaded == ["core_functions", "icu", "json", "parquet"], f"the wheel's extensions changed {UPSTREAM}"


def test_duckdb_reads_a_variable_inside_a_view() -> None:
    with duckdb.connect() as con:
        con.execute("CREATE VIEW v AS SELECT coalesce(getvariable('x')::TIMESTAMPTZ::VARCHAR, 'unset') AS x")
        assert column(con, "FROM v") == ["unset"], f"an unset variable is no longer null {UPSTREAM}"
        con.execute("SET VARIABLE x = TIMESTAMPTZ '2026-01-01 00:00:00+00'")
        assert column(con, "FROM v")[0].startswith("202"), f"getvariable is no longer read inside views {UPSTREAM}"


def test_duckdb_macros_in_views_resolve_under_any_name(warehouse: Warehouse) -> None:
    write_seeds(warehouse, 1, "a")
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{warehouse.catalog_path}' AS mine (READ_ONLY)")
        con.execute(LATER)
        rows = con.execute("SELECT seed_rows FROM mine.rounds").fetchall()
        assert rows == [(1,)], f"an attached catalog cannot find its own macros and views {UPSTREAM}"


def test_views_are_stored_as_older_clients_read_them(empty_con: duckdb.DuckDBPyConnection) -> None:
    stored = column(empty_con, "SELECT sql FROM duckdb_views() WHERE NOT internal")
    unreadable = [query for query in stored if re.search(r"\bif\(", query)]
    assert not unreadable, f"DuckDB 1.5.5 has no function if() to read back what is stored {UPSTREAM}"


def test_duckdb_reads_notes_of_several_globs(tmp_path: Path) -> None:
    for name in ("a", "b"):
        pl.DataFrame({"n": [1]}).write_parquet(tmp_path / f"{name}.parquet", metadata={"note": name})
    with duckdb.connect() as con:
        query = "SELECT file_name, decode(value) FROM parquet_kv_metadata(?) WHERE decode(key) = 'note' ORDER BY ALL"
        rows = con.execute(query, [[f"{tmp_path}/a*.parquet", f"{tmp_path}/b*.parquet"]]).fetchall()
    assert rows == [(f"{tmp_path}/{name}.parquet", name) for name in ("a", "b")], (
        f"parquet_kv_metadata changed {UPSTREAM}"
    )


def test_duckdb_keeps_the_storage_version(empty: Warehouse) -> None:
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{empty.catalog_path}' AS mine (READ_ONLY)")
        tags = column(con, "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = 'mine'")
    assert str(tags[0]).startswith("v1.4.0"), f"STORAGE_VERSION 'v1.4.0' is no longer honoured {UPSTREAM}: {tags}"
