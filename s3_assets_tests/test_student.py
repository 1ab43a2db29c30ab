"""The student: learns, repeats itself, keeps its best epoch, predicts in order, and survives the disk."""

import dataclasses
import json
import random
import shutil
from pathlib import Path

import polars as pl
import pytest

from s3_assets.student import train as training_module
from s3_assets.student.batches import encode, prediction_batches, training_batches
from s3_assets.student.model import Student, fresh_student
from s3_assets.student.steps import planned_steps
from s3_assets.student.train import TrainedStudent, train_student
from s3_assets.student.weights import WeightsError, weights_digest
from s3_assets.tasks.student_spec import StudentSpec
from s3_assets_tests.tiny_student import CUES, FILLER, LABELS, POSITIONS, make_tiny_student, toy_rows


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    words = [*FILLER, *(cue for cues in CUES.values() for cue in cues)]
    return make_tiny_student(tmp_path_factory.mktemp("toy") / "tiny", words)


@pytest.fixture(scope="module")
def spec(tiny) -> StudentSpec:
    return StudentSpec(weights=str(tiny), epochs=6, min_steps=0, learning_rate=3e-3, max_length=32)


@pytest.fixture(scope="module")
def trained(spec) -> TrainedStudent:
    return train_student(toy_rows(120, 0), toy_rows(40, 1), LABELS, spec, seed=0)


def state(student: Student) -> dict[str, bytes]:
    return {name: values.numpy().tobytes() for name, values in student.model.state_dict().items()}


# Training


def test_learns_a_separable_task(trained):
    found = trained.student.predict(toy_rows(60, 2))
    assert found.columns == ["prediction", "probability", "label_probability", "loss", "margin", "correct"]
    assert (found["prediction"] == toy_rows(60, 2)["label"]).mean() > 0.95
    assert trained.epochs == len(trained.history) == 6
    assert trained.history[-1]["training_loss"] < trained.history[0]["training_loss"]
    assert trained.device == str(trained.student.device)
    json.dumps(trained.history)


def test_same_seed_same_weights_other_seed_others(spec, tmp_path):
    import torch

    short = spec.model_copy(update={"epochs": 1})
    before = torch.random.get_rng_state()
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train_student(toy_rows(40, 0), toy_rows(10, 1), LABELS, short, seed).student.save(tmp_path / name)
        torch.rand(1)  # the caller's own draws change nothing
    digests = [weights_digest(tmp_path / name) for name in "abc"]
    assert digests[0] == digests[1] != digests[2]
    torch.random.set_rng_state(before)
    train_student(toy_rows(40, 0), toy_rows(10, 1), LABELS, short, 3)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([(2, 0.5), (4, 0.4), (2, 0.1), (1, 0.6)], 2),  # two rows of four are more than one standard error
        ([(2, 0.5), (4, 0.4), (3, 0.3), (2, 0.1)], 3),  # one is not, and the later epoch is kept
    ],
)
def test_restores_the_epoch_it_keeps(spec, monkeypatch, scores, best):
    kept = []

    def score(student, select):
        kept.append(state(student))
        right, loss = scores[len(kept) - 1]
        return {"select_accuracy": right / 4, "select_loss": loss}, [1.0] * right + [0.0] * (4 - right)

    monkeypatch.setattr(training_module, "_score", score)
    four = spec.model_copy(update={"epochs": 4})
    done = train_student(toy_rows(40, 0), toy_rows(4, 1), LABELS, four, seed=0)
    assert done.best_epoch == best
    assert state(done.student) == kept[best - 1]
    assert len({frozenset(one.items()) for one in kept}) == 4


def test_without_selecting_rows_the_last_epoch_is_kept(spec):
    done = train_student(toy_rows(40, 0), toy_rows(0, 1), LABELS, spec, seed=0)
    assert done.best_epoch == done.epochs == 6
    assert {entry["select_accuracy"] for entry in done.history} == {None}


