"""Calibration: the temperature that is found, that it is in the weights that are saved, and what it is found on."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from s3_assets.loop import fold_students
from s3_assets.loop import training as round_training
from s3_assets.loop.training import TrainedRound, train_round
from s3_assets.loop.uses import gold_in_use
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.student import train as student_training
from s3_assets.student.calibration import (
    HIGHEST,
    LEAST_ROWS,
    at_temperature,
    best_temperature,
    divide_logits,
    logs_of,
    mean_loss,
)
from s3_assets.student.label_head import label_columns
from s3_assets.student.load import load_student
from s3_assets.student.model import fresh_student
from s3_assets.student.train import train_student
from s3_assets.tasks.load import Task
from s3_assets.tasks.spec import QaSpec
from s3_assets.tasks.student_spec import StudentSpec
from s3_assets_tests.frozen_toys import SPEC, by_words
from s3_assets_tests.frozen_toys import train as train_frozen
from s3_assets_tests.tiny_student import LABELS, make_tiny_student, toy_questions, toy_rows
from s3_assets_tests.trained_rounds import filled, task_with

OTHER = {"good": "bad", "bad": "good"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return make_tiny_student(tmp_path_factory.mktemp("student") / "toy", toy_rows(200, 5)["text"].to_list())


def with_wrong(rows: pl.DataFrame, every: int) -> pl.DataFrame:
    """``rows``, one in ``every`` with the other label: who is sure of what the text says is too sure."""
    wrong = pl.int_range(pl.len()) // 2 % every == 0
    return rows.with_columns(label=pl.when(wrong).then(pl.col("label").replace(OTHER)).otherwise("label"))


# The number


def drawn(temperature: float, rows: int = 4000) -> tuple[np.ndarray, list[int]]:
    """Log probabilities, and labels as likely as these say when divided by ``temperature``."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (rows, 3))
    logs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    chances = np.exp(at_temperature(logs, temperature))
    return logs, [int(rng.choice(3, p=row / row.sum())) for row in chances]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_labels_were_drawn_at_is_found(temperature):
    logs, numbers = drawn(temperature)
    found = best_temperature(logs, numbers)
    assert found == pytest.approx(temperature, rel=0.1)
    assert mean_loss(logs, numbers, found) <= mean_loss(logs, numbers)


def test_few_rows_and_rows_that_are_all_right_say_nothing():
    logs, numbers = drawn(3.0)
    assert best_temperature(logs[: LEAST_ROWS - 1], numbers[: LEAST_ROWS - 1]) == 1.0
    assert best_temperature(logs[:LEAST_ROWS], numbers[:LEAST_ROWS]) != 1.0
    assert best_temperature(logs, logs.argmax(axis=1).tolist()) == 1.0
    # All wrong is no reason to say nothing of them.
    assert best_temperature(logs, logs.argmin(axis=1).tolist()) == pytest.approx(HIGHEST, rel=1e-3)


def test_temperatures_keep_the_order_and_can_be_undone():
    logs, _ = drawn(1.0, 50)
    colder = at_temperature(logs, 2.5)
    assert np.exp(colder).sum(axis=1) == pytest.approx(1)
    assert (colder.argsort(axis=1) == logs.argsort(axis=1)).all()
    assert at_temperature(colder, 1 / 2.5) == pytest.approx(logs)
    assert at_temperature(np.zeros((0, 2)), 2.0).shape == (0, 2)
    assert np.isfinite(logs_of(np.array([[0.0, 1.0]]))).all()


def test_the_margin_is_to_the_best_other_label():
    chances = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    rows = pl.DataFrame({"label": ["a", "c", "c"]})
    found = label_columns(np.log(chances), chances, "abc", rows)
    assert found["margin"].to_list() == pytest.approx(np.log([0.5 / 0.3, 0.2 / 0.5, 0.8 / 0.1]))
    assert ((found["margin"] > 0) == found["correct"]).all()


# In the weights


