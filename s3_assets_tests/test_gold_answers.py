"""Answers: where they stand in their context, and the shapes in which gold of questions gives them."""

import json

import polars as pl
import pytest
import yaml

from s3_assets.tasks.answers import find_answer, given_answers, locate
from s3_assets.tasks.gold import read_gold
from s3_assets.tasks.load import TaskError, load_task

CONTEXT = "The cat sat by the category sign. A Cat naps; the\ncat  naps."


@pytest.mark.parametrize(
    ("answer", "near", "found"),
    [
        ("cat", None, "4:7"),  # the first
        ("cat", 60, "50:53"),  # the nearest whole word
        ("cat", 19, "19:22"),  # exactly there, though inside a word
        ("cat", 18, "4:7"),  # whole words before parts of words
        ("cat", -1, "4:7"),
        ("cat", 10_000, "50:53"),
        ("Cat", None, "36:39"),  # the same characters before another case
        ("CAT", None, "4:7"),  # another case where there is no other
        ("the cat naps", None, "46:59"),  # whitespace runs
        (" cat\n", None, "4:7"),
        ("egory", None, "22:27"),  # inside a word where nowhere else
        ("EGORY", None, "22:27"),
        ("sign.", None, "28:33"),
        ("dog", None, None),
        ("cat sat on", None, None),
        ("", None, None),
        ("  ", 3, None),
    ],
)
def test_locate(answer, near, found):
    span = locate(CONTEXT, answer, near)
    assert (span and f"{span[0]}:{span[1]}") == found
    if span is not None:
        assert " ".join(CONTEXT[slice(*span)].lower().split()) == " ".join(answer.lower().split())


def test_locate_takes_patterns_for_characters():
    assert locate("costs 3.50 (net)", "(net)") == (11, 16)
    assert locate("costs 3x50", "3.50") is None
    assert locate("aaa", "aa", 1) == (1, 3)
    assert locate("x aa-aa-aa", "aa-aa", 9) == (5, 10)


@pytest.mark.parametrize(
    ("value", "starts", "given"),
    [
        ("a", None, [("a", None)]),
        ("a", 3, [("a", 3)]),
        ("a", "3", [("a", 3)]),
        ("a", "here", [("a", None)]),
        (["a", None, " ", "b"], None, [("a", None), ("b", None)]),
        (["a", "b"], [1, 2], [("a", 1), ("b", 2)]),
        (["a", "b"], 1, [("a", 1), ("b", None)]),
        ({"text": ["a", "b"], "answer_start": [1, 2]}, None, [("a", 1), ("b", 2)]),
        ({"text": "a", "answer_start": 1}, None, [("a", 1)]),
        ([{"text": "a", "answer_start": 1}, {"text": "b"}], None, [("a", 1), ("b", None)]),
        (None, None, []),
        ({"text": [], "answer_start": []}, None, []),
    ],
)
def test_shapes_of_answers(value, starts, given):
    assert given_answers(value, starts) == given


def test_the_first_answer_that_stands_in_the_context_is_the_answer():
    found = find_answer("The Red  House.", [("a barn", 3), ("red house", None), ("Red  House", 4)])
    assert (found.text, found.start, found.all) == ("Red  House", 4, ("a barn", "Red  House"))
    assert find_answer("The Red House.", [("a barn", 4)]) is None
    assert find_answer("The Red House.", []) is None


def qa_task(folder, name="gold.jsonl", fields=None, **keys):
    declared = {
        "name": "small",
        "kind": "qa",
        "fields": {"text": "context", "text2": "question", "answer": "answers", **(fields or {})},
        "gold": name,
        "teacher": "embedded",
        **keys,
    }
    place = folder / "small"
    place.mkdir(parents=True, exist_ok=True)
    (place / "task.yaml").write_text(yaml.safe_dump(declared))
    return load_task(place)


def lines(*rows):
    """Gold as JSONL: enough harbours for every split, then ``rows``."""
    harbours = [
        {"context": f"Harbour {n} was built in {1700 + n}.", "question": "When?", "answers": str(1700 + n)}
        for n in range(80)
    ]
    return "".join(json.dumps(row) + "\n" for row in [*harbours, *rows])


def read(folder, *rows, fields=None):
    task = qa_task(folder, fields=fields)
    (folder / "small" / "gold.jsonl").write_text(lines(*rows))
    return read_gold(task)


def only(frame, text):
    return frame.filter(pl.col("text") == text).row(0, named=True)


