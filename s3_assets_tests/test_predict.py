"""Asking a saved student: a text, files of every kind, pairs and questions; what is refused, counted and written."""

import io

import polars as pl
import pytest

from s3_assets.store.whole_file import FileError, refuse_place, whole_file
from s3_assets.student import asked
from s3_assets.student.asked import Asking, answers, embedding_once
from s3_assets.student.ensemble import EnsembleStudent
from s3_assets.student.frozen import load_frozen
from s3_assets.student.load import load_student
from s3_assets.student.model import fresh_student
from s3_assets.student.train import train_student
from s3_assets.tasks import own_texts
from s3_assets.tasks.load import TaskError
from s3_assets.tasks.own_texts import read_lines, read_texts, typed_texts
from s3_assets.tasks.spec import QaSpec
from s3_assets_tests.fakes import write_task
from s3_assets_tests.frozen_toys import SPEC, by_words, train
from s3_assets_tests.tiny_student import LABELS, toy_questions, toy_rows

COLUMNS = ["prediction", "probability", "probability_good", "probability_bad"]
DECLARED = {"labels": {"good": "Praise.", "bad": "Blame."}}
PAIR = {"kind": "pair", "fields": {"text": "premise", "text2": "claim", "label": "verdict"}}
QA = {"kind": "qa", "fields": {"text": "context", "text2": "question", "answer": "reply"}, "labels": None}


def gold_csv(**columns):
    return pl.DataFrame(columns).write_csv()


def toy_task(folder, kind="single", **more):
    """A task of toy rows whose columns have names of its own, with nothing made yet."""
    if kind == "qa":
        rows = toy_questions(60, 0).unique("text")
        csv = gold_csv(context=rows["text"], question=rows["text2"], reply=rows["answer"])
        return write_task(folder, csv, **QA, **more)
    rows = toy_rows(60, 0, pair=kind == "pair").unique(["text", "text2"], maintain_order=True)
    own = {"premise": rows["text"], "claim": rows["text2"]} if kind == "pair" else {"review": rows["text"]}
    return write_task(
        folder, gold_csv(**own, verdict=rows["label"]), **DECLARED, **(PAIR if kind == "pair" else {}), **more
    )


def student_of(kind, weights):
    """A student of toy rows that knows nothing, but says the same to the same."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return fresh_student(str(weights), LABELS, 64, QaSpec() if kind == "qa" else None)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A task of single texts and its frozen student, which knows the toy task."""
    return toy_task(tmp_path_factory.mktemp("small")), train(toy_rows(200, 0)).student


def ask(task, student, texts):
    asking = Asking(task, student, texts)
    return pl.concat(asking.answered()), asking


def written(folder, name, rows):
    file = folder / name
    if name.endswith(".csv"):
        rows.write_csv(file)
    elif name.endswith("jsonl"):
        rows.write_ndjson(file)
    else:
        rows.write_parquet(file)
    return file


# -- columns, order, kinds of files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["own.csv", "own.jsonl", "own.parquet"])
@pytest.mark.parametrize("column", ["review", "text"])
def test_columns_are_kept_in_order_and_predictions_added(small, tmp_path, monkeypatch, name, column):
    monkeypatch.setattr(own_texts, "ROWS_AT_ONCE", 7)
    task, student = small
    rows = toy_rows(30, 5)
    file = written(tmp_path, name, pl.DataFrame({"id": [str(n) for n in range(30)], column: rows["text"]}))
    found, asking = ask(task, student, read_texts(task, file))
    assert found.columns == ["id", column, *COLUMNS]
    assert found["id"].to_list() == [str(n) for n in range(30)]
    said = student.predict(rows)
    assert found["prediction"].equals(said["prediction"])
    assert found["probability"].to_list() == pytest.approx(said["probability"].to_list())
    assert found.select(COLUMNS[2:]).to_numpy() == pytest.approx(student.probabilities(rows))
    assert asking.rows == asking.texts.rows == 30
    # Nothing was told.
    assert asking.agreement == asked.Agreement()


def test_the_tasks_own_column_goes_before_one_named_as_the_field(small, tmp_path):
    task, _ = small
    rows = pl.DataFrame({"text": ["other"], "review": ["mine"]})
    texts = read_texts(task, written(tmp_path, "own.csv", rows))
    assert texts.texts(rows).to_dicts() == [{"text": "mine", "text2": None}]


