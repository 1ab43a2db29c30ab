"""Weights of rows and soft labels in training: what they change, and that without them nothing is other than before."""

import numpy as np
import polars as pl
import pytest

from s3_assets.student.model import Student, fresh_student
from s3_assets.student.targets import has_soft, row_weights, target_matrix
from s3_assets.student.train import train_student
from s3_assets.tasks.spec import QaSpec
from s3_assets.tasks.student_spec import StudentSpec
from s3_assets_tests.tiny_student import (
    CUES,
    FILLER,
    LABELS,
    PLACES,
    QUESTION,
    make_tiny_student,
    toy_questions,
    toy_rows,
)

OTHER = {"good": "bad", "bad": "good"}


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> StudentSpec:
    words = [*FILLER, *(cue for cues in CUES.values() for cue in cues), *PLACES, *QUESTION.split()]
    tiny = make_tiny_student(tmp_path_factory.mktemp("toy") / "tiny", words)
    return StudentSpec(weights=str(tiny), epochs=8, min_steps=0, learning_rate=3e-3, max_length=32)


def state(student: Student) -> dict[str, bytes]:
    return {name: values.numpy().tobytes() for name, values in student.model.state_dict().items()}


def half_wrong(count: int) -> pl.DataFrame:
    """Toy rows, a third of them right, the others with the other label: without weights the wrong ones are learned."""
    right = pl.int_range(pl.len()) < count // 3
    label = pl.when(right).then(pl.col("label")).otherwise(pl.col("label").replace(OTHER))
    return toy_rows(count, 0).with_columns(label=label, right=right)


def accuracy(student: Student) -> float:
    rows = toy_rows(60, 2)
    return float(student.predict(rows)["correct"].to_numpy().mean())


def soft_of(labels: pl.Series, probability: float) -> pl.Series:
    found = [[probability if label == name else 1 - probability for name in LABELS] for label in labels]
    return pl.Series("soft", found, dtype=pl.List(pl.Float64))


def test_a_row_that_weighs_nothing_teaches_nothing(spec):
    rows = half_wrong(120)
    empty = toy_rows(0, 0)
    # Weights have mean 1.
    weighed = rows.with_columns(weight=pl.when("right").then(3.0).otherwise(0.0))
    assert accuracy(train_student(rows, empty, LABELS, spec, seed=0).student) < 0.4
    assert accuracy(train_student(weighed, empty, LABELS, spec, seed=0).student) > 0.9


def test_soft_labels_are_learned_in_place_of_labels(spec):
    rows, empty = toy_rows(120, 0), toy_rows(0, 0)
    unsure = rows.with_columns(soft_of(rows["label"], 0.7))
    found = train_student(unsure, empty, LABELS, spec, seed=0).student.predict(toy_rows(60, 2))
    assert found["correct"].to_numpy().mean() > 0.9
    assert found["probability"].mean() == pytest.approx(0.7, abs=0.07)
    turned = rows.with_columns(soft_of(rows["label"], 0.0))
    assert accuracy(train_student(turned, empty, LABELS, spec, seed=0).student) < 0.1
    # Null: the label is meant.
    some = turned.with_columns(soft=pl.when(pl.int_range(pl.len()) < 0).then("soft"))
    assert accuracy(train_student(some, empty, LABELS, spec, seed=0).student) > 0.9


@pytest.mark.parametrize("column", [pl.lit(1.0).alias("weight"), pl.lit(None, pl.List(pl.Float64)).alias("soft")])
def test_weights_of_1_and_no_soft_labels_are_the_same_training_to_the_last_bit(spec, column):
    one = spec.model_copy(update={"epochs": 1})
    plain, more = (
        train_student(rows, toy_rows(10, 1), LABELS, one, seed=0)
        for rows in (toy_rows(40, 0), toy_rows(40, 0).with_columns(column))
    )
    assert state(plain.student) == state(more.student)
    assert plain.history == more.history


def test_the_loss_is_weight_times_cross_entropy_averaged_over_rows(spec):
    import torch

    from s3_assets.student.batches import collate

    student = fresh_student(spec.weights, LABELS, 32)
    rows = toy_rows(6, 0).with_columns(weight=pl.Series([0.0, 3.0, 1.0, 1.0, 0.5, 0.5]))
    soft = soft_of(rows["label"], 0.8)
    rows = rows.with_columns(soft=pl.when(pl.int_range(pl.len()) < 3).then(soft))
    encoded, targets = student.examples(rows)
    student.model.eval()
    with torch.inference_mode():
        loss = float(student.loss(collate(student.tokenizer, encoded, "cpu"), targets))
    logs = np.log(student.probabilities(rows))
    own = logs[np.arange(6), [LABELS.index(label) for label in rows["label"]]]
    other = logs.sum(axis=1) - own
    each = np.where(np.arange(6) < 3, 0.8 * own + 0.2 * other, own)
    assert loss == pytest.approx(-(rows["weight"].to_numpy() * each).mean(), rel=1e-5)


