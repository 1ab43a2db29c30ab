"""Spending: by request and step, each counted once, and what became of gold rows."""

from pathlib import Path

import duckdb
import pytest

from s3_assets.store.catalog import build_catalog
from s3_assets.store.parts import Warehouse
from s3_assets_tests.test_parts import KEY
from s3_assets_tests.test_views import column, loop_of_two_rounds, put, records


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = Warehouse(tmp_path / "warehouse")
    build_catalog(warehouse)
    return warehouse


def test_a_request_counts_once_and_what_a_step_paid_is_its_own(
    warehouse: Warehouse, con: duckdb.DuckDBPyConnection
) -> None:
    loop_of_two_rounds(warehouse)
    rows = records(con, "SELECT * FROM spend ORDER BY asset, kind")
    assert [(row["asset"], row["kind"]) for row in rows] == [
        ("extrapolated_set", "examples"),
        ("extrapolated_set", "label"),
        ("seed_set", "examples"),
    ]
    examples = {"requests": 1, "paid_requests": 1, "ledger_requests": 0, "attempts": 2, "failed_attempts": 1}
    examples |= {"prompt_tokens": 7, "completion_tokens": 5, "cost": 0.25, "rows_requested": 2, "accepted": 1}
    examples |= {"refused": 1, "cost_per_row": 0.25, "model": "big"}
    assert {name: rows[0][name] for name in examples} == examples
    assert (rows[1]["ledger_requests"], rows[1]["cost"], rows[1]["cost_per_row"]) == (1, 0.0, None)
    # Paid by another arm.
    assert (rows[2]["ledger_requests"], rows[2]["attempts"], rows[2]["cost"], rows[2]["accepted"]) == (1, 0, 0.0, 2)


def test_spend_agrees_with_rounds(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    loop_of_two_rounds(warehouse)
    sums = "sum(rows_requested), sum(prompt_tokens), sum(completion_tokens), sum(cost)"
    query = f"SELECT {sums}, sum(%s) FROM %s"
    by_step = con.execute(query % ("attempts", "spend")).fetchall()
    assert by_step == con.execute(query % ("calls", "rounds")).fetchall()
    assert by_step == con.execute(query % ("attempts", "request_spend")).fetchall()


def test_an_unknown_price_makes_a_sum_unknown(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    for request, cost in (("r1", 0.5), ("r2", None)):
        use = {"asset": "seed_set", "request_id": request, "kind": "examples", "from_ledger": False}
        put(warehouse, "teacher_uses", use | {"rows_requested": 1})
        call = {"request_id": request, "asset": "seed_set", "attempt": 0, "outcome": "answered", "response": "[]"}
        put(warehouse, "teacher_calls", call | {"cost": cost})
    assert column(con, "SELECT cost FROM request_spend ORDER BY request_id") == [0.5, None]
    assert con.execute("SELECT cost, requests FROM spend").fetchall() == [(None, 2)]


def test_cost_by_label(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    loop_of_two_rounds(warehouse)
    query = "SELECT label, sum(cost), sum(accepted) FROM request_spend WHERE kind = 'examples' GROUP BY label"
    assert con.execute(query).fetchall() == [("negative", 0.25, 3)]


@pytest.mark.parametrize(
    ("correct", "fate", "first_wrong", "fixed_in"),
    [
        ([True, True, True], "always_right", None, None),
        ([False, True, True], "fixed", 0, 1),
        ([True, False, True], "fixed", 1, 2),
        ([False, True, False], "broken", 0, None),
        ([True, True, False], "broken", 2, None),
        ([False, False, False], "never_fixed", 0, None),
    ],
)
def test_fates(warehouse, con, correct, fate, first_wrong, fixed_in) -> None:
    put(warehouse, "gold", {"gold_id": "g1", "split": "steer", "text": "Meh.", "label": "negative"})
    for round_, right in enumerate(correct):
        says = {
            "gold_id": "g1",
            "split": "steer",
            "label": "negative",
            "prediction": "negative" if right else "positive",
        }
        put(warehouse, "predictions", says | {"correct": right}, key=KEY.at(round_))
    (row,) = records(con, "SELECT * FROM error_fate")
    assert (row["rounds"], row["correct"]) == ([0, 1, 2], correct)
    assert (row["fate"], row["first_wrong_round"], row["fixed_in_round"]) == (fate, first_wrong, fixed_in)
    assert (row["text"], row["requests"], row["by_round"], row["cost"]) == ("Meh.", 0, [], 0)


def test_what_was_made_and_spent_for_an_error(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    loop_of_two_rounds(warehouse)
    (row,) = records(con, "SELECT * FROM error_fate")
    # The label question about its row counts as a request too.
    assert (row["requests"], row["examples"], row["refused"], row["tokens"], row["cost"]) == (2, 1, 1, 12, 0.25)
    assert row["by_round"] == [{"round": 0, "requests": 2, "examples": 1, "refused": 1}]
