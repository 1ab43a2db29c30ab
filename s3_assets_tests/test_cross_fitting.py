"""Folds of steering gold: how it is divided, and that no gold row is judged by a student that saw what follows from it.

What students are given is seen by listening at ``train_student``.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import polars as pl
import pytest

from s3_assets.loop.cross_fitting import folds, held_out
from s3_assets.loop.fingerprints import loop_key
from s3_assets.loop.progress import round_figures, selecting_gains
from s3_assets.loop.state import Board
from s3_assets.loop.steps import make_error_set, make_extrapolated_set, make_gold, make_seed_set, make_trained_model
from s3_assets.loop.training import _inputs, train_round
from s3_assets.loop.uses import gold_in_use
from s3_assets.store.catalog import build_catalog, connect
from s3_assets.store.parts import Warehouse
from s3_assets.store.tables import table
from s3_assets.student import train as student_training
from s3_assets.student.errors import StudentError
from s3_assets.tasks.load import Task
from s3_assets_tests.fakes import obliging, scripted_teacher, write_task
from s3_assets_tests.warehouses import LATER

FOLDS = 2

# What is different from the task's own strategy.
ARMS: dict[str, dict[str, Any]] = {
    "same": {},
    "none": {"cross_fit": 0},
    "more": {"cross_fit": 3},
    "soft": {"distil": True},
    "added": {"gold": "added", "steps": 1},
}


def gold_of(**counts: int) -> pl.DataFrame:
    rows = [(f"g_{label}_{n}", label) for label, count in counts.items() for n in range(count)]
    return pl.DataFrame(rows, schema={"gold_id": pl.String, "label": pl.String}, orient="row")


def dealt(steer: pl.DataFrame, count: int, seed: int = 0) -> dict[str, int]:
    return {gold_id: fold.number for fold in folds(steer, count, seed) for gold_id in fold.gold["gold_id"]}


def test_folds_share_out_every_row_once_and_every_label_alike():
    steer = gold_of(a=10, b=7, c=2)
    found = folds(steer, 3, 0)
    assert [fold.number for fold in found] == [1, 2, 3]
    assert sorted(gold_id for fold in found for gold_id in fold.gold["gold_id"]) == sorted(steer["gold_id"])
    for label, rows in (("a", 10), ("b", 7), ("c", 2)):
        counts = [fold.gold.filter(label=label).height for fold in found]
        assert max(counts) - min(counts) == (1 if rows % 3 else 0), label


def test_odd_rows_of_many_labels_do_not_all_fall_to_the_first_fold():
    sizes = [fold.gold.height for fold in folds(gold_of(**{f"label{n}": 5 for n in range(40)}), 2, 0)]
    # 100 each but for chance: 120 and 80 if every label began at the first fold.
    assert abs(sizes[0] - sizes[1]) < 30


def test_a_row_keeps_its_fold_whatever_the_order_and_the_rows_of_other_labels():
    before = dealt(gold_of(a=9, b=8), 3)
    after = dealt(gold_of(b=2, c=30, a=9).sample(fraction=1, shuffle=True, seed=1), 3)
    assert {row: after[row] for row in before if "_a_" in row} == {row: before[row] for row in before if "_a_" in row}
    assert dealt(gold_of(a=9, b=8), 3, seed=1) != before


def pairs_of(*texts: tuple[str, str]) -> pl.DataFrame:
    """Gold of these first texts and labels."""
    rows = pl.DataFrame(texts, schema={"text": pl.String, "label": pl.String}, orient="row")
    return rows.with_columns(gold_id=pl.format("g{}", pl.int_range(pl.len())))


def test_rows_of_a_first_text_are_in_one_fold_and_labels_are_shared_out_all_the_same():
    steer = pairs_of(*[(f"text {n // 3}", "abc"[n % 3]) for n in range(60)], *[(f"other {n}", "a") for n in range(9)])
    found = folds(steer, 3, 0, by_text=True)
    assert sorted(gold_id for fold in found for gold_id in fold.gold["gold_id"]) == sorted(steer["gold_id"])
    texts = [set(fold.gold["text"]) for fold in found]
    assert sum(len(own) for own in texts) == len(set.union(*texts)) == 29
    assert [sum(text.startswith("other") for text in own) for own in texts] == [3, 3, 3]
    for label in "abc":
        counts = [fold.gold.filter(label=label).height for fold in found]
        assert max(counts) - min(counts) <= 1, label
    # Dealt out one by one some text would be in two folds.
    single = [set(fold.gold["text"]) for fold in folds(steer, 3, 0)]
    assert sum(len(own) for own in single) > 29
    again = folds(steer.sample(fraction=1, shuffle=True, seed=1), 3, 0, by_text=True)
    assert [set(fold.gold["text"]) for fold in again] == texts


def test_a_fold_is_without_rows_written_for_its_first_texts():
    fold, other = folds(pairs_of(("one", "a"), ("two", "a")), 2, 0, by_text=True)
    own, its = fold.gold["text"][0], fold.gold["gold_id"][0]
    theirs, id_of_other = other.gold["text"][0], other.gold["gold_id"][0]
    told = [(own, its), (own, None), ("three", its), (theirs, id_of_other), (theirs, None), ("four", None)]
    rows = pl.DataFrame(told, schema={"text": pl.String, "gold_id": pl.String}, orient="row")
    assert fold.without(rows).rows() == told[3:]
    assert fold.written_from(rows).to_list() == [True, False, True, False, False, False]
    # Where texts are the teacher's own, what is written from the row alone.
    assert replace(fold, by_text=False).without(rows).rows() == [told[1], *told[3:]]


def test_no_folds_where_none_are_wanted_and_none_without_rows():
    assert folds(gold_of(a=5), 0, 0) == []
    assert folds(gold_of(), 3, 0) == []
    assert len(folds(gold_of(a=2), 5, 0)) == 2


def test_selecting_gold_is_held_out_or_else_what_folds_judged():
    rows = [("steer", 1), ("steer", None), ("select", None), ("test", None)]
    said = pl.DataFrame(rows, schema={"split": pl.String, "fold": pl.Int64}, orient="row")
    assert held_out(said).rows() == [("select", None)]
    assert held_out(said.filter(pl.col("split") != "select")).rows() == [("steer", 1)]
    assert held_out(said.filter(split="test")).is_empty()
    assert held_out(said.drop("fold")).rows() == [("select",)]


def filled(name: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of a table; columns that are not given are null."""
    given = rows.with_columns(pl.lit(None).alias(column) for column in table(name).schema if column not in rows.columns)
    return given.select(pl.col(column).cast(dtype) for column, dtype in table(name).schema.items())


