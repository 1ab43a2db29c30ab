"""The frozen student: what its head is fitted on, how its strength is chosen, and that it survives the disk."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

from s3_assets.student import embeddings, frozen, logistic
from s3_assets.student.embeddings import checkpoint_digest
from s3_assets.student.features import text_features
from s3_assets.student.frozen import FrozenStudent, load_frozen
from s3_assets.student.load import load_student
from s3_assets.student.logistic import INVERSE_STRENGTHS, fits, fitted, held_out_losses
from s3_assets.student.model import Student, fresh_student
from s3_assets.student.train import train_student
from s3_assets.student.weights import MINILM_SHA256, WeightsError, resolve_weights, weights_digest
from s3_assets.tasks.spec import QaSpec
from s3_assets_tests.frozen_toys import SPEC, by_words, train
from s3_assets_tests.tiny_student import LABELS, make_tiny_student, toy_questions, toy_rows


def with_wrong(count: int, wrong: int) -> pl.DataFrame:
    turned = pl.col("label").replace({"good": "bad", "bad": "good"})
    place = pl.int_range(pl.len())
    return toy_rows(count, 0).with_columns(label=pl.when(place < wrong).then(turned).otherwise("label"), place=place)


def test_is_scikit_learn_s_regression_on_the_same_features():
    from sklearn.linear_model import LogisticRegression

    rows, test = toy_rows(80, 0), toy_rows(40, 2)
    weights = np.random.default_rng(0).uniform(0.2, 2, rows.height)
    done = train(rows.with_columns(weight=pl.Series(weights)), toy_rows(20, 1))
    strength = INVERSE_STRENGTHS[done.best_epoch - 1]
    model = LogisticRegression(C=strength, max_iter=1000)
    model.fit(by_words(rows["text"]), [LABELS.index(label) for label in rows["label"]], sample_weight=weights)
    assert done.student.probabilities(test) == pytest.approx(model.predict_proba(by_words(test["text"])), abs=1e-6)


def test_answers_and_history_have_the_columns_of_a_fine_tuned_student():
    rows = toy_rows(40, 2)
    done = train(toy_rows(80, 0), toy_rows(20, 1))
    found = done.student.predict(rows)
    assert found.columns == ["prediction", "probability", "label_probability", "loss", "margin", "correct"]
    assert found["correct"].all()
    assert found["loss"].to_list() == pytest.approx((-found["label_probability"].log()).to_list())
    assert done.student.predict(rows.drop("label")).equals(found.select("prediction", "probability"))
    assert done.student.predict(rows[:0]).schema == found.schema
    chosen = done.student.probabilities(rows).max(axis=1)
    assert chosen == pytest.approx(found["probability"].to_numpy())
    assert [entry["epoch"] for entry in done.history] == [1, 2, 3, 4]
    assert {*done.history[0]} == {"epoch", "training_loss", "select_loss", "select_accuracy"}
    # The weaker the penalty, the nearer to the rows.
    losses = [entry["training_loss"] for entry in done.history]
    assert losses == sorted(losses, reverse=True)
    assert (done.epochs, done.device) == (4, "cpu/float32")
    json.dumps(done.history)
    with pytest.raises(ValueError, match="ugly"):
        done.student.predict(rows.with_columns(label=pl.lit("ugly")))


def test_weights_and_soft_labels_move_the_boundary():
    rows = with_wrong(90, 60)
    test = toy_rows(40, 2)

    def scored(training):
        return train(training).student.predict(test)["correct"].to_numpy().mean()

    assert scored(rows) < 0.4
    assert scored(rows.with_columns(weight=pl.when(pl.col("place") < 60).then(0.01).otherwise(2.98))) == 1.0
    soft = [[float(label == name) for name in LABELS] for label in toy_rows(90, 0)["label"]]
    assert scored(rows.with_columns(soft=pl.Series(soft))) == 1.0
    # Half and half teaches nothing.
    unsure = train(rows.with_columns(soft=pl.lit([0.5, 0.5]))).student.probabilities(test)
    assert unsure == pytest.approx(0.5, abs=0.01)


def test_a_soft_label_is_a_row_for_each_of_its_labels():
    features = by_words(toy_rows(6, 0)["text"])
    soft = np.array([[0.2, 0.8], [1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.0, 2.0], [0.3, 0.3]])
    twice = np.concatenate([soft * [1, 0], soft * [0, 1]])
    one, two = fitted(features, soft, 1.0), fitted(np.concatenate([features, features]), twice, 1.0)
    assert one.coefficients == pytest.approx(two.coefficients, abs=1e-4)
    # A share too small to be worth a row goes to the others.
    tiny = np.array([[0.0005, 0.9995], [1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.0, 2.0], [0.3, 0.3]])
    rounded = np.array([[0.0, 1.0], *tiny[1:].tolist()])
    assert (fitted(features, tiny, 1.0).coefficients == fitted(features, rounded, 1.0).coefficients).all()


@pytest.mark.parametrize(
    ("scores", "best"),
    [([(0.7, 0.5), (0.9, 0.4), (0.8, 0.1), (0.9, 0.3)], 4), ([(0.9, 0.4), (0.9, 0.4), (0.8, 0.1), (0.5, 0.1)], 1)],
)
def test_the_strength_best_on_selecting_gold_is_kept(monkeypatch, scores, best):
    left = iter(scores)
    monkeypatch.setattr(
        frozen, "_scores", lambda *said: dict(zip(("select_accuracy", "select_loss"), next(left), strict=True))
    )
    rows = toy_rows(40, 0)
    done = train(rows, toy_rows(4, 1))
    assert done.best_epoch == best
    targets = np.eye(2)[[LABELS.index(label) for label in rows["label"]]]
    same = fitted(by_words(rows["text"]), targets, INVERSE_STRENGTHS[best - 1])
    assert (done.student.head.coefficients == same.coefficients).all()


def test_without_selecting_gold_rows_held_out_choose():
    clean, noisy = (with_wrong(100, wrong) for wrong in (0, 40))
    features = by_words(clean["text"])
    done = {}
    for name, rows in (("clean", clean), ("noisy", noisy)):
        targets = np.eye(2)[[LABELS.index(label) for label in rows["label"]]]
        losses = held_out_losses(features, targets, 0)
        done[name] = train(rows)
        assert done[name].best_epoch == losses.index(min(losses)) + 1
        # The first that is higher than the one before ends the search.
        assert losses[:-1] == sorted(losses[:-1], reverse=True)
        assert {entry["select_loss"] for entry in done[name].history} == {None}
        assert held_out_losses(features, targets, 0) == losses != held_out_losses(features, targets, 1)
    # Wrong labels are no reason to follow the rows closely.
    assert done["noisy"].best_epoch < done["clean"].best_epoch


def test_a_declared_strength_is_the_only_one_tried():
    rows = toy_rows(80, 0)
    done = train_student(rows, toy_rows(20, 1), LABELS, SPEC.model_copy(update={"strength": 0.1}), 0, None, by_words)
    other = train_student(rows, toy_rows(20, 1), LABELS, SPEC.model_copy(update={"strength": 30}), 0, None, by_words)
    assert (done.epochs, done.best_epoch) == (1, 1)
    assert done.history[0]["training_loss"] > other.history[0]["training_loss"]


def test_losses_of_rows_held_out_are_those_of_models_that_never_saw_them():
    # Every row has a word of its own: what is learned of one tells nothing of another.
    features, targets = np.eye(20, dtype=np.float32), np.eye(2)[[0, 1] * 10]
    losses = held_out_losses(features, targets, 0)
    assert losses == pytest.approx([np.log(2)] * len(losses), abs=0.05)
    own = fitted(features, targets, 30.0).log_probabilities(features)
    assert -(targets * own).sum() / 20 < 0.2
    # By weight: what weighs nothing counts for nothing.
    doubled = np.concatenate([targets, np.zeros((20, 2))])
    assert held_out_losses(np.concatenate([features, features]), doubled, 0)[0] == pytest.approx(np.log(2), abs=0.05)


def test_choosing_a_strength_takes_three_paths(monkeypatch):
    rows, seen = toy_rows(60, 0), []
    monkeypatch.setattr(logistic, "fits", lambda features, *more: seen.append(len(features)) or fits(features, *more))
    held_out_losses(by_words(rows["text"]), np.eye(2)[[LABELS.index(label) for label in rows["label"]]], 0)
    assert seen == [40] * 3


def test_rows_of_one_group_are_held_out_together():
    # Each word stands in two rows of one label: who has seen the one knows the other.
    features, targets = np.repeat(np.eye(20, dtype=np.float32), 2, axis=0), np.eye(2)[np.repeat([0, 1] * 10, 2)]
    groups = [f"g_{row // 2}" for row in range(40)]
    apart, together = held_out_losses(features, targets, 0), held_out_losses(features, targets, 0, groups)
    assert together == pytest.approx([np.log(2)] * len(together), abs=0.05)
    assert min(apart) < 0.6
    assert held_out_losses(features, targets, 0, [None] * 40) == apart


def test_too_few_rows_to_hold_any_out():
    rows = toy_rows(2, 0)
    assert held_out_losses(by_words(rows["text"]), np.eye(2), 0) == []
    assert INVERSE_STRENGTHS[train(rows).best_epoch - 1] == 1.0
    assert list(fits(by_words(rows["text"]), np.array([[1.0, 0.0], [1.0, 0.0]]), (1.0,))) == []
    with pytest.raises(ValueError, match=r"only one label .* has any weight"):
        train(rows.with_columns(weight=pl.Series([2.0, 0.0])))


def test_a_label_without_rows_is_improbable_and_its_loss_a_number():
    three = (*LABELS, "mixed")
    done = train(toy_rows(40, 0), labels=three)
    found = done.student.predict(toy_rows(4, 1).with_columns(label=pl.lit("mixed")))
    assert done.student.probabilities(toy_rows(4, 1)).sum(axis=1) == pytest.approx(1)
    assert 5 < found["loss"].min() <= found["loss"].max() < 25


def test_three_labels_learn():
    rows = pl.concat([toy_rows(60, 0), toy_rows(30, 3).with_columns(text=pl.lit("the plot"), label=pl.lit("mixed"))])
    done = train(rows, labels=("mixed", *LABELS))
    assert done.student.predict(rows)["correct"].all()


def test_pairs_are_compared():
    """Whether two texts share their word is in neither of them alone."""
    cues = ("lovely", "dull")
    rows = pl.DataFrame(
        [{"text": cues[n % 2], "text2": cues[n // 2 % 2], "label": LABELS[n % 2 == n // 2 % 2]} for n in range(40)]
    )
    done = train(rows)
    assert done.student.predict(rows)["correct"].all()
    u, v = by_words(rows["text"]), by_words(rows["text2"])
    joined = np.concatenate([u, v, np.abs(u - v), u * v], axis=1)
    assert (text_features(list(rows.select("text", "text2").iter_rows()), by_words) == joined).all()
    # Asked about a text alone it compares with an empty one.
    assert done.student.predict(toy_rows(2, 0)).height == 2


def test_saved_student_loads_and_predicts_the_same(tmp_path):
    rows = toy_rows(30, 7)
    student = train(toy_rows(60, 0)).student
    student.save(tmp_path / "models" / "m_1")
    again = load_frozen(tmp_path / "models" / "m_1", by_words)
    assert again.predict(rows).equals(student.predict(rows))
    assert (again.labels, again.weights, again.max_length, again.pairs) == (LABELS, "nowhere/at_all", 32, False)
    assert {place.name for place in (tmp_path / "models" / "m_1").iterdir()} == {"model.safetensors", "config.json"}
    assert [place.name for place in (tmp_path / "models").iterdir()] == ["m_1"]
    with pytest.raises(FileExistsError, match="m_1"):
        student.save(tmp_path / "models" / "m_1")
    train(toy_rows(60, 0)).student.save(tmp_path / "same")
    train(toy_rows(60, 1)).student.save(tmp_path / "other")
    digests = [weights_digest(tmp_path / name) for name in ("models/m_1", "same", "other")]
    assert digests[0] == digests[1] != digests[2]


def test_a_failed_save_leaves_nothing(tmp_path, monkeypatch):
    def full(self, folder):
        (folder / "half").touch()
        raise OSError("disk full")

    monkeypatch.setattr(FrozenStudent, "write", full)
    with pytest.raises(OSError, match="disk full"):
        train(toy_rows(10, 0)).student.save(tmp_path / "m_1")
    assert list(tmp_path.iterdir()) == []


def test_a_frozen_folder_is_told_from_a_checkpoint(tiny_student, tmp_path):
    train(toy_rows(20, 0)).student.save(tmp_path / "frozen")
    with pytest.raises(ValueError, match="frozen student; load it with"):
        Student.load(tmp_path / "frozen")
    with pytest.raises(WeightsError, match="frozen student's head, which is no checkpoint"):
        resolve_weights(str(tmp_path / "frozen"))
    with pytest.raises(ValueError, match="no frozen student"):
        load_frozen(tiny_student)
    assert isinstance(load_student(tmp_path / "frozen"), FrozenStudent)
    fresh_student(str(tiny_student), LABELS, 32).save(tmp_path / "tuned")
    assert isinstance(load_student(tmp_path / "tuned"), Student)


def test_without_a_cache_the_checkpoint_embeds(tiny_student, tmp_path):
    from s3_assets.student.embeddings import embed

    spec = SPEC.model_copy(update={"weights": str(tiny_student)})
    training, select, test = toy_rows(30, 0), toy_rows(10, 1), toy_rows(8, 2)
    own = train_student(training, select, LABELS, spec, 0)
    given = train_student(training, select, LABELS, spec, 0, vectors=lambda texts: embed(texts, str(tiny_student), 32))
    assert own.history == given.history
    own.student.save(tmp_path / "m_1")
    # Found again by the name of the checkpoint.
    assert load_student(tmp_path / "m_1").predict(test).equals(own.student.predict(test))


def test_the_checkpoint_is_loaded_once_however_often_a_student_is_asked(tiny_student, tmp_path, monkeypatch):
    loaded, load = [], embeddings.load_encoder
    monkeypatch.setattr(embeddings, "load_encoder", lambda weights: loaded.append(weights) or load(weights))
    spec = SPEC.model_copy(update={"weights": str(tiny_student)})
    train_student(toy_rows(10, 0), toy_rows(0, 0), LABELS, spec, 0).student.save(tmp_path / "m_1")
    assert loaded.pop() == str(tiny_student)
    student = load_frozen(tmp_path / "m_1")
    assert not loaded
    for number in range(3):
        student.predict(toy_rows(4, number))
    assert loaded == [str(tiny_student)]


def test_another_checkpoint_of_the_same_name_is_refused(tiny_student, tmp_path):
    weights, saved = tmp_path / "weights", tmp_path / "m_1"
    shutil.copytree(tiny_student, weights)
    spec = SPEC.model_copy(update={"weights": str(weights)})
    train_student(toy_rows(10, 0), toy_rows(0, 0), LABELS, spec, 0, vectors=by_words).student.save(saved)
    written = json.loads((saved / "config.json").read_text())
    assert written["encoder_sha256"] == weights_digest(weights)
    make_tiny_student(weights, toy_rows(40, 3)["text"].to_list())
    assert weights_digest(weights) != written["encoder_sha256"]
    with pytest.raises(WeightsError, match="not those that this frozen student was trained on"):
        load_frozen(saved).predict(toy_rows(2, 1))
    (weights / "model.safetensors").rename(weights / "other.safetensors")
    with pytest.raises(WeightsError, match=r"no one model\.safetensors is there"):
        load_frozen(saved).predict(toy_rows(2, 1))
    # Folders of before it was noted say nothing of it; neither do hub names, whose files may be anywhere.
    (weights / "other.safetensors").rename(weights / "model.safetensors")
    del written["encoder_sha256"]
    (saved / "config.json").write_text(json.dumps(written))
    assert load_frozen(saved, by_words).encoder_digest is None
    assert load_frozen(saved).embed(["a film"]).shape == (1, 32)
    assert checkpoint_digest("nowhere/at_all") is None
    assert checkpoint_digest("minilm") == MINILM_SHA256


def test_the_cache_is_asked_instead_of_the_checkpoint(monkeypatch):
    asked = []
    monkeypatch.setattr(embeddings, "load_encoder", lambda *_: pytest.fail("the checkpoint was asked"))
    done = train_student(
        toy_rows(10, 0), toy_rows(4, 1), LABELS, SPEC, 0, vectors=lambda texts: asked.extend(texts) or by_words(texts)
    )
    done.student.predict(toy_rows(3, 2))
    assert {*toy_rows(10, 0)["text"], *toy_rows(4, 1)["text"], *toy_rows(3, 2)["text"]} == {*asked}


def test_one_line_of_progress(caplog):
    with caplog.at_level("INFO", logger="s3_assets"):
        train(toy_rows(20, 0), toy_rows(4, 1))
    [said] = [record.getMessage() for record in caplog.records if record.name.startswith("s3_assets")]
    assert "of 4 kept" in said
    assert "selecting gold 100.0% right" in said


def test_questions_are_refused():
    with pytest.raises(ValueError, match=r"student\.kind: frozen students classify"):
        train_student(toy_questions(4, 0), toy_questions(2, 1), ["answer"], SPEC, 0, QaSpec(), by_words)


def test_rows_that_cannot_be_trained_on_are_refused():
    with pytest.raises(ValueError, match="no rows"):
        train(toy_rows(0, 0))
    with pytest.raises(ValueError, match="only the label 'bad'"):
        train(toy_rows(8, 0).filter(pl.col("label") == "bad"))
