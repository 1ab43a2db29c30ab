"""Mode batch: what goes into a batch and what is asked directly, at which price, within which budget."""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from s3_assets.generation.answers import read_answer
from s3_assets.store.parts import Warehouse
from s3_assets.teacher import batch
from s3_assets.teacher.attempts import Asker
from s3_assets.teacher.budget import BudgetExhausted
from s3_assets.teacher.claims import Claims
from s3_assets.teacher.ledger import CALLS, Ledger, spent
from s3_assets.teacher.session import teacher_session
from s3_assets_tests.asking import KEY, ask, logged, online, requests
from s3_assets_tests.batch_server import batch_server
from s3_assets_tests.batching import batched, left_over, odd_ones
from s3_assets_tests.fakes import obliging


def same(body, number):
    """The same answer to the same request, whenever it is asked."""
    return obliging(body, 0)


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