@pytest.mark.usefixtures("float32")
def test_divided_logits_are_in_what_is_saved_and_predictions_stay(checkpoint, tmp_path):
    from transformers import pipeline

    student, rows = fresh_student(str(checkpoint), LABELS, 32), toy_rows(40, 2)
    before = logs_of(student.probabilities(rows))
    plain = student.predict(rows)
    assert student.divide_logits(0.25)
    found = student.predict(rows)
    assert found["prediction"].equals(plain["prediction"])
    assert student.probabilities(rows) == pytest.approx(np.exp(at_temperature(before, 0.25)), abs=1e-5)
    assert (found["probability"] > plain["probability"]).all()
    student.save(tmp_path / "m_1")
    assert load_student(tmp_path / "m_1").predict(rows).equals(found)
    said = pipeline("text-classification", str(tmp_path / "m_1"), device="cpu")(rows["text"].to_list())
    assert [one["score"] for one in said] == pytest.approx(found["probability"].to_list(), abs=1e-4)


@pytest.mark.parametrize("kind", ["Roberta", "DistilBert", "Electra"])
def test_the_layer_is_found_whatever_it_is_called(kind):
    import torch
    import transformers

    sizes: dict[str, Any] = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    if kind == "DistilBert":
        sizes = {"dim": 16, "hidden_dim": 16, "n_heads": 2, "n_layers": 1}
    config = getattr(transformers, f"{kind}Config")(vocab_size=20, num_labels=3, **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, f"{kind}ForSequenceClassification")(config).eval()
    batch = {"input_ids": torch.tensor([[2, 5, 6, 3]]), "attention_mask": torch.ones(1, 4, dtype=torch.int64)}
    before = model(**batch).logits
    assert divide_logits(model, batch, 3, 4.0)
    assert torch.allclose(model(**batch).logits, before / 4, atol=1e-6)


def test_a_model_whose_logits_do_not_follow_is_left_as_it_was(caplog):
    import torch

    class Bent(torch.nn.Module):
        """What its last layer gives is not what it says."""

        def __init__(self, outputs):
            super().__init__()
            self.last = torch.nn.Linear(4, outputs)

        def forward(self, given):
            return dataclasses.make_dataclass("Output", ["logits"])(torch.tanh(3 * self.last(given)))

    batch = {"given": torch.linspace(-1, 1, 8).reshape(2, 4)}
    model = Bent(3)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    assert not divide_logits(model, batch, 3, 2.0)
    assert "does not give its logits" in caplog.text
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert not divide_logits(model, batch, 2, 2.0)
    assert "no layer of Bent gives its 2 logits" in caplog.text


def test_students_that_answer_questions_are_not_calibrated(checkpoint):
    student = fresh_student(str(checkpoint), ["answer"], 32, QaSpec())
    assert not student.divide_logits(2.0)
    spec = StudentSpec(weights=str(checkpoint), epochs=1, min_steps=0, max_length=32)
    done = train_student(toy_questions(16, 0), toy_questions(24, 1), ["answer"], spec, 0, QaSpec())
    assert done.temperature == 1.0


# On selecting gold


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("kind", ["fine_tuned", "frozen"])
def test_a_student_that_is_too_sure_loses_less_on_selecting_gold(checkpoint, kind, monkeypatch):
    select, test = with_wrong(toy_rows(60, 1), 4), toy_rows(20, 2)
    spec = SPEC.model_copy(update={"strength": 300.0})
    if kind == "fine_tuned":
        spec = StudentSpec(weights=str(checkpoint), epochs=10, min_steps=0, learning_rate=3e-3, max_length=32)

    def trained():
        return train_student(toy_rows(120, 0), select, LABELS, spec, 0, None, by_words)

    done = trained()
    with monkeypatch.context() as patch:
        patch.setattr(student_training, "best_temperature", lambda *_: 1.0)
        raw = trained()
    assert done.temperature > 1.0
    assert (raw.temperature, raw.history) == (1.0, done.history)
    own, before = done.student.predict(select), raw.student.predict(select)
    assert own["prediction"].equals(before["prediction"])
    # Of epochs that are right as often the one with the least loss is kept: little is left to gain.
    assert own["loss"].mean() < before["loss"].mean() - (0.05 if kind == "frozen" else 0.0)
    # How often it is right is now about how sure it is.
    assert own["probability"].mean() == pytest.approx(own["correct"].mean(), abs=0.1)
    scaled = np.exp(at_temperature(logs_of(raw.student.probabilities(test)), done.temperature))
    assert done.student.probabilities(test) == pytest.approx(scaled, abs=1e-4)


