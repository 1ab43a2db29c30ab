"""Options of a student: when training ends, how labels weigh, which learning rate, where it runs; and epochs drawn."""

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from s3_assets.assets.trained_model import _drawn, trained_model_asset
from s3_assets.loop.fingerprints import TRAINED_MODEL, input_fingerprint
from s3_assets.loop.training import train_round
from s3_assets.loop.uses import gold_in_use
from s3_assets.report.epochs_picture import epochs_figure
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.student import device
from s3_assets.student import train as training_module
from s3_assets.student.balance import balanced
from s3_assets.student.batches import pieces, prediction_batches
from s3_assets.student.device import Device
from s3_assets.student.learning_rates import held_out
from s3_assets.student.train import train_student
from s3_assets.tasks.load import Task, TaskError, load_task
from s3_assets.tasks.spec import QaSpec
from s3_assets.tasks.student_spec import StudentSpec
from s3_assets_tests.frozen_toys import SPEC, by_words
from s3_assets_tests.tiny_student import LABELS, make_tiny_student, toy_questions, toy_rows
from s3_assets_tests.trained_rounds import filled, task_with

RATES = (1e-6, 3e-3)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return make_tiny_student(tmp_path_factory.mktemp("student") / "toy", toy_rows(200, 5)["text"].to_list())


@pytest.fixture(scope="module")
def spec(checkpoint) -> StudentSpec:
    return StudentSpec(weights=str(checkpoint), epochs=4, min_steps=0, learning_rate=3e-3, max_length=32)


# Pieces


def test_pieces_hold_each_row_once_and_no_more_tokens_than_allowed():
    lengths = [random.Random(row).randint(1, 60) for row in range(100)]
    batch = list(range(10, 40))
    found = list(pieces(batch, lengths, 80))
    assert sorted(row for piece in found for row in piece) == batch
    assert all(len(piece) * max(lengths[row] for row in piece) <= 80 for piece in found)
    longest = [max(lengths[row] for row in piece) for piece in found]
    assert longest == sorted(longest, reverse=True)
    assert len(found) < len(batch)
    # A row that is longer than that is a piece of its own.
    assert list(pieces([0, 1], [90, 95], 80)) == [[1], [0]]
    assert list(pieces([0, 1], [3, 4], 80)) == [[1, 0]]


def test_prediction_batches_are_bounded_by_rows_and_tokens():
    rows = [{"input_ids": list(range(length))} for length in (3, 9, 5, 9, 1)]
    assert list(prediction_batches(rows, 3, 18)) == [[1, 3], [2, 0, 4]]
    assert list(prediction_batches(rows, 9, 5)) == [[1], [3], [2], [0], [4]]


def test_a_gpu_is_given_more_at_once():
    cpu, cuda = Device("cpu", bf16=False), Device("cuda", bf16=True)
    assert cuda.tokens > cpu.tokens
    assert cuda.rows > cpu.rows


