"""Training students that answer questions: seeds, epochs by their F1, measures of selecting gold, rows refused."""

import polars as pl
import pytest

from s3_assets.student import train as training_module
from s3_assets.student.model import Student
from s3_assets.student.train import train_student
from s3_assets.student.weights import weights_digest
from s3_assets.tasks.student_spec import StudentSpec
from s3_assets_tests.span_toys import QA, span_spec
from s3_assets_tests.tiny_student import question, toy_questions


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> StudentSpec:
    return span_spec(tmp_path_factory.mktemp("questions") / "tiny")


def state(student: Student) -> dict[str, bytes]:
    return {name: values.numpy().tobytes() for name, values in student.model.state_dict().items()}


def test_measures_of_selecting_gold_are_means_of_its_predictions(spec):
    one = spec.model_copy(update={"epochs": 1})
    select = toy_questions(60, 2)
    done = train_student(toy_questions(60, 0), select, ["answer"], one, 0, QA)
    found = done.student.predict(select)
    [kept] = done.history
    assert found["exact_match"].mean() < found["f1"].mean() < 1
    assert kept["select_accuracy"] == pytest.approx(found["exact_match"].mean())
    assert kept["select_f1"] == pytest.approx(found["f1"].mean())
    assert kept["select_loss"] == pytest.approx(found["loss"].mean())


def test_same_seed_same_weights_other_seed_others(spec, tmp_path):
    import torch

    short = spec.model_copy(update={"epochs": 1})
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        done = train_student(toy_questions(40, 0), toy_questions(10, 1), ["answer"], short, seed, QA)
        done.student.save(tmp_path / name)
        torch.rand(1)  # the caller's own draws change nothing
    digests = [weights_digest(tmp_path / name) for name in "abc"]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([(0.9, 0.5, 0.5), (0.2, 0.8, 0.9), (0.8, 0.7, 0.1)], 2),  # F1 counts, not exact match and loss
        ([(0.9, 0.8, 0.5), (0.2, 0.8, 0.3), (0.8, 0.8, 0.4)], 3),  # of equals the later
    ],
)
def test_epochs_are_compared_by_their_f1(spec, monkeypatch, scores, best):
    kept = []

    def score(student, select):
        kept.append(state(student))
        exact, f1, loss = scores[len(kept) - 1]
        return {"select_loss": loss, "select_accuracy": exact, "select_f1": f1}, [f1] * 4

    monkeypatch.setattr(training_module, "_score", score)
    three = spec.model_copy(update={"epochs": 3})
    done = train_student(toy_questions(20, 0), toy_questions(4, 1), ["answer"], three, 0, QA)
    assert done.best_epoch == best
    assert state(done.student) == kept[best - 1]


def test_without_selecting_rows_the_last_epoch_is_kept(spec):
    two = spec.model_copy(update={"epochs": 2})
    done = train_student(toy_questions(20, 0), toy_questions(0, 1), ["answer"], two, 0, QA)
    assert done.best_epoch == 2
    assert {(entry["select_loss"], entry["select_accuracy"], entry["select_f1"]) for entry in done.history} == {
        (None, None, None)
    }


def test_progress_names_f1_and_nothing_else_is_said(spec, caplog, capfd):
    one = spec.model_copy(update={"epochs": 1})
    long = toy_questions(20, 0, words=(200, 300)).with_columns(text2=pl.lit("where " * 50))
    with caplog.at_level("INFO", logger="s3_assets"):
        train_student(long, toy_questions(4, 1), ["answer"], one, 0, QA)
    assert [record.getMessage().split(" right")[1][:5] for record in caplog.records] == [", F1 "]
    assert capfd.readouterr() == ("", "")


def test_refuses_no_rows_and_answers_too_long_for_any_window(spec):
    with pytest.raises(ValueError, match="no rows"):
        train_student(toy_questions(0, 0), toy_questions(4, 1), ["answer"], spec, 0, QA)
    long = " ".join(["film"] * 30)
    with pytest.raises(ValueError, match="no answer of the training set fits"):
        train_student(question(long, long), toy_questions(4, 1), ["answer"], spec, 0, QA)


def test_means_of_predictions_are_as_in_torchmetrics(spec):
    one = spec.model_copy(update={"epochs": 1})
    student = train_student(toy_questions(60, 0), toy_questions(0, 1), ["answer"], one, 0, QA).student
    others = pl.Series("answers", [None, ["film", "the plot was"], []] * 30, pl.List(pl.String))
    rows = toy_questions(90, 8).with_columns(others)
    found = student.predict(rows)
    said = [{"prediction_text": answer, "id": str(place)} for place, answer in enumerate(found["prediction"])]
    gold = [
        {"answers": {"text": row["answers"] or [row["answer"]], "answer_start": [0]}, "id": str(place)}
        for place, row in enumerate(rows.to_dicts())
    ]
    from torchmetrics.functional.text import squad  # 2 s, in every process that collects

    reference = squad(said, gold)
    assert 100 * found["exact_match"].mean() == pytest.approx(reference["exact_match"].item(), abs=1e-3)
    assert 100 * found["f1"].mean() == pytest.approx(reference["f1"].item(), abs=1e-3)
    assert 0 < found["exact_match"].mean() < found["f1"].mean() < 1
