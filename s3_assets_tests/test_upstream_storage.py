"""Facts about DuckDB and polars that the store rests on. A test that fails here names a decision to look at again."""

import subprocess
import sys
import time
from pathlib import Path

import duckdb
import polars as pl
import pytest

from s3_assets.store.identity import frame_digest

DUCKDB = f"in DuckDB {duckdb.__version__}"
POLARS = f"in polars {pl.__version__}"


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


# -- DuckDB ----------------------------------------------------------------------------------------------------------


def test_duckdb_says_nothing_when_objects_are_left_at_exit():
    """pyproject.toml leaves out 2.0.0: our processes free nothing at exit (``leaving.py``), and 2.0.0 lists its own
    types and functions on standard error when they are not freed."""
    code = """
import atexit, gc
import duckdb
with duckdb.connect() as con:
    con.execute("SELECT 1")
atexit.register(gc.freeze)"""
    done = run(code)
    assert done.returncode == 0
    assert done.stderr == "", f"objects left at exit are reported {DUCKDB}"


def test_a_file_that_is_written_cannot_be_read(tmp_path):
    """docs/adr/0002, the other half: a pipeline that keeps a `.duckdb` file open shuts every reader out."""
    file = tmp_path / "data.duckdb"
    with duckdb.connect(str(file)):
        done = run("import duckdb, sys; duckdb.connect(sys.argv[1], read_only=True)", str(file))
    assert done.returncode != 0, DUCKDB
    assert "lock" in done.stderr, DUCKDB


def test_a_session_keeps_the_file_it_opened(tmp_path):
    """store/catalog.py: a new catalog takes the place of the old one by a rename, also while sessions are open."""
    file, pending = tmp_path / "s3.duckdb", tmp_path / "pending.duckdb"
    for place, value in ((file, "old"), (pending, "new")):
        with duckdb.connect(str(place)) as con:
            con.execute(f"CREATE VIEW v AS SELECT '{value}' AS value")
    with duckdb.connect(str(file), read_only=True) as reading:
        pending.replace(file)
        assert reading.execute("FROM v").fetchall() == [("old",)], DUCKDB
        # Within one process DuckDB shares one instance by path, so the new file is asked from another.
        done = run("import duckdb, sys; print(duckdb.connect(sys.argv[1], read_only=True).sql('FROM v'))", str(file))
        assert "new" in done.stdout, done.stderr


def test_now_in_a_stored_view_is_the_moment_of_the_query(tmp_path):
    """store/views.py: views look back from ``now()``. It must be the time of each query or transaction, never that of
    CREATE VIEW, and work in a session that may not write."""
    file = tmp_path / "views.duckdb"
    with duckdb.connect(str(file)) as con:
        con.execute("CREATE VIEW v AS SELECT now() - INTERVAL 1 SECOND AS a, epoch_ms(now() - INTERVAL 1 SECOND) AS b")
    with duckdb.connect(str(file), read_only=True) as con:
        ask = lambda: con.execute("SELECT epoch_ms(a), b FROM v").fetchone()  # noqa: E731
        began = time.time_ns() // 1_000_000
        first = ask()
        assert first[0] == first[1], f"now() differs within one query {DUCKDB}"
        assert abs(first[0] + 1000 - began) < 60_000, f"now() is not the moment of the query {DUCKDB}"
        time.sleep(0.02)
        assert ask() > first, f"now() stands still between queries {DUCKDB}"
        con.execute("BEGIN")
        inside = ask()
        time.sleep(0.02)
        assert ask() == inside, f"now() moves within a transaction {DUCKDB}"


def test_the_wheel_brings_every_extension_the_product_uses():
    """docs/adr/0003: with fetching switched off, Parquet, JSON and time zones work."""
    off = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    with duckdb.connect(config=off) as con:
        query = "SELECT extension_name FROM duckdb_extensions() WHERE install_mode = 'STATICALLY_LINKED' ORDER BY ALL"
        assert con.execute(query).fetchall() == [("core_functions",), ("icu",), ("json",), ("parquet",)], DUCKDB
        query = "SELECT '{\"a\": 7}'::JSON ->> 'a', hour(timezone('Asia/Kolkata', TIMESTAMPTZ '2026-01-01 12:00+00'))"
        assert con.execute(query).fetchall() == [("7", 17)], DUCKDB


def test_part_names_sort_as_their_times():
    """store/parts.py and store/views.py: the newest part is the greatest file name, as text, on both sides."""
    names = [
        f"{stamp:013d}-{unique}.parquet" for stamp, unique in ((1, "ff"), (999, "a0"), (10**12, "00"), (10**12, "z"))
    ]
    assert sorted(names) == names
    with duckdb.connect() as con:
        assert con.execute("SELECT list_sort($1)", [names[::-1]]).fetchall() == [(names,)], DUCKDB


# -- polars ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def odd_place(tmp_path) -> Path:
    """A file whose folders look like a pattern and like a column."""
    place = tmp_path / "a[b]*" / "label=other"
    place.mkdir(parents=True)
    pl.DataFrame({"label": ["own"]}).write_parquet(place / "part.parquet", metadata={"note": "kept"})
    return place / "part.parquet"


def test_a_part_is_read_by_its_name_and_its_folders_add_nothing(odd_place):
    """store/parts.py: ``glob=False`` takes a path as written, ``hive_partitioning=False`` leaves columns as written."""
    assert pl.read_parquet(odd_place, glob=False, hive_partitioning=False).rows() == [("own",)], POLARS
    assert pl.read_parquet(odd_place, glob=False, hive_partitioning=True).rows() == [("other",)], (
        f"folders are no longer columns, so hive_partitioning=False could go {POLARS}"
    )


def test_notes_of_a_part_come_back(odd_place):
    """store/parts.py: fingerprints are in the file's metadata; without them every step would be stale."""
    assert pl.read_parquet_metadata(odd_place)["note"] == "kept", POLARS


def test_content_hashes_tell_apart_what_differs():
    """store/identity.py hashes ``write_ndjson``: neighbouring floats, nulls, order and accents must not collapse.

    Infinity and NaN are written as null: JSON has neither.
    """
    values = [0.1, 0.1 + 2**-56, 1e-300, None]
    frames = [pl.DataFrame({"n": [value]}, schema={"n": pl.Float64}) for value in values]
    frames += [pl.DataFrame({"n": [text]}) for text in ("null", "", "é", "e\u0301", '"')]
    frames += [pl.DataFrame({"n": ["a", "b"]}), pl.DataFrame({"n": ["b", "a"]}), pl.DataFrame({"m": ["a", "b"]})]
    digests = [frame_digest(frame) for frame in frames]
    assert len(set(digests)) == len(digests), POLARS
    assert digests == [frame_digest(frame.clone()) for frame in frames]


def test_labels_that_look_like_numbers_stay_text(tmp_path):
    """tasks/files.py: ``infer_schema=False`` reads every CSV column as text, leading zeros included."""
    (tmp_path / "gold.csv").write_text("text,label\n007,01\ntrue,1.0\n")
    read = pl.read_csv(tmp_path / "gold.csv", infer_schema=False)
    assert read.rows() == [("007", "01"), ("true", "1.0")], POLARS
