"""Students that answer questions: answers in windows, spans by brute force, training, and the disk."""

import json
import math
import random

import numpy as np
import polars as pl
import pytest
from torchmetrics.functional.text import squad

from s3_assets.student import train as training_module
from s3_assets.student.model import Student, fresh_student
from s3_assets.student.span_head import LOSS_OUT_OF_REACH, NOWHERE, SpanHead
from s3_assets.student.train import TrainedStudent, train_student
from s3_assets.student.weights import weights_digest
from s3_assets.student.windows import token_span, windows
from s3_assets.tasks.spec import QaSpec
from s3_assets.tasks.student_spec import StudentSpec
from s3_assets_tests.tiny_student import (
    FILLER,
    LABELS,
    PLACES,
    QUESTION,
    make_tiny_student,
    question,
    toy_questions,
    toy_rows,
)

QA = QaSpec(stride=8, longest_answer=4)
COLUMNS = ["prediction", "prediction_start", "probability", "label_probability", "loss", "exact_match", "f1", "correct"]


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> StudentSpec:
    folder = make_tiny_student(tmp_path_factory.mktemp("questions") / "tiny", [*FILLER, *PLACES, QUESTION])
    return StudentSpec(weights=str(folder), epochs=6, min_steps=0, learning_rate=5e-3, max_length=24)


@pytest.fixture(scope="module")
def trained(spec) -> TrainedStudent:
    """Trained on contexts of one and more windows of 17 tokens."""
    training = pl.concat([toy_questions(100, 0), toy_questions(20, 1, words=(20, 40))])
    return train_student(training, toy_questions(30, 2), ["answer"], spec, seed=0, qa=QA)


@pytest.fixture(scope="module")
def tokenizer(trained):
    return trained.student.tokenizer


def state(student: Student) -> dict[str, bytes]:
    return {name: values.numpy().tobytes() for name, values in student.model.state_dict().items()}


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


def test_refuses_no_rows_and_answers_too_long_for_any_window(spec):
    with pytest.raises(ValueError, match="no rows"):
        train_student(toy_questions(0, 0), toy_questions(4, 1), ["answer"], spec, 0, QA)
    long = " ".join(["film"] * 30)
    with pytest.raises(ValueError, match="no answer of the training set fits"):
        train_student(question(long, long), toy_questions(4, 1), ["answer"], spec, 0, QA)


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


def test_characters_of_several_tokens_are_not_parted():
    from tokenizers.pre_tokenizers import ByteLevel

    tokenizer = other_tokenizer(ByteLevel(add_prefix_space=False), ByteLevel.alphabet())
    rows = question("ab 😀😀 c", "😀😀").with_columns(text2=pl.lit("😀" * 9))
    # Each is four bytes: of ten tokens' room for the question two fill eight.
    [own] = windows(tokenizer, rows, 24, 3)
    assert [window.first for window in own] == [10]
    assert token_span(own, 3, 5) == (3, 10)
    assert own[0].offsets[3:11].tolist() == [[3, 4]] * 4 + [[4, 5]] * 4


# Predicting


def by_brute_force(own, logits, longest, gold):
    """Best run (first, last), its probability and gold's, and gold's loss, from the definition."""
    scores: dict[tuple[int, int], float] = {}
    losses = []
    for window, (starts, ends) in zip(own, logits, strict=True):
        for first in range(len(window.offsets)):
            for last in range(first, min(first + longest, len(window.offsets))):
                run = first + window.begins, last + window.begins
                score = starts[window.first + first] + ends[window.first + last]
                scores[run] = max(score, scores.get(run, -math.inf))
        if window.holds(gold):
            shift = window.first - window.begins
            losses.append(
                sum(
                    math.log(sum(math.exp(value) for value in each)) - each[place + shift]
                    for each, place in zip((starts, ends), gold, strict=True)
                )
                / 2
            )
    total = sum(math.exp(score) for score in scores.values())
    best = max(scores, key=scores.__getitem__)
    return best, math.exp(scores[best]) / total, math.exp(scores.get(gold, -math.inf)) / total, min(losses)


@pytest.mark.parametrize("longest", [1, 3, 30])
def test_runs_probabilities_and_losses_are_those_of_brute_force(tokenizer, longest):
    import torch

    head = SpanHead(QaSpec(stride=6, longest_answer=longest))
    rows = toy_questions(40, 5, words=(1, 50))
    pieces = windows(tokenizer, rows, 24, 6)
    rng = np.random.default_rng(0)
    # Padded, as a model's outputs are: what stands there counts for nothing.
    outputs = [np.float32(rng.normal(0, 2, (2, 30))) for own in pieces for _ in own]
    for values, window in zip(outputs, (window for own in pieces for window in own), strict=True):
        values[:, len(window.encoded["input_ids"]) :] = 99
    found = head.predict(tokenizer, rows, 24, lambda encoded: [torch.from_numpy(values) for values in outputs])
    left = iter(outputs)
    several = 0
    for row, own, said in zip(rows.to_dicts(), pieces, found.to_dicts(), strict=True):
        logits = [next(left)[:, : len(window.encoded["input_ids"])].astype(float) for window in own]
        gold = token_span(own, row["answer_start"], row["answer_start"] + len(row["answer"]))
        best, probability, gold_probability, loss = by_brute_force(own, logits, longest, gold)
        tokens = tokenizer(row["text"], add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        assert said["prediction"] == row["text"][tokens[best[0]][0] : tokens[best[1]][1]]
        assert said["probability"] == pytest.approx(probability)
        assert said["label_probability"] == pytest.approx(gold_probability)
        assert said["loss"] == pytest.approx(loss)
        several += len(own) > 1
    assert several > 10


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


def other_tokenizer(pre_tokenizer: object, pieces: list[str]):
    """One that parts texts as ``pre_tokenizer`` does; BERT's are not the only offsets there are."""
    from tokenizers import Tokenizer, models, processors
    from transformers import PreTrainedTokenizerFast

    known = {piece: place for place, piece in enumerate(["[PAD]", "[CLS]", "[SEP]", *pieces])}
    backend = Tokenizer(models.BPE(known, [], ignore_merges=True))
    backend.pre_tokenizer = pre_tokenizer
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", cls_token="[CLS]")


def test_tokens_that_begin_with_a_space():
    import torch
    from tokenizers.pre_tokenizers import Metaspace

    tokenizer = other_tokenizer(Metaspace(), [f"\u2581{word}" for word in (*FILLER, "new", "york")])
    values = torch.zeros(2, 10)
    for answer in ("new york", " new york", "new york "):
        rows = question("the film was new york and", answer).with_columns(text2=pl.lit("plot"))
        [[window]] = windows(tokenizer, rows, 64, 8)
        assert window.offsets[3:5].tolist() == [[12, 16], [16, 21]]
        _, [[first, last]] = SpanHead(QA).examples(tokenizer, rows, 64)
        assert (first - window.first, last - window.first) == (3, 4)
        values[0, first] = values[1, last] = 9
        found = SpanHead(QA).predict(tokenizer, rows, 64, lambda encoded: [values])
        assert found["prediction"][0] == "new york"
        assert found["probability"][0] == found["label_probability"][0] > 0.9


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
    reference = squad(said, gold)
    assert 100 * found["exact_match"].mean() == pytest.approx(reference["exact_match"].item(), abs=1e-3)
    assert 100 * found["f1"].mean() == pytest.approx(reference["f1"].item(), abs=1e-3)
    assert 0 < found["exact_match"].mean() < found["f1"].mean() < 1


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
