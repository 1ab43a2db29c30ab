"""One round's training over toy rows, and what its students were given, seen by listening at ``train_student``.

Belongs here: gold and seed set of that round, tasks whose students it trains, training it. Does not belong here: tests.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from s3_assets.loop.training import TrainedRound, train_round
from s3_assets.loop.uses import gold_in_use
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.store.tables import table
from s3_assets.student import train as student_training
from s3_assets.tasks.load import Task
from s3_assets_tests.fakes import write_task
from s3_assets_tests.tiny_student import LABELS, toy_rows

GOLD_ROWS, SEED_ROWS, WRITTEN = 24, 20, 16


def filled(name: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of a table; columns that are not given are null."""
    schema = table(name).schema
    return rows.select(
        pl.col(column).cast(dtype) if column in rows.columns else pl.lit(None, dtype).alias(column)
        for column, dtype in schema.items()
    )


def gold_rows() -> pl.DataFrame:
    rows = toy_rows(GOLD_ROWS, 1).with_row_index("n")
    splits = pl.Series("split", (["steer"] * 4 + ["select"] * 2 + ["test"] * 2) * 3)
    return filled("gold", rows.with_columns(splits, gold_id=pl.format("g{}", "n")))


def seed_rows(gold: pl.DataFrame) -> pl.DataFrame:
    """Rows of the seed, then rows written from steering and selecting gold in turn, each with its label."""
    usable = gold.filter(pl.col("split") != "test").select("gold_id", "label")
    order = [number % usable.height for number in range(WRITTEN)]
    written = toy_rows(200, 3).with_columns(n=pl.int_range(pl.len()).over("label"))
    causes = usable[order].with_columns(n=pl.int_range(pl.len()).over("label"))
    rows = causes.join(written, on=["label", "n"], maintain_order="left").select("text", "text2", "label", "gold_id")
    seed = toy_rows(SEED_ROWS, 2).with_columns(gold_id=pl.lit(None, pl.String))
    return filled("seed_set", pl.concat([seed, rows.select(seed.columns)]))


def task_with(folder: Path, checkpoint: Path, student: dict[str, Any] | None = None, **options: Any) -> Task:
    trained = {"weights": str(checkpoint), "epochs": 1, "min_steps": 0, "learning_rate": 1e-3, **(student or {})}
    own = {"base": "s3", "steers": "dev", **options}
    labels = {label: f"It is {label}." for label in LABELS}
    csv = "review,verdict\n" + "".join(f"text {n},{LABELS[n % 2]}\n" for n in range(30))
    return write_task(folder, csv, student=trained, labels=labels, strategies={"own": own}, strategy="own")


@dataclass
class Done:
    """One round of a task, and the frames its students were trained on."""

    task: Task
    warehouse: Warehouse
    round: TrainedRound
    given: list[pl.DataFrame]

    @property
    def row(self) -> dict[str, Any]:
        return self.round.row.row(0, named=True)

    @property
    def test(self) -> pl.DataFrame:
        return self.round.predictions.filter(split="test")


def trainer(
    place: Path, checkpoint: Path, gold: pl.DataFrame, seed_set: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Done]:
    """Trains one round with options, in a warehouse of its own."""
    train, heard = student_training.train_student, []

    def listen(training: pl.DataFrame, *more: Any) -> Any:
        heard.append(training)
        return train(training, *more)

    monkeypatch.setattr(student_training, "train_student", listen)

    def make(
        name: str,
        *,
        learned: tuple[str, ...] = (),
        student: dict[str, Any] | None = None,
        seed_set: pl.DataFrame = seed_set,
        **options: Any,
    ) -> Done:
        task = task_with(place / name, checkpoint, student, **options)
        warehouse, key = Warehouse(place / name / "warehouse"), RoundKey("small", "own", 0, 1)
        used = gold_in_use(task, gold)
        before = len(heard)
        done = train_round(task, warehouse, key, seed_set, used, learned=learned)
        return Done(task, warehouse, done, heard[before:])

    return make