def test_the_matrix_of_targets():
    rows = pl.DataFrame(
        {"label": ["b", "a"], "weight": [2.0, 0.5], "soft": [None, [0.25, 0.75]]},
        schema_overrides={"soft": pl.List(pl.Float64)},
    )
    assert target_matrix(rows, [1, 0], ("a", "b")).tolist() == [[0.0, 2.0], [0.125, 0.375]]
    assert target_matrix(rows.select("label"), [1, 0], ("a", "b")).tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert row_weights(rows.with_columns(weight=pl.lit(1))) is None
    assert not has_soft(rows.with_columns(soft=pl.lit(None, pl.List(pl.Float64))))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pl.lit(None, pl.Float64).alias("weight"), "row 0 .* the weight None"),
        (pl.lit(-1.0).alias("weight"), r"the weight -1\.0"),
        (pl.lit(float("nan")).alias("weight"), "the weight nan"),
        (pl.lit(0.0).alias("weight"), "all rows .* the weight 0"),
        (pl.lit([0.5]).alias("soft"), r"the soft label \[0\.5\]; it needs 2 probabilities"),
        (pl.lit([0.5, 0.6]).alias("soft"), "sum to 1"),
        (pl.lit([1.5, -0.5]).alias("soft"), "sum to 1"),
        (pl.lit([1.0, None], pl.List(pl.Float64)).alias("soft"), "needs 2 probabilities"),
    ],
)
@pytest.mark.parametrize("kind", ["fine_tuned", "frozen"])
def test_what_is_no_weight_and_no_probability_is_refused(spec, kind, column, message):
    student = spec.model_copy(update={"kind": kind})
    with pytest.raises(ValueError, match=message):
        train_student(toy_rows(8, 0).with_columns(column), toy_rows(4, 1), LABELS, student, seed=0)


# Questions


def test_weights_of_questions(spec):
    qa, four = QaSpec(), spec.model_copy(update={"epochs": 4})
    rows, none = toy_questions(60, 0), toy_questions(0, 0)
    # Wrong answers: the first word, whatever it is.
    first = pl.col("text").str.split(" ").list.first()
    wrong = rows.with_columns(answer=first, answer_start=pl.lit(0, pl.Int64))
    mixed = pl.concat([rows.with_columns(weight=pl.lit(2.0)), wrong.with_columns(weight=pl.lit(0.0))])
    select = toy_questions(30, 1)

    def scored(training):
        return train_student(training, none, ["answer"], four, 0, qa).student.predict(select)["f1"].mean()

    assert scored(mixed) > scored(mixed.drop("weight")) + 0.2
    ones = train_student(rows.with_columns(weight=pl.lit(1.0)), none, ["answer"], four, 0, qa)
    assert state(ones.student) == state(train_student(rows, none, ["answer"], four, 0, qa).student)


def test_a_window_weighs_what_its_row_does(spec):
    import torch

    from s3_assets.student.batches import collate

    student = fresh_student(spec.weights, ["answer"], 32, QaSpec(stride=4))
    rows = toy_questions(4, 0, (40, 60)).with_columns(weight=pl.Series([2.0, 0.0, 0.5, 1.5]))
    encoded, targets = student.examples(rows)
    plain = student.examples(rows.drop("weight"))[1]
    assert len(encoded) > 4
    assert torch.equal(targets[:, :2].long(), plain)
    assert targets[:, 2].unique(sorted=False).sort().values.tolist() == [0.0, 0.5, 1.5, 2.0]
    student.model.eval()
    with torch.inference_mode():
        batch = collate(student.tokenizer, encoded, "cpu")
        loss = float(student.loss(batch, targets))
        each = [
            float(student.loss({name: part[n : n + 1] for name, part in batch.items()}, plain[n : n + 1]))
            for n in range(len(encoded))
        ]
    assert loss == pytest.approx(float((targets[:, 2].numpy() * np.array(each)).mean()), rel=1e-5)


def test_soft_labels_of_questions_are_refused(spec):
    rows = toy_questions(4, 0).with_columns(soft=pl.lit([1.0]))
    with pytest.raises(ValueError, match="students that answer questions learn answers"):
        train_student(rows, toy_questions(2, 1), ["answer"], spec, 0, QaSpec())
