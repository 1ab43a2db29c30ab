"""Commands that declare, check, show and reset: files written, messages, exit codes."""

import shutil

import duckdb
import polars as pl
import pytest
import typer
import yaml
from typer.testing import CliRunner

from s3_assets.cli.app import app
from s3_assets.loop.state import Board
from s3_assets.loop.steps import (
    make_drift,
    make_error_set,
    make_extrapolated_set,
    make_gold,
    make_seed_set,
    make_trained_model,
)
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.gold import read_gold
from s3_assets.tasks.load import load_task
from s3_assets_tests.fakes import write_task


@pytest.fixture
def one_round(small_task, home, tmp_path):
    """The small task with round 0 made, extrapolated set included."""
    warehouse = Warehouse(tmp_path / "warehouse")
    make_gold(small_task, warehouse)
    for make in (make_seed_set, make_trained_model, make_error_set, make_drift, make_extrapolated_set):
        make(small_task, warehouse, 0)
    return warehouse


def parts(warehouse):
    return {path: path.stat().st_mtime_ns for path in warehouse.root.rglob("[0-9]*.parquet")}


def edit(task, **keys):
    file = task.folder / "task.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **keys}, sort_keys=False))


# -- new-task and check ----------------------------------------------------------------------------------------------


def test_new_task_writes_a_task_that_check_accepts(command, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    code, out, _ = command("new-task", "tickets", "--in", str(tmp_path / "tasks"))
    assert code == 0
    assert "s3-assets check tickets" in out
    task = load_task(tmp_path / "tasks" / "tickets")
    assert task.name == "tickets"
    code, out, _ = command("check", "tickets")
    assert code == 0
    assert "task.yaml: valid" in out
    assert "no test split" in out
    assert "teacher: https://api.openai.com/v1, model gpt-4o-mini" in out
    assert "OPENAI_API_KEY" not in out


def test_new_task_elsewhere_says_how_it_is_found(command, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    code, out, _ = command("new-task", "tickets", "--in", str(elsewhere))
    assert code == 0
    assert f"set S3_ASSETS_TASKS={elsewhere}" in out
    assert sorted(path.name for path in (elsewhere / "tickets").iterdir()) == ["gold.csv", "task.yaml"]
    # What somebody has written is never overwritten, also where the task is not found yet.
    (elsewhere / "tickets" / "gold.csv").write_text("mine")
    code, _, err = command("new-task", "tickets", "--in", str(elsewhere))
    assert code == 2
    assert "exists already" in err
    assert (elsewhere / "tickets" / "gold.csv").read_text() == "mine"


def test_the_template_shows_every_default(command, tmp_path):
    command("new-task", "tickets", "--in", str(tmp_path / "tasks"))
    file = tmp_path / "tasks" / "tickets" / "task.yaml"
    said = load_task(file.parent).spec
    needed = {key: yaml.safe_load(file.read_text())[key] for key in ("name", "description", "fields", "labels", "gold")}
    file.write_text(yaml.safe_dump(needed))
    assert load_task(file.parent).spec == said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["new-task", "Tickets"], "'Tickets' cannot be a task name; use lower-case letters"),
        (["new-task", "film_reviews"], "film_reviews: exists already; choose another name"),
        (["check", "film_review"], "film_reviews"),
        (["run", "film_reviews", "--rounds", "a"], "write one round as 2, or several as 0-2"),
        (["run", "film_reviews", "--rounds", "2-1"], "the first round comes after the last"),
        (["run", "film_reviews", "--rounds", "0-9"], "allows rounds 0-3; raise rounds in its task.yaml"),
    ],
)
def test_what_the_user_can_mend_is_one_message_and_exit_code_2(command, words, message):
    code, _, err = command(*words)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_check_counts_gold_calls_and_tokens(command):
    code, out, _ = command("check", "film_reviews")
    assert code == 0
    gold = pl.read_csv(load_task_of_demo().path("gold.csv"))
    counts = dict(gold["verdict"].value_counts().iter_rows())
    assert f"positive: {counts['positive']} rows" in out
    assert "seed set: about 16 calls, " in out
    assert "extrapolated set of round 0: about " in out
    assert "teacher: embedded (a grammar without a model)" in out
    assert "budget: 10000 calls" in out


def test_check_counts_gold_as_the_strategy_uses_it_and_sizes_of_the_loops_rounds(command, tmp_path):
    gold = read_gold(write_task(tmp_path / "tasks"))
    counts = dict(gold["split"].value_counts().iter_rows())
    code, out, _ = command("check", "small")
    assert code == 0
    assert f"gold: {counts['steer']} steer, {counts['select']} select, {counts['test']} test" in out
    # Four rounds extrapolate three times; the schedule of two has nothing for the third.
    assert "strategy: s3_shown, 24 seed rows, then 20, 20 by round, and 20 in each further round" in out
    write_task(tmp_path / "tasks", strategy="default", rounds=3)
    code, out, _ = command("check", "small")
    assert code == 0
    assert f"gold: {counts['steer'] + counts['select']} steer, 0 select, {counts['test']} test" in out
    # Two of the three steps of its schedule.
    sizes = out.split("strategy: default, ")[1].splitlines()[0]
    assert len(sizes.split(", then ")[1].split(",")) == 2
    assert "further" not in sizes


def load_task_of_demo():
    from s3_assets import settings

    return load_task(settings.task_folders()[0] / "film_reviews")


