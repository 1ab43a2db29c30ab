"""Gold files: reading, splitting, and what the messages say of bad rows."""

import json

import polars as pl
import pytest

from s3_assets.tasks.gold import gold_digest, read_gold
from s3_assets.tasks.gold_spec import SplitSpec
from s3_assets.tasks.load import TaskError
from s3_assets.tasks.split import assign_split
from s3_assets_tests.fakes import write_task

HEAD = "review,verdict\n"


def rows(count, start=0):
    return HEAD + "".join(f"film number {n},{('positive', 'negative')[n % 2]}\n" for n in range(start, start + count))


def splits(task):
    return dict(read_gold(task).select("text", "split").iter_rows())


def test_adding_and_relabelling_rows_moves_no_other(tmp_path):
    before = splits(write_task(tmp_path, rows(200)))
    more = rows(300).replace("film number 7,negative", "film number 7,positive")
    after = splits(write_task(tmp_path, more))
    assert {text: after[text] for text in before} == before


def test_shares_are_about_as_declared(tmp_path):
    counts = read_gold(write_task(tmp_path, rows(2000)))["split"].value_counts()
    found = dict(counts.iter_rows())
    assert abs(found["steer"] - 1000) < 90
    assert abs(found["select"] - 500) < 75
    assert abs(found["test"] - 500) < 75


def test_under_sixty_rows_no_test_split_and_others_do_not_move(tmp_path):
    few, many = splits(write_task(tmp_path, rows(59))), splits(write_task(tmp_path, rows(60)))
    assert "test" not in few.values()
    assert "test" in many.values()
    assert all(few[text] == split for text, split in many.items() if split != "test" and text in few)


def test_gold_id_survives_relabelling(tmp_path):
    first = read_gold(write_task(tmp_path, rows(80)))
    second = read_gold(write_task(tmp_path, rows(80).replace("negative", "positive", 1)))
    assert first["gold_id"].to_list() == second["gold_id"].to_list()


def test_split_depends_on_text_not_case_or_space():
    shares = SplitSpec()
    assert assign_split("A  Film", shares, True) == assign_split("a film", shares, True)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_file_kinds_give_the_same_rows(tmp_path, suffix):
    expected = read_gold(write_task(tmp_path / "csv", rows(80))).drop("source")
    frame = pl.read_csv(tmp_path / "csv" / "small" / "gold.csv")
    place = tmp_path / f"gold.{suffix}"
    {"csv": frame.write_csv, "jsonl": frame.write_ndjson, "parquet": frame.write_parquet}[suffix](place)
    assert read_gold(write_task(tmp_path / "other", gold=str(place))).drop("source").equals(expected)


def test_files_per_split_with_limit(tmp_path):
    (tmp_path / "dev.csv").write_text(rows(100))
    (tmp_path / "test.csv").write_text(rows(50, start=500))
    gold = {"files": {"dev": str(tmp_path / "dev.csv"), "test": str(tmp_path / "test.csv")}, "limit": {"dev": 60}}
    frame = read_gold(write_task(tmp_path, gold=gold))
    assert frame.filter(pl.col("split") == "test").height == 50
    assert frame.filter(pl.col("split") != "test").height == 60
    assert set(frame["split"]) == {"steer", "select", "test"}


def test_integer_labels_are_texts(tmp_path):
    place = tmp_path / "gold.jsonl"
    place.write_text("".join(json.dumps({"review": f"film {n}", "verdict": n % 2}) + "\n" for n in range(80)))
    frame = read_gold(write_task(tmp_path, gold=str(place), labels={"0": "zero", "1": "one"}))
    assert set(frame["label"]) == {"0", "1"}


@pytest.mark.parametrize(
    ("gold", "said"),
    [
        (rows(80) + "a film,great\n", ["row 81", "unknown label 'great'", "positive, negative"]),
        (rows(80) + ",positive\n", ["row 81", "text is empty"]),
        (rows(80) + "a film,\n", ["row 81", "label is empty"]),
        (rows(80) + "Film number  3,positive\n", ["row 81", "row 4", "two labels"]),
        ("text,verdict\nx,positive\n", ["no column 'review'", "text, verdict"]),
        (HEAD, ["no rows"]),
    ],
)
def test_bad_rows_are_named(tmp_path, gold, said):
    with pytest.raises(TaskError) as caught:
        read_gold(write_task(tmp_path, gold))
    for part in said:
        assert part in str(caught.value)


def test_same_text_in_two_splits(tmp_path):
    (tmp_path / "dev.csv").write_text(rows(70))
    (tmp_path / "test.csv").write_text(rows(10))
    gold = {"files": {"dev": str(tmp_path / "dev.csv"), "test": str(tmp_path / "test.csv")}}
    with pytest.raises(TaskError, match="two splits"):
        read_gold(write_task(tmp_path, gold=gold))


def test_wrong_encoding_names_the_line(tmp_path):
    task = write_task(tmp_path, rows(80))
    (tmp_path / "small" / "gold.csv").write_bytes(rows(2).encode() + b"caf\xe9,positive\n")
    with pytest.raises(TaskError, match="line 4 is not UTF-8"):
        read_gold(task)


