"""Contrastive students: what a pair of rows costs, the regression as a standard model, and the loop with them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from s3_assets.export.cards import Model, model_card
from s3_assets.export.facts import read_export
from s3_assets.export.folder import export_student
from s3_assets.loop.best_student import choose_student
from s3_assets.loop.fingerprints import loop_key
from s3_assets.loop.steps import live_predictions
from s3_assets.report.epochs_picture import epochs_figure
from s3_assets.student import train as training
from s3_assets.student.batches import encode
from s3_assets.student.contrastive import ContrastiveHead, as_classifier, contrastive_student
from s3_assets.student.device import CPU_TOKENS
from s3_assets.student.errors import StudentError
from s3_assets.student.load import load_student
from s3_assets.student.model import Student, quiet
from s3_assets.student.train import train_student
from s3_assets.tasks.load import TaskError
from s3_assets.tasks.spec import QaSpec
from s3_assets.tasks.student_spec import StudentSpec
from s3_assets_tests.exported import pair_loop, qa_loop, single_loop
from s3_assets_tests.tiny_student import LABELS, make_tiny_student, toy_questions, toy_rows

pytestmark = pytest.mark.usefixtures("float32")

THREE = ("good", "bad", "neither")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return make_tiny_student(tmp_path_factory.mktemp("student") / "toy", toy_rows(200, 5)["text"].to_list())


@pytest.fixture(scope="module")
def spec(checkpoint) -> StudentSpec:
    declared = {"weights": str(checkpoint), "epochs": 6, "min_steps": 0, "learning_rate": 3e-3, "max_length": 32}
    return StudentSpec(kind="contrastive", batch_size=16, **declared)


def last_norm(student: Student, layers_after: int = 0) -> dict[str, np.ndarray]:
    layer = student.model.base_model.encoder.layer[-1 - layers_after]
    return {name: value.detach().numpy().copy() for name, value in layer.output.LayerNorm.state_dict().items()}


# The loss


def loss_of(vectors: list[list[float]], targets: list[list[float]]) -> float:
    """Of rows of one token each, whose vectors are these."""
    import torch
    from transformers.modeling_outputs import BaseModelOutput

    output = BaseModelOutput(last_hidden_state=torch.tensor(vectors).unsqueeze(1))
    batch = {"attention_mask": torch.ones(len(vectors), 1)}
    return float(ContrastiveHead(LABELS).loss(output, batch, torch.tensor(targets)))


GOOD, BAD = [1.0, 0.0], [0.0, 1.0]


def test_rows_of_one_label_are_to_point_the_same_way_and_others_to_be_at_right_angles():
    assert loss_of([[2.0, 0.0], [5.0, 0.0], [0.0, 3.0]], [GOOD, GOOD, BAD]) == pytest.approx(0)
    # One pair of a label at 90 degrees: (1 - 0)^2. Two of others, at 0 and 90: mean of 1 and 0. Both sorts count half.
    assert loss_of([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], [GOOD, GOOD, BAD]) == pytest.approx((1 + 0.5) / 2)
    # 60 degrees: cosine 0.5.
    assert loss_of([[1.0, 0.0], [0.5, 0.75**0.5]], [GOOD, GOOD]) == pytest.approx(0.5**2 / 2)
    assert loss_of([[1.0, 0.0]], [GOOD]) == 0, "a row alone is no pair"


def test_a_pair_weighs_what_its_rows_do_and_soft_labels_are_alike_in_part():
    vectors = [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    heavy = loss_of(vectors, [[3.0, 0.0], GOOD, BAD])
    # Of others: the pair at 0 degrees weighs 1, that at 90 weighs 3.
    assert heavy == pytest.approx((1 + 1 / 4) / 2)
    assert loss_of(vectors, [[0.0, 0.0], GOOD, BAD]) == pytest.approx(1 / 2), "what weighs nothing is not there"
    # A row of either label with one of the first: half a pair of each sort, at 0 degrees.
    assert loss_of([[1.0, 0.0], [1.0, 0.0]], [[0.5, 0.5], GOOD]) == pytest.approx(1 / 2)


def test_the_mean_is_over_tokens_that_are_none_of_padding():
    import torch
    from transformers.modeling_outputs import BaseModelOutput

    states = torch.tensor([[[3.0, 0.0], [0.0, 4.0], [9.0, 9.0]]])
    found = ContrastiveHead(LABELS).values(
        BaseModelOutput(last_hidden_state=states), {"attention_mask": torch.tensor([[1, 1, 0]])}
    )
    assert found.tolist()[0] == pytest.approx([0.6, 0.8])


# The student


@pytest.mark.parametrize("pair", [False, True])
def test_it_learns_and_is_a_standard_model(spec, tmp_path, pair):
    from transformers import pipeline

    training, select, test = (toy_rows(rows, seed, pair) for rows, seed in ((160, 0), (40, 1), (60, 2)))
    done = train_student(training, select, LABELS, spec, 0)
    found = done.student.predict(test)
    assert found["correct"].mean() > 0.9
    assert [entry["epoch"] for entry in done.history] == list(range(1, 7))
    assert done.history[-1]["pair_loss"] < 0.5 * done.history[0]["pair_loss"]
    losses, shares = epochs_figure(done.history, done.best_epoch).axes
    assert losses.get_title(loc="left") == "loss of pairs, of gold in nats"
    assert [line.get_label() for line in losses.lines[:2]] == ["training pairs", "selecting gold"]
    assert shares.get_title(loc="left") == "selecting gold, %"
    assert done.history[done.best_epoch - 1]["select_accuracy"] > 0.9
    assert (done.batch_size, done.epochs) == (16, 6)
    done.student.save(tmp_path / "saved")
    loaded = load_student(tmp_path / "saved")
    assert isinstance(loaded, Student)
    assert loaded.predict(test).equals(found)
    with quiet():
        classify = pipeline("text-classification", model=str(tmp_path / "saved"))
    asked = [{"text": one, "text_pair": other} if pair else one for one, other in test["text", "text2"].iter_rows()]
    said = [classify(one, truncation=True) for one in asked]
    answers = [one[0] if isinstance(one, list) else one for one in said]
    assert [one["label"] for one in answers] == found["prediction"].to_list()
    assert [one["score"] for one in answers] == pytest.approx(found["probability"].to_list(), abs=1e-5)


@pytest.mark.parametrize("pair", [False, True])
def test_the_model_says_what_the_regression_on_the_means_says(spec, pair):
    """After training too: the last layer norm, which the model undoes, is not trained."""
    head = ContrastiveHead(THREE)
    student = contrastive_student(head, spec)
    before = last_norm(student)
    rows = toy_rows(40, 0, pair).with_columns(label=pl.Series([THREE[number % 3] for number in range(40)]))
    encoded, targets = student.examples(rows)
    student.complete(encoded, targets)
    wanted = student.predict(rows)
    model = as_classifier(student, head)
    assert model.predict(rows)["probability"].to_list() == pytest.approx(wanted["probability"].to_list(), abs=1e-5)
    assert wanted["probability"].std() > 0.001, "a regression that tells rows apart"
    trained = train_student(rows, rows.clear(), THREE, spec, 0).student
    # What is written into the model is divided by a power of two.
    after = last_norm(trained, layers_after=1)
    for name, values in before.items():
        assert values == pytest.approx(after[name] * 2**10, abs=1e-7)


def test_the_epoch_kept_is_the_one_that_is_saved(spec, monkeypatch):
    """Its regression is fitted to the vectors of that epoch, not to those of the last."""
    select, test = toy_rows(8, 1), toy_rows(20, 2)
    said = []

    def score(student: Student, _select: pl.DataFrame) -> tuple[dict[str, float], list[float]]:
        said.append(student.predict(test)["probability"].to_list())
        right = 1.0 if len(said) == 2 else 0.0
        return {"select_loss": 0.5, "select_accuracy": right}, [right] * select.height

    monkeypatch.setattr(training, "_score", score)
    rows = toy_rows(60, 0)
    done = train_student(rows, select, LABELS, spec.model_copy(update={"epochs": 4}), 0)
    assert (done.best_epoch, done.temperature) == (2, 1.0)
    assert done.student.predict(test)["probability"].to_list() == pytest.approx(said[1], abs=1e-5)
    assert said[1] != pytest.approx(said[3], abs=1e-3)


def test_the_same_seed_gives_the_same_student_and_the_callers_random_state_stays(spec):
    import torch

    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    training, test = toy_rows(40, 0), toy_rows(20, 2)
    given = spec.model_copy(update={"epochs": 1})
    one, same, other = (
        train_student(training, training.clear(), LABELS, given, seed).student.probabilities(test) for seed in (0, 0, 1)
    )
    assert (one == same).all()
    assert not np.allclose(one, other, atol=1e-6)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_strength_holds_the_regression_down(spec):
    training = toy_rows(40, 0)
    surest = [
        train_student(
            training, training.clear(), LABELS, spec.model_copy(update={"strength": strength, "epochs": 2}), 0
        )
        .student.probabilities(training)
        .max(axis=1)
        .mean()
        for strength in (0.001, 1.0, 30.0)
    ]
    assert surest == sorted(surest)
    assert surest[0] < 0.6
    usual = train_student(training, training.clear(), LABELS, spec.model_copy(update={"epochs": 2}), 0).student
    assert usual.probabilities(training).max(axis=1).mean() == surest[2]


def test_learning_rates_are_tried(spec):
    training, select = toy_rows(60, 0), toy_rows(40, 1)
    done = train_student(training, select, LABELS, spec.model_copy(update={"learning_rates": (1e-7, 3e-3)}), 0)
    assert done.learning_rate == 3e-3
    assert len(done.tried) == 2
    assert done.student.predict(toy_rows(60, 2))["correct"].mean() > 0.9


def test_rows_that_weigh_nothing_teach_nothing_and_soft_labels_are_learned(spec):
    training = toy_rows(60, 0)
    turned = training.with_columns(label=pl.Series([LABELS[1 - LABELS.index(label)] for label in training["label"]]))
    both = pl.concat([training.with_columns(weight=1.0), turned.with_columns(weight=0.0)])
    test = toy_rows(60, 2)
    assert train_student(both, both.clear(), LABELS, spec, 0).student.predict(test)["correct"].mean() > 0.9
    soft = [[0.9, 0.1] if label == "good" else [0.1, 0.9] for label in training["label"]]
    taught = turned.with_columns(soft=pl.Series(soft))
    assert train_student(taught, taught.clear(), LABELS, spec, 0).student.predict(test)["correct"].mean() > 0.9


def test_questions_and_other_encoders_are_refused_with_what_to_do(spec, checkpoint, tmp_path):
    from transformers import AutoTokenizer, DistilBertConfig, DistilBertModel

    with pytest.raises(StudentError, match=r"student.kind: contrastive students classify.*fine_tuned"):
        train_student(toy_questions(4, 0), toy_questions(2, 1), ["answer"], spec, 0, QaSpec())
    with pytest.raises(TaskError, match=r"kind qa has no contrastive student; remove student.kind"):
        qa_loop(tmp_path / "qa", checkpoint, student={"kind": "contrastive"})
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        config = DistilBertConfig(vocab_size=len(tokenizer), dim=32, n_layers=1, n_heads=2, hidden_dim=64)
        DistilBertModel(config).save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    rows = toy_rows(8, 0)
    with pytest.raises(StudentError, match=r"other is of type distilbert.*fine_tuned"):
        train_student(rows, rows, LABELS, spec.model_copy(update={"weights": str(tmp_path / "other")}), 0)


def test_inputs_keep_their_order(spec):
    """Vectors are asked for in batches by length."""
    student = contrastive_student(ContrastiveHead(LABELS), spec)
    rows = toy_rows(90, 4)
    with pytest.raises(StudentError, match="complete comes before"):
        student.predict(rows)
    encoded, targets = student.examples(rows)
    student.complete(encoded, targets)
    alone = [student.predict(rows[place : place + 1])["probability"][0] for place in range(0, 90, 15)]
    assert student.predict(rows)["probability"].to_list()[::15] == pytest.approx(alone, abs=1e-5)
    assert encoded[3] == encode(student.tokenizer, rows[3:4], 32)[0]


def test_rows_of_a_batch_are_compared_whole(spec, monkeypatch):
    """Also where a processor is otherwise given fewer tokens at once."""
    rows = toy_rows(128, 0).with_columns(text=pl.col("text") + " the film" * 20)
    seen: list[int] = []
    loss = Student.loss

    def noted(student: Student, batch: dict[str, Any], targets: Any) -> Any:
        seen.append(batch["input_ids"].numel())
        return loss(student, batch, targets)

    monkeypatch.setattr(Student, "loss", noted)
    train_student(rows, rows.clear(), LABELS, spec.model_copy(update={"epochs": 1, "batch_size": 64}), 0)
    assert seen == [64 * 32] * 2
    assert seen[0] > CPU_TOKENS
    seen.clear()
    tuned = spec.model_copy(update={"kind": "fine_tuned", "epochs": 1, "batch_size": 64})
    train_student(rows, rows.clear(), LABELS, tuned, 0)
    assert seen == [CPU_TOKENS] * 4


# The loop


@pytest.mark.parametrize("loop", [single_loop, pair_loop])
def test_the_loop_trains_judges_and_exports_it(loop, tiny_student, tmp_path):
    """Students of folds too: nothing of the round but the student's kind is another."""
    task, warehouse = loop(tmp_path, tiny_student, student={"kind": "contrastive"})
    chosen = choose_student(task, warehouse)
    assert json.loads(chosen.row["hyperparameters"])["kind"] == "contrastive"
    gold = warehouse.live("gold", {"task": task.name}).read()
    judged = live_predictions(warehouse, loop_key(task, chosen.round))
    assert set(judged["gold_id"]) <= set(gold["gold_id"])
    assert judged["loss"].null_count() == 0
    done = export_student(task, warehouse, tmp_path / "out")
    assert done.model.agreement is None, "its files are copied as they are"
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (chosen.folder / "model.safetensors").read_bytes()
    facts = read_export(task, warehouse, chosen)
    card = model_card(facts, Model(64))
    assert "trained by comparing rows, with a logistic regression on its vectors" in card
    assert "with one layer more, which computes that mean. The layer's weights are made, not trained" in card
    row = chosen.row | {"hyperparameters": json.dumps({"kind": "fine_tuned"})}
    plain = model_card(replace(facts, chosen=replace(chosen, row=row)), Model(64))
    assert "comparing rows" not in plain
    assert "one layer more" not in plain