def test_check_names_the_bad_rows_of_gold(command, tmp_path):
    write_task(tmp_path / "tasks", "review,verdict\nA good film.,positive\nA bad film.,negativ\n,positive\n")
    code, _, err = command("check", "small")
    assert code == 2
    assert "gold.csv" in err
    assert "row 2: unknown label 'negativ'" in err
    assert "row 3: text is empty" in err


def test_check_names_an_unknown_key(command, tmp_path):
    task = write_task(tmp_path / "tasks")
    edit(task, stduent={"epochs": 3})
    code, _, err = command("check", "small")
    assert code == 2
    assert "task.yaml" in err
    assert "stduent" in err


def test_check_says_that_a_key_is_missing_and_where_it_goes(command, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    write_task(tmp_path / "tasks", teacher={"backend": "openai", "base_url": "https://api.example.com/v1"})
    code, _, err = command("check", "small")
    assert code == 2
    assert "set the environment variable OPENAI_API_KEY" in err


def test_check_says_that_the_embedded_teacher_has_no_grammar(command, tmp_path):
    write_task(tmp_path / "tasks", teacher="embedded")
    code, _, err = command("check", "small")
    assert code == 2
    assert "the embedded teacher has no grammar for task small" in err


def test_check_says_which_labels_the_grammar_lacks(command, tmp_path):
    labels = {"positive": "Praise.", "negative": "Blame.", "mixed": "Both."}
    write_task(tmp_path / "tasks", labels=labels)
    code, _, err = command("check", "small")
    assert code == 2
    assert "has no texts for the labels mixed" in err


def test_check_says_that_the_students_weights_are_not_there(command, tmp_path):
    write_task(tmp_path / "tasks", student=str(tmp_path / "absent"))
    code, _, err = command("check", "small")
    assert code == 2
    assert "absent': no such folder; correct the task's student.weights" in err


# -- status ----------------------------------------------------------------------------------------------------------


def test_status_shows_states_accuracies_and_why_something_is_stale(command, small_task, one_round):
    code, out, _ = command("status", "small")
    assert code == 0
    (row,) = [line.split() for line in out.splitlines() if line.strip("│ ").startswith("0 ")]
    assert row.count("live") == 5
    (accuracy,) = one_round.live("trained_model", {"task": "small", "arm": "s3_shown", "seed": 0, "round": 0}).read()[
        "test_accuracy"
    ]
    assert f"{100 * accuracy:.1f}" in row
    student = small_task.spec.student.model_dump() | {"epochs": 2}
    edit(small_task, student=student)
    _, out, _ = command("status", "small")
    (row,) = [line.split() for line in out.splitlines() if line.strip("│ ").startswith("0 ")]
    assert row.count("stale") == 3
    assert row.count("live") == 2
    assert "stale: trained_model of round 0" in out


def test_status_lists_every_task_and_one_that_cannot_be_read(command, tmp_path):
    task = write_task(tmp_path / "tasks")
    edit(task, rounds=0)
    code, out, _ = command("status")
    assert code == 0
    assert "film_reviews" in out
    assert "no rounds yet; `s3-assets run film_reviews`" in out
    assert "small cannot be read" in out
    assert "rounds" in out


# -- reset and catalog -----------------------------------------------------------------------------------------------


def test_reset_shows_first_and_does_it_with_yes(command, small_task, one_round):
    before = parts(one_round)
    code, out, _ = command("reset", "small", "--from-round", "0")
    assert code == 0
    assert "would reset seed_set of round 0" in out
    assert "nothing was changed" in out
    assert parts(one_round) == before
    calls = pl.read_parquet(list((one_round.root / "teacher_calls").rglob("[1-9]*.parquet"))).height
    code, out, _ = command("reset", "small", "--from-round", "0", "--yes")
    assert code == 0
    assert {step.state for step in Board(small_task, one_round) if step.asset != "gold"} == {"missing"}
    assert Board(small_task, one_round).is_live("gold", 0)
    # Made again from the same questions: every answer comes from the ledger.
    assert make_seed_set(small_task, one_round, 0).numbers["teacher_calls"] == 0
    assert pl.read_parquet(list((one_round.root / "teacher_calls").rglob("[1-9]*.parquet"))).height == calls
    _, out, _ = command("reset", "small", "--from-round", "1")
    assert "nothing to reset" in out


def test_catalog_follows_a_moved_warehouse(command, one_round, tmp_path, monkeypatch):
    command("catalog")
    moved = tmp_path / "elsewhere"
    shutil.move(one_round.root, moved)
    monkeypatch.setenv("S3_ASSETS_WAREHOUSE", str(moved))
    code, out, _ = command("catalog")
    assert code == 0
    assert str(moved / "s3.duckdb") in out
    with duckdb.connect(str(moved / "s3.duckdb"), read_only=True) as con:
        con.execute("SET VARIABLE as_of = now() + INTERVAL 1 HOUR")
        assert con.execute("SELECT count(*) FROM seed_set").fetchall() == [(24,)]


# -- help ------------------------------------------------------------------------------------------------------------


def test_every_command_argument_and_option_is_explained():
    group = typer.main.get_command(app)
    for name, found in group.commands.items():  # type: ignore[attr-defined]
        assert found.help, name
        for parameter in found.params:
            assert getattr(parameter, "help", None), f"{name}: {parameter.name}"


def test_help_shows_the_sentences():
    shown = CliRunner().invoke(app, ["reset", "--help"]).stdout
    assert "First round to reset" in shown
