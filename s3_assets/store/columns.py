"""What tables are made of: columns, and those that several tables share.

Belongs here: the values that declare tables. Does not belong here: any table (``loop_tables.py``,
``teacher_tables.py``, ``experiment_tables.py``).
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

# Directory levels of the per-round tables, also their first columns.
ROUND_KEYS = ("task", "arm", "seed", "round")


@dataclass(frozen=True)
class Column:
    """One column: name, Polars type, and the sentence shown by ``COMMENT ON``."""

    name: str
    dtype: Any
    comment: str


@dataclass(frozen=True)
class Table:
    """One table. ``keys`` are its directory levels.

    In a ``log`` table every part counts; in any other the newest part of a directory is the live one.
    """

    name: str
    comment: str
    keys: tuple[str, ...]
    columns: tuple[Column, ...]
    log: bool = False

    @property
    def schema(self) -> pl.Schema:
        """Column names and types, in order."""
        return pl.Schema({column.name: column.dtype for column in self.columns})


TASK = Column("task", pl.String, "Name of the task.")
ARM = Column("arm", pl.String, "Strategy that made the row; the loop's own rows carry the task's strategy.")
SEED = Column("seed", pl.Int64, "Random seed of the arm.")
ROUND = (
    TASK,
    ARM,
    SEED,
    Column("round", pl.Int64, "Round of the loop, 0 is the first."),
)
TEXTS = (
    Column("text", pl.String, "The text, the first text of a pair, or the context of a question."),
    Column("text2", pl.String, "Second text of a pair, or the question; null for single texts."),
)
ASSET = Column("asset", pl.String, "Asset whose step asked or rejected: seed_set or extrapolated_set.")
REQUEST = Column("request_id", pl.String, "Teacher request; joins teacher_calls and teacher_uses. Null for user rows.")
ANSWER_SPAN = (
    Column("answer", pl.String, "Answer to the question, as it stands in the context; null for other kinds."),
    Column("answer_start", pl.Int64, "Place of its first character in the context, from 0; null for other kinds."),
)
EXAMPLE = (
    Column("example_id", pl.String, "Identity of the example, a hash of its texts, label and answer."),
    *TEXTS,
    Column("label", pl.String, "Label the teacher was asked to write for; answer for questions."),
    Column("sublabel", pl.String, "Finer label the teacher was asked to write for; null where none."),
    *ANSWER_SPAN,
)
CAUSE = Column(
    "gold_id",
    pl.String,
    "Gold row the row was extrapolated from, an error unless the arm draws them at random; null in the seed.",
)
TRUST = (
    Column("repairs", pl.String, "What was taken off the text as written: quotes, lead, markdown; null for nothing."),
    Column("confidence", pl.Float64, "Probability that the label is right, 0 to 1; null where nobody was asked."),
)
ITEM = Column("item", pl.Int64, "Position of the row in the teacher's answer, from 0.")
MODEL_ID = Column("model_id", pl.String, "Trained model; joins trained_model.")
GOLD_ID = Column("gold_id", pl.String, "Identity of the gold row, a hash of its texts; joins gold.")