@dataclass
class Heard:
    """Frames that students were trained and chosen on, in order."""

    training: list[pl.DataFrame] = field(default_factory=list)
    select: list[pl.DataFrame] = field(default_factory=list)


@pytest.fixture(scope="module")
def listening() -> Iterator[Heard]:
    heard, train = Heard(), student_training.train_student

    def listen(training: pl.DataFrame, select: pl.DataFrame, *more: Any, **named: Any) -> Any:
        heard.training.append(training)
        heard.select.append(select)
        return train(training, select, *more, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(student_training, "train_student", listen)
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


def declared(folder: Any, checkpoint: Any, arms: Mapping[str, Any] = MappingProxyType({}), **options: Any) -> Task:
    student = {"weights": str(checkpoint), "epochs": 1, "min_steps": 0}
    own = {"base": "s3", "steps": 2, **options}
    strategies = {"own": own, **{arm: {**own, **changes} for arm, changes in arms.items()}}
    return write_task(folder, student=student, strategy="own", strategies=strategies)


def other(task: Task, arm: str) -> Task:
    """The task under one of ``ARMS``."""
    return replace(task, spec=task.spec.model_copy(update={"strategy": arm}), keeps_weights=False)


def round_of(task: Task, warehouse: Warehouse, round_: int) -> None:
    make_seed_set(task, warehouse, round_)
    make_trained_model(task, warehouse, round_)
    make_error_set(task, warehouse, round_)


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


def test_a_fold_that_leaves_nothing_to_train_on_is_named(tmp_path, tiny_student):
    own = {"base": "s3", "cross_fit": FOLDS}
    one = "".join(f"one,so {n} it goes,{('yes', 'no')[n % 2]}\n" for n in range(30))
    fields, labels = {"text": "first", "text2": "second", "label": "verdict"}, {"yes": "It does.", "no": "It does not."}
    student = {"weights": str(tiny_student), "epochs": 1, "min_steps": 0}
    strategies = {"own": own}
    task = write_task(
        tmp_path,
        f"first,second,verdict\n{one}",
        kind="pair",
        fields=fields,
        labels=labels,
        student=student,
        strategy="own",
        strategies=strategies,
    )
    gold = filled(
        "gold", pairs_of(("one", "yes"), ("one", "no")).with_columns(text2=pl.lit("so"), split=pl.lit("steer"))
    )
    rows = filled("seed_set", pl.DataFrame({"text": ["one"] * 4, "text2": list("abcd"), "label": ["yes", "no"] * 2}))
    with pytest.raises(StudentError, match=r"the student of fold [12], .*no rows.*cross_fit"):
        train_round(task, Warehouse(tmp_path / "warehouse"), loop_key(task, 0), rows, gold)


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
