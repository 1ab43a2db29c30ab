"""The product's code location as ``overhead.py`` runs it: unchanged, with stopwatches on what is not overhead.

Belongs here: noting when a student is trained or asked, when a call to the teacher is under way, what the ledger took
meanwhile. Does not belong here: running or reporting (``overhead.py``).
"""

import functools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from s3_assets.definitions import defs
from s3_assets.student import train
from s3_assets.student.model import Student
from s3_assets.teacher.client import ChatClient
from s3_assets.teacher.journal import Journal

__all__ = ["defs"]


def _note(kind: str, began: float) -> None:
    """One line per interval; every process has a file of its own."""
    file = Path(os.environ["OVERHEAD_NOTES"]) / f"{os.getpid()}.jsonl"
    with file.open("a") as notes:
        notes.write(json.dumps([kind, began, time.time()]) + "\n")


def _timed(kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        began = time.time()
        try:
            return function(*arguments, **named)
        finally:
            _note(kind, began)

    return call


def _timed_async(kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def call(*arguments: Any, **named: Any) -> Any:
        began = time.time()
        try:
            return await function(*arguments, **named)
        finally:
            _note(kind, began)

    return call


# Training with its imports of torch and transformers and loading of the checkpoint; afterwards the predictions.
train.train_student = _timed("training", train.train_student)
Student.predict = _timed("training", Student.predict)  # type: ignore[method-assign]
ChatClient.ask = _timed_async("teacher", ChatClient.ask)  # type: ignore[method-assign]
Journal._write = _timed("ledger", Journal._write)  # type: ignore[method-assign]
