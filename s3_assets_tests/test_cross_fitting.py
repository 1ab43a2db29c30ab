"""Rounds in which all gold steers, in folds: no gold row is judged by a student that saw what follows from it."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl
import pytest

from s3_assets.loop.fingerprints import loop_key
from s3_assets.loop.progress import round_figures, selecting_gains
from s3_assets.loop.state import Board
from s3_assets.loop.steps import make_error_set, make_extrapolated_set, make_gold, make_seed_set, make_trained_model
from s3_assets.loop.training import _inputs
from s3_assets.loop.uses import gold_in_use
from s3_assets.store.catalog import build_catalog, connect
from s3_assets.store.parts import Warehouse
from s3_assets.student import train as student_training
from s3_assets.tasks.load import Task
from s3_assets_tests.cross_fitted import FOLDS, Heard, declared, listen, round_of
from s3_assets_tests.warehouses import LATER

# What is different from the task's own strategy.
ARMS: dict[str, dict[str, Any]] = {
    "same": {},
    "none": {"cross_fit": 0},
    "more": {"cross_fit": 3},
    "soft": {"distil": True},
    "added": {"gold": "added", "steps": 1},
}


@pytest.fixture(scope="module")
def listening() -> Iterator[Heard]:
    with listen() as heard:
        yield heard


@dataclass
class Loop:
    """Rounds of one task, and by round what its students were trained on."""

    task: Task
    warehouse: Warehouse
    heard: Heard
    trainings: list[list[pl.DataFrame]] = field(default_factory=list)

    def live(self, name: str, round_: int) -> pl.DataFrame:
        return self.warehouse.live(name, loop_key(self.task, round_).columns()).read()

    def make(self, task: Task, round_: int) -> list[pl.DataFrame]:
        before = len(self.heard.training)
        make_trained_model(task, self.warehouse, round_)
        return self.heard.training[before:]


def other(task: Task, arm: str) -> Task:
    """The task under one of ``ARMS``."""
    return replace(task, spec=task.spec.model_copy(update={"strategy": arm}), keeps_weights=False)


@pytest.fixture(scope="module")
def loop(tmp_path_factory, tiny_student, listening) -> Loop:
    """Two rounds in which all gold steers, in two folds."""
    place = tmp_path_factory.mktemp("folds")
    found = Loop(
        declared(place, tiny_student, ARMS, steers="dev", cross_fit=FOLDS), Warehouse(place / "warehouse"), listening
    )
    make_gold(found.task, found.warehouse)
    for round_ in range(2):
        before = len(listening.training)
        round_of(found.task, found.warehouse, round_)
        found.trainings.append(listening.training[before:])
        make_extrapolated_set(found.task, found.warehouse, round_)
    return found


def test_every_gold_row_is_judged_by_a_student_without_the_rows_written_from_it(loop):
    seed_set, said = loop.live("seed_set", 1), loop.live("predictions", 1)
    *of_folds, own = loop.trainings[1]
    assert own["text"].to_list() == seed_set["text"].to_list()
    assert len(of_folds) == FOLDS
    steering = said.filter(split="steer")
    assert set(steering["fold"]) == {1, 2}
    assert said.filter(pl.col("split") == "test")["fold"].null_count() == said.filter(split="test").height > 0
    for number, given in enumerate(of_folds, start=1):
        judged = steering.filter(fold=number)["gold_id"].to_list()
        written_from_them = seed_set.filter(pl.col("gold_id").is_in(judged))
        assert written_from_them.height, "each fold has rows written from it, or this shows nothing"
        assert not set(given["text"]) & set(written_from_them["text"])
        # And with all others.
        assert given.height == seed_set.height - written_from_them.height
    build_catalog(loop.warehouse)
    with connect(loop.warehouse) as sql:
        sql.execute(LATER)
        shares = sql.execute("""
            select fold, count(*), count(*) filter (label = 'positive') from predictions
            where round = 1 and split = 'steer' group by fold order by fold""").fetchall()
    counts = [(rows, positive) for _, rows, positive in shares]
    assert abs(counts[0][0] - counts[1][0]) <= 2
    assert abs(counts[0][1] - counts[1][1]) <= 1


def test_a_round_without_rows_written_from_gold_trains_once(loop):
    assert len(loop.trainings[0]) == 1
    steering = loop.live("predictions", 0).filter(split="steer")
    assert set(steering["fold"]) == {1, 2}
    # The same rows fall into the same folds.
    assert dict(steering.select("gold_id", "fold").iter_rows()) == dict(
        loop.live("predictions", 1).filter(split="steer").select("gold_id", "fold").iter_rows()
    )


def test_all_gold_steers_and_its_held_out_predictions_stand_for_selecting_gold(loop):
    gold = loop.warehouse.live("gold", {"task": "small"}).read()
    assert gold.filter(split="select").height, "the task has selecting gold, which steers here"
    for round_ in range(2):
        said, model = loop.live("predictions", round_), loop.live("trained_model", round_).row(0, named=True)
        steering = said.filter(split="steer")
        assert set(said["split"]) == {"steer", "test"}
        assert steering.height == gold.filter(pl.col("split") != "test").height
        assert set(said["model_id"]) == {model["model_id"]}
        right = steering["correct"].mean()
        assert model["select_accuracy"] == model["steer_accuracy"] == pytest.approx(right)
        figures = round_figures(loop.task, loop.warehouse, round_)
        assert figures.select.rows == steering.height
        assert figures.select.share == pytest.approx(right)
        assert figures.train_seconds == model["train_seconds"]
        wrong = steering.filter(~pl.col("correct"))["gold_id"].sort().to_list()
        assert loop.live("error_set", round_)["gold_id"].to_list() == wrong
    assert all(frame.is_empty() for frame in loop.heard.select[:4])
    (gain,) = selecting_gains(loop.task, loop.warehouse, 1)
    first, second = (loop.live("trained_model", round_)["select_accuracy"][0] for round_ in range(2))
    assert gain.gain == pytest.approx(second - first)


def test_training_time_counts_the_students_of_folds(loop, monkeypatch):
    train = student_training.train_student
    monkeypatch.setattr(student_training, "train_student", lambda *given: replace(train(*given), seconds=7.0))
    made = make_trained_model(loop.task, loop.warehouse, 1, force=True)
    assert made.rows["train_seconds"][0] == 7.0 * (FOLDS + 1)
    assert made.rows["best_epoch"][0] == made.rows["epochs"][0]
    folders = list((loop.warehouse.root / "models").rglob("model.safetensors"))
    assert len(folders) == 3, "two rounds and the one repeated; no student of a fold is kept"


def test_arms_share_what_they_cross_fit_alike_and_nothing_else(loop, monkeypatch):
    """Round 0 of all these arms has the same seed set, and the same student of its own."""
    key = loop.live("trained_model", 0)["training_key"][0]
    same = other(loop.task, "same")
    make_seed_set(same, loop.warehouse, 0)
    with monkeypatch.context() as patch:
        # Nor is torch imported, which takes longer than all the rest.
        for module in ("train", "ensemble", "weights"):
            patch.setitem(sys.modules, f"s3_assets.student.{module}", None)
        assert loop.make(same, 0) == []
    taken = loop.warehouse.live("predictions", loop_key(same, 0).columns()).read()
    assert taken.drop("arm", "model_id").equals(loop.live("predictions", 0).drop("arm", "model_id"))
    keys = {key}
    for arm in ("none", "more", "soft"):
        changed = other(loop.task, arm)
        make_seed_set(changed, loop.warehouse, 0)
        assert len(loop.make(changed, 0)) == 1, arm
        row = loop.warehouse.live("trained_model", loop_key(changed, 0).columns()).read()
        own = loop.live("trained_model", 0)
        # Without folds nothing says how sure it may be: its logits stay.
        assert (row["temperature"][0] == 1) is (arm == "none"), arm
        assert (row["weights_digest"][0] == own["weights_digest"][0]) is (arm != "none"), arm
        keys.add(row["training_key"][0])
    assert len(keys) == 4


def test_which_gold_row_a_row_was_written_from_counts_with_folds_alone(loop):
    """The same texts from other causes: students of folds would see other rows."""
    rows, gold = loop.live("seed_set", 1), loop.warehouse.live("gold", {"task": "small"}).read()
    moved = rows.with_columns(pl.col("gold_id").reverse())
    for arm, alike in (("none", True), ("same", False)):
        task = other(loop.task, arm)
        used = gold_in_use(task, gold)
        found = {_inputs(task, loop_key(task, 1), one, used, learned=()).key for one in (rows, moved)}
        assert (len(found) == 1) is alike


@pytest.mark.parametrize("option", [{"cross_fit": 3}, {"ensemble": True}, {"distil": True}, {"weights": "quality"}])
def test_a_changed_option_makes_the_model_stale(loop, option, tmp_path):
    options = {"steers": "dev", "cross_fit": FOLDS, **option}
    changed = declared(tmp_path, loop.task.spec.student.weights, **options)
    assert Board(loop.task, loop.warehouse).is_live("trained_model", 0)
    assert not Board(changed, loop.warehouse).is_live("trained_model", 0)
    assert Board(changed, loop.warehouse).is_live("seed_set", 0)


def test_gold_added_is_judged_by_students_without_it(loop):
    """The last student is trained on all steering gold; each row of it is judged by one without its fold's."""
    arm = other(loop.task, "added")
    make_seed_set(arm, loop.warehouse, 0)
    make_trained_model(arm, loop.warehouse, 0)
    make_error_set(arm, loop.warehouse, 0)
    make_extrapolated_set(arm, loop.warehouse, 0)
    make_seed_set(arm, loop.warehouse, 1)
    *of_folds, own = loop.make(arm, 1)
    gold = loop.warehouse.live("gold", {"task": "small"}).read().filter(pl.col("split") != "test")
    said = loop.warehouse.live("predictions", loop_key(arm, 1).columns()).read()
    assert set(gold["text"]) < set(own["text"])
    assert len(of_folds) == FOLDS
    steering = said.filter(split="steer")
    assert sorted(steering["gold_id"]) == sorted(gold["gold_id"])
    for number, given in enumerate(of_folds, start=1):
        judged = gold.filter(pl.col("gold_id").is_in(steering.filter(fold=number)["gold_id"].to_list()))
        assert not set(given["text"]) & set(judged["text"])
        assert set(gold["text"]) - set(judged["text"]) < set(given["text"])
    row = loop.warehouse.live("trained_model", loop_key(arm, 1).columns()).read().row(0, named=True)
    assert row["gold_rows"] == gold.height
    assert row["select_accuracy"] == pytest.approx(steering["correct"].mean())
    assert make_error_set(arm, loop.warehouse, 1).numbers["steer_rows"] == gold.height
