"""The views: live rows, time travel, what a part is, and the views that join tables."""

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from s3_assets.store.catalog import build_catalog, connect
from s3_assets.store.parts import Part, RoundKey, Warehouse
from s3_assets.store.tables import tables
from s3_assets.store.views import duckdb_type
from s3_assets_tests.test_parts import KEY, frame_of, seeds, write_seeds

ASKED_AT = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = Warehouse(tmp_path / "warehouse")
    build_catalog(warehouse)
    return warehouse


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
    query = "SELECT now() - as_of() = INTERVAL 1 second, epoch_ms(as_of()) - ?, (SELECT count(*) FROM seed_set)"
    # DuckDB chooses files when it plans a query and computes columns when it runs it: on a busy machine some ms later.
    close, past = 100, -1000
    with connect(warehouse) as con:
        while past <= close:
            row = con.execute(query, [stamp]).fetchone()
            assert row is not None
            back, past, count = row
            assert back
            if abs(past) > close:
                assert count == int(past > 0)


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
        {"asset": "extrapolated_set", "gate": "length", "stage": "row", "request_id": "r2", "item": 1},
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
    call = {"request_id": "r2", "teacher_id": "t", "model": "big", "asset": "extrapolated_set", "asked_at": ASKED_AT}
    put(
        warehouse,
        "teacher_calls",
        call | {"attempt": 0, "outcome": "failed"},
        call
        | {"attempt": 1, "outcome": "answered", "response": "[]", "prompt_tokens": 7, "completion_tokens": 5}
        | {"cost": 0.25},
    )
    # Paid for by another arm, used by this one.
    paid = {
        "request_id": "r1",
        "asset": "seed_set",
        "attempt": 0,
        "outcome": "answered",
        "response": "[]",
        "prompt_tokens": 100,
    }
    put(warehouse, "teacher_calls", call | paid, key=RoundKey(KEY.task, "other", 0, 0))


def test_rounds(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    loop_of_two_rounds(warehouse)
    nothing: dict[str, Any] = dict.fromkeys(("extrapolated_rows", "rejected_rows", "select_accuracy"))
    no_answers: dict[str, Any] = {"select_f1": None, "test_f1": None}
    unasked = dict.fromkeys(
        ("rows_requested", "label_questions", "teacher_budget", "paid_requests", "calls", "cost"), 0
    )
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
            **no_answers,
            "rows_requested": 4,
            "label_questions": 1,
            "teacher_budget": 5,
            "paid_requests": 1,
            "calls": 2,
            "prompt_tokens": 7,
            "completion_tokens": 5,
            "cost": 0.25,
        },
        {
            **KEY.at(1).columns(),
            **nothing,
            **no_answers,
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
    query = "SELECT round, asset, gate, rejected, accepted, share FROM funnel ORDER BY ALL"
    assert con.execute(query).fetchall() == [
        (0, "extrapolated_set", "accepted", 0, 1, 0.5),
        (0, "extrapolated_set", "length", 1, 0, 0.5),
        (0, "seed_set", "accepted", 0, 2, 1.0),
    ]


def test_a_tasks_own_rows_are_in_the_funnel_too(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    own = {"text": "Bad.", "label": "negative", "origin": "user", "first_round": 0}
    added = {"example_id": "x9", "text": "So so.", "label": "negative", "origin": "extrapolated", "first_round": 1}
    put(warehouse, "seed_set", *(own | {"example_id": f"x{number}"} for number in range(3)))
    put(warehouse, "seed_set", own | {"example_id": "x0"}, added, key=KEY.at(1))
    put(warehouse, "rejected", {"gate": "refusal", "stage": "row"}, asset="seed_set")
    query = "SELECT round, asset, gate, rejected, accepted, share FROM funnel ORDER BY ALL"
    assert con.execute(query).fetchall() == [
        (0, "seed_set", "accepted", 0, 3, 0.75),
        (0, "seed_set", "refusal", 1, 0, 0.25),
    ]


def test_label_agreement(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    asked = {"asset": "seed_set", "kind": "synthetic", "label": "negative", "outcome": "kept", "confidence": 1.0}
    put(
        warehouse,
        "verdicts",
        asked | {"row_id": "x1", "votes": ["negative"], "requests": ["r1"]},
        asked
        | {"row_id": "x2", "votes": ["positive", "positive"], "requests": ["r2", "r3"], "outcome": "dropped"}
        | {"confidence": 0.5},
        asked | {"row_id": "x3", "votes": [], "requests": [], "students_label": "negative"},
        asked | {"kind": "gold", "row_id": "g1", "votes": ["negative"], "requests": ["r4"]},
        asset="seed_set",
    )
    query = """SELECT kind, rows, asked, label_questions, first_vote_agrees, students_agree, kept, dropped, relabelled
    FROM label_agreement ORDER BY kind"""
    assert con.execute(query).fetchall() == [
        ("gold", 1, 1, 1, 1.0, None, 1, 0, 0),
        ("synthetic", 3, 2, 3, 0.5, 1.0, 2, 1, 0),
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


def test_types_of_embeddings_have_names() -> None:
    assert duckdb_type(pl.Array(pl.Float32, 384)) == "FLOAT[384]"
    assert duckdb_type(pl.List(pl.String())) == "VARCHAR[]"
    with pytest.raises(KeyError):
        duckdb_type(pl.Object())
