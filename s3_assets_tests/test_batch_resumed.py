"""Mode batch: going on wherever a run ended, with no second batch for what is under way."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from s3_assets.store.parts import Warehouse
from s3_assets.teacher.batch_state import BatchFile, BatchState, batch_key, states
from s3_assets.teacher.journal import Journal
from s3_assets.teacher.ledger import CALLS
from s3_assets.teacher.reply import TeacherUnavailable
from s3_assets_tests.asking import ask, logged, requests
from s3_assets_tests.batch_server import batch_server
from s3_assets_tests.batching import batched, left_over, odd_ones
from s3_assets_tests.fakes import REPOSITORY, obliging


def child(tmp_path, root, count):
    """A process that asks ``count`` requests of the task in ``tmp_path``."""
    code = textwrap.dedent(f"""
        from pathlib import Path
        from s3_assets.store.parts import Warehouse
        from s3_assets.tasks.load import load_task
        from s3_assets_tests.asking import ask, requests
        task = load_task(Path({str(tmp_path / "small")!r}))
        ask(task, Warehouse(Path({str(root)!r})), requests(task, {count}))
    """)
    return subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY)


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
