"""Students that answer questions: what they learn, answers in windows, predictions and how they are judged, disk."""

import json
import random

import polars as pl
import pytest

from s3_assets.student.model import Student, fresh_student
from s3_assets.student.span_head import LOSS_OUT_OF_REACH, NOWHERE, SpanHead
from s3_assets.student.train import TrainedStudent, train_student
from s3_assets.student.windows import token_span, windows
from s3_assets.tasks.spec import QaSpec
from s3_assets.tasks.student_spec import StudentSpec
from s3_assets_tests.span_toys import QA, span_spec
from s3_assets_tests.tiny_student import LABELS, QUESTION, question, toy_questions, toy_rows

COLUMNS = ["prediction", "prediction_start", "probability", "label_probability", "loss", "exact_match", "f1", "correct"]


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> StudentSpec:
    return span_spec(tmp_path_factory.mktemp("questions") / "tiny")


@pytest.fixture(scope="module")
def trained(spec) -> TrainedStudent:
    """Trained on contexts of one and more windows of 17 tokens."""
    training = pl.concat([toy_questions(100, 0), toy_questions(20, 1, words=(20, 40))])
    return train_student(training, toy_questions(30, 2), ["answer"], spec, seed=0, qa=QA)


# Training


def test_learns_to_answer(trained):
    rows = toy_questions(60, 3)
    found = trained.student.predict(rows)
    assert found.columns == COLUMNS
    # A guess among runs of up to four tokens is right once in thirty.
    assert found["exact_match"].mean() > 0.9
    assert (found["prediction"] == rows["answer"]).mean() > 0.8
    assert found["label_probability"].mean() > 0.5
    assert trained.student.labels == ("answer",)
    assert list(trained.history[0]) == ["epoch", "training_loss", "select_loss", "select_accuracy", "select_f1"]
    assert trained.history[-1]["training_loss"] < trained.history[0]["training_loss"] / 2
    json.dumps(trained.history)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer_start": 1}, "row 1 of the {}: answer 'oslo' is not at character 1 of the context"),
        ({"answer_start": -8}, "row 1 of the {}: answer 'oslo' is not at character -8"),
        ({"answer_start": None}, "row 1 of the {}: answer 'oslo' is not at character None"),
        ({"text": None}, "row 1 of the {}: answer 'oslo' is not at character 9"),
        ({"answer": "Oslo"}, "row 1 of the {}: answer 'Oslo' is not at"),
        ({"answer": " "}, "row 1 of the {} has no answer"),
        ({"answer": None}, "row 1 of the {} has no answer"),
    ],
)
def test_refuses_an_answer_that_does_not_stand_where_it_should(spec, trained, change, message):
    good = question("plot was oslo and", "oslo")
    bad = pl.concat(
        [good, good.with_columns(pl.lit(value, good.schema[name]).alias(name) for name, value in change.items())]
    )
    with pytest.raises(ValueError, match=message.format("training set")):
        train_student(bad, good, ["answer"], spec, 0, QA)
    with pytest.raises(ValueError, match=message.format("selecting gold")):
        train_student(good, bad, ["answer"], spec, 0, QA)
    with pytest.raises(ValueError, match=message.format("rows")):
        trained.student.predict(bad)


# Windows


def test_answers_are_found_in_the_windows_that_hold_them(trained):
    rows = toy_questions(30, 4, words=(2, 60))
    encoded, targets = trained.student.examples(rows)
    pieces = windows(trained.student.tokenizer, rows, 24, QA.stride)
    assert len(encoded) == len(targets) == sum(len(own) for own in pieces)
    pointed = iter(targets.tolist())
    elsewhere = 0
    for row, own in zip(rows.to_dicts(), pieces, strict=True):
        held = 0
        for window in own:
            first, last = next(pointed)
            if (first, last) == NOWHERE:
                elsewhere += 1
                continue
            start, end = window.offsets[first - window.first][0], window.offsets[last - window.first][1]
            assert row["text"][start:end] == row["answer"]
            assert start == row["answer_start"]
            held += 1
        assert held
    assert elsewhere > 30


