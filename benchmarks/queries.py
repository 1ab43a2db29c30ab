"""How long queries take on a large warehouse: every view, the recipes of docs/sql.md, the lineage of one row.

    .venv/bin/python benchmarks/queries.py                                # makes a million rows first, about 3 minutes
    .venv/bin/python benchmarks/queries.py --warehouse /path/to/million       # as benchmarks/warehouse.py filled it

Beside each stands the same query on native tables of one DuckDB file, as `s3-assets snapshot` writes it: what is paid
for reading Parquet parts that a pipeline may add to at any time. Also: opening the catalog, writing one partition of
10,000 rows beside inserting them into a native table. Two threads; warm medians.

Bars: a view or recipe 1 s, those that read words or vectors 5 s, lineage of one row 0.5 s, opening 0.2 s, writing 1 s.
"""

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import duckdb
import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from warehouse import write  # noqa: E402

from s3_assets.store.catalog import connect, ensure_catalog  # noqa: E402
from s3_assets.store.parts import RoundKey, Warehouse  # noqa: E402
from s3_assets.store.snapshot import write_snapshot  # noqa: E402
from s3_assets_tests.recipes import PAGE, recipes  # noqa: E402

THREADS = 2
VIEW_SECONDS, SCAN_SECONDS, LINEAGE_SECONDS, OPEN_SECONDS, WRITE_SECONDS = 1.0, 5.0, 0.5, 0.2, 1.0
WRITTEN_ROWS = 10_000

# Views with few rows are fetched whole; of the others all columns of one round are.
WHOLE = ("rounds", "funnel", "spend", "error_fate", "gold_history", "label_agreement", "parts", "drift", "leaderboard")
READS_VECTORS = re.compile(r"embedding|regexp_extract_all")


@dataclass(frozen=True)
class Case:
    """One query and the most seconds it may take."""

    name: str
    query: str
    bar: float


