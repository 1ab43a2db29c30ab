"""The rows that a student learned from as a data set of its own: one file, columns named as the task names them.

Belongs here: which rows and columns, the file's formats. Does not belong here: the card beside it (``cards.py``).
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import polars as pl

from s3_assets.store.identity import gold_id
from s3_assets.tasks.load import Task

# Before a column of ours whose name a field of the task has already.
OURS = "s3_"

# Origin of rows that the task brought itself.
USER = "user"

# Whatever their format is.
ROWS_FILES = ("train.parquet", "train.jsonl")


class DatasetFormat(StrEnum):
    """How the rows are written."""

    parquet = "parquet"
    jsonl = "jsonl"


@dataclass(frozen=True)
class SyntheticRows:
    """Rows of a seed set under the names of the task's fields.

    ``columns`` says what each holds. ``sizes`` has a row for each label and round, with the number of rows.
    ``brought`` are rows that the task brought itself, ``left_out`` those that repeat a row of gold, which are not
    among them.
    """

    rows: pl.DataFrame
    columns: dict[str, str]
    sizes: pl.DataFrame
    brought: int
    left_out: int

    @property
    def written(self) -> int:
        """Rows that the teacher wrote."""
        return self.rows.height - self.brought

    def write(self, folder: Path, shape: DatasetFormat) -> str:
        """Write the one file into ``folder``; gives its name."""
        name = f"train.{shape.value}"
        if shape is DatasetFormat.parquet:
            self.rows.write_parquet(folder / name, compression="zstd")
        else:
            self.rows.write_ndjson(folder / name)
        return name


def synthetic_rows(task: Task, seed_set: pl.DataFrame, gold: pl.DataFrame) -> SyntheticRows:
    """The rows of ``seed_set`` that are ``without_gold``, as the data set has them."""
    kept = without_gold(seed_set, gold)
    names = _names(task)
    return SyntheticRows(
        rows=kept.select(pl.col(ours).alias(name) for ours, (name, _) in names.items()),
        columns=dict(names.values()),
        sizes=kept.group_by("label", "first_round").len("rows").sort("first_round", "label"),
        brought=kept.filter(pl.col("origin") == USER).height,
        left_out=seed_set.height - kept.height,
    )


def without_gold(seed_set: pl.DataFrame, gold: pl.DataFrame) -> pl.DataFrame:
    """Rows whose texts are no row of ``gold``, all splits of it: those that may be shown."""
    known = set(gold["gold_id"])
    repeats = [gold_id(*texts) in known for texts in seed_set.select("text", "text2").iter_rows()]
    return seed_set.filter(~pl.Series(repeats, dtype=pl.Boolean))


def _names(task: Task) -> dict[str, tuple[str, str]]:
    """Columns of a seed set that are written, each with its name in the file and what it holds."""
    spec, fields = task.spec, task.spec.fields
    if spec.kind == "qa":
        own = {
            "text": (fields.text, "the context"),
            "text2": (fields.text2 or "text2", "the question"),
            "answer": (fields.answer or "answer", "the answer, as it stands in the context"),
            "answer_start": (fields.answer_start or "answer_start", "place of its first character, from 0"),
        }
    else:
        own = {"text": (fields.text, "the text" if spec.kind == "single" else "the first text")}
        if spec.kind == "pair":
            own["text2"] = (fields.text2 or "text2", "the second text")
        brought = "" if spec.seed_rows is None else "; of rows that the task brought the one they came with"
        own["label"] = (fields.label, f"the label that the teacher was asked to write for{brought}")
        if fields.sublabel is not None:
            own["sublabel"] = (fields.sublabel, "the finer label, where its label has any")
    taken = {name for name, _ in own.values()}
    ours = {
        "example_id": "identity of the row, a hash of its texts and label",
        "origin": "seed, user (brought by the task) or extrapolated",
        "first_round": "round whose training set first held the row",
        "gold_id": "identity of the gold row that it was extrapolated from; null in the seed",
    }
    return own | {name: (f"{OURS}{name}" if name in taken else name, meaning) for name, meaning in ours.items()}