@pytest.mark.parametrize("pieces", [2, 100])
def test_lines_are_texts(small, monkeypatch, pieces):
    monkeypatch.setattr(own_texts, "ROWS_AT_ONCE", pieces)
    task, student = small
    stream = io.BytesIO("\ufefflovely film\r\n\n dull plot\nfun".encode())
    found, asking = ask(task, student, read_lines(task, stream, "standard input"))
    assert found["review"].to_list() == ["lovely film", "", " dull plot", "fun"]
    assert found["prediction"].to_list() == ["good", None, "bad", "good"]
    assert (asking.texts.rows, asking.empty) == (None, [2])


def test_a_file_of_lines_is_read_like_standard_input(small, tmp_path):
    task, student = small
    (tmp_path / "own.txt").write_text("grim film\nbright story\n")
    assert ask(task, student, read_texts(task, tmp_path / "own.txt"))[0]["prediction"].to_list() == ["bad", "good"]


def test_pairs_are_read_and_asked(tmp_path, tiny_student):
    task, student = toy_task(tmp_path / "tasks", "pair"), student_of("pair", tiny_student)
    rows = toy_rows(12, 3, pair=True)
    file = written(tmp_path, "own.csv", rows.rename({"text": "premise", "text2": "claim"}).drop("label"))
    found, _ = ask(task, student, read_texts(task, file))
    assert found.columns == ["premise", "claim", *COLUMNS]
    assert found["probability"].to_list() == pytest.approx(student.predict(rows)["probability"].to_list(), abs=1e-6)
    typed, _ = ask(task, student, typed_texts(task, rows["text"][0], rows["text2"][0]))
    assert typed.row(0)[2:] == pytest.approx(found.row(0)[2:], abs=1e-6)


def test_questions_are_answered_with_the_place_of_the_answer(tmp_path, tiny_student):
    task, student = toy_task(tmp_path / "tasks", "qa"), student_of("qa", tiny_student)
    rows = toy_questions(12, 3)
    own = pl.DataFrame({"context": "  " + rows["text"], "question": rows["text2"]})
    own = own.with_columns(reply=pl.Series([[answer, "nowhere"] for answer in rows["answer"]]))
    found, asking = ask(task, student, read_texts(task, written(tmp_path, "own.parquet", own)))
    said = student.predict(rows)
    assert found.columns == ["context", "question", "reply", "prediction", "probability", "prediction_start"]
    assert found["prediction"].equals(said["prediction"])
    for context, answer, start in found.select("context", "prediction", "prediction_start").iter_rows():
        # As it stands in the person's own text, space before it included.
        assert start >= 2
        assert context[start:].startswith(answer)
    count = asking.agreement
    assert (count.rows, count.right) == (12, said["exact_match"].sum())
    assert count.f1 == pytest.approx(said["f1"].sum())


# -- what the file says ----------------------------------------------------------------------------------------------


def test_labels_of_the_file_are_compared_as_gold_writes_them(tmp_path):
    task = toy_task(tmp_path / "tasks", gold={"file": "gold.csv", "label_names": {"1": "good", "0": "bad"}})
    texts = ["lovely film", "dull film", "fun film", "grim film", "bright film", "slow film", ""]
    rows = pl.DataFrame({"review": texts, "verdict": ["1", " bad ", "0", "no idea", None, "  ", "1"]})
    file = written(tmp_path, "own.jsonl", rows)
    _, asking = ask(task, train(toy_rows(200, 0)).student, read_texts(task, file))
    assert asking.agreement == asked.Agreement(rows=3, right=2, unknown=1, missing=2)
    assert (asking.without_text, asking.empty) == (1, [7])


def test_numbers_are_labels_too(tmp_path):
    task = toy_task(tmp_path / "tasks", gold={"file": "gold.csv", "label_names": {"1": "good", "0": "bad"}})
    file = written(tmp_path, "own.parquet", pl.DataFrame({"text": ["lovely", "dull"], "label": [1, 0]}))
    _, asking = ask(task, train(toy_rows(200, 0)).student, read_texts(task, file))
    assert (asking.agreement.rows, asking.agreement.right) == (2, 2)


# -- students of every kind ------------------------------------------------------------------------------------------


def test_frozen_members_of_an_ensemble_embed_each_text_once(tmp_path):
    asked_for = []

    def counting(texts):
        asked_for.append(list(texts))
        return by_words(texts)

    for number in range(3):
        train(toy_rows(60, number)).student.save(tmp_path / str(number))
    members = [load_frozen(tmp_path / str(number), counting) for number in range(3)]
    together, rows = EnsembleStudent(members), toy_rows(10, 7)
    said = answers(embedding_once(together), rows.drop("label"))
    assert len(asked_for) == 1
    assert said["prediction"].equals(together.predict(rows)["prediction"])
    assert said.select(COLUMNS[2:]).to_numpy() == pytest.approx(together.probabilities(rows))
    assert embedding_once(members[0]) is members[0]


