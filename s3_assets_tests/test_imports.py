"""What processes import, and how they end: torch only where a student is trained, Dagster only where a run begins.

Every step of a run is a process of its own, so an import at the wrong place is paid five times a round.
"""

import json
import subprocess
import sys

import pytest

from s3_assets.loop.steps import make_gold
from s3_assets.store.parts import Warehouse
from s3_assets_tests.fakes import REPOSITORY

STUDENT = {"torch", "transformers", "safetensors"}
TEACHER = {"openai", "uvicorn", "starlette"}


def imported_by(code: str, *arguments: str) -> set[str]:
    """Top-level modules that a new process has after running ``code``."""
    code += "\nimport json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def step(function: str, task, warehouse) -> set[str]:
    """Modules of a process that does one step of round 0 as a plain function, as the asset does."""
    code = f"""
import sys
from pathlib import Path
from s3_assets.loop.steps import {function}
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.load import load_task
assert not {function}(load_task(Path(sys.argv[1])), Warehouse(Path(sys.argv[2])), 0).reused"""
    return imported_by(code, str(task.folder), str(warehouse.root))


def test_the_code_location_imports_neither_student_nor_teacher():
    found = imported_by("import s3_assets.definitions")
    assert "dagster" in found
    assert not found & (STUDENT | TEACHER | {"scipy", "numpy"})


def test_only_training_imports_torch_and_only_asking_the_client(small_task, tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")
    make_gold(small_task, warehouse)
    rules = {
        "make_seed_set": ({"openai"}, STUDENT),
        "make_trained_model": (STUDENT, TEACHER),
        "make_error_set": (set(), STUDENT | TEACHER | {"scipy"}),
        "make_drift": ({"scipy"}, STUDENT | TEACHER | {"sklearn"}),
        "make_extrapolated_set": ({"openai"}, STUDENT),
    }
    for function, (needed, unwanted) in rules.items():
        found = step(function, small_task, warehouse)
        assert needed <= found, function
        assert not found & unwanted, function


@pytest.mark.parametrize(
    "entry",
    [
        "import s3_assets.definitions; s3_assets.definitions.defs()",
        "from s3_assets.cli import app; app.app = lambda: None; app.main()",
    ],
)
def test_processes_end_without_searching_for_garbage(entry):
    """Everything is frozen at exit, and nothing before: a long-lived process must still collect its garbage."""
    tell = "print(gc.get_freeze_count())"
    code = f"import atexit, gc; atexit.register(lambda: {tell})\n{entry}\n{tell}"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    before, at_exit = map(int, done.stdout.split())
    assert before == 0
    assert at_exit > 10_000


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["status"]])
def test_commands_that_run_nothing_do_not_import_dagster(words, home):
    code = f"""
from s3_assets.cli.app import app
try:
    app({words!r})
except SystemExit as end:
    assert not end.code"""
    found = imported_by(code)
    assert "typer" in found
    assert not found & (STUDENT | TEACHER | {"dagster", "scipy"})
