"""The file a person decides in: CSV for a spreadsheet, and what comes back from one.

Belongs here: its columns, encodings and separators, cells as a spreadsheet keeps them. Does not belong here: which rows
it lists (``evidence.py``), whether decisions can be taken over (``review_intake.py``).
"""

import csv
import io
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from s3_assets.loop.evidence import LISTED
from s3_assets.tasks.files import require_file
from s3_assets.tasks.load import TaskError
from s3_assets.tasks.split import normalise

# What the person fills in, after the columns of LISTED.
FILLED = ("decision", "new_label", "reason")

# Columns that must come back; the others only help to decide.
_NEEDED = ("kind", "row_id", "label", "text", *FILLED)
_SEPARATORS = (",", ";", "\t")

# A spreadsheet would compute a cell that begins so, also behind space or in wide characters; a quote before it keeps it
# a text. A text that has such a quote itself gets another, so that taking one off gives back what was written.
_COMPUTED = r"'*(?:\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n])"
_GUARDED = re.compile(f"'{_COMPUTED}")

# Spreadsheets hold at most 32,767 characters in a cell, as UTF-16 counts them. Of longer texts the beginning is shown.
MOST_SHOWN = 15_000

# Key of what stands behind the last column of a line.
SURPLUS = ""


def write_review_file(rows: pl.DataFrame, file: Path, *, overwrite: bool = False) -> None:
    """Write suspicious rows (columns ``LISTED``) with empty columns to decide in. ``TaskError`` where it cannot be.

    A file that is there may hold edits: it is replaced only with ``overwrite``.
    """
    shown = (pl.col(name).map_elements(_cell, pl.String) for name, dtype in LISTED.items() if dtype == pl.String)
    empty = (pl.lit(None, pl.String).alias(name) for name in FILLED)
    written = rows.select(*LISTED).with_columns(*shown, *empty)
    # With a byte order mark, or spreadsheets take it for the encoding of their country.
    content = io.BytesIO()
    written.write_csv(content, include_bom=True)
    if not overwrite:
        refuse_existing(file)
    try:
        file.write_bytes(content.getvalue())
    except OSError as error:
        raise TaskError(f"{file} cannot be written: {error.strerror or error}") from error


def refuse_existing(file: Path) -> None:
    """``TaskError`` when the file is there: it may hold decisions."""
    if file.exists():
        raise TaskError(
            f"{file} is there already and may hold decisions; take them over with --apply {file}, "
            "write elsewhere with --to, or replace it with --force"
        )


def read_review_file(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Records of the file with the line each begins at, without the quotes that keep cells from being computed.

    ``TaskError`` where it is no such file as a whole.
    """
    require_file(file, "--apply")
    content = file.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise TaskError(f"{file}: line {line} is not UTF-8; save it from the spreadsheet as CSV UTF-8") from error
    if not text.strip():
        raise TaskError(f"{file}: is empty; `s3-assets review` writes such files")
    heads = {mark: _head(text, mark) for mark in _SEPARATORS}
    mark = max(_SEPARATORS, key=lambda mark: len(set(heads[mark]) & set(_NEEDED)))
    head = [name.strip() for name in heads[mark]]
    missing = [name for name in _NEEDED if name not in head]
    if missing:
        raise TaskError(f"{file}: no column {', '.join(missing)}; the first line must name {', '.join(_NEEDED)}")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    begins = 1
    try:
        for number, cells in enumerate(reader):
            line, begins = begins, reader.line_num + 1
            if number == 0 or not any(cell.strip() for cell in cells):
                continue
            plain = [cell[1:] if _GUARDED.match(cell) else cell for cell in cells[: len(head)]]
            record = dict(itertools.zip_longest(head, plain, fillvalue=""))
            yield line, {**record, SURPLUS: "".join(cells[len(head) :])}
    except csv.Error as error:
        raise TaskError(f"{file}: line {reader.line_num} cannot be read as CSV: {error}") from error


def says(cell: str, text: str) -> bool:
    """Whether a cell still says ``text``, or as much of it as is shown; case, space and quotes before it aside."""
    return _bare(cell) in (_bare(text), _bare(_shown(text)))


def _bare(text: str) -> str:
    # Some spreadsheets take a quote before a text for their own mark and drop it.
    return normalise(text).lstrip("'")


def _cell(text: str) -> str:
    """A text as it is written: no longer than a cell may be, and nothing to compute."""
    shown = _shown(text)
    return f"'{shown}" if re.match(_COMPUTED, shown) else shown


def _shown(text: str) -> str:
    over = len(text) - MOST_SHOWN
    return f"{text[:MOST_SHOWN]} [... {over:,} more characters]" if over > 0 else text


def _head(text: str, mark: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=mark), [])
    except csv.Error:  # as a quote that is never closed
        return []
