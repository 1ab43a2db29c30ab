"""Asking that goes wrong: bounded repeats, refusals, keys, budgets, bugs, interrupts; and the order of answers."""

import asyncio
import time
from dataclasses import replace

import polars as pl
import pytest

from s3_assets.generation.answers import read_answer
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.load import TaskError
from s3_assets.teacher.budget import BudgetExhausted
from s3_assets.teacher.ledger import CALLS, USES
from s3_assets.teacher.reply import TeacherUnavailable
from s3_assets.teacher.session import teacher_session
from s3_assets_tests.asking import KEY, ask, logged, online, requests
from s3_assets_tests.fakes import obliging, scripted_teacher


def test_passing_failures_are_repeated_and_recorded(tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")

    def script(body, number):
        return {0: (429, "slow down"), 1: (500, "oops")}.get(number) or obliging(body, number)

    with scripted_teacher(script) as teacher:
        task = online(tmp_path, teacher.url)
        answers, _ = ask(task, warehouse, requests(task, 1))
    assert answers[0].content is not None
    calls = logged(warehouse, CALLS).sort("attempt")
    assert calls["outcome"].to_list() == ["failed", "failed", "answered"]
    assert calls["attempt"].to_list() == [0, 1, 2]
    assert "429" in calls["cause"][0]


def test_an_unusable_answer_is_asked_again_then_given_up_with_its_reason(tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")
    with scripted_teacher(lambda body, number: (200, '{"examples": [')) as teacher:
        task = online(tmp_path, teacher.url, teacher={"attempts": 3})
        answers, tally = ask(task, warehouse, requests(task, 1))
        assert len(teacher.bodies) == 3
        again, _ = ask(task, warehouse, requests(task, 1))
        assert len(teacher.bodies) == 3
    assert answers[0].content is None
    assert [fault.gate for fault in answers[0].faults] == ["cut_off"] * 3
    assert answers[0].faults[0].raw == '{"examples": ['
    assert again[0].from_ledger
    assert tally.unusable == 1


def test_sustained_refusal_ends_the_step_and_keeps_what_came(tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")
    with scripted_teacher(lambda body, number: obliging(body, number) if number < 3 else (429, "quota")) as teacher:
        task = online(tmp_path, teacher.url, teacher={"concurrency": 1, "patience_seconds": 1})
        with pytest.raises(TeacherUnavailable, match="quota"):
            ask(task, warehouse, requests(task, 6))
    assert logged(warehouse, CALLS).filter(pl.col("outcome") == "answered").height == 3


def test_wrong_key_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret-value-123")
    with scripted_teacher(lambda body, number: (401, "bad key")) as teacher:
        task = online(tmp_path, teacher.url, teacher={"api_key_env": "MY_KEY", "concurrency": 1})
        with pytest.raises(TeacherUnavailable, match="MY_KEY") as caught:
            ask(task, Warehouse(tmp_path / "warehouse"), requests(task, 3))
        assert len(teacher.bodies) == 1
    assert "secret-value-123" not in str(caught.value)


def test_missing_key_names_the_variable(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    task = online(tmp_path, "https://api.example.com/v1")
    with pytest.raises(TaskError, match="OPENAI_API_KEY"):
        ask(task, Warehouse(tmp_path / "warehouse"), requests(task, 1))


def test_secrets_are_not_in_the_warehouse(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-value-123")
    warehouse = Warehouse(tmp_path / "warehouse")
    with scripted_teacher(obliging) as teacher:
        task = online(tmp_path, teacher.url)
        ask(task, warehouse, requests(task, 2))
    assert "secret-value-123" not in logged(warehouse, CALLS).write_json() + logged(warehouse, USES).write_json()


@pytest.mark.parametrize(("budget", "most"), [({"calls": 3}, 3)])
def test_budget_ends_the_step_and_counts_earlier_runs(tmp_path, budget, most):
    warehouse = Warehouse(tmp_path / "warehouse")
    with scripted_teacher(obliging) as teacher:
        task = online(tmp_path, teacher.url, teacher={"concurrency": 1}, budget=budget)
        ask(task, warehouse, requests(task, 1))
        with pytest.raises(BudgetExhausted, match="budget"):
            ask(task, warehouse, requests(task, 8))
        assert len(teacher.bodies) == most
        answers, _ = ask(task, warehouse, requests(task, most))
    assert all(answer.from_ledger for answer in answers)


def test_answers_come_in_the_order_of_requests_which_are_drawn_as_the_work_goes_on(tmp_path, monkeypatch):
    """Neither requests nor answers pile up: at most a window of them is open."""
    window = 200
    monkeypatch.setattr("s3_assets.teacher.session.FEWEST_OPEN", window)
    monkeypatch.setattr("s3_assets.teacher.session.LOOKED_UP_AT_ONCE", 20)
    drawn, taken, widest = 0, [], 0
    warehouse = Warehouse(tmp_path / "warehouse")

    def script(body, number):
        # The first is the last to be answered.
        time.sleep(0.3 if number == 0 else 0)
        return obliging(body, number)

    with scripted_teacher(script) as teacher:
        task = online(tmp_path, teacher.url, teacher={"structured": "json_schema"})

        def drawing():
            nonlocal drawn, widest
            for request in requests(task, 400):
                drawn += 1
                widest = max(widest, drawn - len(taken))
                yield replace(request, rows_requested=1)

        with teacher_session(task, warehouse, KEY, "seed_set") as session:
            session.stream(drawing(), read_answer, lambda answer: taken.append(answer.request.messages))
    assert taken == [request.messages for request in requests(task, 400)]
    assert widest <= window + 1


def test_an_error_while_reading_ends_the_step_and_loses_nothing(tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")

    def bug(answer):
        raise KeyError("bug")

    with scripted_teacher(obliging) as teacher:
        task = online(tmp_path, teacher.url, teacher={"concurrency": 2})
        with teacher_session(task, warehouse, KEY, "seed_set") as session, pytest.raises(KeyError, match="bug"):
            session.stream(requests(task, 50), read_answer, bug)
        asked = len(teacher.bodies)
    assert asked < 10
    assert logged(warehouse, CALLS).height == asked


class Interrupted(BaseException):
    """What Dagster's signal handler raises is no Exception, and it is raised wherever the main thread is."""


@pytest.mark.parametrize("where", ["while an answer is read", "in a callback of the loop", "while requests are drawn"])
def test_an_interrupt_ends_the_step_at_once(tmp_path, where):
    warehouse = Warehouse(tmp_path / "warehouse")

    def interrupt():
        raise Interrupted

    def reading(request, received):
        if where == "while an answer is read":
            interrupt()
        if where == "in a callback of the loop":
            asyncio.get_running_loop().call_soon(interrupt)
        return read_answer(request, received)

    def drawing(task):
        yield from requests(task, 3)
        if where == "while requests are drawn":
            interrupt()
        yield from requests(task, 40)

    def script(body, number):
        # Longer than the test may take: what is in flight is not waited for.
        time.sleep(0 if number < 3 else 1)
        return obliging(body, number)

    with scripted_teacher(script) as teacher:
        task = online(tmp_path, teacher.url, teacher={"concurrency": 2, "structured": "json_schema"})
        with teacher_session(task, warehouse, KEY, "seed_set") as session, pytest.raises(Interrupted):
            session.stream(drawing(task), reading, lambda answer: None)
        assert len(teacher.bodies) < 10
    # Nothing is left behind.
    assert not list(warehouse.journal_folder.glob("*.jsonl"))
