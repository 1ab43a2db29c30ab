"""Lineage: the chain of a row, arrows, steps from an id, and the command."""

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from s3_assets.store.catalog import build_catalog
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets_tests.test_parts import KEY
from s3_assets_tests.test_views import ASKED_AT, column, loop_of_two_rounds, put, records

Command = Callable[..., tuple[int, str, str]]


def fill(warehouse: Warehouse) -> None:
    """The loop of two rounds; its second student is right about the error, a person relabels the row after."""
    build_catalog(warehouse)
    loop_of_two_rounds(warehouse)
    put(warehouse, "trained_model", {"model_id": "m0", "training_rows": 2, "gold_rows": 0, "weights": "tiny"})
    trained = {"model_id": "m1", "training_rows": 3, "gold_rows": 0, "weights": "tiny"}
    put(warehouse, "trained_model", trained, key=KEY.at(1))
    says = {"gold_id": "g1", "split": "steer", "label": "negative", "prediction": "negative", "probability": 0.9}
    put(warehouse, "predictions", says | {"model_id": "m1", "correct": True}, key=KEY.at(1))
    refused = {"asset": "extrapolated_set", "gate": "length", "stage": "row", "request_id": "r2", "item": 1}
    refused |= {"gold_id": "g1", "label": "negative", "text": "No.", "row_id": "x4", "reason": "too [short]"}
    put(warehouse, "rejected", refused, asset="extrapolated_set")
    judged = {"kind": "synthetic", "row_id": "x3", "label": "negative", "votes": ["negative"], "requests": ["r3"]}
    judged |= {"outcome": "kept", "confidence": 0.75, "request_id": "r2", "item": 0}
    put(warehouse, "verdicts", judged, asset="extrapolated_set")


def relabel(warehouse: Warehouse) -> None:
    """x3 becomes x5 in round 2."""
    decided = {"kind": "synthetic", "row_id": "x3", "decision": "relabel", "label": "negative", "why": "is fine"}
    decided |= {"decided_at": ASKED_AT}
    put(warehouse, "reviews", decided | {"new_label": "positive", "new_id": "x5", "from_round": 2})
    row = {"text": "So so.", "label": "positive", "gold_id": "g1", "request_id": "r2", "item": 0, "first_round": 1}
    put(warehouse, "seed_set", row | {"example_id": "x5", "origin": "extrapolated"}, key=KEY.at(2))


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = Warehouse(tmp_path / "warehouse")
    fill(warehouse)
    return warehouse


def test_a_row_has_its_whole_chain(con: duckdb.DuckDBPyConnection) -> None:
    assert column(con, "SELECT example_id FROM lineage ORDER BY 1") == ["x1", "x2", "x3"]
    (chain,) = records(con, "SELECT * EXCLUDE (task, arm, seed) FROM lineage WHERE example_id = 'x3'")
    expected = {
        "round": 1,
        "gold_id": "g1",
        "gold_text": "Meh.",
        "gold_label": "negative",
        "error_round": 0,
        "wrong_prediction": "positive",
        "wrong_probability": 0.75,
        "wrong_model_id": "m0",
        "request_id": "r2",
        "teacher_model": "big",
        "from_ledger": False,
        "response": "[]",
        "text": "So so.",
        "refused_beside": 1,
        "verdict": "kept",
        "confidence": 0.75,
        "review": None,
        "seed_sets": [1],
        "models": ["m1"],
        "gold_right_after": True,
        "gold_right_now": True,
    }
    assert {name: chain[name] for name in expected} == expected


def test_seeds_come_from_no_error(con: duckdb.DuckDBPyConnection) -> None:
    (seed,) = records(con, "SELECT * FROM lineage WHERE example_id = 'x1'")
    nothing = ("gold_id", "gold_text", "error_round", "wrong_model_id", "gold_right_after", "gold_right_now")
    assert {seed[name] for name in nothing} == {None}
    assert (seed["from_ledger"], seed["seed_sets"], seed["models"]) == (True, [0, 1], ["m0", "m1"])


