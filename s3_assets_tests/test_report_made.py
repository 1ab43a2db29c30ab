"""How a report is made: the command, the file, the asset, what is imported."""

import base64
from pathlib import Path

import dagster as dg
import pytest

from s3_assets.definitions import task_definitions
from s3_assets.report.page import write_page
from s3_assets.resources import WarehouseResource
from s3_assets_tests.fakes import write_task
from s3_assets_tests.report_pages import Page, part, two_rounds
from s3_assets_tests.test_imports import imported_by


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def task(place, tiny_student):
    return write_task(place / "tasks", student={"weights": str(tiny_student), "epochs": 1, "min_steps": 0}, rounds=3)


@pytest.fixture(scope="module")
def warehouse(place, task):
    return two_rounds(task, place / "warehouse")


def test_the_command_writes_one_file_and_names_it(command, place, warehouse, monkeypatch, tmp_path):
    monkeypatch.setenv("S3_ASSETS_TASKS", str(place / "tasks"))
    monkeypatch.setenv("S3_ASSETS_WAREHOUSE", str(warehouse.root))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert command("report", "small") == (0, "report_small.html\n", "")
    assert [one.name for one in (tmp_path / "here").iterdir()] == ["report_small.html"]
    assert Page((tmp_path / "here" / "report_small.html").read_text()).problems == []
    with monkeypatch.context() as nothing_read:
        nothing_read.setattr("s3_assets.report.page.read_report", None)
        for folder in (".", "", "/", str(tmp_path)):
            code, _, said = command("report", "small", "--to", folder)
            assert (code, said) == (2, f"{Path(folder)}: is a folder; give --to a file\n")
        code, _, said = command("report", "small", "--to", str(tmp_path / "nowhere" / "a.html"))
    assert code == 2
    assert "a.html: cannot be written (No such file or directory); give --to a file in a folder that exists" in said
    monkeypatch.setenv("S3_ASSETS_WAREHOUSE", str(tmp_path / "empty"))
    code, _, said = command("report", "small")
    assert code == 2
    assert said == "small has no rounds yet, so there is nothing to report; run `s3-assets run small`\n"


def test_a_page_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path):
    file = tmp_path / "report.html"
    write_page(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_page(file, "\ud800")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_what_the_ui_shows_of_the_report(task, warehouse, instance):
    definitions = task_definitions(task, WarehouseResource(path=str(warehouse.root)))
    job = definitions.resolve_implicit_global_asset_job_def()
    done = job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey(["small", "report"])])
    (event,) = done.get_asset_materialization_events()
    shown = event.materialization.metadata
    file = warehouse.root / shown["file"].value
    assert shown["file"].value == "reports/small.html"
    assert shown["bytes"].value == file.stat().st_size
    assert Page(file.read_text()).problems == []
    assert shown["rounds"].value == 2
    model = part(warehouse, "trained_model", task, 1).row(0, named=True)
    assert shown["test_score"].value == pytest.approx(model["test_accuracy"], abs=1e-4)
    # No map: the task's texts have no vectors.
    assert "map" not in shown
    for name in ("accuracy", "drift", "rows"):
        start = f"![{name}](data:image/png;base64,"
        assert shown[name].value.startswith(start)
        assert base64.b64decode(shown[name].value[len(start) : -1]).startswith(b"\x89PNG")


def test_a_report_of_nothing_says_what_to_run(task, tmp_path, instance):
    definitions = task_definitions(task, WarehouseResource(path=str(tmp_path / "empty")))
    job = definitions.resolve_implicit_global_asset_job_def()
    with pytest.raises(dg.Failure, match="run `s3-assets run small`"):
        job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey(["small", "report"])])


def test_the_asset_has_no_table_and_stands_with_what_compares(task):
    (found,) = [one for one in task_definitions(task, WarehouseResource()).assets if one.key.path[-1] == "report"]
    spec = found.specs_by_key[found.key]
    assert spec.group_name == "small_compared"
    assert {key.path[-1] for dep in spec.deps for key in [dep.asset_key]} == {"error_set", "drift"}
    assert "dagster/column_schema" not in spec.metadata
    assert "select * from" not in spec.description
    assert spec.kinds == {"html", "matplotlib"}
    assert found.partitions_def is None


def test_a_report_is_made_without_torch(place, task, warehouse):
    code = f"""
from datetime import UTC, datetime
from pathlib import Path
from s3_assets.report.examples import read_examples
from s3_assets.report.facts import read_facts
from s3_assets.report.map import read_map
from s3_assets.report.page import read_report, render
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.load import load_task
task, warehouse = load_task(Path({str(task.folder)!r})), Warehouse(Path({str(warehouse.root)!r}))
render(read_report(task, warehouse), datetime.now(UTC))"""
    assert not imported_by(code) & {"torch", "transformers", "dagster", "openai"}