def test_what_another_student_is_told_is_of_before_calibration():
    select, rows = with_wrong(toy_rows(60, 1), 4), toy_rows(10, 2)
    done = train_frozen(toy_rows(80, 0), select)
    before = np.exp(at_temperature(logs_of(done.student.probabilities(rows)), 1 / done.temperature))
    assert fold_students._told(done, rows) == pytest.approx(before)
    assert fold_students._told(done, rows) != pytest.approx(done.student.probabilities(rows), abs=1e-3)
    plain = dataclasses.replace(done, temperature=1.0)
    assert (fold_students._told(plain, rows) == done.student.probabilities(rows)).all()


# Where no gold selects


@pytest.fixture(scope="module")
def gold() -> pl.DataFrame:
    """Gold a quarter of which has the other label; 48 rows steer, all of it where selecting gold does too."""
    rows = with_wrong(toy_rows(72, 1), 4)
    splits = pl.Series("split", ["steer"] * 32 + ["select"] * 16 + ["test"] * 24)
    return filled("gold", rows.with_columns(splits, gold_id=pl.format("g{}", pl.int_range(pl.len()))))


@pytest.fixture(scope="module")
def seed_set(gold) -> pl.DataFrame:
    """Half of the rows are written from steering gold, a row from each; labels are those of the texts."""
    rows, written = toy_rows(80, 3), gold.filter(pl.col("split") != "test")["gold_id"].to_list()
    return filled("seed_set", rows.with_columns(gold_id=pl.Series([*[None] * (80 - len(written)), *written])))


def round_of(task: Task, place: Path, seed_set: pl.DataFrame, gold: pl.DataFrame) -> TrainedRound:
    return train_round(task, Warehouse(place), RoundKey("small", "own", 0, 1), seed_set, gold_in_use(task, gold))


@pytest.mark.parametrize("kind", ["fine_tuned", "frozen"])
def test_students_of_folds_calibrate_all_students_of_a_round(tmp_path, checkpoint, gold, seed_set, kind, monkeypatch):
    student = {"kind": kind, "max_length": 32, "epochs": 2, "learning_rate": 3e-3}
    task = task_with(tmp_path, checkpoint, student, cross_fit=2)
    done = round_of(task, tmp_path / "calibrated", seed_set, gold)
    with monkeypatch.context() as patch:
        patch.setattr(round_training, "held_out_temperature", lambda _: 1.0)
        raw = round_of(task, tmp_path / "raw", seed_set, gold)
    row = done.row.row(0, named=True)
    assert row["temperature"] != 1
    assert raw.row["temperature"][0] == 1.0
    assert done.predictions["prediction"].equals(raw.predictions["prediction"])
    of_folds = done.predictions.filter(pl.col("fold").is_not_null())
    assert of_folds.height == 48
    assert of_folds["loss"].mean() < raw.predictions.filter(pl.col("fold").is_not_null())["loss"].mean()
    less_sure = done.predictions["probability"] < raw.predictions["probability"]
    assert set(less_sure) == {row["temperature"] > 1}
    # What is saved says of test gold what the table does.
    test = gold.filter(pl.col("split") == "test")
    saved = load_student(tmp_path / "calibrated" / row["path"]).predict(test)
    assert saved["probability"].to_list() == pytest.approx(
        done.predictions.filter(split="test")["probability"].to_list(), abs=1e-6
    )
    assert done.predictions["margin"].null_count() == 0
    assert doubts_of(done) == pytest.approx(doubts_of(raw))
    assert doubts_of(raw) == pytest.approx((1 - of_steering(raw)["label_probability"]).to_list())
    assert done.predictions.filter(split="test")["doubt"].null_count() == test.height


def of_steering(done: TrainedRound) -> pl.DataFrame:
    return done.predictions.filter(split="steer").sort("gold_id")


def doubts_of(done: TrainedRound) -> list[float]:
    return of_steering(done)["doubt"].to_list()


@pytest.mark.parametrize("folds", [0, 2])
def test_doubt_is_of_before_calibration_on_selecting_gold_too(tmp_path, checkpoint, gold, seed_set, folds, monkeypatch):
    options = {"base": "s3", "steers": "steer", "cross_fit": folds}
    task = task_with(tmp_path, checkpoint, {"kind": "frozen", "max_length": 32}, **options)
    monkeypatch.setattr(student_training, "best_temperature", lambda *_: 2.5)
    done = round_of(task, tmp_path / "calibrated", seed_set, gold)
    monkeypatch.setattr(student_training, "best_temperature", lambda *_: 1.0)
    raw = round_of(task, tmp_path / "raw", seed_set, gold)
    assert done.row["temperature"][0] == 2.5
    assert doubts_of(done) == pytest.approx((1 - of_steering(raw)["label_probability"]).to_list())
    assert not of_steering(done)["label_probability"].equals(of_steering(raw)["label_probability"])


