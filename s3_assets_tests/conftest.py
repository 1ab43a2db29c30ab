"""Fixtures used by more than one test module: a small task with a tiny student, and a throw-away Dagster home."""

import shutil
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from s3_assets.tasks.load import Task
from s3_assets_tests.fakes import DEMO_FOLDER, REPOSITORY, write_task
from s3_assets_tests.tiny_student import make_tiny_student


@pytest.fixture(scope="session")
def tiny_student(tmp_path_factory) -> Path:
    """Folder of a student small enough to train in a second."""
    texts = pl.read_csv(DEMO_FOLDER / "gold.csv")["review"].to_list()
    return make_tiny_student(tmp_path_factory.mktemp("student") / "tiny", texts)


@pytest.fixture
def small_task(tmp_path, tiny_student) -> Task:
    """The demo's gold and grammar, 24 seed rows, the tiny student, three rounds."""
    student = {"weights": str(tiny_student), "epochs": 1, "min_steps": 0}
    return write_task(tmp_path / "tasks", student=student, rounds=3)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """Environment with tasks, warehouse and Dagster home under ``tmp_path``."""
    place = tmp_path / "home"
    place.mkdir()
    shutil.copy(REPOSITORY / "dagster_home" / "dagster.yaml", place)
    monkeypatch.setenv("DAGSTER_HOME", str(place))
    monkeypatch.setenv("S3_ASSETS_WAREHOUSE", str(tmp_path / "warehouse"))
    (tmp_path / "tasks").mkdir(exist_ok=True)
    monkeypatch.setenv("S3_ASSETS_TASKS", str(tmp_path / "tasks"))
    return place


@pytest.fixture
def instance(home) -> dg.DagsterInstance:
    """A real instance with the shipped settings."""
    with dg.DagsterInstance.get() as found:
        yield found