def test_rows_whose_answer_is_whole_in_no_window_are_left_out(trained):
    long = " ".join(["film"] * 30)
    rows = pl.concat([question(long, long), question("in oslo", "oslo")])
    encoded, targets = trained.student.examples(rows)
    assert len(encoded) == 1
    [[first, last]] = targets.tolist()
    assert trained.student.tokenizer.decode(encoded[0]["input_ids"][first : last + 1]) == "oslo"
    found = trained.student.predict(rows)
    assert found["label_probability"][0] == 0.0
    assert found["loss"][0] == pytest.approx(LOSS_OUT_OF_REACH) == pytest.approx(27.6, abs=0.1)
    assert found["label_probability"][1] > 0


# Predicting


def test_an_answer_in_a_later_window_is_found(trained):
    rows = toy_questions(200, 6, words=(40, 60)).filter(pl.col("answer_start") > 150)
    pieces = windows(trained.student.tokenizer, rows, 24, QA.stride)
    for row, own in zip(rows.to_dicts(), pieces, strict=True):
        assert row["answer"] not in row["text"][: own[0].offsets[-1][1]]
    found = trained.student.predict(rows)
    assert rows.height > 20
    assert found["exact_match"].mean() > 0.8
    assert found["probability"].is_between(0, 1).all()
    assert (found["label_probability"] <= found["probability"] + 1e-12).all()


def test_prediction_keeps_order_and_does_not_depend_on_it(trained):
    rows = toy_questions(90, 7, words=(2, 40))
    found = trained.student.predict(rows)
    order = random.Random(0).sample(range(rows.height), rows.height)
    assert trained.student.predict(rows[order]).equals(found[order])
    unlabelled = trained.student.predict(rows.select("text", "text2"))
    assert unlabelled.equals(found.select("prediction", "prediction_start", "probability"))


def test_answers_are_characters_of_the_context(trained):
    import torch

    # The tokenizer lowers, strips accents and drops what it cannot see; answers keep all of it.
    answer = "Únter\u200bwélt  😀"
    rows = question(f"the\u200b film Was  ÎN  {answer}, and\tthe plot", answer)
    [[window]] = windows(trained.student.tokenizer, rows, 64, 8)
    span = token_span([window], rows["answer_start"][0], rows["answer_start"][0] + len(answer))
    values = torch.zeros(2, len(window.encoded["input_ids"]))
    values[0, window.first + span[0]] = values[1, window.first + span[1]] = 9
    long = SpanHead(QA.model_copy(update={"longest_answer": 10}))
    found = long.predict(trained.student.tokenizer, rows, 64, lambda encoded: [values])
    assert found["prediction"][0] == answer
    assert found["prediction_start"][0] == rows["answer_start"][0]
    assert found["exact_match"][0] == 1.0
    assert found["probability"].equals(found["label_probability"].alias("probability"))
    # An answer longer than the student may give has a loss, but no probability.
    short = SpanHead(QA).predict(trained.student.tokenizer, rows, 64, lambda encoded: [values])
    assert span[1] - span[0] == 9 > QA.longest_answer
    assert short["label_probability"][0] == 0.0
    assert short["loss"][0] == pytest.approx(found["loss"][0])


def test_whitespace_around_answers_does_not_matter(trained):
    tight = trained.student.predict(question("film was  oslo  and", "oslo"))
    assert trained.student.predict(question("film was  oslo  and", "  oslo ")).equals(tight)


def test_rows_without_context_and_no_rows(trained):
    schema = {"text": pl.String, "text2": pl.String}
    rows = pl.DataFrame({"text": ["", None, " \n", "oslo"], "text2": [QUESTION, QUESTION, None, None]}, schema=schema)
    found = trained.student.predict(rows)
    assert found["prediction"].to_list() == ["", "", "", "oslo"]
    assert found["probability"].to_list() == [0, 0, 0, 1]
    assert found["prediction_start"].to_list() == [None, None, None, 0]
    none = trained.student.predict(toy_questions(0, 0))
    kinds = {"prediction": pl.String, "prediction_start": pl.Int64, "correct": pl.Boolean}
    assert none.schema == dict.fromkeys(COLUMNS, pl.Float64) | kinds
    assert none.height == 0


def test_rows_are_judged_by_all_their_answers(trained):
    rows = question("plot was in oslo and film", "plot")
    assert trained.student.predict(rows)["prediction"][0] == "oslo"

    def judged(answers):
        column = pl.Series("answers", [answers], pl.List(pl.String))
        return trained.student.predict(rows.with_columns(column)).row(0)[5:]

    assert trained.student.predict(rows).row(0)[5:] == judged(None) == judged([]) == (0.0, 0.0, False)
    assert judged(["plot", "The Oslo!"]) == (1.0, 1.0, True)
    assert judged(["oslo film", "oslo film plot"]) == (0.0, pytest.approx(2 / 3), False)