def cases(con: duckdb.DuckDBPyConnection, key: RoundKey) -> Iterator[Case]:
    """Every view whole or counted, one round of it, the lineage of one row, the recipes for one loop."""
    where = f"task = '{key.task}' AND arm = '{key.arm}' AND seed = {key.seed}"
    row = f"SELECT example_id FROM extrapolated_set WHERE {where} AND round = {key.round} LIMIT 1"
    (example,) = con.execute(row).fetchone() or ("",)
    loop = f"in_task := '{key.task}', in_arm := '{key.arm}', in_seed := {key.seed}"
    yield Case("lineage of a row", f"FROM lineage WHERE example_id = '{example}' AND {where}", LINEAGE_SECONDS)
    yield Case("lineage_of a row", f"FROM lineage_of('{example}', {loop})", LINEAGE_SECONDS)
    yield Case("lineage by id alone", f"FROM lineage WHERE example_id = '{example}'", LINEAGE_SECONDS)
    yield Case("lineage_of by id alone", f"FROM lineage_of('{example}')", LINEAGE_SECONDS)
    views = "SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY 1"
    for (view,) in con.execute(views).fetchall():
        bar = SCAN_SECONDS if READS_VECTORS.search(view) else VIEW_SECONDS
        yield Case(f"{view}: count", f"SELECT count(*) FROM {view}", bar)
        columns = {name for name, *_ in con.execute(f"DESCRIBE {view}").fetchall()}
        if view in WHOLE:
            yield Case(f"{view}: all rows", f"FROM {view}", bar)
        elif {"task", "arm", "seed", "round"} <= columns:
            yield Case(f"{view}: one round", f"FROM {view} WHERE {where} AND round = {key.round}", bar)
    for recipe in recipes(PAGE.read_text()):
        query = recipe.query.replace("'film_reviews'", f"'{key.task}'")
        bar = SCAN_SECONDS if READS_VECTORS.search(query) else VIEW_SECONDS
        yield Case(f"recipe {recipe.number}", query, bar)


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median of ``repeats`` after one that is not counted."""
    work()
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return median(took)


def writing(warehouse: Warehouse, key: RoundKey, repeats: int) -> tuple[float, float]:
    """Seconds to write one partition of 10,000 rows as a part, and to insert them into a native table."""
    part = warehouse.live("seed_set", key.at(0).columns())
    assert part is not None
    rows = part.read().head(WRITTEN_ROWS)
    with tempfile.TemporaryDirectory() as folder:
        own = Warehouse(Path(folder) / "warehouse")
        native = duckdb.connect(str(Path(folder) / "native.duckdb"))
        file = own.write("seed_set", key.at(0).columns(), rows).path
        native.execute(f"CREATE TABLE seed_set AS FROM read_parquet('{file}') LIMIT 0")
        as_part = seconds(lambda: own.write("seed_set", key.at(0).columns(), rows), repeats)
        inserted = seconds(lambda: native.execute(f"INSERT INTO seed_set FROM read_parquet('{file}')"), repeats)
        native.close()
    return as_part, inserted


def compare(warehouse: Warehouse, snapshot: Path | None, repeats: int) -> None:
    console, missed = Console(), []
    key = pick(warehouse)
    shown = Table("", "parts", "native", "bar", title="warm medians in seconds, two threads", box=box.SIMPLE_HEAD)

    def row(name: str, took: float, native: float | None, bar: float) -> None:
        shown.add_row(name, f"{took:.3f}", "" if native is None else f"{native:.3f}", f"{bar:.1f}")
        if took > bar:
            missed.append(name)

    row("opening the catalog", seconds(lambda: connect(warehouse).close(), repeats), None, OPEN_SECONDS)
    written, inserted = writing(warehouse, key, repeats)
    row(f"writing {WRITTEN_ROWS:,} rows", written, inserted, WRITE_SECONDS)
    with connect(warehouse) as con:
        con.execute(f"SET threads = {THREADS}")
        other = None if snapshot is None else duckdb.connect(str(snapshot), read_only=True)
        if other is not None:
            other.execute(f"SET threads = {THREADS}; SET TimeZone = 'UTC'")
        for case in cases(con, key):
            took = seconds(lambda query=case.query: con.execute(query).fetchall(), repeats)
            native = None
            if other is not None:
                native = seconds(lambda query=case.query: other.execute(query).fetchall(), repeats)
            row(case.name, took, native, case.bar)
            console.print(f"{case.name}: {took:.3f}", highlight=False)
    console.print(shown)
    console.print(f"over the bar: {', '.join(missed) or 'none'}")


def pick(warehouse: Warehouse) -> RoundKey:
    """A loop in the middle of the warehouse, in its second round."""
    folders = sorted((warehouse.root / "seed_set").glob("task=*/arm=*/seed=*"))
    task, arm, seed = (part.partition("=")[2] for part in folders[len(folders) // 2].parts[-3:])
    return RoundKey(task, arm, int(seed), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warehouse", type=Path, help="folder filled by benchmarks/warehouse.py; default: a new one")
    parser.add_argument("--rows", type=int, default=1_000_000, help="distinct synthetic rows of a new one")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--without-native", action="store_true", help="leave the alternative out")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(given.warehouse or Path(folder) / "warehouse")
        if given.warehouse is None:
            write(warehouse, given.rows, 10_000)
        ensure_catalog(warehouse)
        rows = sum(
            pl.scan_parquet(file).select(pl.len()).collect().item()
            for name in ("extrapolated_set", "seed_set")
            for file in (warehouse.root / name).glob("task=*/**/*.parquet")
            if name == "extrapolated_set" or "round=round_00" in str(file)
        )
        print(f"{rows:,} distinct synthetic rows in {warehouse.root}")
        snapshot = None
        if not given.without_native:
            snapshot = Path(folder) / "snapshot.duckdb"
            began = time.perf_counter()
            write_snapshot(warehouse, snapshot)
            print(f"snapshot: {time.perf_counter() - began:.0f} s, {snapshot.stat().st_size / 1e9:.1f} GB", flush=True)
        compare(warehouse, snapshot, given.repeats)


if __name__ == "__main__":
    main()
