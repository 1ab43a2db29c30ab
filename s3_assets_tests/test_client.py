"""The wire: forms of request, what an endpoint's refusals mean, what never leaves the process."""

import asyncio
import json
import logging
import time

import polars as pl
import pytest

from s3_assets.store.parts import Warehouse
from s3_assets.teacher.attempts import TooManyUnusable
from s3_assets.teacher.client import ChatClient
from s3_assets.teacher.dialect import Dialect, with_schema
from s3_assets.teacher.ledger import CALLS
from s3_assets.teacher.reply import TeacherUnavailable
from s3_assets_tests.asking import ask, logged, online, requests
from s3_assets_tests.fakes import obliging, scripted_teacher

SECRET = "sk-canary-0123456789"


def plain(body, number):
    """Answers a request without response_format, which fakes.obliging reads."""
    texts = [{"text": f"text {number}.{place}"} for place in range(9)]
    return 200, json.dumps({"examples": texts})


def only(form: str):
    """An endpoint that accepts one form of request and says in words what it minds about the others."""

    def script(body, number):
        asked = (body.get("response_format") or {"type": "text"})["type"]
        if asked != form:
            return 400, f"'response_format' of type {asked!r} is not supported"
        return plain(body, number)

    return script


@pytest.mark.parametrize(("form", "refused"), [("json_schema", 0), ("json_object", 1), ("text", 2)])
def test_the_form_of_request_is_found_once_and_recorded(tmp_path, form, refused):
    warehouse = Warehouse(tmp_path / "warehouse")
    with scripted_teacher(only(form)) as endpoint:
        task = online(tmp_path, endpoint.url)
        answers, _ = ask(task, warehouse, requests(task, 8))
        assert len(endpoint.bodies) == 8 + refused
        # Another process knows it from the ledger.
        ask(task, warehouse, requests(task, 8, sample=1))
        assert len(endpoint.bodies) == 16 + refused
        accepted = endpoint.bodies[-1]
    assert all(answer.content for answer in answers)
    calls = logged(warehouse, CALLS)
    assert set(calls["dialect"]) == {form}
    assert calls["attempt"].to_list() == [0] * 16
    # An endpoint that is not held to the schema is told it in words.
    assert ("JSON Schema" in accepted["messages"][0]["content"]) is (form != "json_schema")
    # The ledger keeps the request as asked, whatever form it was sent in: the form is no part of its key.
    assert set(calls["request"].str.json_path_match("$.response_format.type")) == {"json_schema"}


def test_a_declared_form_is_not_left(tmp_path):
    with scripted_teacher(only("text")) as endpoint:
        task = online(tmp_path, endpoint.url, teacher={"structured": "json_schema"})
        with pytest.raises(TooManyUnusable, match="not supported"):
            ask(task, Warehouse(tmp_path / "warehouse"), requests(task, 3))
        assert len(endpoint.bodies) == 3


def test_newer_models_are_told_the_limit_by_its_newer_name(tmp_path):
    def script(body, number):
        if "max_tokens" in body:
            return 400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
        return obliging(body, number)

    warehouse = Warehouse(tmp_path / "warehouse")
    with scripted_teacher(script) as endpoint:
        task = online(tmp_path, endpoint.url, teacher={"max_tokens": 77})
        ask(task, warehouse, requests(task, 2))
        assert endpoint.bodies[-1]["max_completion_tokens"] == 77
        assert len(endpoint.bodies) == 3
    assert set(logged(warehouse, CALLS)["dialect"]) == {"json_schema+max_completion_tokens"}


def test_a_dialect_reads_what_it_wrote():
    for dialect in (Dialect("json_schema"), Dialect("text", newer_limit=True)):
        assert Dialect.parse(str(dialect)) == dialect
    assert Dialect.parse(None) is None
    assert Dialect.parse("smoke signals") is None


def test_messages_are_not_changed_by_the_schema_in_words():
    messages = ({"role": "user", "content": "Write."},)
    told = with_schema(messages, {"type": "object"})
    assert told[0]["content"].startswith("Write.\nAnswer with one JSON object")
    assert messages[0]["content"] == "Write."


def test_one_request_that_is_not_accepted_does_not_end_the_step(tmp_path):
    def script(body, number):
        if '"count": 2\n' in body["messages"][-1]["content"]:
            return 400, "the prompt was flagged"
        return obliging(body, number)

    warehouse = Warehouse(tmp_path / "warehouse")
    with scripted_teacher(script) as endpoint:
        task = online(tmp_path, endpoint.url)
        answers, tally = ask(task, warehouse, requests(task, 4))
        assert len(endpoint.bodies) == 4
    assert [answer.content is None for answer in answers] == [False, True, False, False]
    assert [fault.gate for fault in answers[1].faults] == ["not_accepted"]
    assert "flagged" in answers[1].faults[0].reason
    assert (tally.unusable, tally.failed_calls) == (1, 1)


