"""What ``s3-assets leaderboard`` reads, prints, writes and draws."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from s3_assets.cli.leaderboard import EMBEDDED, markdown, print_leaderboard
from s3_assets.experiment.leaderboard import experiment_rows, leaderboard
from s3_assets.experiment.plot import plot
from s3_assets.store.parts import Warehouse
from s3_assets.store.tables import table
from s3_assets.tasks.presets import presets
from s3_assets_tests.boards import GOLD_ONLY, GOLDGEN, S3, arm, board_of, rows_of, size_of
from s3_assets_tests.fakes import write_task

Command = Callable[..., tuple[int, str, str]]


def test_markdown_is_one_table() -> None:
    lines = markdown(board_of(S3, GOLDGEN, GOLD_ONLY)).splitlines()
    assert len(lines) == 5
    assert {text.count("|") for text in lines} == {15}
    assert lines[1].startswith("| ---: | --- | ---: |")
    assert lines[2] == (
        "| 1 | s3 | 3 | 83.0 ±3.6 [74.0, 92.0] | +2.0 [-5.5, +9.5] p=0.368 | +11.0 [+6.7, +15.3] p=0.008 "
        "| 590 | 0 | 600 | 120 | 50.0 | 0.5000 | 40 | 22.0 |"
    )
    assert lines[4].startswith("| 3 | gold_only | 3 | 72.0 ±2.0 ")


def test_tables_fit_100_columns(tmp_path: Path) -> None:
    task = write_task(tmp_path)
    # The longest names, exact match, two seeds 45 points apart: intervals of several hundred points.
    arms = [arm(name, [0.5, 0.95], test_exact_match=1.0, cost=99.5, train_seconds=12_345.0) for name in presets()]
    controls = [arm("gold_only", [0.95, 0.5], cost=0.0), arm("goldgen", [1.0, 0.9])]
    others = [rows for rows in arms if rows[0]["arm"] not in {"gold_only", "goldgen"}]
    out = io.StringIO()
    print_leaderboard(Console(file=out, width=300), task, board_of(*controls, *others), [])
    assert max(len(text.rstrip()) for text in out.getvalue().splitlines()) <= 100


@pytest.fixture
def compared(home: Path, tmp_path: Path) -> Warehouse:
    """The task small with three arms in the experiment and leaderboard of its warehouse."""
    write_task(tmp_path / "tasks")
    warehouse = Warehouse(tmp_path / "warehouse")
    rows = rows_of(S3, GOLDGEN, GOLD_ONLY, arm("s3_shown", [0.6], teacher_budget=700))
    for row in rows.iter_slices(1):
        warehouse.write("experiment", row.select("task", "arm", "seed").row(0, named=True), row)
    warehouse.write("leaderboard", {"task": "small"}, leaderboard("small", rows))
    return warehouse


def test_experiment_rows_are_the_live_ones_of_the_task(compared: Warehouse) -> None:
    compared.write("experiment", {"task": "other", "arm": "s3", "seed": 0}, rows_of([S3[0] | {"task": "other"}]))
    compared.write("experiment", {"task": "small", "arm": "s3", "seed": 0}, rows_of([S3[0] | {"test_score": 0.5}]))
    compared.retire("experiment", {"task": "small", "arm": "s3", "seed": 2})
    rows = experiment_rows(compared, "small")
    assert rows.filter(pl.col("arm") == "s3")["test_score"].to_list() == [0.5, 0.82]
    assert rows["arm"].unique().sort().to_list() == ["gold_only", "goldgen", "s3", "s3_shown"]
    assert experiment_rows(compared, "nothing").schema == table("experiment").schema


def test_command_prints_tables_and_what_to_know(compared: Warehouse, command: Command) -> None:
    code, out, _ = command("leaderboard", "small")
    assert code == 0
    cells = " ".join(out.split())
    assert "1 s3 3 83.0 ±3.6 [74, 92] +2.0 [-5.5, +9.5] +11.0 [+6.7, +15.3]" in cells
    assert "s3 590 0 600 120 50.0 0.5000 40 22.0" in cells
    said = " ".join(out.split())
    assert "s3_shown asked for 700 rows and label questions, goldgen asked for 600 rows and label" in said
    # Nothing stands behind these rows: no model of theirs is live.
    assert "left out, as inputs changed since: gold_only seed 0," in said
    assert EMBEDDED in out
    assert "have no place" not in out


def test_command_writes_csv_json_and_markdown(compared: Warehouse, command: Command) -> None:
    rows = list(csv.DictReader(io.StringIO(command("leaderboard", "small", "--format", "csv")[1])))
    assert [row["arm"] for row in rows] == ["s3", "goldgen", "gold_only", "s3_shown"]
    assert rows[3]["score_sd"] == ""
    objects = json.loads(command("leaderboard", "small", "--format", "json")[1])
    assert set(objects[0]) == set(table("leaderboard").schema)
    assert objects[0]["score_mean"] == pytest.approx(0.83)
    assert objects[3]["score_sd"] is None
    text = command("leaderboard", "small", "--format", "markdown")[1]
    assert text.startswith("| # | arm |")
    assert EMBEDDED in text


def test_command_shows_differences_from_an_arm(compared: Warehouse, command: Command) -> None:
    code, out, _ = command("leaderboard", "small", "--against", "s3")
    cells = " ".join(out.split())
    assert code == 0
    assert "vs s3" in cells
    assert "vs goldgen" not in cells
    assert "goldgen 3 81.0 ±2.6 [74, 88] -2.0 [-9.5, +5.5]" in cells
    assert "4 s3_shown 1 60.0 unequal" in cells
    assert "no difference from s3 is given for s3_shown: asked for over 5% more than it, or has no seed" in cells
    objects = json.loads(command("leaderboard", "small", "--against", "s3", "--format", "json")[1])
    assert objects[1]["vs_s3"] == pytest.approx(-0.02)
    assert objects[1]["vs_gold_only"] is not None
    assert "| vs s3 |" in command("leaderboard", "small", "--against", "s3", "--format", "markdown")[1]
    # A control of every board needs nothing computed.
    assert set(json.loads(command("leaderboard", "small", "--against", "goldgen", "--format", "json")[1])[0]) == set(
        table("leaderboard").schema
    )
    code, _, error = command("leaderboard", "small", "--against", "goldgn")
    assert (code, "Did you mean goldgen" in error, "--arms goldgn" in error) == (2, True, True)


def test_rows_of_before_budgets_were_held_against_arms_are_read(compared: Warehouse, command: Command) -> None:
    """Parts are immutable: those written when a column did not exist lack it."""
    part = compared.live("experiment", {"task": "small", "arm": "s3", "seed": 0})
    part.read().drop("over_budget").write_parquet(part.path)
    assert experiment_rows(compared, "small").filter(pl.col("over_budget").is_null()).height == 1


def test_command_draws(compared: Warehouse, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "board.png"
    code, out, error = command("leaderboard", "small", "--format", "json", "--png", str(file))
    assert code == 0
    assert json.loads(out)
    assert f"drawn: {file}" in error
    assert size_of(file.read_bytes())[0] == 900
    code, _, error = command("leaderboard", "small", "--png", str(tmp_path / "absent" / "board.png"))
    assert code == 2
    assert "No such file" in error
    assert "--png" in error


def test_command_draws_the_seeds_the_board_was_made_of(compared: Warehouse, command: Command, tmp_path: Path) -> None:
    rows = rows_of([row | {"model_id": f"m_{row['seed']}"} for row in S3])
    for row in rows.iter_slices(1):
        compared.write("experiment", row.select("task", "arm", "seed").row(0, named=True), row)
    made_of = rows.filter(pl.col("seed") < 2)
    board = leaderboard("small", made_of)
    compared.write("leaderboard", {"task": "small"}, board, {"inputs": json.dumps({"s3/0": "m_0", "s3/1": "m_1"})})
    command("leaderboard", "small", "--png", str(tmp_path / "board.png"))
    drawn = (tmp_path / "board.png").read_bytes()
    assert drawn == plot(board, made_of)
    assert drawn != plot(board, rows)


def test_command_names_the_one_that_compares(home: Path, tmp_path: Path, command: Command) -> None:
    write_task(tmp_path / "tasks")
    code, _, error = command("leaderboard", "small")
    assert code == 2
    assert "`s3-assets compare small`" in error
    code, _, error = command("leaderboard", "smal")
    assert code == 2
    assert "Did you mean 'small'?" in error


def test_command_says_why_there_is_no_score(home: Path, tmp_path: Path, command: Command) -> None:
    task = write_task(tmp_path / "tasks", teacher={"backend": "openai", "model": "m"})
    warehouse = Warehouse(tmp_path / "warehouse")
    warehouse.write("leaderboard", {"task": task.name}, board_of(arm("s3", [None, None])))
    _, out, _ = command("leaderboard", "small")
    assert "Arms without a test score have no place" in out
    assert EMBEDDED not in out