@pytest.mark.parametrize(
    ("rows", "declared", "planned"),
    [
        # Enough steps as declared.
        (2000, {}, (16, 125, 3)),
        (1057, {}, (16, 67, 3)),
        # Smaller batches suffice, or are no smaller than 8, and then there are more epochs.
        (1056, {}, (8, 132, 3)),
        (640, {"batch_size": 64}, (8, 80, 3)),
        (1300, {"batch_size": 64}, (16, 82, 3)),
        (100, {}, (8, 13, 16)),
        (5, {"min_steps": 7}, (8, 1, 7)),
        # Never larger than declared.
        (100, {"batch_size": 4}, (4, 25, 8)),
        (100, {"min_steps": 0}, (16, 7, 3)),
        # Pairs are what a contrastive student learns from: its batches are larger, and stay.
        (100, {"kind": "contrastive"}, (32, 4, 25)),
        (2000, {"kind": "contrastive"}, (32, 63, 3)),
        (100, {"kind": "contrastive", "batch_size": 16, "min_steps": 30}, (16, 7, 5)),
    ],
)
def test_small_sets_get_smaller_batches_then_more_epochs(rows, declared, planned):
    found = planned_steps(rows, StudentSpec(**declared))
    assert (found.batch_size, found.per_epoch, found.epochs) == planned
    assert found.total == found.per_epoch * found.epochs


def test_a_small_set_is_trained_as_planned_and_it_is_said(spec, caplog):
    enough = spec.model_copy(update={"epochs": 2, "min_steps": 7})
    with caplog.at_level("INFO", logger="s3_assets"):
        assert train_student(toy_rows(10, 0), toy_rows(4, 1), LABELS, enough, seed=0).epochs == 4
    assert "training: 4 epochs in batches of 8, for 8 steps" in caplog.text


def test_progress_is_logged_per_epoch_and_nothing_else_is_said(spec, caplog, capfd):
    two = spec.model_copy(update={"epochs": 2})
    with caplog.at_level("INFO", logger="s3_assets"):
        train_student(toy_rows(40, 0), toy_rows(10, 1), LABELS, two, seed=0)
    said = [record.getMessage() for record in caplog.records if record.name.startswith("s3_assets")]
    assert len(said) == 2
    assert "epoch 2 of 2" in said[1]
    assert "% right" in said[1]
    assert capfd.readouterr() == ("", "")


def test_long_epochs_say_where_they_are(spec, caplog, monkeypatch):
    monkeypatch.setattr(training_module, "SECONDS_BETWEEN_PROGRESS", 0.0)
    one = spec.model_copy(update={"epochs": 1})
    with caplog.at_level("INFO", logger="s3_assets"):
        train_student(toy_rows(40, 0), toy_rows(0, 1), LABELS, one, seed=0)
    assert "epoch 1 of 1, batch 2 of 3" in caplog.text


def test_transformers_settings_are_left_as_they_were(tiny):
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    fresh_student(str(tiny), LABELS, 32)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_biases_and_norms_do_not_decay_and_the_rate_rises_then_falls(tiny, spec):
    student = fresh_student(str(tiny), LABELS, 32)
    optimizer, schedule = training_module._optimizer(student.model, spec, steps=20)
    decaying, free = optimizer.param_groups
    assert (decaying["weight_decay"], free["weight_decay"]) == (spec.weight_decay, 0.0)
    assert {weight.dim() for weight in free["params"]} == {1}
    assert {weight.dim() for weight in decaying["params"]} == {2}
    rates = []
    for _ in range(20):
        rates.append(schedule.get_last_lr()[0] / spec.learning_rate)
        optimizer.step()
        schedule.step()
    assert rates[:3] == pytest.approx([0.5, 1.0, 1.0])
    assert rates[-1] == pytest.approx(1 / 18)
    assert rates[2:] == sorted(rates[2:], reverse=True)


