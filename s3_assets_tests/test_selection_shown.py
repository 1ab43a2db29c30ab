"""What a request shows of its source: the prediction, its probability, a contrast."""

from s3_assets.generation.extrapolate import source_plan
from s3_assets.selection.choose import choose
from s3_assets_tests.choices import ROWS, asked, axes, basis, tried
from s3_assets_tests.fakes import facts, write_task


def test_a_prediction_alone_is_shown_without_its_probability(tmp_path):
    task = tried(tmp_path, base="s3_shown", labels={"positive": "Praise.", "negative": "Blame."})
    known = basis(task, 1)
    assert known.rows()["probability"].drop_nulls().to_list() == [0.95]
    choice = choose(task, known, 0)
    request, *_ = source_plan(task, known.rows(), 0, choice)(asked(choice), 0)
    row = known.errors.row(0, named=True)
    other = row["prediction"]
    means = task.spec.labels[row["label"]].means
    # Answers of teachers are kept under these very words.
    assert request.messages[-1]["content"] == (
        f'A small classifier read the example below and said "{other}". That is wrong: its label is "{row["label"]}"\n'
        f"({means}).\n"
        f'Write 4 new texts with the label "{row["label"]}" that are similar to the example in style and in what makes '
        "it hard\nto classify, but are about something else. Do not copy the example.\n\n"
        f'```json\n{{\n "label": "{row["label"]}",\n "labels": [\n  "positive",\n  "negative"\n ],\n "count": 4,\n '
        f'"example": {{\n  "text": "{row["text"]}",\n  "label": "{row["label"]}",\n  "predicted": "{other}"\n }}\n}}\n'
        "```"
    )
    for base in ("default", "frugal"):
        own = write_task(tmp_path, strategy=base, rows=ROWS)
        assert "probability" not in own.spec.how.shows


def test_the_probability_of_the_wrong_answer_is_shown_where_asked_for(tmp_path):
    task = tried(tmp_path, base="s3_shown", shows=["prediction", "probability"])
    known = basis(task, 1)
    choice = choose(task, known, 0)
    plain = tried(tmp_path, base="s3_shown")
    for request, without in zip(
        source_plan(task, known.rows(), 0, choice)(asked(choice), 0),
        source_plan(plain, known.rows(), 0, choice)(asked(choice), 0),
        strict=True,
    ):
        said, before = request.messages[-1]["content"], without.messages[-1]["content"]
        told = "\nThe wrong answer had a probability of 95%."
        assert said == before.replace("\n\n```json", f"{told}\n\n```json")


def test_explored_rows_that_are_right_show_no_prediction(tmp_path):
    task = tried(tmp_path, base="s3_shown", explore=0.5)
    known = basis(task, 4)
    choice = choose(task, known, 0)
    wrong = set(known.errors["gold_id"])
    requests = list(source_plan(task, known.rows(), 0, choice)(asked(choice), 0))
    shown = {request.gold_id: facts({"messages": request.messages})["example"] for request in requests}
    assert {one for one, example in shown.items() if "predicted" in example} == wrong
    assert set(shown) - wrong
    told = {request.gold_id for request in requests if "That is wrong" in request.messages[-1]["content"]}
    assert told == wrong


def test_the_contrast_stands_in_the_request(tmp_path):
    task = tried(tmp_path, shows=["contrast"])
    known = basis(task, vectors=axes(task, 4))
    choice = choose(task, known, 0)
    texts = {row["gold_id"]: row for row in known.steer.iter_rows(named=True)}
    requests = list(source_plan(task, known.rows(), 0, choice)(asked(choice), 0))
    wrong = set(known.errors["gold_id"])
    assert requests
    for request in requests:
        contrast = facts({"messages": request.messages})["contrast"]
        (found,) = [one for one, row in texts.items() if row["text"] == contrast["text"]]
        assert found == choice.shown()[request.gold_id].contrast_id
        assert found not in wrong
        assert contrast == {"text": texts[found]["text"], "label": texts[found]["label"]}
        assert contrast["label"] != texts[request.gold_id]["label"]
        assert 'The row under "contrast" looks alike' in request.messages[-1]["content"]
    plain = choose(tried(tmp_path), known, 0)
    assert {source.contrast_id for source in plain.sources} == {None}
