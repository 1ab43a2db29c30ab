"""What a round's choice rests on, from live parts: predictions, folds, vectors; what the step stores of it."""

import polars as pl
import pytest

from s3_assets.experiment.asked import asked
from s3_assets.generation.diagnosis import diagnosis_requests
from s3_assets.loop.fingerprints import ERROR_SET, EXTRAPOLATED_SET, TRAINED_MODEL, loop_key
from s3_assets.loop.sources import read_basis
from s3_assets.selection.choose import choose
from s3_assets.store.parts import Warehouse
from s3_assets.store.tables import table
from s3_assets.tasks.gold import read_gold
from s3_assets_tests.choices import tried
from s3_assets_tests.chosen_rounds import diagnosing, embed_by_hash, first_round, live, table_of
from s3_assets_tests.fakes import facts, obliging, scripted_teacher


@pytest.fixture
def warehouse(tmp_path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse")


@pytest.fixture
def embedded(monkeypatch) -> list[str]:
    """The texts that were embedded."""
    return embed_by_hash(monkeypatch)


def test_the_step_stores_what_it_chose(tmp_path, warehouse, embedded):
    with scripted_teacher(diagnosing) as teacher:
        task = tried(
            tmp_path, teacher=teacher, explore=0.25, shows=["prediction", "contrast", "diagnosis"], steers="dev"
        )
        rows = first_round(task, warehouse)
        blocks = [facts(body) for body in teacher.bodies if "example" in facts(body)]
        questions = [body for body in teacher.bodies if "errors" in facts(body)]
    sources = live(warehouse, "sources", task)
    gold = read_gold(task)
    uses = dict(gold.select("gold_id", "split").iter_rows())
    # Five questions about errors come off 20 rows.
    assert sources["rows_requested"].sum() == 15
    written = dict(rows["gold_id"].value_counts().iter_rows())
    assert written == dict(sources.filter(pl.col("rows_requested") > 0).select("gold_id", "rows_requested").iter_rows())
    assert set(sources["why"]) == {"error", "explored"}
    # Selecting gold steers here, test gold never does.
    assert {uses[one] for one in sources["gold_id"]} == {"steer", "select"}
    shown = sources.filter(pl.col("rows_requested") > 0)
    assert shown["contrast_id"].null_count() == 0
    assert {uses[one] for one in shown["contrast_id"]} <= {"steer", "select"}
    assert {block["contrast"]["text"] for block in blocks} <= set(gold.filter(pl.col("split") != "test")["text"])
    # Clusters are of errors alone, and each that was asked about has its diagnosis in one line.
    assert sources.filter(pl.col("why") == "explored")["cluster"].null_count() == sources["cluster"].null_count()
    assert len(questions) == shown["cluster"].n_unique() - int(shown["cluster"].has_nulls()) > 1
    of_errors = shown.filter(pl.col("cluster").is_not_null())
    assert of_errors["diagnosis"].null_count() == 0
    assert {said for (said,) in of_errors.select("diagnosis").iter_rows()} <= {
        f"They are read too fast, {label}." for label in task.spec.labels
    }
    told = dict(sources.select("gold_id", "diagnosis").iter_rows())
    ids = dict(gold.select("text", "gold_id").iter_rows())
    assert all(block.get("diagnosis") == told[ids[block["example"]["text"]]] for block in blocks)
    # Questions about errors are no rows.
    came = asked(
        warehouse, loop_key(task, 0), EXTRAPOLATED_SET, warehouse.live(EXTRAPOLATED_SET, loop_key(task, 0).columns())
    )
    assert came.rows_requested == 15
    assert came.calls == len(blocks) + len(questions)


def test_contrasts_and_sources_are_steering_gold_alone(tmp_path, warehouse, embedded):
    with scripted_teacher(obliging) as teacher:
        task = tried(tmp_path, teacher=teacher, by="doubt", explore=0.5, shows=["contrast"])
        first_round(task, warehouse)
    held_out = read_gold(task).filter(pl.col("split") != "steer")
    sources = live(warehouse, "sources", task)
    assert sources["contrast_id"].drop_nulls().len() > 5
    assert not set(held_out["gold_id"]) & {*sources["gold_id"], *sources["contrast_id"].drop_nulls()}
    assert not [body for body in teacher.bodies for text in held_out["text"] if text in body["messages"][-1]["content"]]
    # Nor is a vector made of it.
    assert not set(held_out["text"]) & set(embedded)


@pytest.mark.parametrize("shows", [["diagnosis"], ["contrast", "diagnosis"]])
def test_a_diagnosis_is_of_errors_of_one_fold(tmp_path, warehouse, embedded, shows):
    with scripted_teacher(diagnosing) as teacher:
        task = tried(tmp_path, teacher=teacher, shows=shows, cross_fit=2)
        gold = read_gold(task)
        errors = gold.filter(pl.col("split") == "steer").head(12).with_columns(pl.lit("x").alias("prediction"))
        known = read_basis(task, warehouse, loop_key(task, 0), gold, errors, None)
        requests = diagnosis_requests(task, choose(task, known, 0), known.rows(), 0)
    ids = dict(known.steer.select("text", "gold_id").iter_rows())
    asked_about = [
        {known.folds[ids[one["text"]]] for one in facts({"messages": one.messages})["errors"]}
        for one in requests.values()
    ]
    assert len(asked_about) > 1
    assert all(len(folds) == 1 for folds in asked_about)
    assert {1, 2} == set.union(*asked_about)
    # Nothing else needs folds.
    other = tried(tmp_path, by="cluster", cross_fit=2)
    assert read_basis(other, warehouse, loop_key(other, 0), gold, errors, None).folds == {}


def test_contrasts_are_of_the_rows_own_fold(tmp_path, warehouse, embedded):
    task = tried(tmp_path, shows=["contrast"], cross_fit=2)
    gold = read_gold(task)
    steer = gold.filter(pl.col("split") == "steer")
    errors = steer.head(12).with_columns(pl.lit("x").alias("prediction"))
    known = read_basis(task, warehouse, loop_key(task, 0), gold, errors, None)
    assert set(known.folds.values()) == {1, 2}
    pairs = [(one.gold_id, one.contrast_id) for one in choose(task, known, 0).sources if one.contrast_id]
    assert len(pairs) == 12
    assert all(known.folds[own] == known.folds[other] for own, other in pairs)


def test_the_paper_s_rule_makes_no_vectors(tmp_path, warehouse, embedded):
    task = tried(tmp_path)
    first_round(task, warehouse)
    assert embedded == []
    sources = live(warehouse, "sources", task)
    assert set(sources["why"]) == {"error"}
    assert sources["weight"].to_list() == [1.0] * sources.height
    assert sources["gold_id"].to_list() == live(warehouse, ERROR_SET, task)["gold_id"].to_list()
    assert sources["contrast_id"].null_count() == sources["cluster"].null_count() == sources.height


def test_doubt_is_of_the_round_s_predictions(tmp_path, warehouse):
    task = tried(tmp_path, by="doubt")
    gold = read_gold(task)
    steer = gold.filter(pl.col("split") == "steer")
    schema = table("predictions").schema
    rows = [
        {"gold_id": one, "split": split, "doubt": float(one == steer["gold_id"][3])}
        for one, split in gold.select("gold_id", "split").iter_rows()
    ]
    said = pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)
    said = said.with_columns(pl.lit("small").alias("task"))
    warehouse.write("predictions", loop_key(task, 0).columns(), said)
    known = read_basis(task, warehouse, loop_key(task, 0), gold, table_of(ERROR_SET), None)
    assert known.said.height == steer.height
    wanted = choose(task, known, 0).wanted()
    assert {one: rows for one, rows in wanted.items() if rows} == {steer["gold_id"][3]: 20}


def test_rows_of_a_round_without_errors_name_the_student_that_doubted(tmp_path, warehouse):
    with scripted_teacher(obliging) as teacher:
        task = tried(tmp_path, teacher=teacher, by="doubt")
        rows = first_round(task, warehouse, share=0.0)
    assert live(warehouse, ERROR_SET, task).is_empty()
    assert rows.height
    assert set(rows["model_id"]) == set(live(warehouse, TRAINED_MODEL, task)["model_id"])