def test_missing_file_and_unknown_kind(tmp_path):
    with pytest.raises(TaskError, match="no such file"):
        read_gold(write_task(tmp_path, gold="absent.csv"))
    (tmp_path / "small" / "gold.xls").write_text("x")
    with pytest.raises(TaskError, match=r"unknown kind of file '\.xls'"):
        read_gold(write_task(tmp_path, gold="gold.xls"))


def test_repeated_row_is_kept_once(tmp_path):
    frame = read_gold(write_task(tmp_path, rows(80) + "film number 3,negative\n"))
    assert frame.height == 80


def test_digest_follows_the_bytes(tmp_path):
    first = gold_digest(write_task(tmp_path, rows(80)))
    assert gold_digest(write_task(tmp_path, rows(80))) == first
    assert gold_digest(write_task(tmp_path, rows(81))) != first


def test_other_kinds_have_no_answers(tmp_path):
    frame = read_gold(write_task(tmp_path, rows(80)))
    for column in ("sublabel", "answer", "answer_start", "answers"):
        assert frame[column].null_count() == frame.height


def test_label_names_are_what_files_write_for_labels(tmp_path):
    place = tmp_path / "gold.parquet"
    pl.DataFrame({"review": [f"film {n}" for n in range(80)], "verdict": [n % 2 for n in range(80)]}).write_parquet(
        place
    )
    gold = {"file": str(place), "label_names": {0: "negative", 1: "positive"}}
    frame = read_gold(write_task(tmp_path, gold=gold)).sort("source_row")
    assert frame["label"].to_list() == ["negative", "positive"] * 40
    named = {"file": "gold.csv", "label_names": {0: "negative"}}
    assert read_gold(write_task(tmp_path / "own", rows(80), gold=named))["label"].n_unique() == 2


def test_what_label_names_does_not_know_is_listed_with_what_it_does(tmp_path):
    gold = {"file": "gold.csv", "label_names": {0: "negative", 1: "positive"}}
    text = rows(80).replace("positive", "1").replace("negative", "0") + "a film,-1\n"
    with pytest.raises(TaskError, match=r"labels allowed: positive, negative; written as 0, 1.*\n.*unknown label '-1'"):
        read_gold(write_task(tmp_path, text, gold=gold))


def test_label_names_must_lead_to_labels(tmp_path):
    task = write_task(tmp_path, rows(80), gold={"file": "gold.csv", "label_names": {0: "negativ"}})
    with pytest.raises(TaskError, match="label_names of task small: '0' stands for 'negativ', which is no label"):
        read_gold(task)


FINER = {
    "positive": "Recommends it.",
    "negative": {"means": "Advises against it.", "sublabels": {"bored": "It was dull.", "angry": "It was a fraud."}},
}


def finer(*extra):
    head = "review,verdict,why\n"
    known = [f"film {n},{('positive,', 'negative,bored')[n % 2]}" for n in range(80)]
    return head + "\n".join([*known, *extra]) + "\n"


def test_sublabels_are_read_where_labels_declare_them(tmp_path):
    fields = {"text": "review", "label": "verdict", "sublabel": "why"}
    task = write_task(tmp_path, finer("a film,positive,angry", "another,negative, angry "), fields=fields, labels=FINER)
    found = read_gold(task).select("text", "label", "sublabel").rows()
    assert ("a film", "positive", None) in found
    assert ("another", "negative", "angry") in found
    assert ("film 1", "negative", "bored") in found


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a film,negative,sad", "row 81: unknown sublabel 'sad'; label 'negative' has bored, angry"),
        ("a film,negative,", "row 81: sublabel is empty; label 'negative' has bored, angry"),
    ],
)
def test_bad_sublabels_are_named(tmp_path, row, said):
    fields = {"text": "review", "label": "verdict", "sublabel": "why"}
    with pytest.raises(TaskError) as caught:
        read_gold(write_task(tmp_path, finer(row), fields=fields, labels=FINER))
    assert said in str(caught.value)


def test_sublabels_may_be_declared_without_a_column(tmp_path):
    frame = read_gold(write_task(tmp_path, rows(80), labels=FINER))
    assert frame["sublabel"].null_count() == 80


def test_a_column_of_lists_is_no_text(tmp_path):
    place = tmp_path / "gold.parquet"
    pl.DataFrame({"review": [["a", "b"]], "verdict": ["positive"]}).write_parquet(place)
    with pytest.raises(TaskError, match=r"column 'review' \(fields.text\) holds List\(String\), not one text a row"):
        read_gold(write_task(tmp_path, gold=str(place)))


def test_many_problems_are_counted_and_twenty_shown(tmp_path):
    with pytest.raises(TaskError) as caught:
        read_gold(write_task(tmp_path, rows(80) + "a film,great\n" * 30))
    assert "30 problems" in str(caught.value)
    assert str(caught.value).count("unknown label") == 20
    assert "and 10 more" in str(caught.value)