@pytest.mark.parametrize(("least", "correct"), [(None, False), (0.6, True), (2 / 3, True), (0.7, False)])
def test_what_counts_as_an_error(trained, least, correct):
    head = SpanHead(QA.model_copy(update={"error_below_f1": least}))
    student = Student(trained.student.model, trained.student.tokenizer, head, 24, trained.student.device)
    rows = question("plot was in oslo and film", "oslo and")
    assert student.predict(rows).row(0)[5:] == (0.0, pytest.approx(2 / 3), correct)
    assert student.predict(question("plot was in oslo and film", "oslo"))["correct"][0]


def test_losses_of_training_and_prediction_agree_whatever_the_padding(trained):
    import torch

    from s3_assets.student.batches import collate

    rows = pl.concat([question("oslo", "oslo"), toy_questions(6, 9, words=(1, 14))])
    encoded, targets = trained.student.examples(rows)
    assert len({len(row["input_ids"]) for row in encoded}) > 2
    with torch.inference_mode():
        together = trained.student.loss(collate(trained.student.tokenizer, encoded, "cpu"), targets)
    found = trained.student.predict(rows)
    assert len(encoded) == rows.height
    assert together.item() == pytest.approx(found["loss"].mean(), rel=1e-4)


# On disk


def test_saved_student_loads_and_predicts_the_same(trained, tmp_path):
    qa = QaSpec(stride=5, longest_answer=2, error_below_f1=0.5)
    own = trained.student
    student = Student(own.model, own.tokenizer, SpanHead(qa), own.max_length, own.device)
    student.save(tmp_path / "m_1")
    again = Student.load(tmp_path / "m_1")
    assert again.head == SpanHead(qa)
    assert (again.labels, again.max_length) == (("answer",), 24)
    rows = toy_questions(40, 9, words=(2, 60))
    assert again.predict(rows).equals(student.predict(rows))
    assert not again.predict(rows).equals(Student(own.model, own.tokenizer, SpanHead(QA), 24, own.device).predict(rows))


def test_a_trained_student_is_saved_with_its_options(trained, spec, tmp_path):
    done = train_student(
        toy_questions(8, 0), toy_questions(0, 0), ["answer"], spec, 0, QA.model_copy(update={"longest_answer": 7})
    )
    done.student.save(tmp_path / "m_1")
    assert Student.load(tmp_path / "m_1").head == SpanHead(QaSpec(stride=8, longest_answer=7))


def test_saved_student_loads_in_transformers(trained, tmp_path):
    import torch
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    trained.student.save(tmp_path / "m_1")
    model = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "m_1")
    inputs = AutoTokenizer.from_pretrained(tmp_path / "m_1")(QUESTION, "plot was in oslo and", return_tensors="pt")
    with torch.inference_mode():
        output = model(**inputs)
    first, last = output.start_logits.argmax().item(), output.end_logits.argmax().item()
    assert trained.student.tokenizer.decode(inputs["input_ids"][0, first : last + 1]) == "oslo"


def test_a_model_from_elsewhere_has_the_default_options(trained, tmp_path):
    trained.student.save(tmp_path / "m_1")
    file = tmp_path / "m_1" / "config.json"
    config = json.loads(file.read_text())
    del config["question_answering"]
    file.write_text(json.dumps(config))
    assert Student.load(tmp_path / "m_1").head == SpanHead(QaSpec())


def test_students_are_checkpoints_for_the_other_kind(trained, spec, tmp_path):
    trained.student.save(tmp_path / "spans")
    classifier = fresh_student(str(tmp_path / "spans"), (*LABELS, "mixed"), 24)
    assert classifier.predict(toy_rows(4, 0).drop("label"))["prediction"].is_in([*LABELS, "mixed"]).all()
    classifier.save(tmp_path / "labels")
    assert Student.load(tmp_path / "labels").labels == (*LABELS, "mixed")
    back = fresh_student(str(tmp_path / "labels"), ["answer"], 24, QA)
    assert back.predict(toy_questions(4, 0)).columns == COLUMNS
    assert back.model.config.num_labels == 2
