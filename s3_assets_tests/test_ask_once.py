"""Nothing is paid twice: the ledger first, keys of requests, runs killed and side by side, replay, the journal."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import polars as pl
import pytest

from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.tasks.load import TaskError
from s3_assets.teacher.answer import Reading
from s3_assets.teacher.attempts import NotInLedger
from s3_assets.teacher.claims import Claims
from s3_assets.teacher.ledger import CALLS, USES, Ledger, Spent, paid_by_round, spent
from s3_assets.teacher.request import request_id, teacher_id
from s3_assets.teacher.session import teacher_session
from s3_assets_tests.asking import KEY, ask, logged, online, requests
from s3_assets_tests.fakes import REPOSITORY, obliging, scripted_teacher, write_task


def test_an_answered_request_is_never_sent_again(tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")
    with scripted_teacher(obliging) as teacher:
        task = online(tmp_path, teacher.url)
        first, tally = ask(task, warehouse, requests(task, 5))
        again, second = ask(task, warehouse, requests(task, 5))
        assert len(teacher.bodies) == 5
    assert [answer.content for answer in first] == [answer.content for answer in again]
    assert (tally.calls, tally.from_ledger) == (5, 0)
    assert (second.calls, second.from_ledger) == (0, 5)
    uses = logged(warehouse, USES)
    assert uses["from_ledger"].to_list().count(False) == 5
    assert logged(warehouse, CALLS)["prompt_tokens"].sum() == 35
    # Nobody said what this endpoint costs.
    assert spent(warehouse, {"task": "small"}) == Spent(5, 60, None)
    assert paid_by_round(warehouse, RoundKey("small", "s3_shown", 0, 0)) == {0: Spent(5, 60, None)}


def test_key_holds_what_changes_an_answer_and_no_loopback_port(tmp_path):
    task = online(tmp_path, "http://127.0.0.1:1111/v1")
    one, *_ = requests(task, 1)
    keys = {
        request_id(one, "a", task.spec.teacher),
        request_id(one, "b", task.spec.teacher),
        request_id(requests(task, 1, sample=1)[0], "a", task.spec.teacher),
        request_id(one, "a", task.spec.teacher.model_copy(update={"model": "other"})),
        request_id(one, "a", task.spec.teacher.model_copy(update={"temperature": 0.1})),
    }
    assert len(keys) == 5
    # What an answer does not follow from must not cost a second one.
    assert request_id(one, "a", task.spec.teacher) == request_id(
        one, "a", task.spec.teacher.model_copy(update={"concurrency": 1, "timeout_seconds": 5})
    )
    assert teacher_id(task, "http://127.0.0.1:1111/v1") == teacher_id(task, "http://127.0.0.1:2222/v1/")
    assert teacher_id(task, "https://host:8000/v1") == "host:8000/v1"
    named = online(tmp_path, "http://127.0.0.1:1/v1", teacher={"name": "mine"})
    assert teacher_id(named, "http://127.0.0.1:1/v1") == "mine"


def test_embedded_teacher_answers_change_key_with_its_grammar(tmp_path):
    (tmp_path / "grammar.yaml").write_text("one: 1")
    task = write_task(tmp_path, teacher={"backend": "embedded", "grammar": str(tmp_path / "grammar.yaml")})
    before = teacher_id(task, "http://127.0.0.1/v1")
    (tmp_path / "grammar.yaml").write_text("one: 2")
    assert teacher_id(task, "http://127.0.0.1/v1") != before
    (tmp_path / "grammar.yaml").unlink()
    with pytest.raises(TaskError, match="no grammar for task small"):
        teacher_id(task, "http://127.0.0.1/v1")


def test_a_changed_parser_makes_no_new_call(tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")
    with scripted_teacher(obliging) as teacher:
        task = online(tmp_path, teacher.url)
        ask(task, warehouse, requests(task, 2))
        with teacher_session(task, warehouse, KEY, "seed_set") as session:
            answers = session.ask(
                requests(task, 2), lambda request, received: Reading(json.loads(received.text)["examples"][0])
            )
        assert len(teacher.bodies) == 2
    assert all("text" in answer.content for answer in answers)


def test_a_killed_run_resumes_without_asking_again(tmp_path):
    """SIGKILL half-way: every answer that had arrived is found again, also those still in the journal."""
    root = tmp_path / "warehouse"

    def script(body, number):
        time.sleep(0.02)
        return obliging(body, number)

    with scripted_teacher(script) as teacher:
        task = online(tmp_path, teacher.url, teacher={"concurrency": 2})
        code = textwrap.dedent(f"""
            from pathlib import Path
            from s3_assets.store.parts import Warehouse
            from s3_assets.tasks.load import load_task
            from s3_assets_tests.asking import ask, requests
            task = load_task(Path({str(tmp_path / "small")!r}))
            ask(task, Warehouse(Path({str(root)!r})), requests(task, 60))
        """)
        process = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY)
        while len(teacher.bodies) < 25:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        sent = len(teacher.bodies)
        answers, tally = ask(task, Warehouse(root), requests(task, 60))
        # Only what was in flight when it died may be asked again: at most one request per worker.
        assert len(teacher.bodies) <= 60 + 2
        assert tally.from_ledger >= sent - 2
    assert all(answer.content for answer in answers)
    calls = logged(Warehouse(root), CALLS)
    assert calls.height == calls.unique(["request_id", "attempt"]).height
    # What the killed run paid is not forgotten by the budget.
    assert spent(Warehouse(root), {"task": "small"}).calls == 60


def test_journal_left_between_part_and_emptying_is_not_counted_twice(tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")
    with scripted_teacher(obliging) as teacher:
        task = online(tmp_path, teacher.url)
        with Ledger(warehouse):
            pass
        ask(task, warehouse, requests(task, 3))
        rows = logged(warehouse, CALLS).with_columns(pl.col("asked_at").dt.epoch("ms"))
        left = warehouse.journal_folder / "0-dead.jsonl"
        lines = [json.dumps({"table": CALLS, "row": row}) for row in rows.to_dicts()]
        left.write_text("\n".join([*lines, '{"table": "teacher_ca']))
        ask(task, warehouse, requests(task, 3))
    assert not left.exists()
    assert logged(warehouse, CALLS).height == 3


def test_two_processes_that_ask_the_same_make_one_call(tmp_path):
    root = tmp_path / "warehouse"

    def script(body, number):
        time.sleep(0.02)
        return obliging(body, number)

    with scripted_teacher(script) as teacher:
        online(tmp_path, teacher.url, teacher={"concurrency": 4})
        code = textwrap.dedent(f"""
            from pathlib import Path
            from s3_assets.store.parts import Warehouse
            from s3_assets.tasks.load import load_task
            from s3_assets_tests.asking import ask, requests
            task = load_task(Path({str(tmp_path / "small")!r}))
            answers, tally = ask(task, Warehouse(Path({str(root)!r})), requests(task, 60))
            assert all(answer.content for answer in answers)
            print(tally.calls)
        """)
        both = [
            subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        calls = [int(process.communicate()[0]) for process in both]
        assert [process.returncode for process in both] == [0, 0]
        assert len(teacher.bodies) == 60
    assert sum(calls) == 60
    assert spent(Warehouse(root), {"task": "small"}).calls == 60


def test_a_request_that_comes_twice_in_one_step_is_asked_once(tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")
    with scripted_teacher(obliging) as teacher:
        task = online(tmp_path, teacher.url)
        answers, tally = ask(task, warehouse, requests(task, 2) * 3)
        assert len(teacher.bodies) == 2
    assert [answer.content for answer in answers[:2]] * 3 == [answer.content for answer in answers]
    assert tally.from_ledger == 4


def test_a_claim_ends_with_its_process(tmp_path):
    with Claims(tmp_path / "claims") as mine, Claims(tmp_path / "claims") as other:
        assert mine.take("r_00ff")
        assert not mine.take("r_00ff")
        assert not other.take("r_00ff")
        assert other.take("r_00fe")
        mine.release("r_00ff")
        assert other.take("r_00ff")
    with Claims(tmp_path / "claims") as next_one:
        assert next_one.take("r_00ff")


def test_replay_answers_from_the_ledger_alone(tmp_path, monkeypatch):
    warehouse = Warehouse(tmp_path / "warehouse")
    with scripted_teacher(lambda body, number: obliging(body, number) if number else (400, "no")) as teacher:
        task = online(tmp_path, teacher.url, teacher={"concurrency": 1})
        first, _ = ask(task, warehouse, requests(task, 3))
    # The endpoint is gone.
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    replayed = online(tmp_path, teacher.url, teacher={"concurrency": 1, "mode": "replay"})
    again, tally = ask(replayed, warehouse, requests(replayed, 3))
    assert [answer.content for answer in again] == [answer.content for answer in first]
    # What was given up then is given up again, for the same reason.
    assert again[0].faults[0].reason == first[0].faults[0].reason
    assert tally.calls == 0
    with pytest.raises(NotInLedger, match="ledger import"):
        ask(replayed, warehouse, requests(replayed, 3, sample=1))


def test_replay_is_a_mode_and_says_so(tmp_path):
    with pytest.raises(TaskError, match="mode: replay"):
        write_task(tmp_path, teacher="replay")


def test_journals_of_an_older_version_are_read(tmp_path):
    """Rows that lack columns added since."""
    warehouse = Warehouse(tmp_path / "warehouse")
    warehouse.journal_folder.mkdir(parents=True)
    old = {"request_id": "r_0a", "attempt": 0, "response": "x", "outcome": "answered", "asked_at": 1}
    (warehouse.journal_folder / "0-dead.jsonl").write_text(json.dumps({"table": CALLS, "row": old}) + "\n")
    with Ledger(warehouse) as ledger:
        assert ledger.calls(["r_0a"])["r_0a"][0]["response"] == "x"
    assert logged(warehouse, CALLS)["cost"].to_list() == [None]
