"""What ``s3-assets lineage`` prints: of rows without an id, texts with control characters, test gold, long lines."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from s3_assets.store.parts import Warehouse
from s3_assets_tests.test_lineage import fill
from s3_assets_tests.test_parts import KEY
from s3_assets_tests.test_views import put

Command = Callable[..., tuple[int, str, str]]
EXCLUDED_AND_WRITTEN_AGAIN = {"text": "So so.", "label": "negative", "gold_id": "g1", "item": 0, "example_id": "x3"}


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    # So that the tests need not wait for the second the views look back.
    monkeypatch.setattr("s3_assets.store.catalog.AS_OF", "TIMESTAMPTZ '2200-01-01 00:00:00+00'")
    fill(warehouse := Warehouse(tmp_path / "warehouse"))
    return warehouse


def told(command: Command, *words: str) -> str:
    code, out, said = command("lineage", *words)
    assert code == 0, said
    return out


def test_what_has_no_request_or_id_is_told_without(warehouse: Warehouse, command: Command) -> None:
    user = {"gate": "length", "stage": "row", "row_id": "u1", "label": "negative", "text": "Hm.", "reason": "short"}
    put(warehouse, "rejected", user, asset="seed_set")
    fault = {"gate": "not_json", "stage": "response", "request_id": "r2", "gold_id": "g1", "raw": "Sure!"}
    put(warehouse, "rejected", fault | {"reason": "the answer is no JSON"}, asset="extrapolated_set")
    out = told(command, "u1")
    assert "brought by the task itself in round 0" in out
    assert "refused u1, negative: Hm." in out
    for id_ in ("r2", "g1"):
        assert "refused by not_json, the answer is no JSON: Sure!\n" in told(command, id_)
    put(warehouse, "rejected", fault | {"row_id": "x6", "text": "Oh.", "reason": "none"}, asset="extrapolated_set")
    assert "refused x6: Oh." in told(command, "x6")


def test_lines_are_whole_where_no_terminal_is(
    warehouse: Warehouse, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = "word " * 60 + "end"
    row = {"example_id": "x7", "text": text, "label": "negative", "origin": "user", "first_round": 2}
    put(warehouse, "seed_set", row, key=KEY.at(2))
    put(warehouse, "gold", {"gold_id": "g9", "split": "steer", "text": text, "label": "negative"})
    assert f"row x7, negative: {text}\n" in told(command, "x7")
    assert f"gold g9 (steer), negative: {text}\n" in told(command, "g9")
    # A terminal of that width gets lines that fit.
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert max(map(len, told(command, "x7").splitlines())) <= 40


def test_texts_do_not_steer_the_terminal(warehouse: Warehouse, command: Command) -> None:
    text = "a\x1b[2Jb\r\nc\x9b31md\x07\x7f\te"
    row = {"example_id": "x7", "text": text, "label": "negative", "origin": "user", "first_round": 2}
    put(warehouse, "seed_set", row, key=KEY.at(2))
    put(warehouse, "gold", {"gold_id": "g9", "split": "steer", "text": text, "label": "negative"})
    shown = "a\ufffd[2Jb c\ufffd31md\ufffd\ufffd e"
    assert f"row x7, negative: {shown}\n" in told(command, "x7")
    assert f"gold g9 (steer), negative: {shown}\n" in told(command, "g9")
    as_json = told(command, "x7", "--format", "json")
    assert not set(text) & set(as_json) - set("abcde123mJ[\n")
    assert any(text in step["what"] for step in json.loads(as_json))


def test_a_text_written_again_has_both_chains(warehouse: Warehouse, command: Command) -> None:
    again = EXCLUDED_AND_WRITTEN_AGAIN | {"origin": "extrapolated", "first_round": 3, "request_id": "r9"}
    put(warehouse, "seed_set", again, key=KEY.at(3))
    # Relabelled the second time.
    decided = {"kind": "synthetic", "row_id": "x3", "decision": "relabel", "label": "negative", "from_round": 4}
    put(warehouse, "reviews", decided | {"new_label": "positive", "new_id": "x5"})
    put(warehouse, "seed_set", again | {"example_id": "x5", "label": "positive"}, key=KEY.at(4))
    first, second = told(command, "x3").split("request r9")
    assert "request r2: big" in first
    assert "in the seed sets of rounds 1; students m1" in first
    assert "relabelled" not in first
    assert "in the seed sets of rounds 3; students not trained yet" in second
    assert "relabelled, now x5" in second


def test_a_students_errors_on_test_gold_are_only_counted(warehouse: Warehouse, command: Command) -> None:
    wrong = {"model_id": "m7", "label": "negative", "prediction": "positive", "correct": False}
    put(warehouse, "trained_model", {"model_id": "m7", "training_rows": 3, "gold_rows": 0}, key=KEY.at(2))
    says = []
    for split, gold_id in (("steer", "g1"), ("select", "g2"), ("test", "g3"), ("test", "g4")):
        says.append(wrong | {"gold_id": gold_id, "split": split})
    put(warehouse, "predictions", *says, key=KEY.at(2))
    out = told(command, "m7")
    assert "wrong on 2 rows of other gold" in out
    assert "wrong on 2 rows of test gold" in out
    assert "g2 (select)" in out
    assert "g3" not in out
    assert "g4" not in out


def test_gold_that_no_arm_came_to_has_itself(warehouse: Warehouse, command: Command) -> None:
    put(warehouse, "gold", {"gold_id": "g9", "split": "steer", "text": "Aha.", "label": "negative"})
    for words in ((), ("--task", "toy")):
        (step,) = json.loads(told(command, "g9", "--format", "json", *words))
        assert (step["direction"], step["kind"], step["id"]) == ("self", "gold", "g9")


def test_steps_of_a_row_in_no_seed_set_open_no_other_loops_files(
    warehouse: Warehouse, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s3_assets.cli.lineage_tree import Asker

    example = EXCLUDED_AND_WRITTEN_AGAIN | {"example_id": "x8", "request_id": "r2", "item": 5, "model_id": "m1"}
    put(warehouse, "extrapolated_set", example, key=KEY.at(1))
    asked, ask = [], Asker.ask
    monkeypatch.setattr(Asker, "ask", lambda self, query, given: asked.append(query) or ask(self, query, given))
    assert "row x8: " in told(command, "x8")
    assert [query for query in asked if "lineage_of" in query] == [
        "FROM lineage_of($id, in_task := $task, in_arm := $arm, in_seed := $seed)"
    ]
