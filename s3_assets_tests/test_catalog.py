"""The catalog: live rows, time travel, sessions beside the pipeline, rebuilding, comments, and DuckDB facts."""

import multiprocessing
import re
import shutil
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from s3_assets.store.catalog import ANCHOR, CatalogError, build_catalog, connect, ensure_catalog
from s3_assets.store.joined_views import joined_views
from s3_assets.store.parts import Part, RoundKey, Warehouse
from s3_assets.store.tables import Column, Table, tables
from s3_assets.store.views import duckdb_type, file_views
from s3_assets_tests.test_parts import KEY, frame_of, seeds, write_seeds

UPSTREAM = f"in DuckDB {duckdb.__version__}"
# Later than any part of the tests, so that they need not wait for the second the views look back.
LATER = "SET VARIABLE as_of = TIMESTAMPTZ '2200-01-01 00:00:00+00'"
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


@pytest.fixture
def con(warehouse: Warehouse) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(warehouse) as session:
        session.execute(LATER)
        yield session


def put(warehouse: Warehouse, name: str, *rows: dict[str, Any], key: RoundKey = KEY, asset: str = "") -> Part:
    """A part of table ``name``; key columns are filled in."""
    keys = key.columns() | ({"asset": asset} if asset else {})
    frame = frame_of(name, [{k: v for k, v in keys.items() if k in tables()[name].schema} | row for row in rows])
    return warehouse.write(name, keys, frame)


def as_of(con: duckdb.DuckDBPyConnection, stamp: int) -> None:
    con.execute("SET VARIABLE as_of = make_timestamptz(?)", [stamp * 1000])


def column(con: duckdb.DuckDBPyConnection, query: str) -> list[Any]:
    return [row[0] for row in con.execute(query).fetchall()]


