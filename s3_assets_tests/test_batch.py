"""Mode batch: one batch for what is asked at once, its price, and going on wherever a run ended."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest

from s3_assets.generation.answers import read_answer
from s3_assets.store.parts import Warehouse
from s3_assets.teacher import batch
from s3_assets.teacher.attempts import Asker
from s3_assets.teacher.batch_state import BatchFile, BatchState, batch_key, states
from s3_assets.teacher.budget import BudgetExhausted
from s3_assets.teacher.claims import Claims
from s3_assets.teacher.journal import Journal
from s3_assets.teacher.ledger import CALLS, Ledger, spent
from s3_assets.teacher.reply import TeacherUnavailable
from s3_assets.teacher.session import teacher_session
from s3_assets_tests.batch_server import batch_server
from s3_assets_tests.fakes import REPOSITORY, obliging
from s3_assets_tests.test_session import KEY, ask, logged, online, requests

SECRET = "sk-canary-0123456789"


def batched(tmp_path, url, teacher=None, **keys):
    declared = {"mode": "batch", "batch_poll_seconds": 0.05, "price": {"input": 1.0, "output": 2.0}, **(teacher or {})}
    return online(tmp_path, url, teacher=declared, **keys)


def same(body, number):
    """The same answer to the same request, whenever it is asked."""
    return obliging(body, 0)


def odd_ones(status, words):
    """Rows of a batch of which every second is not answered."""
    return lambda body, number: obliging(body, number) if number % 2 else (status, words)


def left_over(warehouse):
    return sorted((warehouse.journal_folder / "batches").glob("*.json"))


def child(tmp_path, root, count):
    """A process that asks ``count`` requests of the task in ``tmp_path``."""
    code = textwrap.dedent(f"""
        from pathlib import Path
        from s3_assets.store.parts import Warehouse
        from s3_assets.tasks.load import load_task
        from s3_assets_tests.test_session import ask, requests
        task = load_task(Path({str(tmp_path / "small")!r}))
        ask(task, Warehouse(Path({str(root)!r})), requests(task, {count}))
    """)
    return subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY)


def test_what_is_asked_at_once_goes_as_one_batch_at_its_price(tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")
    with batch_server(row=same, script=same) as server:
        task = batched(tmp_path, server.url)
        # Some come twice.
        answers, tally = ask(task, warehouse, [*requests(task, 6), *requests(task, 2)])
        assert (server.count("upload"), server.count("create"), server.count("chat")) == (1, 1, 0)
        lines = server.lines
        before = len(server.calls)
        again, second = ask(task, warehouse, requests(task, 6))
        assert len(server.calls) == before
        live = online(tmp_path, server.url)
        direct, _ = ask(live, Warehouse(tmp_path / "other"), requests(live, 6))
        chats = server.chats
    assert len(lines) == 6
    assert {line["custom_id"] for line in lines} == {answer.request_id for answer in answers}
    assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}
    # Asked as they would be directly.
    assert sorted(json.dumps(line["body"]) for line in lines) == sorted(map(json.dumps, chats))
    contents = [answer.content for answer in answers]
    assert contents[:6] == [answer.content for answer in again] == [answer.content for answer in direct]
    assert contents[6:] == contents[:2]
    assert (tally.calls, tally.failed_calls, tally.prompt_tokens, tally.completion_tokens) == (6, 0, 42, 30)
    assert tally.cost == pytest.approx(6 * (7 + 2 * 5) / 1e6 / 2)
    assert second.calls == 0
    rows = logged(warehouse, CALLS)
    assert rows["batch_id"].to_list() == ["batch_0"] * 6
    assert rows["latency_seconds"].to_list() == [60.0] * 6
    assert spent(warehouse, {"task": "small"}).money == pytest.approx(tally.cost)
    assert left_over(warehouse) == []


def test_keys_of_what_a_batch_brought_are_told(tmp_path):
    """From them the session knows what its step paid for, though it finds it in the ledger."""
    warehouse = Warehouse(tmp_path / "warehouse")
    with batch_server(row=odd_ones(400, "no")) as server, Ledger(warehouse) as ledger:
        task = batched(tmp_path, server.url)
        asker = Asker(task, warehouse, KEY, "seed_set", None, ledger, server.url)
        asked = requests(task, 4)
        paid = asyncio.run(batch.answer_in_batches(asker, asked))
        assert paid == {asker.records.key(asked[1]), asker.records.key(asked[3])}
        assert asyncio.run(batch.answer_in_batches(asker, asked)) == set()
        # Claims are let go for the ordinary path.
        assert all(ledger.claims.take(asker.records.key(request)) for request in asked)


@pytest.mark.parametrize(
    ("outcome", "row", "cause"),
    [
        ("completed", odd_ones(400, "content not allowed"), "batch batch_0: HTTP 400: content not allowed"),
        (
            "expired",
            odd_ones(408, "This request was not done in time"),
            "batch batch_0: This request was not done in time",
        ),
        ("expired", odd_ones(0, ""), "batch batch_0: expired without an answer to this request"),
        ("cancelled", odd_ones(0, ""), "batch batch_0: cancelled without an answer to this request"),
        ("completed", lambda body, number: obliging(body, number) if number % 2 else (200, None), None),
    ],
)
def test_rows_without_an_answer_are_recorded_and_asked_directly(tmp_path, outcome, row, cause):
    warehouse = Warehouse(tmp_path / "warehouse")
    with batch_server(row=row, outcome=outcome) as server:
        task = batched(tmp_path, server.url)
        answers, tally = ask(task, warehouse, requests(task, 6))
        assert (server.count("create"), server.count("chat")) == (1, 3)
        ask(task, warehouse, requests(task, 6))
        assert (server.count("create"), server.count("chat")) == (1, 3)
    assert all(answer.content for answer in answers)
    calls = logged(warehouse, CALLS).sort("request_id", "attempt")
    first = calls.filter(calls["attempt"] == 0)
    assert first["batch_id"].to_list() == ["batch_0"] * 6
    assert calls.filter(calls["attempt"] == 1)["batch_id"].to_list() == [None] * 3
    if cause is None:
        # An empty answer is an answer.
        assert calls["outcome"].to_list() == ["answered"] * 9
        return
    assert first["cause"].drop_nulls().to_list() == [cause] * 3
    assert (tally.calls, tally.failed_calls) == (9, 3)
    assert tally.cost == pytest.approx((3 / 2 + 3) * (7 + 2 * 5) / 1e6)


def test_a_row_that_a_batch_failed_is_not_put_into_another(tmp_path):
    """Also when the run ended before it could be asked directly."""
    warehouse = Warehouse(tmp_path / "warehouse")
    with batch_server(row=odd_ones(500, "oops"), script=lambda body, number: (401, "who are you")) as server:
        task = batched(tmp_path, server.url)
        with pytest.raises(TeacherUnavailable, match="who are you"):
            ask(task, warehouse, requests(task, 4))
        assert left_over(warehouse) == []
        server.script = obliging
        answers, _ = ask(task, warehouse, requests(task, 4))
        assert server.count("create") == 1
    assert all(answer.content for answer in answers)


@pytest.mark.parametrize(
    "place", ["before upload", "upload", "before create", "create", "before look", "look", "before read", "read"]
)
def test_a_run_killed_anywhere_is_gone_on_with_and_begins_no_second_batch(tmp_path, place):
    warehouse = Warehouse(tmp_path / "warehouse")
    reached, killed = threading.Event(), threading.Event()

    def gate(here):
        if here != place or killed.is_set():
            return True
        reached.set()
        killed.wait()
        return False

    with batch_server(gate=gate, looks=2) as server:
        task = batched(tmp_path, server.url)
        process = child(tmp_path, warehouse.root, 8)
        assert reached.wait(60)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        (state,) = left_over(warehouse)
        assert ("batch_0" in state.read_text()) == (place.split()[-1] in ("look", "read"))
        killed.set()
        answers, tally = ask(task, warehouse, requests(task, 8))
        assert len(server.batches) == 1
        assert server.count("chat") == 0
    assert all(answer.content for answer in answers)
    assert tally.calls == 8
    calls = logged(warehouse, CALLS)
    assert calls.height == calls.unique("request_id").height == 8
    assert left_over(warehouse) == []


@pytest.mark.parametrize("kept", [0, 3, 8])
def test_results_read_half_way_are_recorded_once(tmp_path, monkeypatch, kept):
    """8: all rows are kept, and the state file is still there."""
    warehouse = Warehouse(tmp_path / "warehouse")
    rows = []
    keep = Journal.keep

    async def breaking(journal, name, row):
        if len(rows) == kept:
            raise OSError("disk full")
        rows.append(row)
        await keep(journal, name, row)

    with batch_server(row=odd_ones(400, "no")) as server:
        task = batched(tmp_path, server.url)
        if kept < 8:
            monkeypatch.setattr(Journal, "keep", breaking)
        else:
            monkeypatch.setattr(BatchFile, "remove", lambda file: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            ask(task, warehouse, requests(task, 8))
        monkeypatch.undo()
        assert len(left_over(warehouse)) == 1
        answers, _ = ask(task, warehouse, requests(task, 8))
        assert (len(server.batches), server.count("chat")) == (1, 4)
    assert all(answer.content for answer in answers)
    calls = logged(warehouse, CALLS)
    assert calls.filter(calls["batch_id"].is_not_null()).height == 8
    assert calls.unique(["request_id", "attempt"]).height == calls.height == 12
    assert left_over(warehouse) == []


def test_a_run_that_asks_something_else_uses_what_it_can_and_leaves_the_rest(tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")
    lost = []
    with batch_server(gate=lambda place: place != "look" or bool(lost)) as server:
        task = batched(tmp_path, server.url, {"patience_seconds": 0.5})
        with pytest.raises(TeacherUnavailable, match="go on at the provider; the same command picks them up"):
            ask(task, warehouse, requests(task, 8))
        lost.append(True)
        answers, _ = ask(task, warehouse, requests(task, 12)[4:])
        assert [len(server.files[one["input_file_id"]].splitlines()) for one in server.batches.values()] == [8, 4]
        # Four of its requests were not asked for.
        assert len(left_over(warehouse)) == 1
        answers += ask(task, warehouse, requests(task, 8))[0]
        assert (len(server.batches), server.count("chat")) == (2, 0)
    assert all(answer.content for answer in answers)
    assert logged(warehouse, CALLS).height == 12
    assert left_over(warehouse) == []


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


@pytest.mark.parametrize("budget", [{"calls": 5}, {"tokens": 20_000}, {"money": 0.02}])
def test_the_budget_refuses_a_batch_before_anything_is_sent(tmp_path, budget):
    warehouse = Warehouse(tmp_path / "warehouse")
    with batch_server() as server:
        task = batched(tmp_path, server.url, budget=budget)
        with pytest.raises(BudgetExhausted, match=r"A batch is set aside whole: 6 calls of up to 4096 tokens"):
            ask(task, warehouse, requests(task, 6))
        assert server.calls == []
        assert left_over(warehouse) == []
        with teacher_session(task, warehouse, KEY, "seed_set") as session:
            session.ask(requests(task, 4), read_answer)
            # What was set aside is given back but for what the batch came to.
            if "calls" in budget:
                with pytest.raises(BudgetExhausted, match="1 left"):
                    session.ask(requests(task, 4, sample=1), read_answer)
            else:
                session.ask(requests(task, 4, sample=1), read_answer)
        assert len(server.batches) == (1 if "calls" in budget else 2)


def test_many_requests_go_as_several_batches_that_run_together(tmp_path, monkeypatch):
    warehouse = Warehouse(tmp_path / "warehouse")
    monkeypatch.setattr(batch, "MOST_REQUESTS", 3)
    with batch_server(looks=2) as server:
        task = batched(tmp_path, server.url)
        answers, _ = ask(task, warehouse, requests(task, 8))
        assert [len(server.files[one["input_file_id"]].splitlines()) for one in server.batches.values()] == [3, 3, 2]
        assert server.calls[:6] == ["upload", "create"] * 3
        # By size as well: two of these fit.
        longest = max(len(line) + 1 for line in server.files["file-0"].splitlines())
        monkeypatch.setattr(batch, "MOST_BYTES", 2 * longest)
        ask(task, warehouse, requests(task, 3, sample=1))
        sizes = [len(server.files[one["input_file_id"]].splitlines()) for one in server.batches.values()]
        assert sizes == [3, 3, 2, 2, 1]
    assert all(answer.content for answer in answers)
    assert sorted(logged(warehouse, CALLS)["batch_id"].unique()) == [f"batch_{n}" for n in range(5)]


def test_two_that_ask_the_same_at_once_send_one_batch(tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")
    second = threading.Event()
    with batch_server(looks=4) as server, ThreadPoolExecutor(2) as pool:
        task = batched(tmp_path, server.url)
        server.gate = lambda place: place != "look" or second.wait(60)

        def late():
            with teacher_session(task, warehouse, KEY, "seed_set") as session:
                threading.Timer(0.3, second.set).start()
                # Some of the other's, and some of its own.
                return session.ask(requests(task, 9)[3:], read_answer)

        one = pool.submit(ask, task, warehouse, requests(task, 6))
        while not server.count("look"):
            second.wait(0.01)
        other = pool.submit(late)
        answers = [*one.result()[0], *other.result()]
        assert [len(server.files[it["input_file_id"]].splitlines()) for it in server.batches.values()] == [6, 3]
        assert server.count("chat") == 0
    assert all(answer.content for answer in answers)
    assert logged(warehouse, CALLS).height == 9


def test_what_another_process_asks_is_left_out(tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")
    with batch_server() as server, Claims(warehouse.journal_folder / "claims") as other:
        task = batched(tmp_path, server.url)
        with Ledger(warehouse) as ledger:
            asker = Asker(task, warehouse, KEY, "seed_set", None, ledger, server.url)
            keys = [asker.records.key(request) for request in requests(task, 4)]
        assert other.take(keys[2])
        server.gate = lambda place: place != "read" or other.release(keys[2]) is None
        answers, _ = ask(task, warehouse, requests(task, 4))
        assert {line["custom_id"] for line in server.lines} == {*keys} - {keys[2]}
        assert server.count("chat") == 1
    assert all(answer.content for answer in answers)


def test_the_form_of_request_is_that_the_teacher_is_known_to_accept(tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")

    def script(body, number):
        if body.get("response_format", {}).get("type") != "json_object":
            return 400, "response_format json_schema is not supported"
        return 200, '{"examples": [{"text": "one"}]}'

    with batch_server(row=script, script=script) as server:
        ask(online(tmp_path, server.url), warehouse, requests(online(tmp_path, server.url), 1))
        task = batched(tmp_path, server.url)
        ask(task, warehouse, requests(task, 4))
        assert [line["body"]["response_format"] for line in server.lines] == [{"type": "json_object"}] * 3
        assert server.count("chat") == 2
    assert set(logged(warehouse, CALLS)["dialect"]) == {"json_object"}


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


def test_a_state_file_is_held_by_one_until_it_is_let_go(tmp_path):
    state = BatchState(batch_key("t", ["b", "a"]), "t", "m", "json_schema", 1, ["a", "b"])
    assert state.key == batch_key("t", ["a", "b"]) != batch_key("u", ["a", "b"])
    file = BatchFile.create(tmp_path / "batches", state)
    assert asyncio.run(BatchFile.hold(file.path, wait=False)) is None
    # Written anew, and held all the same.
    file.note("batch_7")
    assert asyncio.run(BatchFile.hold(file.path, wait=False)) is None
    assert [found for _, found in states(tmp_path / "batches", "t", "m")] == [file.state]
    assert list(states(tmp_path / "batches", "t", "other")) == []
    file.close()
    other = asyncio.run(BatchFile.hold(file.path, wait=False))
    assert other.state == file.state
    other.remove()
    other.close()
    assert asyncio.run(BatchFile.hold(file.path, wait=True)) is None
