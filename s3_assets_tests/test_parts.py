"""Parts: the newest is live, nothing is overwritten, a killed or a concurrent writer loses and tears nothing."""

import multiprocessing
import os
import random
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from s3_assets.store.identity import frame_digest
from s3_assets.store.parts import PART_NAME, RoundKey, Warehouse
from s3_assets.store.tables import table

KEY = RoundKey("toy", "s3", 0, 0)
KILLS = 6


def frame_of(name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows of table ``name``, columns not given are null."""
    schema = table(name).schema
    return pl.DataFrame([dict.fromkeys(schema) | row for row in rows], schema=schema)


def seeds(count: int, mark: str, key: RoundKey = KEY) -> pl.DataFrame:
    """``count`` rows of seed_set, all carrying ``mark`` as their label."""
    row = {**key.columns(), "label": mark, "origin": "seed", "first_round": 0}
    return frame_of("seed_set", [row | {"example_id": f"x_{i}", "text": f"text {i}"} for i in range(count)])


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse")


def write_seeds(warehouse: Warehouse, count: int, mark: str, key: RoundKey = KEY) -> Path:
    return warehouse.write("seed_set", key.columns(), seeds(count, mark, key)).path


def test_the_newest_part_is_live(warehouse: Warehouse) -> None:
    assert warehouse.live("seed_set", KEY.columns()) is None
    first = write_seeds(warehouse, 2, "old")
    second = write_seeds(warehouse, 3, "new")
    live = warehouse.live("seed_set", KEY.columns())
    assert live is not None
    assert live.path == second
    assert live.read()["label"].to_list() == ["new"] * 3
    assert [part.path for part in warehouse.parts("seed_set", KEY.columns())] == [first, second]


def test_partitions_do_not_touch_each_other(warehouse: Warehouse) -> None:
    write_seeds(warehouse, 1, "zero")
    write_seeds(warehouse, 1, "one", KEY.at(1))
    live = warehouse.live("seed_set", KEY.columns())
    assert live is not None
    assert live.read()["label"].to_list() == ["zero"]
    assert warehouse.live("seed_set", KEY.at(2).columns()) is None


def test_stamps_rise_even_when_the_clock_does_not(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_000)
    for mark in ("a", "b", "c"):
        write_seeds(warehouse, 1, mark)
    stamps = [part.stamp for part in warehouse.parts("seed_set", KEY.columns())]
    assert stamps == [1_700_000_000_000, 1_700_000_000_001, 1_700_000_000_002]


def test_parts_are_never_overwritten(warehouse: Warehouse) -> None:
    seen: dict[Path, tuple[int, bytes]] = {}
    for mark in ("a", "b", "c"):
        path = write_seeds(warehouse, 2, mark)
        assert path not in seen
        for old, (inode, content) in seen.items():
            assert (old.stat().st_ino, old.read_bytes()) == (inode, content)
        seen[path] = (path.stat().st_ino, path.read_bytes())


def test_a_reset_empties_a_partition_and_a_later_part_fills_it(warehouse: Warehouse) -> None:
    old = write_seeds(warehouse, 2, "old")
    reset = warehouse.retire("seed_set", KEY.columns())
    assert reset.reset
    assert warehouse.live("seed_set", KEY.columns()) is None
    assert old.exists()
    new = write_seeds(warehouse, 1, "new")
    live = warehouse.live("seed_set", KEY.columns())
    assert live is not None
    assert live.path == new


def test_columns_are_taken_by_name(warehouse: Warehouse) -> None:
    frame = seeds(1, "positive")
    shuffled = frame.select(sorted(frame.columns, reverse=True))
    part = warehouse.write("seed_set", KEY.columns(), shuffled)
    assert part.read().equals(frame)
    assert part.read().columns == list(table("seed_set").schema)


def test_columns_without_a_type_get_the_declared_one(warehouse: Warehouse) -> None:
    frame = seeds(1, "positive").with_columns(pl.lit(None).alias("gold_id"))
    part = warehouse.write("seed_set", KEY.columns(), frame)
    assert part.read().schema == table("seed_set").schema


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop("text"), r"table seed_set: missing columns \['text'\]"),
        (lambda frame: frame.with_columns(colour=pl.lit("red")), r"unknown columns \['colour'\]"),
        (lambda frame: frame.with_columns(pl.col("item").cast(pl.String)), "column item: is String, must be Int64"),
        (lambda frame: frame.with_columns(pl.col("round").cast(pl.Int32)), "column round: is Int32, must be Int64"),
    ],
)
def test_a_wrong_schema_is_refused_and_leaves_nothing(warehouse: Warehouse, change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        warehouse.write("seed_set", KEY.columns(), change(seeds(1, "positive")))
    assert not list(warehouse.root.rglob("*.parquet"))


def test_a_missing_key_and_an_unknown_table_are_refused(warehouse: Warehouse) -> None:
    with pytest.raises(KeyError, match="arm"):
        warehouse.directory("seed_set", {"task": "toy"})
    with pytest.raises(KeyError, match="known: drift, embeddings"):
        warehouse.directory("seeds", {})


def test_notes_travel_with_the_part(warehouse: Warehouse) -> None:
    frame = seeds(2, "positive")
    part = warehouse.write("seed_set", KEY.columns(), frame, {"input_fingerprint": "f1", "inputs": "[]"})
    assert part.metadata() == {"data_version": frame_digest(frame), "input_fingerprint": "f1", "inputs": "[]"}
    assert part.data_version == frame_digest(frame)
    assert warehouse.write("seed_set", KEY.columns(), frame).data_version == part.data_version


def test_paths_follow_the_keys(warehouse: Warehouse) -> None:
    path = write_seeds(warehouse, 1, "positive", KEY.at(7))
    assert path.parent == warehouse.root / "seed_set" / "task=toy" / "arm=s3" / "seed=0" / "round=round_07"
    assert PART_NAME.match(path.name)
    assert warehouse.directory("teacher_calls", {}) == warehouse.root / "teacher_calls"


def test_files_of_others_are_not_parts(warehouse: Warehouse) -> None:
    path = write_seeds(warehouse, 1, "positive")
    for name in (".0a.tmp", "notes.txt", "123-ab.parquet", "9999999999999-ab.parquet.bak"):
        (path.parent / name).write_text("not a part")
    assert [part.path for part in warehouse.parts("seed_set", KEY.columns())] == [path]


def write_for_ever(root: Path, published: Connection) -> None:
    """Child process: publish parts of 20,000 rows until killed, telling the name of each one that returned."""
    warehouse, count = Warehouse(root), 0
    frame = seeds(20_000, "count")
    while True:
        marked = frame.with_columns(label=pl.lit(str(count)))
        published.send((warehouse.write("seed_set", KEY.columns(), marked).path, count))
        count += 1


def test_kill_9_of_a_writer_loses_and_tears_nothing(warehouse: Warehouse) -> None:
    spawn, chance = multiprocessing.get_context("spawn"), random.Random(0)
    pipes = [spawn.Pipe(duplex=False) for _ in range(KILLS)]
    writers = [spawn.Process(target=write_for_ever, args=(warehouse.root, send)) for _, send in pipes]
    published: dict[Path, int] = {}
    for start in range(0, KILLS, 2):
        pair = range(start, start + 2)
        for i in pair:
            writers[i].start()
            pipes[i][1].close()
        for i in pair:
            # The second or later: the first is in, and the next is being written when the kill comes.
            published.update([pipes[i][0].recv(), pipes[i][0].recv()])
            time.sleep(chance.uniform(0, 0.03))
            pid = writers[i].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        for i in pair:
            writers[i].join()
            while True:
                try:
                    published.update([pipes[i][0].recv()])
                except EOFError:
                    break
            pipes[i][0].close()
            assert writers[i].exitcode == -signal.SIGKILL
    parts = {part.path: part for part in warehouse.parts("seed_set", KEY.columns())}
    assert set(published) <= set(parts), "a published part was lost"
    # A part may be in place though the writer died before saying so: it must be whole all the same.
    assert len(parts) <= len(published) + KILLS
    for path, part in parts.items():
        frame = part.read()
        assert frame.height == 20_000
        assert part.data_version == frame_digest(frame)
        assert frame["label"].unique().to_list() == [str(published.get(path, frame["label"][0]))]
    assert warehouse.live("seed_set", KEY.columns()) == max(parts.values(), key=lambda part: part.path.name)
    # The next writer is not in the way of what the dead left behind.
    write_seeds(warehouse, 1, "after")
    live = warehouse.live("seed_set", KEY.columns())
    assert live is not None
    assert live.read()["label"].to_list() == ["after"]
