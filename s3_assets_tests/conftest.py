"""How tests run; fixtures of more than one module: a small task with a tiny student, a Dagster home, the command."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest

from s3_assets.store.catalog import connect
from s3_assets.store.parts import Warehouse
from s3_assets.student.device import share_the_processor
from s3_assets.tasks.load import Task
from s3_assets_tests.fakes import DEMO_FOLDER, REPOSITORY, write_task
from s3_assets_tests.tiny_student import make_tiny_student
from s3_assets_tests.warehouses import LATER


def pytest_configure() -> None:
    """One thread for torch, in processes that tests start too.

    Students this small only wait for their second thread: 1 s instead of 20 s for 80 steps on two busy cores.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    share_the_processor()


@pytest.fixture(scope="session")
def tiny_student(tmp_path_factory) -> Path:
    """Folder of a student small enough to train in a second."""
    texts = pl.read_csv(DEMO_FOLDER / "gold.csv")["review"].to_list()
    return make_tiny_student(tmp_path_factory.mktemp("student") / "tiny", texts)


@pytest.fixture
def float32(monkeypatch) -> None:
    """Seven digits, also on processors that compute in bfloat16, which has three."""
    monkeypatch.setattr("s3_assets.student.device._cpu_has_bf16", lambda: False)


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


@pytest.fixture
def con(warehouse: Warehouse) -> Iterator[duckdb.DuckDBPyConnection]:
    """A session on the catalog of the module's own ``warehouse`` that sees everything written."""
    with connect(warehouse) as session:
        session.execute(LATER)
        yield session


@pytest.fixture
def command(home, monkeypatch, capsys) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Runs ``s3-assets`` as its entry point does; gives exit code, standard output and standard error."""
    from s3_assets.cli.app import main

    monkeypatch.setenv("COLUMNS", "120")

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["s3-assets", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    # The command prints progress through this logger for the rest of its process, which here is everybody's.
    logger = logging.getLogger("s3_assets")
    handlers, level = list(logger.handlers), logger.level
    yield run
    logger.handlers[:] = handlers
    logger.setLevel(level)
