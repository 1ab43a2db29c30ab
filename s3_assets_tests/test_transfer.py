"""Moving a ledger: a file with every answer, another warehouse that answers from it alone."""

import json
from datetime import timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from s3_assets.loop.fingerprints import SEED_SET, loop_key
from s3_assets.loop.steps import make_gold, make_seed_set
from s3_assets.store.parts import Warehouse
from s3_assets.store.tables import table
from s3_assets.teacher import transfer
from s3_assets.teacher.ledger import CALLS, Ledger, scan, spent
from s3_assets.teacher.transfer import TransferError, export_ledger, import_ledger
from s3_assets_tests.fakes import facts, obliging, scripted_teacher, write_task

# Nobody answers there, and a key is asked for because it is not on this machine.
DEAD = "https://teacher.invalid/v1"


def careless(body, number):
    """Some requests fail, some answers cannot be read, some rows are repeated."""
    if number % 7 == 6:
        return 500, "oops"
    status, content = obliging(body, number)
    if number % 5 == 4:
        return status, content[: len(content) // 3]
    if "examples" in content and number % 4 == 3:
        return status, json.dumps({"examples": [{"text": "always the same"}] * facts(body)["count"]})
    return status, content


@pytest.fixture
def one(tmp_path):
    return Warehouse(tmp_path / "one")


@pytest.fixture
def two(tmp_path):
    return Warehouse(tmp_path / "two")


@pytest.fixture
def seeded(tmp_path, one):
    """The first warehouse with a seed set, and its rows."""
    with scripted_teacher(careless) as teacher:
        task = named(tmp_path, base_url=teacher.url, price={"input": 1, "output": 2})
        make_gold(task, one)
        return make_seed_set(task, one, 0).rows


def named(tmp_path, **teacher):
    return write_task(tmp_path, teacher={"name": "mine", **teacher})


def calls(warehouse):
    return scan(warehouse, CALLS).collect().sort("request_id", "attempt", "asked_at")


def test_a_ledger_survives_its_journey(tmp_path, one, two, seeded):
    file = tmp_path / "ledger.parquet"
    exported = export_ledger(one, file)
    assert exported == calls(one).height > seeded["request_id"].n_unique()
    assert import_ledger(two, file) == (exported, 0)
    assert_frame_equal(calls(two), calls(one))
    assert spent(two, {"task": "small"}) == spent(one, {"task": "small"})
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_importing_again_adds_nothing(tmp_path, one, two, seeded):
    file = tmp_path / "ledger.parquet"
    exported = export_ledger(one, file)
    import_ledger(two, file)
    assert import_ledger(two, file) == (0, exported)
    assert import_ledger(one, file) == (0, exported)
    assert calls(two).height == exported
    assert len(two.parts(CALLS, {})) == 1


def test_a_run_is_replayed_without_a_connection(tmp_path, one, two, seeded, monkeypatch):
    """Row for row, with the teacher gone and no key: also where answers failed, were unusable or refused."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    import_ledger(two, export(one, tmp_path))
    task = named(tmp_path, base_url=DEAD, mode="replay", price={"input": 1, "output": 2})
    make_gold(task, two)
    replayed = make_seed_set(task, two, 0)
    assert_frame_equal(replayed.rows, seeded)
    assert replayed.numbers["teacher_calls"] == 0
    where = {**loop_key(task, 0).columns(), "asset": SEED_SET}
    assert_frame_equal(two.live("rejected", where).read(), one.live("rejected", where).read())


def export(warehouse, folder, **options):
    file = folder / "ledger.parquet"
    export_ledger(warehouse, file, **options)
    return file


def test_a_large_ledger_comes_in_lots(tmp_path, one, two, seeded, monkeypatch):
    monkeypatch.setattr(transfer, "ROWS_AT_ONCE", 5)
    file = export(one, tmp_path)
    added, there = import_ledger(two, file)
    assert (added, there) == (calls(one).height, 0)
    assert len(two.parts(CALLS, {})) == -(-added // 5)
    assert_frame_equal(calls(two), calls(one))


def test_what_a_dead_process_left_in_its_journal_is_exported(tmp_path, one, seeded):
    row = calls(one).row(0, named=True)
    left = {**row, "request_id": "r_00", "asked_at": int(row["asked_at"].timestamp() * 1000)}
    lines = [json.dumps({"table": CALLS, "row": left})]
    (one.journal_folder / "0-dead.jsonl").write_text("\n".join([*lines, '{"table": "teacher_ca']))
    before = calls(one).height
    assert export_ledger(one, tmp_path / "ledger.parquet") == before + 1
    assert "r_00" in pl.read_parquet(tmp_path / "ledger.parquet")["request_id"]


def test_rows_that_are_there_twice_are_exported_once(tmp_path, one, seeded):
    rows = calls(one)
    one.write(CALLS, {}, rows.head(3))
    assert export_ledger(one, tmp_path / "ledger.parquet") == rows.height
    found = pl.read_parquet(tmp_path / "ledger.parquet").sort("request_id", "attempt", "asked_at")
    assert_frame_equal(found, rows)


def test_only_one_task_when_it_is_named(tmp_path, one, seeded):
    rows = calls(one)
    foreign = rows.head(2).with_columns(pl.lit("other").alias("task"), pl.col("request_id") + "0")
    one.write(CALLS, {}, foreign)
    assert export_ledger(one, tmp_path / "a.parquet", task="other") == 2
    assert export_ledger(one, tmp_path / "b.parquet", task="small") == rows.height
    with pytest.raises(TransferError, match="no answers to export of task nobody"):
        export_ledger(one, tmp_path / "c.parquet", task="nobody")
    assert not (tmp_path / "c.parquet").exists()


def test_own_answers_come_before_those_of_another_warehouse(tmp_path, one, two, seeded):
    """Two warehouses asked the same: what the second made from its answers stays what it is made from."""
    with scripted_teacher(lambda body, number: obliging(body, number + 1000)) as teacher:
        task = named(tmp_path, base_url=teacher.url)
        make_gold(task, two)
        own = make_seed_set(task, two, 0).rows
    assert set(own["text"]) != set(seeded["text"])
    own_calls = calls(two).height
    file = export(one, tmp_path)
    rows = pl.read_parquet(file).height
    assert import_ledger(two, file) == (rows, 0)
    assert import_ledger(two, file) == (0, rows)
    found = calls(two)
    assert found.height == own_calls + rows
    assert found.select("request_id", "attempt").is_duplicated().sum() == 0
    replay = named(tmp_path, base_url=DEAD, mode="replay")
    assert_frame_equal(make_seed_set(replay, two, 0, force=True).rows, own)


def test_later_attempts_at_known_requests_are_added(tmp_path, one, two, seeded):
    file = export(one, tmp_path)
    import_ledger(two, file)
    rows = calls(one)
    last = rows.group_by("request_id").agg(pl.all().sort_by("attempt").last()).head(1).select(rows.columns)
    later = last.with_columns(pl.col("attempt") + 1, pl.col("asked_at") + timedelta(seconds=1))
    one.write(CALLS, {}, later)
    assert import_ledger(two, export(one, tmp_path, overwrite=True)) == (1, rows.height)
    with Ledger(two) as ledger:
        (known,) = ledger.calls(later["request_id"].to_list()).values()
    assert [call["attempt"] for call in known] == list(range(later["attempt"][0] + 1))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows.drop("response"), "no column response"),
        (lambda rows: rows.with_columns(pl.lit(1).alias("more")), "an unknown column more"),
        (lambda rows: rows.with_columns(pl.col("attempt").cast(pl.String)), "column attempt is String, must be Int64"),
        (lambda rows: rows.with_columns(pl.lit(None, pl.String).alias("request_id")), "rows lack request_id"),
    ],
)
def test_another_file_is_refused_and_adds_nothing(tmp_path, one, two, seeded, spoil, message):
    file = export(one, tmp_path)
    spoil(pl.read_parquet(file)).write_parquet(file)
    with pytest.raises(TransferError, match=message):
        import_ledger(two, file)
    assert calls(two).is_empty()


def test_what_is_no_ledger_at_all_is_said(tmp_path, two):
    with pytest.raises(TransferError, match="no such file"):
        import_ledger(two, tmp_path / "absent.parquet")
    (tmp_path / "text.parquet").write_text("not a table")
    with pytest.raises(TransferError, match="not a Parquet file that can be read"):
        import_ledger(two, tmp_path / "text.parquet")
    assert not two.root.exists()


def test_a_file_is_not_overwritten_unless_told(tmp_path, one, seeded):
    file = tmp_path / "ledger.parquet"
    file.write_text("mine")
    with pytest.raises(TransferError, match="exists already"):
        export_ledger(one, file)
    assert file.read_text() == "mine"
    assert export_ledger(one, file, overwrite=True) == calls(one).height
    with pytest.raises(TransferError, match="its folder does not exist"):
        export_ledger(one, tmp_path / "absent" / "ledger.parquet")
    with pytest.raises(TransferError, match="is a folder"):
        export_ledger(one, tmp_path, overwrite=True)


def test_an_exported_ledger_has_the_columns_of_its_table(tmp_path, one, seeded):
    assert pl.read_parquet_schema(export(one, tmp_path)) == table(CALLS).schema


def test_the_commands(command, tmp_path, monkeypatch, one, two, seeded):
    file = str(tmp_path / "ledger.parquet")
    monkeypatch.setenv("S3_ASSETS_WAREHOUSE", str(one.root))
    code, out, _ = command("ledger", "export", file, "--task", "small")
    assert code == 0
    assert f"{calls(one).height} teacher calls" in out
    code, _, err = command("ledger", "export", file)
    assert code == 2
    assert "exists already" in err
    assert command("ledger", "export", file, "--overwrite")[0] == 0
    monkeypatch.setenv("S3_ASSETS_WAREHOUSE", str(two.root))
    code, out, _ = command("ledger", "import", file)
    assert code == 0
    assert f"{calls(one).height} teacher calls added, 0 there already" in out
    code, out, _ = command("ledger", "import", file)
    assert f"0 teacher calls added, {calls(one).height} there already" in out
    code, _, err = command("ledger", "import", str(tmp_path / "small" / "task.yaml"))
    assert code == 2
    assert "not a Parquet file" in err
    assert "Traceback" not in err
    monkeypatch.setenv("S3_ASSETS_WAREHOUSE", str(tmp_path / "empty"))
    code, _, err = command("ledger", "export", str(tmp_path / "none.parquet"))
    assert code == 2
    assert "no answers to export" in err
