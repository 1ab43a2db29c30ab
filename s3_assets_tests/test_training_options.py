"""What a strategy adds to one round's training: students that answer together, soft labels, gold learned, weights."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from s3_assets.loop.training import train_round
from s3_assets.loop.uses import gold_in_use
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.student import train as student_training
from s3_assets.student.ensemble import EnsembleStudent
from s3_assets.student.load import load_student
from s3_assets.student.logistic import INVERSE_STRENGTHS
from s3_assets.student.model import Student
from s3_assets_tests.fakes import write_task
from s3_assets_tests.tiny_student import LABELS, make_tiny_student, toy_questions, toy_rows
from s3_assets_tests.trained_rounds import (
    GOLD_ROWS,
    SEED_ROWS,
    WRITTEN,
    Done,
    filled,
    gold_rows,
    seed_rows,
    task_with,
    trainer,
)


@pytest.fixture(scope="module")
def gold() -> pl.DataFrame:
    return gold_rows()


@pytest.fixture(scope="module")
def seed_set(gold) -> pl.DataFrame:
    return seed_rows(gold)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return make_tiny_student(tmp_path_factory.mktemp("student") / "toy", toy_rows(200, 5)["text"].to_list())


@pytest.fixture
def trained(tmp_path, checkpoint, gold, seed_set, monkeypatch):
    return trainer(tmp_path, checkpoint, gold, seed_set, monkeypatch)


def test_students_of_folds_answer_together_with_the_rounds_own(trained, gold):
    alone, together = trained("alone", cross_fit=2), trained("together", cross_fit=2, ensemble=True)
    assert together.row["training_key"] != alone.row["training_key"]
    # The same students judge steering gold, each of one fold alone.
    steering = [done.round.predictions.filter(split="steer").drop("model_id") for done in (alone, together)]
    assert steering[0].equals(steering[1])
    assert together.row["steer_accuracy"] == alone.row["steer_accuracy"]
    assert together.test["probability"].to_list() != alone.test["probability"].to_list()
    saved = load_student(together.warehouse.root / together.row["path"])
    assert isinstance(saved, EnsembleStudent)
    assert len(saved.members) == 3
    rows = gold.filter(split="test")
    assert saved.predict(rows)["probability"].to_list() == pytest.approx(together.test["probability"].to_list())
    assert isinstance(load_student(alone.warehouse.root / alone.row["path"]), Student)
    assert together.row["weights_digest"] == alone.row["weights_digest"], "the round's own student stands first"


def test_soft_labels_are_half_the_label_and_half_what_the_fold_says_that_was_held_out(trained, seed_set):
    plain, soft = trained("plain", cross_fit=2), trained("soft", cross_fit=2, distil=True)
    assert soft.row["weights_digest"] != plain.row["weights_digest"]
    *of_folds, own = soft.given
    assert [frame.equals(same) for frame, same in zip(of_folds, plain.given, strict=False)] == [True, True], (
        "students of folds learn labels as they are"
    )
    assert own[:SEED_ROWS]["soft"].null_count() == SEED_ROWS, "the seed is learned by all students, and keeps its label"
    written = own[SEED_ROWS:]
    targets = np.array(written["soft"].to_list())
    assert targets.shape == (WRITTEN, 2)
    assert targets.sum(axis=1) == pytest.approx(1)
    given = np.eye(2)[[LABELS.index(label) for label in written["label"]]]
    of_label = (targets * given).sum(axis=1)
    assert ((of_label > 0.5) & (of_label < 1)).all()
    fold = dict(soft.round.predictions.filter(split="steer").select("gold_id", "fold").iter_rows())
    asked = [fold[gold_id] for gold_id in seed_set[SEED_ROWS:]["gold_id"]]
    assert set(asked) == {1, 2}
    said = [student_of(soft, frame).probabilities(written) for frame in of_folds]
    for place, number in enumerate(asked):
        assert written["text"][place] not in of_folds[number - 1]["text"], "who tells of a row was trained without it"
        assert targets[place] == pytest.approx((given[place] + said[number - 1][place]) / 2, abs=1e-6)


def student_of(done: Done, frame: pl.DataFrame) -> Any:
    """The student that the same training gives."""
    spec = done.task.spec
    return student_training.train_student(frame, frame.clear(), LABELS, spec.student, 0).student


@pytest.mark.parametrize("distil", [False, True])
def test_each_student_chooses_its_strength_on_its_own_rows(trained, distil, monkeypatch):
    """One chosen on all rows would follow from rows written from the gold that a fold's student judges."""
    chosen: list[tuple[int, float]] = []

    def choose(features: np.ndarray, targets: np.ndarray, seed: int, groups: list[str | None]) -> float:
        # Rows written from one gold row are held out together.
        assert sum(group is None for group in groups) == SEED_ROWS
        assert len(groups) == len(features)
        chosen.append((len(features), INVERSE_STRENGTHS[len(chosen)]))
        return chosen[-1][1]

    monkeypatch.setattr("s3_assets.student.frozen.best_held_out", choose)
    done = trained("frozen", student={"kind": "frozen", "max_length": 32}, cross_fit=2, distil=distil)
    assert chosen == list(zip([frame.height for frame in done.given], INVERSE_STRENGTHS[:3], strict=True))
    assert done.row["best_epoch"] == 3
    trained("declared", student={"kind": "frozen", "max_length": 32, "strength": 3.0}, cross_fit=2, distil=distil)
    assert len(chosen) == 3, "one that the task declares holds for all"


