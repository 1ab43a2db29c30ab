"""A session that asks while rounds run: no query fails, nothing shows in part, views agree with each other."""

import multiprocessing
import time
from pathlib import Path

import duckdb

from s3_assets.loop.steps import (
    make_drift,
    make_error_set,
    make_extrapolated_set,
    make_gold,
    make_seed_set,
    make_trained_model,
)
from s3_assets.store.catalog import build_catalog, connect
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.load import load_task
from s3_assets_tests.test_snapshot import rounded
from s3_assets_tests.test_views import column

ROUNDS = 2
ASKED = ("rounds", "lineage", "error_fate", "spend", "funnel", "drift", "row_origin")


def run_rounds(folder: Path, root: Path) -> None:
    """Child process: the loop, step by step."""
    task, warehouse = load_task(folder), Warehouse(root)
    make_gold(task, warehouse)
    for round_ in range(ROUNDS):
        for make in (make_seed_set, make_trained_model, make_error_set, make_drift):
            make(task, warehouse, round_)
        if round_ < ROUNDS - 1:
            make_extrapolated_set(task, warehouse, round_)


def ask(con: duckdb.DuckDBPyConnection) -> dict[int, int]:
    """One transaction: every view asked, those that count the same things compared; rows of seed sets by round."""
    con.execute("BEGIN")
    for name in ASKED:
        con.execute(f"SELECT * FROM {name}").fetchall()
    sets = dict(con.execute("SELECT round, count(*) FROM seed_set GROUP BY round").fetchall())
    told = con.execute("SELECT round, seed_rows FROM rounds WHERE seed_rows IS NOT NULL").fetchall()
    assert dict(told) == sets
    assert column(con, "SELECT count(*) FROM row_origin") == [sum(sets.values())]
    assert column(con, "SELECT coalesce(sum(len(seed_sets)), 0) FROM lineage") == [sum(sets.values())]
    missed = "SELECT count(*) FROM error_fate, unnest(correct) AS each(is_right) WHERE NOT is_right"
    assert column(con, missed) == column(con, "SELECT count(*) FROM predictions WHERE NOT correct")
    assert column(con, "SELECT sum(attempts) FROM spend") == column(con, "SELECT sum(calls) FROM rounds")
    example = column(con, "SELECT min(example_id) FROM lineage")[0]
    if example is not None:
        steps = column(con, f"SELECT count(*) FROM lineage_of('{example}') WHERE kind = 'seed_set'")
        held = column(con, f"SELECT len(seed_sets) FROM lineage WHERE example_id = '{example}'")
        assert steps[0] >= held[0]
    con.execute("COMMIT")
    return sets


def test_a_session_beside_running_rounds(small_task, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse")
    build_catalog(warehouse)
    child = multiprocessing.get_context("spawn").Process(target=run_rounds, args=(small_task.folder, warehouse.root))
    seen: list[dict[int, int]] = []
    with connect(warehouse) as con:
        child.start()
        while child.is_alive():
            seen.append(ask(con))
            time.sleep(0.1)
        child.join()
        assert child.exitcode == 0
        time.sleep(1.1)
        final = ask(con)
        open_answers = {name: con.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall() for name in ASKED}
    assert set(final) == set(range(ROUNDS))
    # A round's rows are all there or none, and none goes again.
    for before, after in zip(seen, [*seen[1:], final], strict=True):
        assert before.items() <= after.items() <= final.items()
    assert len(seen) > 2
    with connect(warehouse) as fresh:
        for name in ASKED:
            told = fresh.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall()
            assert rounded(told) == rounded(open_answers[name]), name