@pytest.mark.parametrize(
    ("training", "select", "message"),
    [
        (toy_rows(0, 0), toy_rows(4, 0), "no rows"),
        (toy_rows(8, 0).filter(pl.col("label") == "bad"), toy_rows(4, 0), "only the label 'bad'"),
        (toy_rows(8, 0).with_columns(label=pl.lit("ugly")), toy_rows(4, 0), r"\['ugly'\] are not among"),
        (toy_rows(8, 0).with_columns(label=pl.lit(None, pl.String)), toy_rows(4, 0), r"\[None\] are not among"),
        (toy_rows(8, 0), toy_rows(4, 0).with_columns(label=pl.lit("ugly")), r"\['ugly'\] are not among"),
    ],
)
def test_refuses_what_cannot_be_trained_on(spec, training, select, message):
    with pytest.raises(ValueError, match=message):
        train_student(training, select, LABELS, spec, seed=0)


# Predicting


def test_prediction_keeps_order_and_does_not_depend_on_it(trained):
    rows = toy_rows(150, 5)
    found = trained.student.predict(rows)
    order = random.Random(0).sample(range(rows.height), rows.height)
    assert trained.student.predict(rows[order]).equals(found[order])
    alone = pl.concat([trained.student.predict(rows[place : place + 1]) for place in range(10)])
    assert alone["prediction"].equals(found["prediction"][:10])
    assert alone["probability"].to_list() == pytest.approx(found["probability"][:10].to_list(), abs=1e-5)


def test_probabilities_and_losses_agree(trained):
    rows = toy_rows(20, 6)
    found = trained.student.predict(rows)
    assert found["probability"].is_between(0.5, 1.0).all()
    assert found["loss"].to_list() == pytest.approx((-found["label_probability"].log()).to_list())
    right = found.filter(found["prediction"] == rows["label"])
    assert right["probability"].to_list() == pytest.approx(right["label_probability"].to_list())
    good = trained.student.predict(rows.with_columns(label=pl.lit("good")))
    assert good["correct"].to_list() == [said == "good" for said in found["prediction"]]
    assert 0 < good["correct"].sum() < 20
    unlabelled = trained.student.predict(rows.drop("label"))
    assert unlabelled.equals(found.select("prediction", "probability"))


def test_no_rows_give_no_predictions(trained):
    found = trained.student.predict(toy_rows(0, 0))
    kinds = {"prediction": pl.String, "correct": pl.Boolean}
    assert found.schema == dict.fromkeys(found.columns, pl.Float64) | kinds
    assert found.height == 0


def test_a_label_the_student_does_not_know_is_refused(trained):
    with pytest.raises(ValueError, match="ugly"):
        trained.student.predict(toy_rows(2, 0).with_columns(label=pl.lit("ugly")))


def test_pairs_are_told_apart_from_single_texts(spec):
    twelve = spec.model_copy(update={"epochs": 12})
    done = train_student(toy_rows(120, 0, pair=True), toy_rows(40, 1, pair=True), LABELS, twelve, seed=0)
    rows = toy_rows(40, 2, pair=True)
    assert (done.student.predict(rows)["prediction"] == rows["label"]).mean() > 0.9
    [row] = encode(done.student.tokenizer, rows[:1], 32)
    assert set(row["token_type_ids"]) == {0, 1}
    assert done.student.tokenizer.decode(row["input_ids"]) == f"[CLS] {rows['text'][0]} [SEP] {rows['text2'][0]} [SEP]"


def test_empty_and_missing_texts(trained):
    schema = {"text": pl.String, "text2": pl.String}
    single = pl.DataFrame({"text": ["", None, "film"], "text2": [None] * 3}, schema=schema)
    found = trained.student.predict(single)
    assert found["probability"].is_finite().all()
    assert found[0].equals(found[1])
    mixed = pl.DataFrame({"text": ["film", "film"], "text2": ["plot", None]}, schema=schema)
    ids = [row["input_ids"] for row in encode(trained.student.tokenizer, mixed, 32)]
    assert [len(one) for one in ids] == [5, 4]


def test_long_texts_are_cut_the_longer_of_a_pair_first(trained):
    tokenizer = trained.student.tokenizer
    schema = {"text": pl.String, "text2": pl.String}
    rows = pl.DataFrame({"text": ["film plot"], "text2": ["was " * 500]}, schema=schema)
    [row] = encode(tokenizer, rows, 16)
    assert len(row["input_ids"]) == 16
    assert tokenizer.decode(row["input_ids"]).startswith("[CLS] film plot [SEP] was")
    assert trained.student.predict(rows).height == 1