def test_a_saved_ensemble_of_both_kinds_is_asked(tmp_path, tiny_student, small):
    tuned, spec = student_of("single", tiny_student), SPEC.model_copy(update={"weights": str(tiny_student)})
    frozen = train_student(toy_rows(40, 0), toy_rows(0, 0), LABELS, spec, 0).student
    EnsembleStudent([tuned, frozen]).save(tmp_path / "saved")
    file = written(tmp_path, "own.csv", toy_rows(6, 4).select("text"))
    found, _ = ask(small[0], load_student(tmp_path / "saved"), read_texts(small[0], file))
    mean = (tuned.probabilities(toy_rows(6, 4)) + frozen.probabilities(toy_rows(6, 4))) / 2
    assert found.select(COLUMNS[2:]).to_numpy() == pytest.approx(mean, abs=1e-6)


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("own.csv", "comment,verdict\na,good\n", "no column 'review' or 'text'; it has comment, verdict; name the"),
        ("own.csv", "review\n", "own.csv: no rows"),
        ("own.csv", "", "cannot be read as csv"),
        ("own.csv", b"review\n\xff\xfe\n", "cannot be read as csv: invalid utf-8"),
        ("own.csv", "review,id\na,1\nb,2,3\n", "cannot be read as csv"),
        ("own.csv", 'review\n" "\n', "no row has a text"),
        ("own.jsonl", '{"review": ["a"]}\n', r"column 'review' holds List\(String\), not one text a row"),
        ("own.jsonl", '{"review": "a", "label": {"a": 1}}\n', "column 'label' holds Struct"),
        ("own.txt", b"fine\n\xff\n", "own.txt: line 2 is not UTF-8"),
        ("own.txt", "", "no row has a text"),
        ("own.xlsx", "a", r"unknown kind of file '.xlsx'; allowed: .csv, .jsonl, .ndjson, .parquet, .txt"),
        ("own.parquet", "a", "cannot be read as parquet"),
    ],
)
def test_files_that_cannot_be_asked_about(small, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TaskError, match=message):
        ask(*small, read_texts(small[0], tmp_path / name))


def test_two_texts_are_needed_where_the_task_has_two(tmp_path):
    task = toy_task(tmp_path / "tasks", "pair")
    with pytest.raises(TaskError, match="a line holds one text, and task small asks about premise and claim"):
        read_lines(task, io.BytesIO(), "standard input")
    with pytest.raises(TaskError, match="asks about premise and claim; give claim as --text2"):
        typed_texts(task, "a", None)
    file = written(tmp_path, "own.csv", pl.DataFrame({"premise": ["a"]}))
    with pytest.raises(TaskError, match="no column 'claim' or 'text2'; it has premise"):
        read_texts(task, file)


def test_a_text_too_many_and_none(small):
    with pytest.raises(TaskError, match="leave out --text2"):
        typed_texts(small[0], "a", "b")
    with pytest.raises(TaskError, match="give review as TEXT"):
        typed_texts(small[0], " ", None)


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["csv", "jsonl", "parquet"])
def test_a_file_is_there_whole_or_not_at_all(tmp_path, shape):
    file, piece = tmp_path / "out", pl.DataFrame({"a": ["x", "\u00fc, \n"], "b": [[1], None], "c": [0.5, None]})

    def broken_off():
        with whole_file(file, shape) as write:
            write(piece)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert list(tmp_path.iterdir()) == []
    file.write_text("before")
    with whole_file(file, shape) as write:
        write(piece)
        write(piece)
        assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]
    read = {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "parquet": pl.read_parquet}[shape](file)
    wanted = pl.concat([piece, piece])
    assert read.equals(wanted.with_columns(b=pl.Series(["[1]", None] * 2)) if shape == "csv" else wanted)


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(FileError, match="is a folder"):
        refuse_place(tmp_path, overwrite=True)
    with pytest.raises(FileError, match="its folder does not exist"):
        refuse_place(tmp_path / "a" / "b.csv", overwrite=False)
    for shape in ("csv", "parquet"):
        with pytest.raises(FileError, match="cannot be written"), whole_file(tmp_path / "a" / "b.csv", shape):
            pass
