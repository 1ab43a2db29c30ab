"""Reading gold files into the ``gold`` table's rows.

Belongs here: rows of files to canonical columns, with errors that say which rows are wrong. Does not
belong here: file formats (``files.py``), the rule that assigns splits (``split.py``).
"""

import hashlib
import logging
from pathlib import Path

import polars as pl

from s3_assets.store.identity import gold_id
from s3_assets.store.tables import table
from s3_assets.tasks.files import read_rows, require_file
from s3_assets.tasks.load import Task, TaskError
from s3_assets.tasks.split import FEWEST_ROWS_FOR_TEST, assign_split, normalise

log = logging.getLogger(__name__)

# Problems listed in one message; the count of all is always given.
MOST_PROBLEMS_SHOWN = 20


def gold_files(task: Task) -> dict[str, Path]:
    """Files by the key they are given under: ``file``, ``dev``, ``steer``, ``select`` or ``test``."""
    gold = task.spec.gold
    named = {"file": gold.file} if gold.file is not None else dict(gold.files)
    return {str(key): task.path(value) for key, value in named.items()}


def gold_digest(task: Task) -> str:
    """Hash of the bytes of every gold file: changes when gold changes, without parsing it."""
    content = hashlib.blake2b(digest_size=16)
    for key, file in sorted(gold_files(task).items()):
        require_file(file, _named_by(task, key))
        content.update(key.encode() + b"\0" + file.read_bytes())
    return content.hexdigest()


def read_gold(task: Task) -> pl.DataFrame:
    """All gold rows of a task, columns as the ``gold`` table, in file order.

    A row repeated with the same label within one split is kept once. Raises ``TaskError`` listing rows with an
    unknown label, an empty text, the same text in two splits or under two labels, and files that cannot be read.
    """
    frames = [_read_file(task, key, file) for key, file in gold_files(task).items()]
    rows = _assign(task, pl.concat(frames))
    _refuse_conflicts(rows, task)
    kept = rows.unique("gold_id", keep="first", maintain_order=True)
    if kept.height < rows.height:
        log.info("gold of %s: %d repeated rows left out", task.name, rows.height - kept.height)
    for split in ("steer", "select"):
        if kept.filter(pl.col("split") == split).is_empty():
            raise TaskError(f"task {task.name}: no gold row falls into the {split} split; give more rows")
    return kept.select(list(table("gold").schema))


def _read_file(task: Task, key: str, file: Path) -> pl.DataFrame:
    raw = read_rows(file, _named_by(task, key))
    columns = task.spec.fields.model_dump(exclude_none=True)
    missing = [column for column in columns.values() if column not in raw.columns]
    if missing:
        raise TaskError(
            f"{file}: no column {', '.join(map(repr, missing))}; the file has {', '.join(raw.columns)}; "
            "set fields in task.yaml"
        )
    rows = raw.head(task.spec.gold.limit.get(key, raw.height))  # type: ignore[call-overload]
    rows = rows.select(
        *(pl.col(column).cast(pl.String).str.strip_chars().alias(field) for field, column in columns.items()),
        pl.lit(task.spec.gold.file or task.spec.gold.files[key]).alias("source"),  # type: ignore[index]
        pl.int_range(1, rows.height + 1, dtype=pl.Int64).alias("source_row"),
        pl.lit(key).alias("given_as"),
    )
    if "text2" not in rows.columns:
        rows = rows.with_columns(pl.lit(None, pl.String).alias("text2"))
    _refuse_bad_rows(rows, file, task)
    return rows.select("text", "text2", "label", "source", "source_row", "given_as")


def _refuse_bad_rows(rows: pl.DataFrame, file: Path, task: Task) -> None:
    problems = []
    for row in rows.iter_rows(named=True):
        at = f"row {row['source_row']}"
        problems += [f"{at}: {field} is empty" for field in task.spec.text_fields if not row[field]]
        if row["label"] is None or row["label"] == "":
            problems.append(f"{at}: label is empty")
        elif row["label"] not in task.spec.labels:
            problems.append(f"{at}: unknown label {row['label']!r}")
    if rows.is_empty():
        problems.append("no rows")
    if problems:
        raise TaskError(_listing(f"{file} (labels allowed: {', '.join(task.spec.labels)})", problems))


def _assign(task: Task, rows: pl.DataFrame) -> pl.DataFrame:
    shares = task.spec.gold.split
    with_test = rows.height >= FEWEST_ROWS_FOR_TEST and shares.test > 0
    if task.spec.gold.file is not None and not with_test:
        log.warning("task %s: %d gold rows, no test split (it needs %d)", task.name, rows.height, FEWEST_ROWS_FOR_TEST)

    def split(text: str, given_as: str) -> str:
        if given_as == "file":
            return assign_split(text, shares, with_test)
        return assign_split(text, shares, with_test=False) if given_as == "dev" else given_as

    return rows.with_columns(
        pl.Series("split", [split(text, given) for text, given in rows.select("text", "given_as").iter_rows()]),
        pl.Series("gold_id", [gold_id(*texts) for texts in rows.select("text", "text2").iter_rows()]),
        pl.lit(task.name).alias("task"),
    )


def _refuse_conflicts(rows: pl.DataFrame, task: Task) -> None:
    first: dict[tuple[str, str], dict[str, str]] = {}
    problems = []
    for row in rows.iter_rows(named=True):
        key = (normalise(row["text"]), normalise(row["text2"] or ""))
        earlier = first.setdefault(key, row)
        for column, what in (("label", "labels"), ("split", "splits")):
            if earlier[column] != row[column]:
                problems.append(
                    f"{row['source']} row {row['source_row']} repeats {earlier['source']} row {earlier['source_row']} "
                    f"under two {what}: {row[column]!r} and {earlier[column]!r}"
                )
    if problems:
        raise TaskError(_listing(f"task {task.name}: gold contradicts itself", problems))


def _named_by(task: Task, key: str) -> str:
    return f"gold.{key} of task {task.name}"


def _listing(head: str, problems: list[str]) -> str:
    shown = "\n".join(f"  {problem}" for problem in problems[:MOST_PROBLEMS_SHOWN])
    more = len(problems) - MOST_PROBLEMS_SHOWN
    return f"{head}: {len(problems)} problems\n{shown}" + (f"\n  and {more} more" if more > 0 else "")
