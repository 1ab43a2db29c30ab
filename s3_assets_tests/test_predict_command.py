"""``s3-assets predict``: what it prints, writes and refuses."""

import io
import json

import polars as pl
import pytest

from s3_assets.loop.steps import make_gold, make_seed_set
from s3_assets.store.parts import Warehouse
from s3_assets.student.model import fresh_student
from s3_assets_tests.fakes import write_task
from s3_assets_tests.test_best_student import keep
from s3_assets_tests.test_predict import written


@pytest.fixture
def shown(home, tmp_path, tiny_student):
    """A task that the command finds, with one round whose student is of the checkpoint."""
    task, warehouse = write_task(tmp_path / "tasks"), Warehouse(tmp_path / "warehouse")
    make_gold(task, warehouse)
    make_seed_set(task, warehouse, 0)
    labels = tuple(task.spec.labels)
    keep(task, warehouse, 0, fresh_student(str(tiny_student), labels, 32).save, 6)
    return task, warehouse


def test_a_text_is_answered_with_the_probability_of_every_label(command, shown):
    code, out, err = command("predict", "small", "A lovely film [really].")
    assert code == 0
    lines = [line.split() for line in out.splitlines() if line.strip()]
    assert [line[0] for line in (lines[0], *lines[2:])] == ["label", *sorted_labels(lines)]
    assert sum(float(line[1]) for line in lines[2:]) == pytest.approx(1, abs=0.002)
    assert err == "small: round 0, the only one: best on selecting gold (75.0% of 8 rows right)\n"
    code, out, _ = command("predict", "small", "A lovely film [really].", "--format", "jsonl", "--round", "0")
    assert code == 0
    said = json.loads(out)
    assert list(said) == ["review", "prediction", "probability", "probability_positive", "probability_negative"]
    assert said["prediction"] == lines[2][0]
    assert said["probability"] == pytest.approx(float(lines[2][1]), abs=0.001)


def sorted_labels(lines):
    found = {line[0]: float(line[1]) for line in lines[2:]}
    assert set(found) == {"positive", "negative"}
    return sorted(found, key=found.get, reverse=True)


def test_a_file_is_printed_as_csv_or_written_where_told(command, shown, tmp_path):
    rows = pl.DataFrame({"n": ["1", "2", "3"], "review": ["fun", "", "dull"], "verdict": ["positive", "positive", "?"]})
    file = written(tmp_path, "own.csv", rows)
    code, out, err = command("predict", "small", "--file", str(file))
    assert code == 0
    printed = pl.read_csv(io.StringIO(out), infer_schema=False)
    assert printed["n"].to_list() == ["1", "2", "3"]
    assert printed["prediction"].is_null().to_list() == [False, True, False]
    share = 100 * (printed["prediction"][0] == "positive")
    told = f"{file}, by its column 'verdict'"
    assert err.splitlines()[1:] == [
        "2 rows predicted",
        "1 row without a text and so without a prediction: 2",
        f"{told}: {share:.1f}% of 1 rows right",
        "that is a figure of your own file, not of the task's gold; rows the student learned from count as well",
        f"{told}: 1 row with one that is no label of the task not counted",
    ]
    out = tmp_path / "out.parquet"
    code, printed, err = command("predict", "small", "--file", str(file), "--out", str(out))
    assert (code, printed) == (0, "")
    assert f"2 rows predicted, written to {out}" in err
    assert pl.read_parquet(out).height == 3
    code, _, err = command("predict", "small", "--file", str(file), "--out", str(out))
    assert code == 2
    assert "is there already; choose another name, or replace it with --force" in err
    assert command("predict", "small", "--file", str(out), "--out", str(out))[0] == 2
    code, _, err = command("predict", "small", "--file", str(out), "--out", str(tmp_path / "again.csv"))
    assert code == 2
    assert "has the column 'prediction', 'probability', 'probability_positive', 'probability_negative' already" in err
    code, _, _ = command("predict", "small", "--file", str(file), "--out", str(out), "--force", "--format", "jsonl")
    assert code == 0
    assert pl.read_ndjson(out).height == 3


def test_lines_come_from_standard_input(command, shown, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"fun\ndull\n")))
    code, out, err = command("predict", "small", "--file", "-")
    assert code == 0
    assert [line.split(",")[0] for line in out.splitlines()] == ["review", "fun", "dull"]
    assert "2 rows predicted" in err


def test_a_round_that_is_not_there_is_refused(command, shown):
    code, _, err = command("predict", "small", "fun", "--round", "2")
    assert code == 2
    assert "the student of round 2 of task small is missing" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give either a TEXT to ask about or a --file of them"),
        (["fun", "--file", "own.csv"], "give either a TEXT to ask about or a --file of them"),
        (["--file", "absent.csv"], "absent.csv: no such file; --file names it"),
        (["--file", "own.csv", "--text2", "b"], "--text2 goes with TEXT"),
        (["--file", "own.csv", "--format", "table"], "--format table is for a text on the command line"),
        (["fun", "--format", "parquet"], "--format parquet goes to a file"),
        (["fun", "--out", "a.xml"], "--out a.xml: ends in none of .csv, .jsonl, .ndjson, .parquet"),
        (["fun", "--out", "absent/a.csv"], "its folder does not exist"),
        (["fun"], "task small has no student yet; run `s3-assets run small`"),
    ],
)
def test_options_that_do_not_go_together(command, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    write_task(tmp_path / "tasks")
    code, _, err = command("predict", "small", *words)
    assert code == 2
    assert message in err
