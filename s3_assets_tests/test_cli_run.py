"""``run`` and ``demo``: progress, the closing table, resuming, failures; and a reader's session held open meanwhile."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from s3_assets.cli import demo as demo_module
from s3_assets.cli.run import wanted_rounds
from s3_assets.loop.steps import make_gold, make_seed_set
from s3_assets.store.catalog import connect, ensure_catalog
from s3_assets.store.parts import Warehouse
from s3_assets_tests.fakes import REPOSITORY, write_task


@pytest.fixture
def warehouse(tmp_path):
    return Warehouse(tmp_path / "warehouse")


def parts(warehouse):
    return set(warehouse.root.rglob("[1-9]*.parquet"))


def ask(warehouse, query):
    with connect(warehouse) as con:
        con.execute("SET VARIABLE as_of = now() + INTERVAL 1 HOUR")
        return con.execute(query).fetchall()


def table_rows(out):
    """Cells of the closing table, one list per round."""
    return [line.split() for line in out.splitlines() if re.match(r" *\d+ +\d+ +\d+ ", line)]


def test_run_ends_with_what_the_tables_hold_and_does_nothing_twice(command, small_task, warehouse):
    code, out, _ = command("run", "small", "--rounds", "0-1")
    assert code == 0
    assert "training: epoch 1 of 1" in out
    assert "seed_set: " in out
    rounds = ask(
        warehouse,
        """SELECT round, seed_rows, errors, round(100 * select_accuracy, 1), round(100 * test_accuracy, 1)
           FROM rounds ORDER BY round""",
    )
    steer = ask(warehouse, "SELECT count(*) FROM gold WHERE split = 'steer'")[0][0]
    shown = table_rows(out)
    assert len(shown) == 2
    for cells, (round_, rows, errors, select, test) in zip(shown, rounds, strict=True):
        assert cells[:2] == [str(round_), str(rows)]
        assert cells[4:7] == [f"{errors}/{steer}", f"{select:.1f}", f"{test:.1f}"]
    paid = ask(warehouse, "SELECT count(*), sum(prompt_tokens + completion_tokens) FROM teacher_calls")[0]
    assert sum(int(cells[2]) for cells in shown) == paid[0]
    assert sum(int(cells[3].replace(",", "")) for cells in shown) == paid[1]
    assert "a grammar without a model" in out
    # The last round ends with its error set: nothing wants its extrapolated set yet.
    assert ask(warehouse, "SELECT DISTINCT round FROM extrapolated_set") == [(0,)]

    before = parts(warehouse)
    code, out, _ = command("run", "small", "--rounds", "0-1")
    assert code == 0
    assert out.count("there already, nothing to do") == 2
    assert [cells[-1] for cells in table_rows(out)] == ["earlier", "earlier"]
    assert parts(warehouse) == before


def test_a_failed_step_is_its_own_message_and_exit_code_1(command, tmp_path, tiny_student):
    # The budget ends the seed set half-way; what came is kept and the run goes on from there.
    student = {"weights": str(tiny_student), "epochs": 1, "min_steps": 0}
    write_task(tmp_path / "tasks", student=student, budget={"calls": 3})
    code, _, err = command("run", "small", "--rounds", "0")
    assert code == 1
    assert "the budget of 3 teacher calls for the task is spent" in err
    assert "Traceback" not in err
    warehouse = Warehouse(tmp_path / "warehouse")
    assert len(ask(warehouse, "FROM teacher_calls")) == 3
    write_task(tmp_path / "tasks", student=student, budget={"calls": 100})
    code, _, _ = command("run", "small", "--rounds", "0")
    assert code == 0
    calls = ask(warehouse, "SELECT count(*), count(DISTINCT (request_id, attempt)) FROM teacher_calls")[0]
    assert calls[0] == calls[1] > 3


def test_weights_that_cannot_be_loaded_are_named(command, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for weights, message in ((str(tmp_path / "absent"), "no such folder"), (str(tmp_path), "cannot be loaded")):
        write_task(tmp_path / "tasks", student=weights)
        code, _, err = command("run", "small", "--rounds", "0")
        assert code == 1
        assert f"student weights {weights!r}" in err
        assert message in err
        assert "Traceback" not in err
        assert "Stack Trace" not in err


def test_an_interrupted_run_says_that_it_can_go_on(command, small_task, monkeypatch):
    # What Dagster's handler of Ctrl-C raises inside a step.
    def interrupted(*_):
        raise dg.DagsterExecutionInterruptedError

    monkeypatch.setattr("s3_assets.assets.seed_set.make_seed_set", interrupted)
    code, _, err = command("run", "small", "--rounds", "0")
    assert code == 1
    assert err.startswith("interrupted; the same command goes on")
    assert len(err.splitlines()) == 1


def test_run_stops_when_rounds_stopped_paying(command, small_task, monkeypatch):
    monkeypatch.setattr("s3_assets.cli.run.should_stop", lambda _, done, *__: "no gain" if done == 1 else None)
    code, out, _ = command("run", "small", "--rounds", "0-2", "--until-stop")
    assert code == 0
    assert "stopped after round 0: no gain" in out
    assert len(table_rows(out)) == 1


def test_run_takes_the_rounds_that_the_strategy_has_a_budget_for(tmp_path):
    for strategy, rounds, last in (("s3", 4, 2), ("default", 4, 3), ("default", 2, 1), ("frugal", 9, 2)):
        task = write_task(tmp_path, strategy=strategy, rounds=rounds)
        assert wanted_rounds(None, task) == (0, last)
        assert wanted_rounds("1", task) == (1, 1)


def test_rounds_beyond_the_schedule_are_said_to_be(command, tmp_path, tiny_student):
    student = {"weights": str(tiny_student), "epochs": 1, "min_steps": 0}
    write_task(tmp_path / "tasks", student=student, experiment={"rounds": 1})
    said = "schedule: s3_shown has spent its budget with round 1; each later one asks for 20 rows more"
    code, out, _ = command("run", "small")
    assert code == 0
    assert len(table_rows(out)) == 2
    assert "schedule" not in out + command("status", "small")[1]
    code, out, err = command("run", "small", "--rounds", "0-2")
    assert code == 0, out + err
    assert out.count(said) == 1
    assert command("status", "small")[1].count(said) == 1


def test_demo_shows_what_was_achieved_and_says_when_it_is_there_already(command, small_task, monkeypatch):
    renamed = {
        title: query.replace("film_reviews", "small").replace("'default'", "'s3_shown'")
        for title, query in demo_module.QUERIES.items()
    }
    monkeypatch.setattr(demo_module, "QUERIES", renamed)
    monkeypatch.setattr(demo_module, "DEMO_TASK", "small")
    code, out, _ = command("demo")
    assert code == 0
    assert len(table_rows(out)) == 3
    assert "wall time" in out
    assert "data: " in out
    # Two queries, each with its result.
    assert out.count("s3-assets sql") == 2
    # Three metrics of texts in three rounds.
    assert re.search(r"\b9 rows", out)
    assert "next: `make dev`" in out
    code, out, _ = command("demo")
    assert code == 0
    assert out.count("there already, nothing to do") == 3


def test_a_session_held_open_sees_each_round_and_is_in_nobodys_way(small_task, home, warehouse):
    """Real processes: a reader that never closes its session, and the command in one of its own."""
    environment = {**os.environ, "COLUMNS": "120"}

    ensure_catalog(warehouse)
    reading = duckdb.connect(str(warehouse.catalog_path), read_only=True)
    counted = "SELECT round, count(*) FROM seed_set GROUP BY round ORDER BY round"
    assert reading.execute(counted).fetchall() == []
    make_gold(small_task, warehouse)
    make_seed_set(small_task, warehouse, 0)
    time.sleep(1.1)
    first = reading.execute(counted).fetchall()
    assert first == [(0, 24)]
    # A query half read while the pipeline writes.
    half = reading.cursor().execute("SELECT text FROM seed_set")
    half.fetchone()
    done = subprocess.run(
        [Path(sys.executable).parent / "s3-assets", "run", "small", "--rounds", "0-1"],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Nothing is left behind when the process ends, and nothing warns.
    assert done.stderr == ""
    time.sleep(1.1)
    second = reading.execute(counted).fetchall()
    assert second[0] == (0, 24)
    assert second[1][0] == 1
    assert second[1][1] > 24
    assert len(half.fetchall()) == 23
    reading.close()
