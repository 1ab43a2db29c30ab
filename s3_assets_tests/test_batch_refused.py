"""Mode batch: providers that refuse, fail, are busy or know of no batch, what is said of it, and no key in it."""

import logging
import traceback

import pytest

from s3_assets.store.parts import Warehouse
from s3_assets.teacher.ledger import CALLS
from s3_assets.teacher.reply import TeacherUnavailable
from s3_assets_tests.asking import ask, logged, requests
from s3_assets_tests.batch_server import batch_server
from s3_assets_tests.batching import batched, left_over, odd_ones

SECRET = "sk-canary-0123456789"


def test_a_refused_batch_is_told_in_the_providers_words_and_sent_anew(tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")
    errors = [{"code": "invalid_json", "line": 3, "message": "Line 3 is not valid"}, {"code": "token_limit_exceeded"}]
    with batch_server(outcome="failed", errors=errors) as server:
        task = batched(tmp_path, server.url)
        with pytest.raises(TeacherUnavailable) as caught:
            ask(task, warehouse, requests(task, 4))
        assert "refused batch batch_0: line 3: Line 3 is not valid; token_limit_exceeded." in str(caught.value)
        assert left_over(warehouse) == []
        assert server.count("chat") == 0
        server.outcome = "completed"
        answers, _ = ask(task, warehouse, requests(task, 4))
        assert len(server.batches) == 2
    assert all(answer.content for answer in answers)


def test_busy_and_broken_calls_are_repeated(tmp_path):
    """One of every kind fails first, and an answer to create is lost."""
    failed, statuses = set(), {"upload": 503, "look": 429, "read": 500, "list": 0}

    def gate(place):
        call = place.removeprefix("before ")
        if place != call and call in statuses and call not in failed:
            failed.add(call)
            server.busy.append(statuses[call])
        if place == "create" and call not in failed:
            failed.add(call)
            return False
        return True

    with batch_server(gate=gate, page=2) as server:
        for _ in range(3):
            server.begin({"input_file_id": server.keep(b"")["id"], "metadata": {"s3_batch": "another"}})
        ours = len(server.batches)
        task = batched(tmp_path, server.url, {"patience_seconds": 30})
        # The lost one is not the newest.
        create = server.begin
        server.begin = lambda asked: [create(asked), *(create({**asked, "metadata": None}) for _ in range(3))][0]
        answers, _ = ask(task, Warehouse(tmp_path / "warehouse"), requests(task, 3))
        assert len(server.batches) == ours + 4
        assert server.count("create") == 1
    assert failed == {*statuses, "create"}
    assert all(answer.content for answer in answers)


def test_an_endpoint_without_batches_says_what_to_do(tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")
    with batch_server(busy=[404]) as server:
        task = batched(tmp_path, server.url)
        with pytest.raises(TeacherUnavailable, match=r"HTTP 404.*teacher\.mode: live"):
            ask(task, warehouse, requests(task, 2))
    assert left_over(warehouse) == []


def test_a_batch_the_provider_does_not_know_names_its_state_file(tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")
    with batch_server() as server:
        task = batched(tmp_path, server.url)
        server.gate = lambda place: place != "before look" or server.batches.clear() is None
        with pytest.raises(TeacherUnavailable, match="does not know batch batch_0") as caught:
            ask(task, warehouse, requests(task, 2))
        (state,) = left_over(warehouse)
        assert str(state) in str(caught.value)
        state.unlink()
        server.gate = lambda place: True
        answers, _ = ask(task, warehouse, requests(task, 2))
    assert all(answer.content for answer in answers)


def test_no_key_is_shown_or_kept(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", SECRET)
    warehouse = Warehouse(tmp_path / "warehouse")
    with batch_server(row=odd_ones(400, f"denied to {SECRET}")) as server:
        task = batched(tmp_path, server.url, {"api_key_env": "MY_KEY", "patience_seconds": 0.5})
        server.busy_with = f"Incorrect API key provided: {SECRET}"
        for status in (401, 503):
            server.busy = [status]
            with pytest.raises(TeacherUnavailable, match=r"Incorrect API key provided: \*\*\*") as caught:
                ask(task, warehouse, requests(task, 4))
            assert SECRET not in "".join(traceback.format_exception(caught.value))
        server.outcome, server.errors = "failed", [{"message": f"no model for {SECRET}"}]
        with pytest.raises(TeacherUnavailable, match=r"no model for \*\*\*"):
            ask(task, warehouse, requests(task, 4))
        server.outcome = "completed"
        ask(task, warehouse, requests(task, 4))
    assert "denied to ***" in logged(warehouse, CALLS).write_json()
    kept = b"".join(path.read_bytes() for path in warehouse.root.rglob("*") if path.is_file())
    assert SECRET.encode() not in kept
    assert SECRET not in logged(warehouse, CALLS).write_json() + caplog.text