def test_answers_are_placed_in_the_context(tmp_path):
    frame = read(tmp_path, {"context": "  Tar and  Rope.\n", "question": " What? ", "answers": "tar AND rope"})
    row = only(frame, "Tar and  Rope.")
    assert (row["answer"], row["answer_start"], row["answers"]) == ("Tar and  Rope", 0, ["Tar and  Rope"])
    assert (row["label"], row["text2"], row["sublabel"]) == ("answer", "What?", None)
    for row in frame.iter_rows(named=True):
        assert row["text"][row["answer_start"] :].startswith(row["answer"])


def test_no_label_column_is_read(tmp_path):
    frame = read(tmp_path, {"context": "Tar.", "question": "What?", "answers": "Tar", "label": "nonsense"})
    assert set(frame["label"]) == {"answer"}


def test_given_places_count_from_before_the_context_was_stripped(tmp_path):
    # Without the three blanks the second rope is at 9; as given, at 12. A place taken as it is would find the third.
    context = "   rope and rope rope"
    frame = read(
        tmp_path, {"context": context, "question": "Which?", "answers": "rope", "at": 12}, fields={"answer_start": "at"}
    )
    assert only(frame, context.strip())["answer_start"] == 9


@pytest.mark.parametrize("start", [0, 9, 14])
def test_shapes_agree_across_kinds_of_file(tmp_path, start):
    text, context = "rope", "rope and rope rope"
    held = {
        "text": [text] * 90,
        "list": [[text, "tar"]] * 90,
        "squad": [{"text": [text, "tar"], "answer_start": [start, 0]}] * 90,
        "one": [{"text": text, "answer_start": start}] * 90,
    }
    starts = {"text": [start] * 90, "list": [[start, 0]] * 90}
    for shape, answers in held.items():
        columns = {"context": [f"{context} {n}" for n in range(90)], "question": ["Which?"] * 90, "answers": answers}
        fields = {}
        if shape in starts:
            columns["at"] = starts[shape]
            fields["answer_start"] = "at"
        frame = pl.DataFrame(columns)
        for suffix in ("parquet", "jsonl", "csv") if shape == "text" else ("parquet", "jsonl"):
            place = tmp_path / f"{shape}.{suffix}"
            {"csv": frame.write_csv, "jsonl": frame.write_ndjson, "parquet": frame.write_parquet}[suffix](place)
            found = read_gold(qa_task(tmp_path, str(place), fields))
            assert set(found["answer_start"]) == {start}
            assert set(found["answer"]) == {text}
            assert found["answers"][0].to_list() == ([text] if shape in {"text", "one"} else [text, "tar"])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"context": "Tar.", "question": "What?", "answers": "rope"}, "row 81: answer 'rope' is not in the text"),
        ({"context": "Tar.", "question": "What?", "answers": "r" * 99}, f"answer '{'r' * 60}...' is not in the text"),
        ({"context": "Tar.", "question": "What?", "answers": " "}, "row 81: answer is empty"),
        ({"context": "Tar.", "question": "What?", "answers": None}, "row 81: answer is empty"),
        ({"context": "Tar.", "question": "", "answers": "Tar"}, "row 81: text2 is empty"),
        ({"context": None, "question": "What?", "answers": "Tar"}, "row 81: text is empty"),
    ],
)
def test_bad_rows_are_named(tmp_path, row, said):
    with pytest.raises(TaskError) as caught:
        read(tmp_path, row)
    assert said in str(caught.value)
    assert "labels allowed" not in str(caught.value)


def test_missing_columns_are_those_of_questions(tmp_path):
    (tmp_path / "gold.csv").write_text("context,question\nTar.,What?\n")
    with pytest.raises(TaskError, match="no column 'answers'; the file has context, question"):
        read_gold(qa_task(tmp_path, str(tmp_path / "gold.csv")))


def test_repeated_questions_keep_the_first_and_contradict_only_without_a_common_answer(tmp_path):
    asked = {"context": "Tar and rope.", "question": "What?"}
    frame = read(tmp_path, {**asked, "answers": "Tar"}, {**asked, "answers": "tar"})
    assert only(frame, "Tar and rope.")["answers"] == ["Tar"]
    assert frame.height == 81
    with pytest.raises(TaskError, match=r"row 82 repeats gold.jsonl row 81 under two answers: 'rope' and 'Tar'"):
        read(tmp_path, {**asked, "answers": "Tar"}, {**asked, "answers": "rope"})