def test_rows_from_random_gold_name_no_error(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    other = RoundKey(KEY.task, "goldgen", 0, 0)
    row = {"example_id": "x9", "text": "Hm.", "label": "negative", "gold_id": "g1", "request_id": "r9", "item": 0}
    # The student happened to miss the row; nothing was made of that.
    put(warehouse, "error_set", {"model_id": "m9", "gold_id": "g1", "prediction": "positive"}, key=other)
    put(warehouse, "extrapolated_set", row, key=other)
    use = {"asset": "extrapolated_set", "gold_id": "g1", "request_id": "r9", "kind": "examples", "from_ledger": False}
    put(warehouse, "teacher_uses", use, key=other)
    put(warehouse, "seed_set", row | {"origin": "extrapolated", "first_round": 1}, key=other.at(1))
    (chain,) = records(con, "SELECT * FROM lineage WHERE arm = 'goldgen'")
    assert (chain["gold_text"], chain["error_round"], chain["wrong_prediction"]) == ("Meh.", None, None)
    edge = "SELECT cause_kind, cause_id, relation FROM lineage_edges WHERE arm = 'goldgen' AND effect_id = 'r9'"
    assert con.execute(edge).fetchall() == [("gold", "g1", "extrapolated")]


def test_edges(con: duckdb.DuckDBPyConnection) -> None:
    query = "SELECT round, cause_kind || ' ' || cause_id, effect_kind || ' ' || effect_id, relation FROM lineage_edges"
    assert set(con.execute(query).fetchall()) == {
        (0, "gold g1", "prediction m0/g1", "missed"),
        (0, "model m0", "prediction m0/g1", "missed"),
        (1, "gold g1", "prediction m1/g1", "right"),
        (1, "model m1", "prediction m1/g1", "right"),
        (0, "prediction m0/g1", "request r2", "error extrapolated"),
        (0, "request r2", "row x3", "wrote"),
        (0, "request r1", "row x1", "wrote"),
        (0, "request r1", "row x2", "wrote"),
        (0, "request r2", "rejected x4", "length"),
        (0, "row x3", "request r3", "label asked"),
        (0, "row x1", "seed_set seed_set/0", "seed"),
        (0, "row x2", "seed_set seed_set/0", "seed"),
        (1, "row x3", "seed_set seed_set/1", "extrapolated"),
        (1, "seed_set seed_set/0", "seed_set seed_set/1", "carried over"),
        (0, "seed_set seed_set/0", "model m0", "trained"),
        (1, "seed_set seed_set/1", "model m1", "trained"),
    }


def steps(con: duckdb.DuckDBPyConnection, wanted: str) -> dict[str, list[tuple[int, str]]]:
    found: dict[str, list[tuple[int, str]]] = {"back": [], "self": [], "forward": []}
    for direction, depth, one in con.execute(
        "SELECT direction, depth, id FROM lineage_of(?) ORDER BY direction, depth, id", [wanted]
    ).fetchall():
        found[direction].append((depth, one))
    return found


def test_steps_from_a_row(con: duckdb.DuckDBPyConnection) -> None:
    assert steps(con, "x3") == {
        "back": [(1, "r2"), (2, "m0/g1"), (3, "g1"), (3, "m0"), (4, "seed_set/0")],
        "self": [(0, "x3")],
        "forward": [(1, "r3"), (1, "seed_set/1"), (2, "m1"), (3, "m1/g1")],
    }
    told = column(con, "SELECT what FROM lineage_of('x3')")
    assert all(told)
    assert "says positive with probability 0.75, wrong" in told


def test_steps_from_other_ids(con: duckdb.DuckDBPyConnection) -> None:
    gold = steps(con, "g1")
    assert gold["back"] == []
    assert [one for _, one in gold["forward"]] == ["m0/g1", "m1/g1", "r2", "x3", "x4"]
    assert steps(con, "x4")["back"][0] == (1, "r2")
    assert steps(con, "m0") == {"back": [(1, "seed_set/0")], "self": [(0, "m0")], "forward": [(1, "m0/g1")]}
    assert [one for _, one in steps(con, "r2")["forward"]] == ["x3", "x4", "r3", "seed_set/1", "m1", "m1/g1"]
    assert steps(con, "nothing") == {"back": [], "self": [], "forward": []}


def test_a_relabelled_row_leads_to_the_new_one(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    relabel(warehouse)
    assert column(con, "SELECT review FROM lineage WHERE example_id = 'x3'") == ["relabel"]
    query = "SELECT cause_id, effect_id FROM lineage_edges WHERE relation = 'relabelled' ORDER BY 1, 2"
    assert con.execute(query).fetchall() == [("x3", "x5"), ("x5", "seed_set/2")]
    assert [one for _, one in steps(con, "x5")["back"]][:2] == ["x3", "r2"]


def test_macros_are_documented(con: duckdb.DuckDBPyConnection) -> None:
    comments = "SELECT comment FROM duckdb_functions() WHERE NOT internal AND function_name = 'lineage_of'"
    (comment,) = column(con, comments)
    assert "FROM lineage_of('x_...')" in comment


@pytest.fixture
def told(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    fill(warehouse := Warehouse(tmp_path / "warehouse"))
    monkeypatch.setenv("COLUMNS", "200")
    # So that the tests need not wait for the second the views look back.
    monkeypatch.setattr("s3_assets.store.catalog.AS_OF", "TIMESTAMPTZ '2200-01-01 00:00:00+00'")
    relabel(warehouse)
    return command


def test_the_command_tells_each_kind_of_id(told: Command) -> None:
    code, out, _ = told("lineage", "x3")
    assert code == 0, out
    for said in (
        "gold g1, negative: Meh.",
        "missed by m0 of round 0, which said positive (p=0.75)",
        "request r2: big",
        "12 tokens, $0.25, paid by this arm",
        "row x3, negative: So so.",
        "1 other rows of the request were refused",
        "second opinion: kept, confidence 0.75",
        "review: relabel (is fine)",
        "relabelled, now x5",
        "in the seed sets of rounds 1; students m1",
        "right by the first of them: yes",
    ):
        assert said in out
    assert "refused by length, too [short]: x4, negative: No." in told("lineage", "g1")[1]
    assert "attempt 1, answered: []" in told("lineage", "r2")[1]
    assert "by gate length: too [short]" in told("lineage", "x4")[1]
    model = told("lineage", "m0")[1]
    assert "2 seed, first in round 0" in model
    assert "g1 (steer), negative, says positive (p=0.75): Meh." in model
    assert "row x3: negative: So so." in told("lineage", "x5")[1]


def test_the_command_gives_steps_as_json(told: Command) -> None:
    code, out, _ = told("lineage", "x3", "--format", "json")
    assert code == 0
    assert {step["id"] for step in json.loads(out)} >= {"x3", "r2", "m0/g1", "g1", "seed_set/1", "x5"}
    assert json.loads(told("lineage", "x3", "--format", "json", "--task", "toy")[1])


def test_the_command_says_what_is_wrong_with_an_id(told: Command) -> None:
    code, _, said = told("lineage", "x")
    assert code == 1
    assert "x3 (row)" in said
    assert "x4 (rejected)" in said
    code, _, said = told("lineage", "zz")
    assert code == 1
    assert "example_id, gold_id, request_id and model_id" in said
    assert told("lineage", "x3", "--task", "other")[0] == 1
