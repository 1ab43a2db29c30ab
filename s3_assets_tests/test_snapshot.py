"""Snapshots: the same answers as the catalog, from one file that needs nothing else."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from s3_assets.store.catalog import connect
from s3_assets.store.derived import derived_views
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.store.snapshot import SnapshotError, write_snapshot
from s3_assets.store.tables import tables
from s3_assets.store.views import duckdb_type
from s3_assets_tests.test_lineage import fill, relabel
from s3_assets_tests.test_views import column, put

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    # So that the tests need not wait for the second the views look back.
    for module in ("catalog", "snapshot"):
        monkeypatch.setattr(f"s3_assets.store.{module}.AS_OF", "TIMESTAMPTZ '2200-01-01 00:00:00+00'")
    warehouse = Warehouse(tmp_path / "warehouse")
    fill(warehouse)
    relabel(warehouse)
    put(warehouse, "embeddings", {"text_id": "t_1", "encoder": "minilm", "embedding": [0.5] * 384})
    return warehouse


def rounded(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    # Sums of floats differ in their last digits by the order they are added in.
    return [tuple(round(value, 9) if isinstance(value, float) else value for value in row) for row in rows]


def test_every_derived_view_says_the_same(warehouse: Warehouse, tmp_path: Path) -> None:
    made = write_snapshot(warehouse, tmp_path / "now.duckdb")
    moved = made.path.rename(tmp_path / "elsewhere.duckdb")
    with connect(warehouse) as catalog, duckdb.connect(str(moved), read_only=True) as snapshot:
        snapshot.execute("SET TimeZone = 'UTC'")
        for name in [*(view.name for view in derived_views()), "lineage_of('x3')", *tables()]:
            query = f"SELECT * FROM {name} ORDER BY ALL"
            assert rounded(snapshot.execute(query).fetchall()) == rounded(catalog.execute(query).fetchall()), name
        for table in tables().values():
            types = column(snapshot, f"SELECT column_type FROM (DESCRIBE {table.name})")
            declared = (duckdb_type(dtype) for dtype in table.schema.values())
            expected = [name.replace("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE") for name in declared]
            assert types == expected
        uncommented = """SELECT view_name FROM duckdb_views() WHERE NOT internal AND comment IS NULL
          UNION ALL SELECT table_name FROM duckdb_tables() WHERE comment IS NULL
          UNION ALL SELECT column_name FROM duckdb_columns() WHERE NOT internal AND comment IS NULL"""
        assert column(snapshot, uncommented) == []
        assert column(snapshot, "SELECT count(*) FROM parts WHERE starts_with(path, '/')") == [0]
        tags = column(snapshot, "SELECT tags['storage_version'] FROM duckdb_databases() WHERE NOT internal")
        assert str(tags[0]).startswith("v1.4.0")


def test_tasks_and_vectors_can_be_left_out(warehouse: Warehouse, tmp_path: Path) -> None:
    other = RoundKey("other", "s3", 0, 0)
    put(warehouse, "gold", {"gold_id": "g7", "split": "steer", "text": "Aha.", "label": "negative"}, key=other)
    made = write_snapshot(warehouse, tmp_path / "a.duckdb", ["other"], embeddings=False)
    assert (made.rows["gold"], made.rows["seed_set"], made.rows["teacher_calls"], made.rows["embeddings"]) == (
        1,
        0,
        0,
        0,
    )
    toy = write_snapshot(warehouse, tmp_path / "b.duckdb", ["toy"])
    # The answer another arm paid for is among them.
    assert (toy.rows["gold"], toy.rows["teacher_calls"], toy.rows["embeddings"]) == (1, 3, 1)
    with pytest.raises(SnapshotError, match="no gold of nobody in the warehouse; it has tasks other, toy"):
        write_snapshot(warehouse, tmp_path / "c.duckdb", ["nobody"])


def test_a_failed_snapshot_leaves_what_was_there(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "now.duckdb"
    file.write_text("mine")
    with pytest.raises(SnapshotError, match="--force replaces it"):
        write_snapshot(warehouse, file)
    monkeypatch.setattr("s3_assets.store.snapshot.derived_statements", lambda: ["SELECT nonsense"])
    with pytest.raises(duckdb.BinderException):
        write_snapshot(warehouse, file, force=True)
    assert file.read_text() == "mine"
    assert not list(tmp_path.glob(".now*"))


# A command that says when it has begun to write and then stays there: in Python when all is written, or in a query of
# a second or so. DuckDB's main thread may sleep until a query has ended, and a signal is only heard then.
STUCK = """
import pathlib, sys, time
from s3_assets.cli.snapshot import snapshot
from s3_assets.store import snapshot as module
def sync(place):
    print("there", flush=True)
    time.sleep(600)
def derived_statements():
    print("there", flush=True)
    yield "CREATE TABLE t AS SELECT sum(hash(i)) AS i FROM range(300000000) r(i)"
setattr(module, sys.argv[2], vars()[sys.argv[2]])
snapshot(pathlib.Path(sys.argv[1]), force=True)
"""


@contextmanager
def stuck(warehouse: Warehouse, file: Path, place: str = "sync") -> Iterator[subprocess.Popen[str]]:
    """A process in the middle of writing ``file``; killed at the end."""
    environment = os.environ | {"S3_ASSETS_WAREHOUSE": str(warehouse.root)}
    command = [sys.executable, "-c", STUCK, str(file), place]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "there\n" in process.stdout
            yield process
        finally:
            process.kill()


def test_what_a_killed_process_left_is_removed_by_the_next(warehouse: Warehouse, tmp_path: Path) -> None:
    file, others = tmp_path / "now.duckdb", tmp_path / ".then.duckdb-01234567.tmp"
    others.touch()
    with stuck(warehouse, file) as process:
        (left,) = tmp_path.glob(".now.duckdb-*.tmp")
        # Not while it is at work.
        write_snapshot(warehouse, file)
        assert left.exists()
        process.kill()
        process.wait()
        assert left.exists()
        left.with_name(left.name + ".wal").touch()
        write_snapshot(warehouse, file, force=True)
    assert sorted(entry.name for entry in tmp_path.glob(".*")) == [others.name]


@pytest.mark.parametrize("place", ["sync", "derived_statements"])
def test_a_terminated_command_removes_what_it_wrote(warehouse: Warehouse, tmp_path: Path, place: str) -> None:
    with stuck(warehouse, tmp_path / "now.duckdb", place) as process:
        assert list(tmp_path.glob(".now.duckdb-*.tmp"))
        process.terminate()
        assert process.wait(timeout=120) == 128 + signal.SIGTERM
    assert not list(tmp_path.glob("*now.duckdb*"))


def test_an_error_of_the_database_is_told(
    warehouse: Warehouse, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3_assets.store.snapshot.derived_statements", lambda: ["SELECT nonsense"])
    code, _, said = command("snapshot", str(tmp_path / "now.duckdb"))
    assert code == 1
    assert "nonsense" in said
    assert "Traceback" not in said


def test_the_command_says_what_it_wrote(warehouse: Warehouse, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "now.duckdb"
    code, out, _ = command("snapshot", str(file))
    assert code == 0, out
    assert "seed_set: 6 rows" in out
    assert "MB, the warehouse as of" in out
    assert "raw answers of the teacher" in out
    code, _, said = command("snapshot", str(file))
    assert code == 1
    assert "--force replaces it" in said
    assert command("snapshot", str(file), "--force", "--without-embeddings")[0] == 0
    with duckdb.connect(str(file), read_only=True) as con:
        assert column(con, "SELECT count(*) FROM embeddings") == [0]
