"""The journal: rows are on disk before anybody goes on, files are turned over, nothing is lost or read twice."""

import asyncio
import json
import os

import pytest

from s3_assets.teacher import journal
from s3_assets.teacher.journal import Journal, abandoned, read_rows


def keep_all(book: Journal, numbers) -> None:
    async def each():
        await asyncio.gather(*(book.keep("teacher_calls", {"n": number}) for number in numbers))

    asyncio.run(each())


def numbers(rows) -> list[int]:
    return [row["n"] for _, row in rows]


def test_a_row_is_in_the_file_before_it_is_flushed(tmp_path, monkeypatch):
    """A killed process loses what is not written, not what is not flushed."""
    seen = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append([read_rows(file) for file in tmp_path.glob("*.jsonl")]))
    book = Journal(tmp_path, lambda rows: None)
    keep_all(book, [7])
    assert seen[0] == [[("teacher_calls", {"n": 7})]]
    book.close()
    assert list(tmp_path.iterdir()) == []


def test_files_are_turned_over_and_every_row_is_cut_once(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "ROWS_PER_CUT", 10)
    cut, largest = [], 0

    def to_parts(rows):
        nonlocal largest
        # Rows are still given while they are being cut.
        assert book is None or numbers(book.rows())[: len(rows)] == numbers(rows)
        largest = max(largest, len(list(tmp_path.glob("*.jsonl"))))
        cut.extend(numbers(rows))

    book = None
    book = Journal(tmp_path, to_parts)
    for start in range(0, 100, 5):
        book.append("teacher_uses", {"n": 1000 + start})
        keep_all(book, range(start, start + 5))
    book.close()
    assert sorted(cut) == sorted([*range(100), *range(1000, 1100, 5)])
    assert largest == 2
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_a_living_process_is_not_taken(tmp_path):
    book = Journal(tmp_path, lambda rows: None)
    keep_all(book, [1])
    assert list(abandoned(tmp_path)) == []
    (file,) = tmp_path.glob("*.jsonl")
    assert book.owns(file)
    assert not book.owns(tmp_path / "0-999-abcdef.jsonl")
    book.close()


def test_a_full_disk_is_told_and_what_was_written_is_left_for_the_next(tmp_path, monkeypatch):
    book = Journal(tmp_path, lambda rows: None)
    keep_all(book, [1, 2])
    whole = os.write

    def full(handle, content):
        # Half a line fits.
        whole(handle, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        keep_all(book, [3])
    monkeypatch.undo()
    # Nothing may follow a torn line.
    with pytest.raises(OSError, match="No space left"):
        keep_all(book, [4])
    with pytest.raises(OSError, match="No space left"):
        book.close()
    (left,) = abandoned(tmp_path)
    assert numbers(read_rows(left)) == [1, 2]


def test_parts_that_cannot_be_written_end_the_step_and_leave_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "ROWS_PER_CUT", 2)

    def broken(rows):
        raise OSError(28, "No space left on device")

    book = Journal(tmp_path, broken)
    with pytest.raises(OSError, match="No space left"):
        keep_all(book, range(6))
    with pytest.raises(OSError, match="No space left"):
        book.close()
    # Closed, its files belong to nobody; those still held are taken up when this process has ended.
    assert sorted(number for file in tmp_path.glob("*.jsonl") for number in numbers(read_rows(file))) == list(range(6))


def test_torn_lines_are_left_out(tmp_path):
    file = tmp_path / "0-1-a.jsonl"
    line = json.dumps({"table": "teacher_calls", "row": {"n": 1}})
    file.write_text(f'{line}\n{{"table": "teach\n{line}\n{line[:9]}')
    assert numbers(read_rows(file)) == [1, 1]
    assert read_rows(tmp_path / "absent.jsonl") == []


def test_texts_of_any_kind_come_back_as_they_were(tmp_path):
    nasty = "line\nend\u2028 \x00 \ud800 é 漢 \U0001f600"
    book = Journal(tmp_path, lambda rows: None)
    asyncio.run(book.keep("teacher_calls", {"response": nasty}))
    (file,) = tmp_path.glob("*.jsonl")
    assert read_rows(file) == [("teacher_calls", {"response": nasty})]
    book.close()
