"""Lineage where rows were relabelled, answers were faulty, students asked nothing, or folders have odd names."""

from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from s3_assets.store.catalog import build_catalog, connect
from s3_assets.store.parts import Warehouse
from s3_assets_tests.test_lineage import fill, steps
from s3_assets_tests.test_parts import KEY
from s3_assets_tests.test_views import ASKED_AT, column, loop_of_two_rounds, put, records
from s3_assets_tests.warehouses import LATER

RELABEL = {"kind": "synthetic", "row_id": "x3", "decision": "relabel", "label": "negative", "new_label": "positive"}
RELABEL |= {"new_id": "x5", "why": "is fine", "decided_at": ASKED_AT}
NEW = {"example_id": "x5", "text": "So so.", "label": "positive", "gold_id": "g1", "request_id": "r2", "item": 0}
NEW |= {"origin": "extrapolated", "first_round": 1}
OLD = NEW | {"example_id": "x3", "label": "negative"}


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = Warehouse(tmp_path / "warehouse")
    fill(warehouse)
    return warehouse


@pytest.mark.parametrize("folder", ["task=zzz", "text=hello", "seed=abc", "_part=3", "50% [a] 'b'"])
def test_names_of_folders_above_are_no_columns(folder: str, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / folder / "warehouse")
    build_catalog(warehouse)
    loop_of_two_rounds(warehouse)
    with connect(warehouse) as con:
        con.execute(LATER)
        query = "SELECT task, round, text FROM seed_set WHERE task = 'toy' ORDER BY round, text"
        assert con.execute(query).fetchall() == [
            *[("toy", 0, "Bad.")] * 2,
            *[("toy", 1, "Bad.")] * 2,
            ("toy", 1, "So so."),
        ]


def test_a_row_relabelled_before_a_seed_set_held_it(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    put(warehouse, "reviews", RELABEL | {"from_round": 1})
    put(warehouse, "seed_set", NEW, key=KEY.at(1))
    assert [one for _, one in steps(con, "x3")["forward"]][:3] == ["r3", "x5", "seed_set/1"]
    assert steps(con, "x5")["back"][:2] == [(1, "x3"), (2, "r2")]
    (row,) = records(con, "SELECT * FROM lineage WHERE example_id = 'x5'")
    assert (row["review"], row["review_why"], row["gold_text"]) == ("relabel", "is fine", "Meh.")
    arrows = "SELECT relation FROM lineage_edges WHERE cause_id = 'x5' AND effect_kind = 'seed_set'"
    assert column(con, arrows) == ["extrapolated"]


def test_rows_relabelled_back_and_forth_end(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    back = RELABEL | {"row_id": "x5", "new_id": "x3", "label": "positive", "new_label": "negative", "from_round": 3}
    put(warehouse, "reviews", RELABEL | {"from_round": 2}, back)
    warehouse.retire("seed_set", KEY.at(1).columns())
    put(warehouse, "seed_set", NEW, key=KEY.at(2))
    put(warehouse, "seed_set", OLD, key=KEY.at(3))
    assert {one for _, one in steps(con, "x3")["back"]} >= {"r2", "x5", "g1"}
    assert {one for _, one in steps(con, "x5")["forward"]} >= {"x3", "seed_set/2", "seed_set/3"}


def test_a_reason_belongs_to_its_decision(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    exclude = {"kind": "synthetic", "row_id": "x3", "decision": "exclude", "why": "nonsense", "decided_at": ASKED_AT}
    keep = exclude | {"decision": "keep", "why": None, "decided_at": ASKED_AT + timedelta(days=1)}
    put(warehouse, "reviews", exclude, keep)
    assert con.execute("SELECT review, review_why FROM lineage WHERE example_id = 'x3'").fetchall() == [("keep", None)]


def test_of_answers_at_one_moment_the_last_attempt_counts(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    call = {"request_id": "r1", "teacher_id": "t", "model": "big", "outcome": "answered", "asked_at": ASKED_AT}
    tries = [call | {"attempt": number, "response": text} for number, text in ((1, "whole"), (0, "torn"))]
    put(warehouse, "teacher_calls", *tries)
    for view in ("lineage", "row_origin WHERE round = 0 AND"):
        where = "WHERE" if view == "lineage" else ""
        assert column(con, f"SELECT response FROM {view} {where} example_id = 'x1'") == ["whole"]


def test_label_questions_are_about_the_row_as_it_is(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    judged = {"kind": "synthetic", "row_id": "xold", "label": "positive", "new_label": "negative", "requests": ["r3"]}
    judged |= {"outcome": "relabelled", "request_id": "r2", "item": 0}
    dropped = judged | {"row_id": "x4", "item": 1, "outcome": "dropped", "requests": ["r4"]}
    put(warehouse, "verdicts", judged, dropped, asset="extrapolated_set")
    asked = "SELECT cause_kind, cause_id, effect_id FROM lineage_edges WHERE relation = 'label asked' ORDER BY ALL"
    assert con.execute(asked).fetchall() == [("rejected", "x4", "r4"), ("row", "x3", "r3")]
    assert steps(con, "r3")["back"][:2] == [(1, "x3"), (2, "r2")]


def test_faults_of_an_answer_are_told_apart(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    fault = {"stage": "response", "request_id": "r2", "reason": "no rows", "raw": "Sure!", "gate": "schema"}
    refused = fault | {"gate": "refused", "reason": "as an AI"}
    put(warehouse, "rejected", fault, fault, refused, asset="extrapolated_set")
    query = "SELECT effect_id, relation FROM lineage_edges WHERE effect_kind = 'rejected' ORDER BY ALL"
    assert con.execute(query).fetchall() == [("r2/refused", "refused"), ("r2/schema", "schema")]
    told = dict(con.execute("SELECT id, what FROM lineage_of('r2') WHERE kind = 'rejected'").fetchall())
    assert told == {
        "r2/refused": "refused by refused, as an AI: Sure!",
        "r2/schema": "refused by schema, no rows: Sure!",
    }


def test_no_arrow_is_there_twice(con: duckdb.DuckDBPyConnection) -> None:
    assert column(
        con, "SELECT count(*) - (SELECT count(*) FROM (SELECT DISTINCT * FROM lineage_edges)) FROM lineage_edges"
    ) == [0]


def test_ids_that_nothing_was_asked_of(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    put(warehouse, "gold", {"gold_id": "g1"}, {"gold_id": "g2", "split": "select", "text": "New.", "label": "negative"})
    lone = {"model_id": "m7", "training_rows": 4, "gold_rows": 4, "weights": "tiny"}
    put(warehouse, "trained_model", lone, key=KEY.at(7))
    assert steps(con, "m7")["self"] == [(0, "m7")]
    assert con.execute("SELECT arm, what FROM lineage_of('g2')").fetchall() == [(None, "gold, select, negative: New.")]
    assert steps(con, "g1")["self"] == [(0, "g1")]


def test_questions_about_selecting_gold_are_not_its_own(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    says = {"model_id": "m0", "gold_id": "g2", "split": "select", "label": "negative", "correct": True}
    wrong = {"model_id": "m0", "gold_id": "g1", "split": "steer", "label": "negative", "correct": False}
    put(warehouse, "predictions", says, wrong)
    ask = {"asset": "extrapolated_set", "gold_id": "g2", "kind": "label", "rows_requested": 0, "from_ledger": False}
    put(warehouse, "teacher_uses", ask | {"request_id": "r8"})
    query = "SELECT gold_id, requests FROM error_fate ORDER BY 1"
    assert con.execute(query).fetchall() == [("g1", 2), ("g2", 0)]
