"""Students that answer together: the mean of their probabilities, the folder they share, what they refuse."""

import numpy as np
import pytest

from s3_assets.student.ensemble import EnsembleStudent
from s3_assets.student.load import load_student
from s3_assets.student.model import fresh_student
from s3_assets.student.weights import weights_digest
from s3_assets.tasks.spec import QaSpec
from s3_assets_tests.frozen_toys import train
from s3_assets_tests.tiny_student import LABELS, toy_rows


@pytest.fixture(scope="module")
def tuned(tiny_student):
    return fresh_student(str(tiny_student), LABELS, 32)


def test_answers_with_the_mean_probability(tuned):
    members = [train(toy_rows(60, 0)).student, tuned, train(toy_rows(8, 1)).student]
    rows = toy_rows(20, 2)
    together = EnsembleStudent(members)
    mean = sum(member.probabilities(rows) for member in members) / 3
    assert together.probabilities(rows) == pytest.approx(mean)
    found = together.predict(rows)
    assert found.columns == ["prediction", "probability", "label_probability", "loss", "margin", "correct"]
    assert found["prediction"].to_list() == [LABELS[place] for place in mean.argmax(axis=1)]
    assert found["probability"].to_numpy() == pytest.approx(mean.max(axis=1))
    own = mean[np.arange(20), [LABELS.index(label) for label in rows["label"]]]
    assert found["label_probability"].to_numpy() == pytest.approx(own)
    assert found["loss"].to_numpy() == pytest.approx(-np.log(own))
    assert together.labels == LABELS
    assert together.predict(rows[:0]).schema == found.schema


def test_a_student_alone_says_the_same(tuned):
    rows = toy_rows(10, 2)
    alone, found = tuned.predict(rows), EnsembleStudent([tuned]).predict(rows)
    assert found["prediction"].equals(alone["prediction"])
    assert found["loss"].to_list() == pytest.approx(alone["loss"].to_list())


def test_what_all_rule_out_has_a_loss(tuned):
    class Sure:
        labels = LABELS

        def probabilities(self, rows):
            return np.array([[1.0, 0.0]] * rows.height)

    found = EnsembleStudent([Sure(), Sure()]).predict(toy_rows(2, 0))
    assert found["loss"].is_finite().all()
    assert found["loss"][1] > 100


def test_saved_members_load_together(tuned, tmp_path):
    first, third = train(toy_rows(40, 0)).student, train(toy_rows(8, 1)).student
    EnsembleStudent([tuned, first, third]).save(tmp_path / "models" / "m_1")
    tuned.save(tmp_path / "alone")
    folder = tmp_path / "models" / "m_1"
    assert weights_digest(folder) == weights_digest(tmp_path / "alone")
    assert sorted(place.name for place in folder.iterdir() if place.is_dir()) == ["member_1", "member_2"]
    assert [place.name for place in folder.parent.iterdir()] == ["m_1"]
    again = load_student(folder)
    assert isinstance(again, EnsembleStudent)
    rows = toy_rows(10, 2)
    assert (again.members[0].probabilities(rows) == tuned.probabilities(rows)).all()
    assert (again.members[2].head.coefficients == third.head.coefficients).all()
    with pytest.raises(FileExistsError, match="m_1"):
        EnsembleStudent([tuned]).save(folder)


def test_what_cannot_answer_together_is_refused(tuned, tiny_student):
    with pytest.raises(ValueError, match="needs a student"):
        EnsembleStudent([])
    with pytest.raises(ValueError, match="have the same labels"):
        EnsembleStudent([tuned, train(toy_rows(10, 0), labels=(*LABELS, "mixed")).student])
    questions = fresh_student(str(tiny_student), ["answer"], 32, QaSpec())
    with pytest.raises(ValueError, match="form no ensemble"):
        EnsembleStudent([questions, questions])
    with pytest.raises(ValueError, match="no probabilities of labels"):
        questions.probabilities(toy_rows(2, 0))