def test_batches_in_pieces_learn_the_same(spec, checkpoint, tmp_path, monkeypatch):
    """But for dropout, whose draws go by the shape of what is run together."""
    still = tmp_path / "still"
    still.mkdir()
    for file in checkpoint.iterdir():
        (still / file.name).write_bytes(file.read_bytes())
    config = json.loads((still / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (still / "config.json").write_text(json.dumps(config))
    rows = toy_rows(60, 0).with_columns(weight=pl.Series(np.linspace(0.5, 1.5, 60)))
    given, called = spec.model_copy(update={"weights": str(still)}), []
    collate = training_module.collate
    monkeypatch.setattr(training_module, "collate", lambda *said: called.append(1) or collate(*said))
    whole = train_student(rows, toy_rows(8, 1), LABELS, given, 0)
    assert len(called) == 4 * 4
    monkeypatch.setattr(device, "CPU_TOKENS", 40)
    cut = train_student(rows, toy_rows(8, 1), LABELS, given, 0)
    assert len(called) > 3 * 4 * 4
    losses = [[entry["training_loss"] for entry in done.history] for done in (whole, cut)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


# Early stopping


def scored(monkeypatch, accuracies: list[float]) -> None:
    left = iter(accuracies)

    def score(*_: object) -> tuple[dict[str, float], list[float]]:
        accuracy = next(left)
        return {"select_accuracy": accuracy, "select_loss": 0.5}, [accuracy] * 4

    monkeypatch.setattr(training_module, "_score", score)


@pytest.mark.parametrize(
    ("patience", "min_steps", "accuracies", "epochs", "kept"),
    [
        (1, 0, [0.7] * 8, 2, 2),
        (2, 0, [0.6, 0.7, 0.7, 0.7, 0.9], 4, 4),
        (3, 0, [0.7, 0.7, 0.6, 0.8, *[0.5] * 4], 7, 4),
        (None, 0, [0.7] * 8, 8, 8),
        # Not before 21 steps of three an epoch.
        (1, 21, [0.7] * 8, 7, 7),
        # Epochs that min_steps alone asks for are all trained.
        (2, 36, [0.7] * 12, 12, 12),
    ],
)
def test_training_ends_when_no_epoch_is_better_but_not_before_its_steps(
    spec, monkeypatch, caplog, patience, min_steps, accuracies, epochs, kept
):
    scored(monkeypatch, accuracies)
    given = spec.model_copy(update={"epochs": 8, "min_steps": min_steps, "patience": patience, "batch_size": 8})
    with caplog.at_level("INFO", logger="s3_assets"):
        done = train_student(toy_rows(24, 0), toy_rows(4, 1), LABELS, given, seed=0)
    assert done.epochs == len(done.history) == epochs
    assert done.best_epoch == kept
    assert ("training: ended after" in caplog.text) is (epochs < max(8, min_steps // 3))


def test_without_selecting_rows_patience_ends_nothing(spec):
    given = spec.model_copy(update={"patience": 1})
    done = train_student(toy_rows(30, 0), toy_rows(0, 1), LABELS, given, seed=0)
    assert done.epochs == done.best_epoch == 4


# Weights of labels


def test_balanced_labels_weigh_the_same_in_sum():
    rows = pl.DataFrame({"label": ["a"] * 6 + ["b"] * 2})
    found = balanced(rows)
    assert found["weight"].to_list() == pytest.approx([8 / 12] * 6 + [2.0] * 2)
    weighed = balanced(rows.with_columns(weight=pl.Series([1.0, 1, 1, 1, 1, 3, 0.5, 1.5])))
    sums = weighed.group_by("label").agg(pl.col("weight").sum())["weight"].to_list()
    assert sums == pytest.approx([5.0, 5.0])
    assert weighed["weight"][5] == pytest.approx(3 * weighed["weight"][0])
    # What weighs nothing stays so, and does not count as a label.
    none = balanced(rows.with_columns(weight=pl.when(pl.col("label") == "a").then(1.0).otherwise(0.0)))
    assert none["weight"].to_list() == [1.0] * 6 + [0.0] * 2


@pytest.mark.parametrize("kind", ["fine_tuned", "frozen"])
def test_class_weights_are_weights_of_rows(spec, kind):
    rows = pl.concat([toy_rows(40, 0).filter(label="good"), toy_rows(12, 1).filter(label="bad")])
    given = SPEC if kind == "frozen" else spec.model_copy(update={"epochs": 1})
    balancing = given.model_copy(update={"class_weights": "balanced"})
    none = toy_rows(0, 0)
    done = train_student(rows, none, LABELS, balancing, 0, None, by_words)
    same = train_student(balanced(rows), none, LABELS, given, 0, None, by_words)
    plain = train_student(rows, none, LABELS, given, 0, None, by_words)
    test = toy_rows(20, 2)
    assert (done.student.probabilities(test) == same.student.probabilities(test)).all()
    assert done.student.probabilities(test)[:, 1].mean() > plain.student.probabilities(test)[:, 1].mean()


def test_questions_have_no_labels_to_weigh(spec):
    given = spec.model_copy(update={"class_weights": "balanced"})
    with pytest.raises(ValueError, match=r"student\.class_weights: questions"):
        train_student(toy_questions(4, 0), toy_questions(2, 1), ["answer"], given, 0, QaSpec())


# Learning rates


@pytest.mark.parametrize("selects", [True, False])
def test_the_best_learning_rate_is_taken_and_what_was_tried_is_told(spec, selects):
    given = spec.model_copy(update={"learning_rates": RATES, "min_steps": 40})
    select = toy_rows(24, 1) if selects else toy_rows(0, 0)
    done = train_student(toy_rows(60, 0), select, LABELS, given, seed=0)
    assert done.learning_rate == RATES[1]
    assert [one["learning_rate"] for one in done.tried] == list(RATES)
    assert {(one["judged_on"], one["rows"]) for one in done.tried} == {
        ("selecting gold", 24) if selects else ("training rows held out", 6)
    }
    assert done.tried[1]["loss"] < done.tried[0]["loss"]
    json.dumps(done.tried)
    again = train_student(toy_rows(60, 0), select, LABELS, given, seed=0)
    assert (again.history, again.tried) == (done.history, done.tried)
    # The student is trained as if the rate had been named.
    named = given.model_copy(update={"learning_rates": (), "learning_rate": RATES[1]})
    assert train_student(toy_rows(60, 0), select, LABELS, named, seed=0).history == done.history


def test_short_trainings_are_an_epoch_or_half_the_steps(spec, monkeypatch):
    asked: list[StudentSpec] = []
    fit = training_module._fit
    monkeypatch.setattr(training_module, "_fit", lambda *said: asked.append(said[3]) or fit(*said))
    given = spec.model_copy(update={"learning_rates": RATES, "min_steps": 21, "patience": 2, "epochs": 6})
    train_student(toy_rows(20, 0), toy_rows(4, 1), LABELS, given, seed=0)
    assert [(one.learning_rate, one.epochs, one.min_steps, one.batch_size, one.patience) for one in asked] == [
        # The whole training has 7 epochs of 3 batches of 8: half of 21 steps are 4 epochs of them.
        (RATES[0], 4, 0, 8, None),
        (RATES[1], 4, 0, 8, None),
        (RATES[1], 6, 21, 16, 2),
    ]


def test_rows_of_one_gold_row_are_held_out_together():
    rows = toy_rows(200, 0).with_columns(gold_id=pl.format("g{}", pl.int_range(pl.len()) // 8))
    rows = rows.with_columns(gold_id=pl.when(pl.int_range(pl.len()) >= 40).then("gold_id"))
    kept, out = held_out(rows, 0)
    assert out.height == pytest.approx(20, abs=8)
    assert pl.concat([kept, out]).sort(pl.all()).equals(rows.sort(pl.all()))
    assert not set(kept["gold_id"].drop_nulls()) & set(out["gold_id"].drop_nulls())
    assert set(out["label"]) == set(LABELS)
    assert held_out(rows, 0)[1].equals(out)
    assert not held_out(rows, 1)[1].equals(out)
    assert held_out(rows.drop("gold_id"), 0)[1].height == 20
    with pytest.raises(ValueError, match=r"learning_rates: 6 training rows are too few"):
        held_out(rows[:6], 0)


def test_questions_try_learning_rates_too(spec):
    given = spec.model_copy(update={"learning_rates": RATES, "epochs": 1})
    done = train_student(toy_questions(16, 0), toy_questions(6, 1), ["answer"], given, 0, QaSpec())
    assert {"f1", "accuracy", "loss"} < set(done.tried[0])
    assert done.learning_rate in RATES


def test_rates_tried_stand_with_the_hyperparameters(tmp_path, checkpoint):
    rows = toy_rows(40, 1).with_columns(pl.Series("split", ["steer", "select", "select", "test"] * 10))
    gold = filled("gold", rows.with_columns(gold_id=pl.format("g{}", pl.int_range(pl.len()))))
    student = {"learning_rates": list(RATES), "epochs": 3, "min_steps": 13}
    task = task_with(tmp_path, checkpoint, student, steers="steer", cross_fit=0)
    seed_set = filled("seed_set", toy_rows(40, 3))
    key, used = RoundKey("small", "own", 0, 0), gold_in_use(task, gold)
    row = train_round(task, Warehouse(tmp_path / "w"), key, seed_set, used).row.row(0, named=True)
    told = json.loads(row["hyperparameters"])
    assert [one["learning_rate"] for one in told["learning_rates_tried"]] == list(RATES)
    assert told["learning_rate"] in RATES
    # 9 steps of 16 rows are too few.
    assert told["batch_size"] == 8
    assert "op_tags" not in told


# What a task may say


def declared(folder: Path, student: dict[str, Any]) -> Task:
    return task_with(folder, Path("minilm"), student)


@pytest.mark.parametrize(
    ("student", "message"),
    [
        ({"learning_rates": [1e-4]}, "has one to try"),
        ({"learning_rates": [1e-4, -1]}, "greater than 0"),
        ({"kind": "frozen", "learning_rates": [1e-4, 1e-3]}, "remove learning_rates"),
        ({"kind": "frozen", "patience": 2}, "remove patience"),
        ({"patience": 0}, "greater than 0"),
        ({"class_weights": "some"}, "'none' or 'balanced'"),
        ({"op_tags": {"dagster-k8s/config": {"limit": float("nan")}}}, "dagster-k8s/config: a tag holds"),
    ],
)
def test_options_that_cannot_be_or_do_nothing_are_refused(tmp_path, student, message):
    with pytest.raises(TaskError, match=message):
        declared(tmp_path, student)


def test_kind_qa_has_no_class_weights(tmp_path, small_task):
    (tmp_path / "asks").mkdir()
    (tmp_path / "asks" / "task.yaml").write_text(
        "name: asks\nkind: qa\ngold: gold.csv\nfields: {text: context, text2: question, answer: answer}\n"
        "student: {class_weights: balanced}\n"
    )
    with pytest.raises(TaskError, match=r"remove student\.class_weights"):
        load_task(tmp_path / "asks")


def with_student(task: Task, **changes: Any) -> Task:
    student = StudentSpec.model_validate({**task.spec.student.model_dump(), **changes})
    return dataclasses.replace(task, spec=task.spec.model_copy(update={"student": student}))


def test_tags_are_on_the_step_and_make_nothing_stale(small_task):
    tags = {"dagster-k8s/config": {"container_config": {"resources": {"limits": {"nvidia.com/gpu": 1}}}}, "gpu": "yes"}
    tagged = with_student(small_task, op_tags=tags)
    asset = trained_model_asset(tagged)
    assert isinstance(asset, dg.AssetsDefinition)
    assert json.loads(asset.op.tags["dagster-k8s/config"]) == tags["dagster-k8s/config"]
    assert asset.op.tags["gpu"] == "yes"
    assert not set(trained_model_asset(small_task).op.tags) & set(tags)
    before, after = (input_fingerprint(task, TRAINED_MODEL, 0, {}) for task in (small_task, tagged))
    assert before == after
    for change in ({"patience": 2}, {"class_weights": "balanced"}, {"learning_rates": RATES}):
        assert input_fingerprint(with_student(small_task, **change), TRAINED_MODEL, 0, {}) != before
    # The rate that is named is not used where others are tried.
    tried = [with_student(small_task, learning_rates=RATES, learning_rate=rate) for rate in RATES]
    assert len({input_fingerprint(task, TRAINED_MODEL, 0, {}) for task in tried}) == 1


# Epochs drawn


def history(epochs: int, selects: bool = True, f1: bool = False) -> list[dict[str, Any]]:
    return [
        {"epoch": n, "training_loss": 1 / n}
        | {"select_loss": 0.5 / n if selects else None, "select_accuracy": 0.8 if selects else None}
        | ({"select_f1": 0.9} if f1 else {})
        for n in range(1, epochs + 1)
    ]


def test_epochs_are_drawn_with_loss_and_selecting_gold():
    losses, shares = epochs_figure(history(3), 2).axes
    drawn = [list(line.get_ydata()) for line in losses.lines]
    assert drawn[:2] == [[1, 1 / 2, 1 / 3], [0.5, 0.25, 0.5 / 3]]
    assert list(shares.lines[0].get_ydata()) == [80.0] * 3
    assert list(losses.lines[-1].get_xdata()) == [2, 2]
    assert [text.get_text() for text in losses.get_legend().get_texts()] == ["training rows", "selecting gold"]
    assert len(epochs_figure(history(3, f1=True), 2).axes[1].lines) == 3
    (alone,) = epochs_figure(history(30, selects=False), 30).axes
    assert len(alone.lines) == 2


def test_the_picture_is_left_out_where_there_is_no_course(small_task):
    drawn = _drawn(small_task, history(3), 2)["epochs_drawn"].value
    assert drawn.startswith("![epochs](data:image/png;base64,")
    assert len(drawn) < 60_000
    assert _drawn(small_task, history(1), 1) == {}
    assert _drawn(with_student(small_task, kind="frozen"), history(3), 1) == {}
