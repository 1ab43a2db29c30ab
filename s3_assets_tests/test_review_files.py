"""Review files as they are read and written: what spreadsheets make of them, files that are none, long texts."""

import csv

import polars as pl
import pytest

from s3_assets.loop.evidence import LISTED
from s3_assets.loop.review_file import MOST_SHOWN, read_review_file, says, write_review_file
from s3_assets.loop.review_intake import take_reviews
from s3_assets.loop.reviews import read_decisions
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.gold import read_gold
from s3_assets.tasks.load import TaskError
from s3_assets_tests.fakes import write_task
from s3_assets_tests.review_files import HEAD, decide, problems, rows_of, save


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\n\n", "is empty"),
        (b"kind,row_id,label,text,new_label,reason\n", "no column decision"),
        (",".join(HEAD).encode() + b"\ngold,g,positive,caf\xe9,,keep,,\n", "line 2 is not UTF-8"),
        ("kind;row_id".encode("utf-16"), "line 1 is not UTF-8"),
    ],
)
def test_files_that_are_none(small_task, home, tmp_path, content, said):
    (tmp_path / "f.csv").write_bytes(content)
    assert said in problems(small_task, Warehouse(tmp_path / "warehouse"), tmp_path / "f.csv")


def test_a_missing_file_and_cells_too_many(small_task, home, tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")
    assert "no such file" in problems(small_task, warehouse, tmp_path / "absent.csv")
    row = read_gold(small_task).row(0, named=True)
    file = save(tmp_path / "f.csv", decide(row, "exclude"))
    file.write_bytes(file.read_bytes().rstrip() + b",,more\r\n")
    assert "line 2: has more cells than the first line" in problems(small_task, warehouse, file)


@pytest.mark.parametrize(("delimiter", "encoding"), [(";", "utf-8-sig"), ("\t", "utf-8"), (",", "utf-8-sig")])
def test_what_spreadsheets_write_is_read(small_task, home, tmp_path, delimiter, encoding):
    warehouse = Warehouse(tmp_path / "warehouse")
    row = next(row for row in read_gold(small_task).to_dicts() if row["split"] == "steer" and "," in row["text"])
    file = save(
        tmp_path / "f.csv", decide(row, " EXCLUDE", text=f" {row['text']} "), delimiter=delimiter, encoding=encoding
    )
    # Empty lines at the end, as spreadsheets leave them.
    file.write_bytes(file.read_bytes() + (delimiter * 3 + "\r\n").encode())
    taken = take_reviews(small_task, warehouse, file, "Ana")
    assert dict(taken.decisions) == {("gold", "exclude"): 1}


def listed_rows(**columns):
    count = len(next(iter(columns.values())))
    rows = pl.DataFrame({name: pl.Series([None] * count, dtype=dtype) for name, dtype in LISTED.items()})
    return rows.with_columns(**{name: pl.Series(values) for name, values in columns.items()})


TEXT_COLUMNS = ("text", "text2", "label", "suggested_label", "why")


@pytest.mark.parametrize("column", TEXT_COLUMNS)
def test_no_cell_is_computed_by_a_spreadsheet_and_each_comes_back(tmp_path, column):
    texts = ["=1+1", "- dull -", "+44 20", '=HYPERLINK("http://x.example","see")', "@SUM(A1)", "\t=1", " =1", "\r\n=1"]
    texts += ["'=1", "''- x", "' =1", "\uff1d1", "plain", "'quoted'", "'tis", "3 - 2"]
    write_review_file(listed_rows(**{column: texts}), tmp_path / "f.csv")
    with (tmp_path / "f.csv").open(encoding="utf-8-sig", newline="") as file:
        written = [row[column] for row in csv.DictReader(file)]
    assert not any(cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d")) for cell in written)
    assert written[:3] == ["'=1+1", "'- dull -", "'+44 20"]
    assert written[-4:] == texts[-4:]
    assert [cells[column] for _, cells in read_review_file(tmp_path / "f.csv")] == texts
    # Some spreadsheets take the first quote for their own mark and drop it; then another one may be missing.
    assert all(says(cell, text) for cell, text in zip(texts, texts, strict=True))
    assert says("=1", "'=1")
    assert not says("2", "=1+1")


def test_labels_that_look_like_formulas_can_be_decided_about(tmp_path, home):
    warehouse, labels = Warehouse(tmp_path / "warehouse"), {"+1": "praise", "-1": "blame"}
    gold = "review,verdict\n" + "".join(f"film number {n},{('+1', '-1')[n % 2]}\n" for n in range(80))
    task = write_task(tmp_path / "tasks", gold, labels=labels)
    row = rows_of(read_gold(task).filter(pl.col("split") == "steer"), "+1")[0]
    file = save(tmp_path / "f.csv", decide(row, "relabel", "'-1", label="'+1"))
    assert take_reviews(task, warehouse, file, "Ana").decisions == {("gold", "relabel"): 1}
    assert read_decisions(task, warehouse)[0].new_label == "-1"


def test_long_texts_are_shown_in_part_and_come_back(tmp_path):
    texts = ["=" + "x" * 140_000, "y" * (MOST_SHOWN + 1_234), "z" * MOST_SHOWN]
    write_review_file(listed_rows(text=texts), tmp_path / "f.csv")
    cells = [cells["text"] for _, cells in read_review_file(tmp_path / "f.csv")]
    assert cells[1] == f"{'y' * MOST_SHOWN} [... 1,234 more characters]"
    assert cells[2] == texts[2]
    assert max(len(cell.encode("utf-16-le")) // 2 for cell in cells) < 32_767
    assert all(says(cell, text) for cell, text in zip(cells, texts, strict=True))
    assert not says(cells[1], texts[1] + "y")
    assert not says("y" * 10, texts[1])
    assert says(texts[1], texts[1])


def test_a_quote_never_closed_is_said(tmp_path):
    (tmp_path / "f.csv").write_text('"kind,row_id\n' + "x" * 200_000)
    with pytest.raises(TaskError, match="no column kind"):
        list(read_review_file(tmp_path / "f.csv"))


def test_options_that_do_not_go_together(small_task, command, tmp_path):
    code, _, err = command("review", "small", "--apply", "f.csv", "--round", "1")
    assert code == 2
    assert "leave them out with --apply" in err
    code, _, err = command("review", "small", "--by", "Ana")
    assert code == 2
    assert "--apply FILE" in err