def test_gold_that_is_trained_on_keeps_its_label_and_weight(trained, monkeypatch):
    monkeypatch.setattr("s3_assets.weighting.quality.quality_weights", lambda rows, *_: np.linspace(1, 3, rows.height))
    done = trained("added", learned=("steer", "select"), cross_fit=2, distil=True, weights="quality")
    *of_folds, own = done.given
    gold = own[SEED_ROWS + WRITTEN :]
    assert gold.height == GOLD_ROWS * 6 // 8
    assert set(gold["weight"]) == {1.0}
    assert gold["soft"].null_count() == gold.height
    assert own["soft"].null_count() == gold.height + SEED_ROWS
    written = own[: SEED_ROWS + WRITTEN]["weight"].to_numpy()
    assert written.mean() == pytest.approx(1)
    assert written[-1] == pytest.approx(3 * written[0])
    assert [frame["weight"].to_numpy().mean() for frame in of_folds] == pytest.approx([1, 1])


@pytest.mark.parametrize("steers", ["dev", "steer"])
@pytest.mark.parametrize("written", [True, False])
def test_crossed_gold_is_learned_by_all_students_but_those_that_judge_it(trained, gold, seed_set, steers, written):
    """In a round without written rows too: its own student knows the gold then, so folds have to judge it."""
    rows = seed_set if written else seed_set[:SEED_ROWS]
    done = trained("crossed", seed_set=rows, learned=("steer",), cross_fit=2, gold="crossed", steers=steers)
    learned = gold.filter(pl.col("split") == "steer") if steers == "steer" else gold.filter(pl.col("split") != "test")
    assert done.row["gold_rows"] == learned.height
    assert done.row["training_rows"] == rows.height + learned.height
    *of_folds, own = done.given
    assert own[rows.height :].select("text", "label").equals(learned.select("text", "label"))
    steering = done.round.predictions.filter(split="steer")
    assert set(steering["gold_id"]) == set(learned["gold_id"])
    assert len(of_folds) == 2
    for number, given in enumerate(of_folds, start=1):
        judged = learned.filter(pl.col("gold_id").is_in(steering.filter(fold=number)["gold_id"].to_list()))
        assert judged.height
        assert not set(given["text"]) & set(judged["text"])
        assert not set(given["gold_id"].drop_nulls()) & set(judged["gold_id"])
        # The gold of the other fold, all of it.
        others = learned.filter(~pl.col("gold_id").is_in(judged["gold_id"].to_list()))
        assert set(others["text"]) <= set(given["text"])
    kept = gold.filter(pl.col("split") == "test")["text"].to_list()
    selecting = gold.filter(pl.col("split") == "select") if steers == "steer" else gold.clear()
    for given in done.given:
        assert not set(given["text"]) & {*kept, *selecting["text"]}
    # Selecting gold, where there is any, is judged by the round's own student, which did not learn it.
    assert done.round.predictions.filter(split="select").height == selecting.height


