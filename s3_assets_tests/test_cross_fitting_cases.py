"""Cross-fitting where contexts are gold's, where selecting gold does not steer, and all gold steering without folds."""

import json
from collections.abc import Iterator

import polars as pl
import pytest

from s3_assets.loop.fingerprints import loop_key
from s3_assets.loop.progress import round_figures, selecting_gains
from s3_assets.loop.steps import make_error_set, make_extrapolated_set, make_gold, make_seed_set, make_trained_model
from s3_assets.store.parts import Warehouse
from s3_assets_tests.cross_fitted import FOLDS, Heard, declared, listen, round_of
from s3_assets_tests.fakes import obliging, scripted_teacher, write_task


@pytest.fixture(scope="module")
def listening() -> Iterator[Heard]:
    with listen() as heard:
        yield heard


PAIRS = "premise,hypothesis,verdict\n" + "".join(
    f"The {place} boats lie in harbour {place // 4}.,Boat {place} is at home.,{('entailment', 'neutral')[place % 2]}\n"
    for place in range(80)
)


def test_contexts_of_gold_are_held_out_from_the_students_that_judge_it(tmp_path, tiny_student, listening):
    """Seed rows of a pair task are written for first texts of steering gold and name no gold row."""
    own = {"base": "s3", "steps": 2, "steers": "dev", "cross_fit": FOLDS}
    warehouse = Warehouse(tmp_path / "warehouse")
    with scripted_teacher(obliging) as teacher:
        task = write_task(
            tmp_path,
            PAIRS.replace("The 1 boats", "The 0 boats"),
            kind="pair",
            fields={"text": "premise", "text2": "hypothesis", "label": "verdict"},
            labels={"entailment": "The second follows from the first.", "neutral": "It may or may not hold."},
            teacher={"base_url": teacher.url},
            student={"weights": str(tiny_student), "epochs": 1, "min_steps": 0},
            strategy="own",
            strategies={"own": own},
        )
        make_gold(task, warehouse)
        for round_ in range(2):
            before = len(listening.training)
            round_of(task, warehouse, round_)
            make_extrapolated_set(task, warehouse, round_)
            *of_folds, whole = listening.training[before:]
            columns = loop_key(task, round_).columns()
            rows = warehouse.live("seed_set", columns).read()
            assert whole.height == rows.height
            assert len(of_folds) == FOLDS, "there are rows to go without in round 0 too"
            said = warehouse.live("predictions", columns).read().filter(split="steer")
            gold = warehouse.live("gold", {"task": "small"}).read()
            for number, given in enumerate(of_folds, start=1):
                judged = gold.filter(pl.col("gold_id").is_in(said.filter(fold=number)["gold_id"].to_list()))
                left_out = rows.filter(pl.col("text").is_in(judged["text"].to_list()))
                assert left_out.filter(origin="seed")["gold_id"].null_count() > 0
                assert not set(given["text"]) & set(judged["text"])
                assert given.height == rows.height - left_out.height


def test_selecting_gold_still_selects_where_it_does_not_steer(tmp_path, tiny_student, listening):
    task, warehouse = declared(tmp_path, tiny_student, cross_fit=FOLDS), Warehouse(tmp_path / "warehouse")
    gold = make_gold(task, warehouse).rows
    before = len(listening.select)
    round_of(task, warehouse, 0)
    make_extrapolated_set(task, warehouse, 0)
    round_of(task, warehouse, 1)
    select = gold.filter(split="select")
    assert len(listening.select) - before == 1 + FOLDS + 1
    assert all(set(frame["text"]) == set(select["text"]) for frame in listening.select[before:])
    said = warehouse.live("predictions", loop_key(task, 1).columns()).read()
    model = warehouse.live("trained_model", loop_key(task, 1).columns()).read().row(0, named=True)
    assert said.filter(split="select")["fold"].null_count() == select.height
    assert said.filter(split="steer")["fold"].null_count() == 0
    assert model["select_accuracy"] == pytest.approx(said.filter(split="select")["correct"].mean())
    assert model["steer_accuracy"] == pytest.approx(said.filter(split="steer")["correct"].mean())
    assert round_figures(task, warehouse, 1).select.rows == select.height


def test_without_folds_all_gold_steering_leaves_none_to_select(tmp_path, tiny_student, listening):
    task, warehouse = declared(tmp_path, tiny_student, steers="dev"), Warehouse(tmp_path / "warehouse")
    make_gold(task, warehouse)
    made = None
    for round_ in range(2):
        make_seed_set(task, warehouse, round_)
        made = make_trained_model(task, warehouse, round_)
        make_error_set(task, warehouse, round_)
        make_extrapolated_set(task, warehouse, round_)
    assert made is not None
    row = made.rows.row(0, named=True)
    assert (row["select_accuracy"], row["best_epoch"]) == (None, row["epochs"])
    assert row["steer_accuracy"] is not None
    assert selecting_gains(task, warehouse, 1) == []
    assert round_figures(task, warehouse, 1).select is None
    assert {entry["select_accuracy"] for entry in json.loads(row["history"])} == {None}