def test_a_step_ends_when_too_many_answers_are_of_no_use(tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")
    with scripted_teacher(lambda body, number: (200, "I'd rather talk about the weather.")) as endpoint:
        task = online(tmp_path, endpoint.url, teacher={"attempts": 2, "concurrency": 4, "most_unusable": 0.3})
        with pytest.raises(TooManyUnusable, match=r"20 of 20 .* more than teacher\.most_unusable \(0\.3\)"):
            ask(task, warehouse, requests(task, 100))
        # What was in flight was still received, and nothing else was begun.
        assert len(endpoint.bodies) <= 2 * 20 + 2 * 8
    assert logged(warehouse, CALLS)["response"].null_count() == 0


def test_an_endpoint_that_always_fails_ends_the_step(tmp_path):
    with scripted_teacher(lambda body, number: (500, "out of order")) as endpoint:
        task = online(tmp_path, endpoint.url, teacher={"retries": 1})
        with pytest.raises(TooManyUnusable, match="out of order"):
            ask(task, Warehouse(tmp_path / "warehouse"), requests(task, 2))
        assert len(endpoint.bodies) == 4


def test_no_credit_is_not_waited_for(tmp_path):
    with scripted_teacher(
        lambda body, number: (429, {"message": "You exceeded your current quota", "code": "insufficient_quota"})
    ) as endpoint:
        task = online(tmp_path, endpoint.url, teacher={"concurrency": 1})
        with pytest.raises(TeacherUnavailable, match="no credit left"):
            ask(task, Warehouse(tmp_path / "warehouse"), requests(task, 5))
        assert len(endpoint.bodies) == 1


def test_a_dead_endpoint_is_named(tmp_path):
    task = online(tmp_path, "http://127.0.0.1:9/v1", teacher={"retries": 0})
    with pytest.raises(TooManyUnusable, match=r"no connection to http://127\.0\.0\.1:9/v1"):
        ask(task, Warehouse(tmp_path / "warehouse"), requests(task, 1))


@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_the_key_is_nowhere_even_if_the_server_repeats_it(tmp_path, monkeypatch, caplog, status):
    """Canary: not in errors, logs, the ledger or the journal."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    warehouse = Warehouse(tmp_path / "warehouse")

    def script(body, number):
        return (status, f"Incorrect API key provided: {SECRET}") if number else obliging(body, number)

    with scripted_teacher(script) as endpoint:
        task = online(tmp_path, endpoint.url, teacher={"retries": 0, "patience_seconds": 0.3, "concurrency": 1})
        said = ""
        try:
            answers, _ = ask(task, warehouse, requests(task, 3))
            said = str(answers)
        except (TeacherUnavailable, TooManyUnusable) as error:
            said = str(error)
    calls = logged(warehouse, CALLS)
    assert "***" in said + "".join(calls["cause"].drop_nulls())
    assert SECRET not in said
    assert SECRET not in caplog.text
    for file in (tmp_path / "warehouse").rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file
    assert SECRET not in calls.write_json()


def test_extra_parameters_are_sent_and_are_part_of_the_key(tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")
    with scripted_teacher(obliging) as endpoint:
        for effort in ("low", "high", "low"):
            task = online(tmp_path, endpoint.url, teacher={"extra": {"reasoning_effort": effort}, "temperature": None})
            ask(task, warehouse, requests(task, 1))
        assert [body["reasoning_effort"] for body in endpoint.bodies] == ["low", "high"]
        assert "temperature" not in endpoint.bodies[0]


def test_timeouts_are_repeated_and_their_cost_is_not_known(tmp_path):
    def script(body, number):
        if number == 0:
            time.sleep(1.0)
        return obliging(body, number)

    warehouse = Warehouse(tmp_path / "warehouse")
    with scripted_teacher(script) as endpoint:
        task = online(tmp_path, endpoint.url, teacher={"timeout_seconds": 0.5})
        answers, _ = ask(task, warehouse, requests(task, 1))
    assert answers[0].content
    calls = logged(warehouse, CALLS).sort("attempt")
    assert calls["cause"][0] == "no answer within 0.5 s"
    assert calls.filter(pl.col("outcome") == "answered").height == 1


def test_once_the_form_is_found_nobody_waits_for_another(tmp_path, monkeypatch):
    """Those that waited for the first go on together, not one after the other."""
    most = now = 0

    async def slow(self, request, body, attempt):
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1
        if not most_before:
            most_before.append(most)

    most_before: list[int] = []
    monkeypatch.setattr(ChatClient, "_ask", slow)
    client = ChatClient(online(tmp_path, "http://127.0.0.1:9/v1").spec.teacher, "http://127.0.0.1:9/v1", "none")

    async def all_at_once():
        await asyncio.gather(*(client.ask(None, "", 0) for _ in range(20)))

    asyncio.run(all_at_once())
    assert most_before == [1]
    assert most == 19