@pytest.mark.parametrize("option", ["ensemble", "distil"])
def test_what_folds_say_calibrates_no_ensemble_and_none_that_learned_soft_labels(
    tmp_path, checkpoint, gold, seed_set, option, monkeypatch
):
    """What is saved answers as if nothing were calibrated; what students of folds say is calibrated all the same."""
    task = task_with(tmp_path, checkpoint, {"kind": "frozen", "max_length": 32}, cross_fit=2, **{option: True})
    done = round_of(task, tmp_path / "calibrated", seed_set, gold)
    with monkeypatch.context() as patch:
        patch.setattr(round_training, "held_out_temperature", lambda _: 1.0)
        raw = round_of(task, tmp_path / "raw", seed_set, gold)
    for column in ("temperature", "weights_digest"):
        assert done.row[column][0] == raw.row[column][0], column
    assert done.row["temperature"][0] == 1.0
    losses = [one.predictions.group_by("split").agg(pl.col("loss").mean()).sort("split") for one in (done, raw)]
    (steer, test), (raw_steer, raw_test) = (one["loss"].to_list() for one in losses)
    assert steer < raw_steer
    assert test == raw_test


def test_members_of_an_ensemble_are_not_calibrated_on_selecting_gold(tmp_path, checkpoint, gold, seed_set, monkeypatch):
    options = {"base": "s3", "steers": "steer", "cross_fit": 2}
    student = {"kind": "frozen", "max_length": 32}
    monkeypatch.setattr(student_training, "best_temperature", lambda *_: 3.0)
    together = task_with(tmp_path / "together", checkpoint, student, ensemble=True, **options)
    done = round_of(together, tmp_path / "w", seed_set, gold)
    alone = round_of(task_with(tmp_path / "alone", checkpoint, student, **options), tmp_path / "a", seed_set, gold)
    monkeypatch.setattr(student_training, "best_temperature", lambda *_: 1.0)
    raw = round_of(together, tmp_path / "raw", seed_set, gold)
    assert (done.row["temperature"][0], alone.row["temperature"][0]) == (1.0, 3.0)
    own, plain = (one.predictions.filter(pl.col("fold").is_null()) for one in (done, raw))
    assert own["loss"].to_list() == pytest.approx(plain["loss"].to_list())
    # What students of folds say is as without the ensemble.
    of_folds, apart = (one.predictions.filter(pl.col("fold").is_not_null()) for one in (done, alone))
    assert of_folds["loss"].equals(apart["loss"])


def test_test_gold_has_no_part_in_the_temperature(tmp_path, checkpoint, gold, seed_set):
    turned = pl.when(pl.col("split") == "test").then(pl.col("label").replace(OTHER)).otherwise("label")
    for name, options in (("folds", {"cross_fit": 2}), ("selects", {"steers": "steer", "base": "s3"})):
        task = task_with(tmp_path / name, checkpoint, {"kind": "frozen", "max_length": 32}, **options)
        rows = [
            round_of(task, tmp_path / name / place, seed_set, given).row
            for place, given in (("as_is", gold), ("turned", gold.with_columns(label=turned)))
        ]
        assert rows[0]["test_accuracy"][0] != rows[1]["test_accuracy"][0]
        for column in ("temperature", "weights_digest"):
            assert rows[0][column][0] == rows[1][column][0], (name, column)


def test_round_0_is_calibrated_by_its_own_student_on_gold_that_nothing_follows_from(
    tmp_path, checkpoint, gold, seed_set
):
    task = task_with(tmp_path, checkpoint, {"kind": "frozen", "max_length": 32}, cross_fit=2)
    unseen = seed_set.with_columns(gold_id=pl.lit(None, pl.String))
    row = round_of(task, tmp_path / "w", unseen, gold).row
    assert row["temperature"][0] > 1
    # Without folds and without selecting gold there is nothing to go by.
    task = task_with(tmp_path / "none", checkpoint, {"kind": "frozen", "max_length": 32}, cross_fit=0)
    assert round_of(task, tmp_path / "none" / "w", unseen, gold).row["temperature"][0] == 1.0