def test_weights_of_a_fold_follow_from_the_gold_of_the_others_alone(trained, gold, monkeypatch):
    asked: list[tuple[pl.DataFrame, pl.DataFrame]] = []
    given: list[Any] = []

    def quality(rows, steer, labels, weights, max_length, seed, vectors):
        asked.append((rows, steer))
        assert (tuple(labels), seed) == (LABELS, 0)
        given.append(vectors)
        return np.linspace(1, 2, rows.height)

    def usefulness(rows, causes, steer, labels, vectors, seed):
        assert list(causes) == rows["gold_id"].to_list()
        asked.append((rows, steer))
        given.append(vectors)
        return np.linspace(2, 1, rows.height)

    monkeypatch.setattr("s3_assets.weighting.quality.quality_weights", quality)
    monkeypatch.setattr("s3_assets.weighting.usefulness.usefulness_weights", usefulness)
    done = trained("both", cross_fit=2, weights="both")
    steer = set(gold.filter(pl.col("split") != "test")["gold_id"])
    judged = done.round.predictions.filter(split="steer")
    expected = [steer - set(judged.filter(fold=number)["gold_id"]) for number in (1, 2)]
    assert [set(gold["gold_id"]) for _, gold in asked] == [one for one in (*expected, steer) for _ in range(2)]
    assert len(set(map(id, given))) == 1, "vectors are held for all of them"
    for rows, _ in asked[:2]:
        assert set(rows["gold_id"].drop_nulls()) <= expected[0]
    product = np.linspace(1, 2, SEED_ROWS + WRITTEN) * np.linspace(2, 1, SEED_ROWS + WRITTEN)
    assert done.given[-1]["weight"].to_numpy() == pytest.approx(product / product.mean())


def test_the_seed_set_alone_is_weighed_anew_for_each_fold(tmp_path, checkpoint, gold, seed_set, monkeypatch):
    """Nothing is written from gold yet, but the weights of the round's own student follow from all of it."""
    steers: list[set[str]] = []

    def quality(rows, steer, *_):
        steers.append(set(steer["gold_id"]))
        return np.ones(rows.height)

    monkeypatch.setattr("s3_assets.weighting.quality.quality_weights", quality)
    task, warehouse = task_with(tmp_path, checkpoint, cross_fit=2, weights="quality"), Warehouse(tmp_path / "warehouse")
    train_round(task, warehouse, RoundKey("small", "own", 0, 0), seed_set[:SEED_ROWS], gold_in_use(task, gold))
    assert len(steers) == 3
    assert steers[0] | steers[1] == steers[2]
    assert not steers[0] & steers[1]


@pytest.mark.parametrize("weights", ["quality", "usefulness"])
def test_weights_change_what_is_learned(trained, weights):
    plain, weighed = trained("plain"), trained(weights, weights=weights)
    assert "weight" not in plain.given[0].columns
    found = weighed.given[0]["weight"]
    assert found.n_unique() > 2
    assert found.mean() == pytest.approx(1)
    assert weighed.row["training_key"] != plain.row["training_key"]
    assert weighed.row["training_fingerprint"] == plain.row["training_fingerprint"]
    assert weighed.row["weights_digest"] != plain.row["weights_digest"]


def test_answers_are_cross_fitted_and_what_goes_by_labels_is_left_out(tmp_path, checkpoint):
    questions = toy_questions(18, 1).with_columns(answers=pl.concat_list("answer"))
    ids = pl.format("g{}", pl.int_range(pl.len()))
    gold = filled("gold", questions.with_columns(pl.Series("split", ["steer", "select", "test"] * 6), gold_id=ids))
    usable = gold.filter(pl.col("split") != "test")["gold_id"]
    written = toy_questions(usable.len(), 2).with_columns(gold_id=usable)
    csv = "context,question,answer\n" + "".join(f"it was in oslo {n},where was it {n} ?,oslo\n" for n in range(30))
    own = {"base": "s3", "steers": "dev", "cross_fit": 2, "ensemble": True, "distil": True, "weights": "both"}
    task = write_task(
        tmp_path,
        csv,
        kind="qa",
        labels=None,
        fields={"text": "context", "text2": "question", "answer": "answer"},
        student={"weights": str(checkpoint), "epochs": 1, "min_steps": 0},
        strategies={"own": own},
        strategy="own",
    )
    warehouse, key = Warehouse(tmp_path / "warehouse"), RoundKey("small", "own", 0, 1)
    done = train_round(task, warehouse, key, filled("seed_set", written), gold_in_use(task, gold))
    row, said = done.row.row(0, named=True), done.predictions
    assert set(said.filter(split="steer")["fold"]) == {1, 2}
    assert row["select_f1"] == pytest.approx(said.filter(split="steer")["f1"].mean())
    assert row["select_accuracy"] == pytest.approx(said.filter(split="steer")["exact_match"].mean())
    assert isinstance(load_student(warehouse.root / row["path"]), Student)
