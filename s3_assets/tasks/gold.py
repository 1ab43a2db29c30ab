"""Reading gold files into the ``gold`` table's rows.

Belongs here: rows of files to canonical columns, with errors that say which rows are wrong. Does not
belong here: file formats (``files.py``), finding answers (``answers.py``), the rule that assigns splits (``split.py``).
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from s3_assets.store.identity import gold_id
from s3_assets.store.tables import table
from s3_assets.tasks.answers import find_answer, given_answers
from s3_assets.tasks.files import NamedFile, read_rows
from s3_assets.tasks.gold_spec import SPLITS
from s3_assets.tasks.load import Task, TaskError
from s3_assets.tasks.spec import ANSWER
from s3_assets.tasks.split import FEWEST_ROWS_FOR_TEST, assign_split, normalise

log = logging.getLogger(__name__)

# Problems listed in one message; the count of all is always given.
MOST_PROBLEMS_SHOWN = 20

# Longest piece of an answer shown in a message.
_SHOWN = 60


def gold_files(task: Task) -> dict[str, NamedFile]:
    """Files by the key they are given under: ``file``, ``dev``, ``steer``, ``select`` or ``test``. Asks nobody."""
    gold = task.spec.gold
    named = {"file": gold.file} if gold.file is not None else dict(gold.files)
    columns = tuple(_columns(task).values())
    return {
        str(key): NamedFile(task, str(key), value, f"gold.{key} of task {task.name}", columns)
        for key, value in named.items()
    }


def gold_digest(task: Task) -> str:
    """Hash of what every gold file holds, without parsing it and without asking the hub.

    A file on the hub counts by its name and revision; a local copy by its bytes too.
    """
    content = hashlib.blake2b(digest_size=16)
    for key, file in sorted(gold_files(task).items()):
        content.update(key.encode() + b"\0" + file.content())
    return content.hexdigest()


def read_gold(task: Task) -> pl.DataFrame:
    """All gold rows of a task, columns as the ``gold`` table, in file order.

    A row repeated with the same label within one split is kept once. Raises ``TaskError`` listing rows with an
    unknown label or sublabel, an empty text, an answer that is not in its context, the same text in two splits or
    under two labels, and files that cannot be read. Published data sets have such repetitions: where all files are
    named on the hub, rows in two splits stay in the last of steer, select, test, and contradictions are left out.
    """
    _refuse_label_names(task)
    files = gold_files(task)
    rows = _assign(task, pl.concat([_read_file(task, key, file) for key, file in files.items()]))
    if all(file.on_hub for file in files.values()):
        rows = _leave_out_conflicts(rows, task)
    _refuse_conflicts(rows, task)
    kept = rows.unique("gold_id", keep="first", maintain_order=True)
    if kept.height < rows.height:
        log.info("gold of %s: %d repeated rows left out", task.name, rows.height - kept.height)
    for split in ("steer", "select"):
        if kept.filter(pl.col("split") == split).is_empty():
            raise TaskError(f"task {task.name}: no gold row falls into the {split} split; give more rows")
    return kept.select(list(table("gold").schema))


def _columns(task: Task) -> dict[str, str]:
    """Columns a gold file must have, by the field they hold."""
    fields = task.spec.fields.model_dump(exclude_none=True)
    unused = {"label"} if task.spec.kind == "qa" else {"answer", "answer_start"}
    return {field: column for field, column in fields.items() if field not in unused}


def _read_file(task: Task, key: str, file: NamedFile) -> pl.DataFrame:
    place = file.find()
    raw = read_rows(place, file.named_by)
    columns = _columns(task)
    missing = [column for column in columns.values() if column not in raw.columns]
    if missing:
        raise TaskError(
            f"{place}: no column {', '.join(map(repr, missing))}; the file has {', '.join(raw.columns)}; "
            "set fields in task.yaml"
        )
    raw = raw.head(task.spec.gold.limit.get(key, raw.height))  # type: ignore[call-overload]
    texts = {field: column for field, column in columns.items() if field not in {"answer", "answer_start"}}
    for field, column in texts.items():
        if raw.schema[column].is_nested():
            raise TaskError(
                f"{place}: column {column!r} (fields.{field}) holds {raw.schema[column]}, not one text a row; "
                "set fields in task.yaml"
            )
    absent = [field for field in ("text2", "label", "sublabel") if field not in texts]
    rows = raw.select(
        *(pl.col(column).cast(pl.String).str.strip_chars().alias(field) for field, column in texts.items()),
        *(pl.lit(None, pl.String).alias(field) for field in absent),
        pl.lit(file.source()).alias("source"),
        pl.int_range(1, raw.height + 1, dtype=pl.Int64).alias("source_row"),
        pl.lit(key).alias("given_as"),
    )
    rows = rows.hstack(_answers(task, raw, rows["text"]))
    if task.spec.kind == "qa":
        rows = rows.with_columns(pl.lit(ANSWER).alias("label"))
    else:
        rows = rows.with_columns(pl.col("label").replace(task.spec.gold.label_names))
    _refuse_bad_rows(rows, raw, place, task)
    finer = [label for label, declared in task.spec.labels.items() if declared.sublabels]
    return rows.select(
        *("text", "text2", "label"),
        # What a label without declared sublabels has in that column means nothing to the task.
        pl.when(pl.col("label").is_in(finer)).then(pl.col("sublabel")).alias("sublabel"),
        *("answer", "answer_start", "answers", "source", "source_row", "given_as"),
    )


def _answers(task: Task, raw: pl.DataFrame, contexts: pl.Series) -> pl.DataFrame:
    """Answer, its place and all answers of each row; null where the kind has none or none is in the context."""
    found: list[Any] = [None] * raw.height
    if task.spec.kind == "qa":
        # Contexts are stripped; places count the characters before the first, too.
        context = raw[task.spec.fields.text].cast(pl.String)
        cut = context.str.len_chars() - context.str.strip_chars_start().str.len_chars()
        found = [
            find_answer(text or "", given, before or 0)
            for text, given, before in zip(contexts, _given(task, raw), cut, strict=True)
        ]
    return pl.DataFrame(
        {
            "answer": [one and one.text for one in found],
            "answer_start": [one and one.start for one in found],
            "answers": [one and list(one.all) for one in found],
        },
        schema={"answer": pl.String, "answer_start": pl.Int64, "answers": pl.List(pl.String)},
    )


def _given(task: Task, raw: pl.DataFrame) -> Iterator[list[tuple[str, int | None]]]:
    """Answers of each row as the file gives them."""
    fields = task.spec.fields
    starts = raw[fields.answer_start].to_list() if fields.answer_start is not None else [None] * raw.height
    values = raw[fields.answer or ""].to_list()
    return (given_answers(value, start) for value, start in zip(values, starts, strict=True))


def _refuse_bad_rows(rows: pl.DataFrame, raw: pl.DataFrame, place: Path, task: Task) -> None:
    labels, problems = task.spec.labels, []
    if task.spec.kind == "qa":
        given = list(_given(task, raw))
    for number, row in enumerate(rows.iter_rows(named=True)):
        at = f"row {row['source_row']}"
        problems += [f"{at}: {field} is empty" for field in task.spec.text_fields if not row[field]]
        if task.spec.kind == "qa":
            if row["answer"] is None:
                shown = " / ".join(text.strip() for text, _ in given[number])
                cut = f"{shown[:_SHOWN]}..." if len(shown) > _SHOWN else shown
                problems.append(f"{at}: " + (f"answer {cut!r} is not in the text" if shown else "answer is empty"))
        elif not row["label"]:
            problems.append(f"{at}: label is empty")
        elif row["label"] not in labels:
            problems.append(f"{at}: unknown label {row['label']!r}")
        elif task.spec.fields.sublabel is not None and (finer := labels[row["label"]].sublabels):
            allowed = f"label {row['label']!r} has {', '.join(finer)}"
            if not row["sublabel"]:
                problems.append(f"{at}: sublabel is empty; {allowed}")
            elif row["sublabel"] not in finer:
                problems.append(f"{at}: unknown sublabel {row['sublabel']!r}; {allowed}")
    if rows.is_empty():
        problems.append("no rows")
    if problems:
        written = task.spec.gold.label_names
        names = f"; written as {', '.join(written)}" if written else ""
        allowed = "" if task.spec.kind == "qa" else f" (labels allowed: {', '.join(labels)}{names})"
        raise TaskError(_listing(f"{place}{allowed}", problems))


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


def _leave_out_conflicts(rows: pl.DataFrame, task: Task) -> pl.DataFrame:
    repeated: dict[tuple[str, str], list[tuple[int, Mapping[str, Any]]]] = {}
    for place, row in enumerate(rows.iter_rows(named=True)):
        repeated.setdefault(_texts(row), []).append((place, row))
    contradicting, earlier = set[int](), set[int]()
    for group in repeated.values():
        if any(_contradicts(row, group[0][1]) for _, row in group):
            contradicting.update(place for place, _ in group)
            continue
        last = max(SPLITS.index(row["split"]) for _, row in group)
        earlier.update(place for place, row in group if SPLITS.index(row["split"]) < last)
    for places, why in ((contradicting, "contradict each other"), (earlier, "are in a later split as well")):
        if places:
            log.warning("gold of %s: %d rows left out that %s", task.name, len(places), why)
    left_out = contradicting | earlier
    return rows.filter(pl.Series([place not in left_out for place in range(rows.height)], dtype=pl.Boolean))


def _refuse_conflicts(rows: pl.DataFrame, task: Task) -> None:
    first: dict[tuple[str, str], dict[str, Any]] = {}
    problems = []
    for row in rows.iter_rows(named=True):
        earlier = first.setdefault(_texts(row), row)
        repeats = (
            f"{row['source']} row {row['source_row']} repeats {earlier['source']} row {earlier['source_row']} under two"
        )
        if _contradicts(row, earlier):
            column, what = ("answer", "answers") if task.spec.kind == "qa" else ("label", "labels")
            problems.append(f"{repeats} {what}: {row[column]!r} and {earlier[column]!r}")
        if earlier["split"] != row["split"]:
            problems.append(f"{repeats} splits: {row['split']!r} and {earlier['split']!r}")
    if problems:
        raise TaskError(_listing(f"task {task.name}: gold contradicts itself", problems))


def _texts(row: Mapping[str, Any]) -> tuple[str, str]:
    return normalise(row["text"]), normalise(row["text2"] or "")


def _contradicts(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two rows with the same texts have different labels, or no answer in common."""
    if row["answers"] is None or other["answers"] is None:
        return bool(row["label"] != other["label"])
    return {normalise(one) for one in row["answers"]}.isdisjoint(normalise(one) for one in other["answers"])


def _refuse_label_names(task: Task) -> None:
    for written, label in task.spec.gold.label_names.items():
        if label not in task.spec.labels:
            raise TaskError(
                f"gold.label_names of task {task.name}: {written!r} stands for {label!r}, which is no label; "
                f"labels: {', '.join(task.spec.labels)}"
            )


def _listing(head: str, problems: list[str]) -> str:
    shown = "\n".join(f"  {problem}" for problem in problems[:MOST_PROBLEMS_SHOWN])
    more = len(problems) - MOST_PROBLEMS_SHOWN
    return f"{head}: {len(problems)} problems\n{shown}" + (f"\n  and {more} more" if more > 0 else "")
