"""Task YAML: what is accepted, and what the messages say when it is not."""

from pathlib import Path

import pytest

from s3_assets import settings
from s3_assets.tasks.load import TaskError, find_tasks, get_task, load_task

GOOD = """\
name: mine
labels:
  a: first
  b: second
gold: gold.csv
"""


def write(folder: Path, text: str, name: str = "mine") -> Path:
    place = folder / name
    place.mkdir(parents=True)
    (place / "task.yaml").write_text(text, encoding="utf-8")
    return place


def test_defaults_and_shorthands(tmp_path):
    spec = load_task(write(tmp_path, GOOD + "teacher: embedded\nstudent: some/model\n")).spec
    assert spec.gold.file == "gold.csv"
    assert spec.teacher.backend == "embedded"
    assert spec.student.weights == "some/model"
    assert spec.rounds == 4


def test_paths_are_relative_to_the_yaml(tmp_path):
    task = load_task(write(tmp_path, GOOD))
    assert task.path("gold.csv") == (tmp_path / "mine" / "gold.csv").resolve()
    assert task.path("/elsewhere/x.csv") == Path("/elsewhere/x.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "rows:\n  sead: 3\n", ["task.yaml:7", "rows.sead", "did you mean seed?"]),
        (GOOD.replace("gold: gold.csv\n", ""), ["gold: is required"]),
        (GOOD + "kind: triple\n", ["task.yaml:6", "kind", "'single'", "'triple'"]),
        (GOOD + "rounds: 0\n", ["task.yaml:6", "rounds", "greater than 0"]),
        (GOOD.replace("a: first", "yes: first"), ["labels", "quotes"]),
        (GOOD.replace("a: first", "a:"), ["labels", "needs a description"]),
        (GOOD + "kind: pair\n", ["fields.text2"]),
        (GOOD + "rounds: 2\nrounds: 3\n", ["task.yaml:7", "rounds", "given twice"]),
        (GOOD.replace("gold: gold.csv", "gold: {files: {test: t.csv}}"), ["files needs dev"]),
        (GOOD.replace("gold: gold.csv", "gold: {file: g.csv, limit: {dev: 3}}"), ["limit", "dev"]),
        (GOOD.replace("name: mine", "name: Mine"), ["task.yaml:1", "name"]),
        (GOOD.replace("name: mine", "name: other"), ["'other'", "folder is 'mine'"]),
        ("- a\n- b\n", ["must hold keys"]),
        ("name: [unclosed\n", ["not valid YAML"]),
    ],
)
def test_messages_name_file_line_key_and_what_is_allowed(tmp_path, text, said):
    with pytest.raises(TaskError) as caught:
        load_task(write(tmp_path, text))
    for part in said:
        assert part in str(caught.value)


def test_every_problem_is_reported_at_once(tmp_path):
    with pytest.raises(TaskError) as caught:
        load_task(write(tmp_path, GOOD + "rounds: 0\nseed: -1\n"))
    assert len(str(caught.value).splitlines()) == 2


def test_not_utf8(tmp_path):
    place = write(tmp_path, GOOD)
    (place / "task.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(TaskError, match="not UTF-8"):
        load_task(place)


def test_duplicate_names_name_both_folders(tmp_path):
    write(tmp_path / "one", GOOD)
    write(tmp_path / "two", GOOD)
    with pytest.raises(TaskError, match="declared twice"):
        find_tasks([tmp_path / "one", tmp_path / "two"])


def test_unknown_task_suggests(tmp_path):
    write(tmp_path, GOOD)
    with pytest.raises(TaskError, match="Did you mean 'mine'"):
        get_task("mien", [tmp_path])


def test_folders_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("S3_ASSETS_TASKS", f"{tmp_path}/a:{tmp_path}/b")
    assert settings.task_folders()[1:] == [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(TaskError, match="S3_ASSETS_TASKS"):
        find_tasks(settings.task_folders())


def test_shipped_tasks_load():
    for folder in find_tasks(settings.task_folders()[:1]).values():
        assert load_task(folder).name == folder.name
