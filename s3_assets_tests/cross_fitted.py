"""What tests of cross-fitted rounds share: tasks with cheap students, one round, listening at ``train_student``.

Belongs here: helpers of the modules that test cross-fitting and folds. Does not belong here: tests.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import polars as pl
import pytest

from s3_assets.loop.steps import make_error_set, make_seed_set, make_trained_model
from s3_assets.store.parts import Warehouse
from s3_assets.student import train as student_training
from s3_assets.tasks.load import Task
from s3_assets_tests.fakes import write_task

FOLDS = 2


@dataclass
class Heard:
    """Frames that students were trained and chosen on, in order."""

    training: list[pl.DataFrame] = field(default_factory=list)
    select: list[pl.DataFrame] = field(default_factory=list)


@contextlib.contextmanager
def listen() -> Iterator[Heard]:
    """What students are trained and chosen on until the end of the block."""
    heard, train = Heard(), student_training.train_student

    def hear(training: pl.DataFrame, select: pl.DataFrame, *more: Any, **named: Any) -> Any:
        heard.training.append(training)
        heard.select.append(select)
        return train(training, select, *more, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(student_training, "train_student", hear)
        yield heard


def declared(folder: Any, checkpoint: Any, arms: Mapping[str, Any] = MappingProxyType({}), **options: Any) -> Task:
    student = {"weights": str(checkpoint), "epochs": 1, "min_steps": 0}
    own = {"base": "s3", "steps": 2, **options}
    strategies = {"own": own, **{arm: {**own, **changes} for arm, changes in arms.items()}}
    return write_task(folder, student=student, strategy="own", strategies=strategies)


def round_of(task: Task, warehouse: Warehouse, round_: int) -> None:
    make_seed_set(task, warehouse, round_)
    make_trained_model(task, warehouse, round_)
    make_error_set(task, warehouse, round_)