def records(con: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    rows = con.execute(query).fetchall()
    names = [entry[0] for entry in con.description or []]
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_views_of_an_empty_warehouse_have_the_declared_columns(empty_con: duckdb.DuckDBPyConnection) -> None:
    for table in tables().values():
        described = empty_con.execute(f"DESCRIBE {table.name}").fetchall()
        assert [row[0] for row in described] == list(table.schema)
        assert [row[1] for row in described] == [
            duckdb_type(dtype).replace("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE") for dtype in table.schema.values()
        ]
        assert column(empty_con, f"SELECT count(*) FROM {table.name}") == [0]


def test_views_show_the_newest_part_of_each_partition(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    write_seeds(warehouse, 3, "old")
    write_seeds(warehouse, 2, "new")
    write_seeds(warehouse, 1, "next", KEY.at(1))
    query = "SELECT round, label, count(*) FROM seed_set GROUP BY ALL ORDER BY ALL"
    assert con.execute(query).fetchall() == [(0, "new", 2), (1, "next", 1)]


def test_a_newest_part_without_rows_hides_the_older(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    write_seeds(warehouse, 3, "old")
    write_seeds(warehouse, 0, "none")
    assert column(con, "SELECT count(*) FROM seed_set") == [0]


def test_a_reset_empties_the_partition(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    write_seeds(warehouse, 3, "old")
    write_seeds(warehouse, 1, "next", KEY.at(1))
    warehouse.retire("seed_set", KEY.columns())
    assert column(con, "SELECT label FROM seed_set") == ["next"]
    shown = con.execute("SELECT round, reset, live FROM parts WHERE table_name = 'seed_set' ORDER BY stamp").fetchall()
    assert shown == [(0, False, False), (1, False, True), (0, True, False)]


def test_every_part_of_a_log_counts(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    for request in ("r1", "r2"):
        put(warehouse, "teacher_uses", {"request_id": request, "rows_requested": 3})
    assert column(con, "SELECT request_id FROM teacher_uses ORDER BY 1") == ["r1", "r2"]
    assert column(con, "SELECT live FROM parts WHERE table_name = 'teacher_uses'") == [True, True]


def test_columns_are_found_by_name_in_parts_of_another_version(
    warehouse: Warehouse, con: duckdb.DuckDBPyConnection
) -> None:
    path = write_seeds(warehouse, 1, "new", KEY.at(1))
    old = seeds(1, "old").drop("origin").with_columns(was=pl.lit(1)).select(["was", "text", "label", "round"])
    folder = warehouse.directory("seed_set", KEY.columns())
    folder.mkdir(parents=True)
    old.write_parquet(folder / path.name)
    rows = con.execute("SELECT round, text, label, origin FROM seed_set ORDER BY round").fetchall()
    assert rows == [(0, "text 0", "old", None), (1, "text 0", "new", "seed")]


def test_files_of_others_are_not_shown(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    path = write_seeds(warehouse, 1, "mine")
    shutil.copy(path, path.with_name("copy.parquet"))
    shutil.copy(path, path.with_name("77-short.parquet"))
    path.with_name(".0a.tmp").write_text("torn")
    assert column(con, "SELECT label FROM seed_set") == ["mine"]
    assert column(con, "SELECT path FROM parts") == [str(path)]


def test_as_of_travels_in_time(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    stamps = []
    for mark in ("a", "b"):
        write_seeds(warehouse, 1, mark)
        stamps.append(warehouse.parts("seed_set", KEY.columns())[-1].stamp)
    stamps.append(warehouse.retire("seed_set", KEY.columns()).stamp)
    put(warehouse, "teacher_uses", {"request_id": "r1"})
    shown = []
    for stamp in (stamps[0] - 1, *stamps):
        as_of(con, stamp)
        shown.append(column(con, "SELECT label FROM seed_set"))
    assert shown == [[], ["a"], ["b"], []]
    as_of(con, stamps[0])
    assert column(con, "SELECT count(*) FROM teacher_uses") == [0]
    assert column(con, "SELECT live FROM parts WHERE table_name = 'seed_set' ORDER BY stamp") == [True, False, False]


def test_without_as_of_the_views_look_a_second_back(warehouse: Warehouse) -> None:
    write_seeds(warehouse, 1, "fresh")
    stamp = warehouse.parts("seed_set", KEY.columns())[-1].stamp
    query = "SELECT now() - as_of() = INTERVAL 1 second, epoch_ms(as_of()) >= ?, (SELECT count(*) FROM seed_set)"
    shown = False
    with connect(warehouse) as con:
        while not shown:
            row = con.execute(query, [stamp]).fetchone()
            assert row is not None
            back, shown, count = row
            assert (back, count) == (True, int(shown))


def test_parts_tells_where_a_part_is_and_what_its_writer_noted(
    warehouse: Warehouse, con: duckdb.DuckDBPyConnection
) -> None:
    notes = {"input_fingerprint": "f1", "inputs": '["p1"]'}
    part = warehouse.write("seed_set", KEY.at(2).columns(), seeds(1, "a", KEY.at(2)), notes)
    put(warehouse, "rejected", {"gate": "length"}, asset="extrapolated_set")
    put(warehouse, "gold", {"gold_id": "g1"})
    noted, *others = records(con, "SELECT * EXCLUDE (stamp), epoch_ms(stamp) AS stamp FROM parts ORDER BY stamp")
    assert noted == {
        "table_name": "seed_set",
        "path": str(part.path),
        **KEY.at(2).columns(),
        "asset": None,
        "live": True,
        "reset": False,
        "data_version": part.data_version,
        **notes,
        "stamp": part.stamp,
    }
    assert [(o["table_name"], o["task"], o["arm"], o["round"], o["asset"], o["inputs"]) for o in others] == [
        ("rejected", "toy", "s3", 0, "extrapolated_set", None),
        ("gold", "toy", None, None, None, None),
    ]


def loop_of_two_rounds(warehouse: Warehouse) -> None:
    """Two seed rows, one error, two examples from it of which one is refused, and the round that trains on them."""
    put(warehouse, "gold", {"gold_id": "g1", "split": "steer", "text": "Meh.", "label": "negative"})
    seed = {"example_id": "x1", "text": "Bad.", "label": "negative", "origin": "seed", "first_round": 0, "item": 0}
    first = [seed | {"request_id": "r1"}, seed | {"example_id": "x2", "request_id": "r1", "item": 1}]
    put(warehouse, "seed_set", *first)
    put(warehouse, "rejected", asset="seed_set")
    model = {"model_id": "m0", "select_accuracy": 0.5}
    put(warehouse, "trained_model", model)
    wrong = {"model_id": "m0", "gold_id": "g1", "label": "negative", "prediction": "positive", "probability": 0.75}
    put(warehouse, "predictions", wrong | {"split": "steer", "correct": False})
    put(warehouse, "error_set", wrong)
    example = {
        "example_id": "x3",
        "text": "So so.",
        "label": "negative",
        "gold_id": "g1",
        "request_id": "r2",
        "item": 0,
    }
    put(warehouse, "extrapolated_set", example | {"model_id": "m0"})
    put(
        warehouse,
        "rejected",
        {"asset": "extrapolated_set", "gate": "length", "request_id": "r2", "item": 1},
        asset="extrapolated_set",
    )
    put(warehouse, "seed_set", *first, example | {"origin": "extrapolated", "first_round": 1}, key=KEY.at(1))
    put(warehouse, "error_set", key=KEY.at(1))
    use = {"asset": "extrapolated_set", "gold_id": "g1", "kind": "examples", "rows_requested": 2}
    label = {"asset": "extrapolated_set", "gold_id": "g1", "kind": "label", "rows_requested": 0, "from_ledger": True}
    put(
        warehouse,
        "teacher_uses",
        {"asset": "seed_set", "request_id": "r1", "kind": "examples", "rows_requested": 2, "from_ledger": True},
        use | {"request_id": "r2", "from_ledger": False},
        label | {"request_id": "r3"},
    )
    # The step ran twice: the second time everything came from the ledger and nothing was asked anew.
    put(warehouse, "teacher_uses", use | {"request_id": "r2", "from_ledger": True})
    call = {"request_id": "r2", "teacher_id": "t", "model": "big"}
    put(
        warehouse,
        "teacher_calls",
        call | {"attempt": 0, "outcome": "failed"},
        call | {"attempt": 1, "outcome": "answered", "response": "[]", "prompt_tokens": 7, "completion_tokens": 5},
        call | {"request_id": "r1", "attempt": 0, "outcome": "answered", "prompt_tokens": 100},
    )


def test_rounds(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    loop_of_two_rounds(warehouse)
    nothing: dict[str, Any] = dict.fromkeys(("extrapolated_rows", "rejected_rows", "select_accuracy"))
    unasked = dict.fromkeys(("rows_requested", "label_questions", "teacher_budget", "paid_requests"), 0)
    assert records(con, "SELECT * FROM rounds ORDER BY round") == [
        {
            **KEY.columns(),
            "seed_rows": 2,
            "errors": 1,
            "extrapolated_rows": 1,
            "rejected_rows": 1,
            "steer_accuracy": None,
            "select_accuracy": 0.5,
            "test_accuracy": None,
            "rows_requested": 4,
            "label_questions": 1,
            "teacher_budget": 5,
            "paid_requests": 1,
            "prompt_tokens": 7,
            "completion_tokens": 5,
        },
        {
            **KEY.at(1).columns(),
            **nothing,
            **unasked,
            "seed_rows": 3,
            "errors": 0,
            "steer_accuracy": None,
            "test_accuracy": None,
            "prompt_tokens": 0,
            "completion_tokens": 0,
        },
    ]


def test_funnel(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    loop_of_two_rounds(warehouse)
    query = "SELECT round, asset, gate, rejected, accepted FROM funnel ORDER BY ALL"
    assert con.execute(query).fetchall() == [
        (0, "extrapolated_set", "accepted", 0, 1),
        (0, "extrapolated_set", "length", 1, 0),
        (0, "seed_set", "accepted", 0, 2),
    ]


def test_row_origin_leads_from_a_row_to_the_error_it_came_from(
    warehouse: Warehouse, con: duckdb.DuckDBPyConnection
) -> None:
    loop_of_two_rounds(warehouse)
    assert column(con, "SELECT count(*) FROM row_origin") == column(con, "SELECT count(*) FROM seed_set") == [5]
    origin = records(con, "SELECT * FROM row_origin WHERE example_id = 'x3'")
    assert len(origin) == 1
    expected = {"gold_text": "Meh.", "gold_label": "negative", "error_round": 0, "wrong_prediction": "positive"}
    expected |= {"wrong_model_id": "m0", "teacher_model": "big", "response": "[]", "round": 1}
    assert {name: origin[0][name] for name in expected} == expected
    assert column(con, "SELECT count(*) FROM row_origin WHERE origin = 'seed' AND error_round IS NULL") == [4]


def test_gold_history(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    loop_of_two_rounds(warehouse)
    query = "SELECT round, gold_id, text, prediction, correct, examples FROM gold_history"
    assert con.execute(query).fetchall() == [(0, "g1", "Meh.", "positive", False, 1)]


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


def test_all_views_of_one_query_and_transaction_agree(warehouse: Warehouse) -> None:
    write_seeds(warehouse, 1, "a")
    with connect(warehouse) as con:
        time.sleep(0.9)
        con.execute("BEGIN")
        early = column(con, "SELECT count(*) FROM seed_set")
        put(warehouse, "error_set", {"gold_id": "g1"})
        time.sleep(1.2)
        query = (
            "SELECT (SELECT count(*) FROM seed_set), (SELECT count(*) FROM error_set), count(*) FROM parts WHERE live"
        )
        assert con.execute(query).fetchall() == [(early[0], 0, early[0])]
        moments = column(con, "SELECT as_of FROM catalog_info UNION SELECT as_of()")
        assert len(moments) == 1
        con.execute("COMMIT")
        assert con.execute(query).fetchall() == [(1, 1, 2)]


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
        (warehouse.root / "seed_set" / ANCHOR).unlink()
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
    anchor = warehouse.root / "gold" / ANCHOR
    before = anchor.stat().st_ino
    build_catalog(warehouse)
    assert anchor.stat().st_ino == before
    gold = tables()["gold"]
    wider = Table(gold.name, gold.comment, gold.keys, (*gold.columns, Column("weight", pl.Float32, "Weight.")))
    put(warehouse, "gold", {"gold_id": "g1"})
    for module in ("catalog", "views"):
        monkeypatch.setattr(f"s3_assets.store.{module}.tables", lambda: tables() | {"gold": wider})
    with connect_after(ensure_catalog(warehouse)) as con:
        con.execute(LATER)
        assert con.execute("SELECT gold_id, weight FROM gold").fetchall() == [("g1", None)]


def test_everything_has_a_comment(empty: Warehouse, empty_con: duckdb.DuckDBPyConnection) -> None:
    names = {view.name for view in (*file_views(empty.root), *joined_views())} | {"catalog_info"}
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
    for view in (*file_views(empty.root), *joined_views()):
        assert column(empty_con, f"SELECT column_name FROM (DESCRIBE {view.name})") == list(view.columns), view.name


def test_types_of_embeddings_have_names() -> None:
    assert duckdb_type(pl.Array(pl.Float32, 384)) == "FLOAT[384]"
    assert duckdb_type(pl.List(pl.String())) == "VARCHAR[]"
    with pytest.raises(KeyError):
        duckdb_type(pl.Object())


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