def test_length_asked_for_is_cut_to_what_the_checkpoint_has(tiny):
    student = fresh_student(str(tiny), LABELS, 4096)
    assert student.max_length == POSITIONS
    assert student.predict(pl.DataFrame({"text": ["film " * 999], "text2": [""]})).height == 1


# Batches


def test_each_distinct_text_is_tokenised_once(trained):
    asked = []

    def tokenizer(texts, second, **options):
        asked.extend(texts)
        return trained.student.tokenizer(texts, second, **options)

    rows = toy_rows(10, 0)
    assert len(encode(tokenizer, pl.concat([rows, rows, rows]), 32)) == 30
    assert sorted(asked) == sorted(rows["text"].unique())


def test_training_batches_hold_each_row_once_and_follow_the_seed():
    lengths = [random.Random(row).randint(3, 60) for row in range(1000)]
    batches = training_batches(lengths, 16, random.Random(0))
    assert sorted(row for batch in batches for row in batch) == list(range(1000))
    assert batches == training_batches(lengths, 16, random.Random(0))
    assert batches != training_batches(lengths, 16, random.Random(1))
    spread = [max(lengths[row] for row in batch) - min(lengths[row] for row in batch) for batch in batches]
    assert sum(spread) / len(spread) < 10
    # As many as promised to the schedule of the learning rate, whatever the pool.
    assert len(batches) == -(-1000 // 16)


def test_prediction_batches_hold_each_row_once_longest_first():
    rows = [{"input_ids": list(range(length))} for length in (3, 9, 5, 9, 1)]
    batches = list(prediction_batches(rows, 2))
    assert batches == [[1, 3], [2, 0], [4]]


# On disk


def test_saved_student_loads_and_predicts_the_same(trained, tmp_path):
    folder = tmp_path / "models" / "m_1"
    trained.student.save(folder)
    again = Student.load(folder)
    rows = toy_rows(30, 7)
    assert again.predict(rows).equals(trained.student.predict(rows))
    assert (again.labels, again.max_length) == (LABELS, 32)
    assert not list(folder.glob("*.bin"))
    assert [place.name for place in folder.parent.iterdir()] == ["m_1"]
    with pytest.raises(FileExistsError, match="m_1"):
        trained.student.save(folder)


def test_a_failed_save_leaves_nothing(trained, tmp_path):
    class Full:
        def save_pretrained(self, folder):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        dataclasses.replace(trained.student, tokenizer=Full()).save(tmp_path / "m_1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("float32")
def test_saved_student_is_a_transformers_pipeline(trained, tmp_path):
    from transformers import pipeline

    trained.student.save(tmp_path / "m_1")
    rows = toy_rows(3, 8)
    said = pipeline("text-classification", str(tmp_path / "m_1"), device="cpu")(rows["text"].to_list())
    # Loaded anew: the one trained may compute in bfloat16.
    ours = Student.load(tmp_path / "m_1").predict(rows)
    assert [one["label"] for one in said] == ours["prediction"].to_list()
    assert [one["score"] for one in said] == pytest.approx(ours["probability"].to_list(), abs=1e-4)


def test_a_saved_student_is_a_checkpoint_for_other_labels(trained, spec, tmp_path):
    trained.student.save(tmp_path / "m_1")
    three = (*LABELS, "mixed")
    other = spec.model_copy(update={"weights": str(tmp_path / "m_1"), "epochs": 1})
    done = train_student(toy_rows(20, 0), toy_rows(4, 1), three, other, seed=0)
    assert done.student.labels == three
    assert done.student.model.config.id2label == dict(enumerate(three))


def test_a_pickled_checkpoint_is_refused(tiny, tmp_path):
    import torch

    folder = shutil.copytree(tiny, tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        fresh_student(str(folder), LABELS, 32)
