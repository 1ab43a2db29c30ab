"""Loops of small tasks to export students of, of every kind, and the code that a card shows.

Belongs here: making the rounds, running a card's code. Does not belong here: tests.
"""

import re
from pathlib import Path
from typing import Any

import polars as pl

from s3_assets.loop.steps import (
    make_drift,
    make_error_set,
    make_extrapolated_set,
    make_gold,
    make_seed_set,
    make_trained_model,
)
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.load import Task
from s3_assets_tests.fakes import LOOSE, obliging, scripted_teacher, write_task

SECRET = "sk-secret-of-the-test"

PAIRS = "premise,hypothesis,verdict\n" + "".join(
    f"The {place} boats lie in harbour {place // 4}.,Boat {place} is at home.,{('entailment', 'neutral')[place % 2]}\n"
    for place in range(80)
)
COLOURS = ("red", "green", "blue", "white")
PLACES = ("the harbour", "the market", "the station", "the mill", "the old bridge", "the library")
QUESTIONS = pl.DataFrame(
    {
        "context": [
            f"Boat number {place} is painted {COLOURS[place % 4]} and lies near {PLACES[place // 4 % 6]}."
            for place in range(84)
        ],
        "question": [f"Which colour is boat {place}?" for place in range(84)],
        "reply": [COLOURS[place % 4] for place in range(84)],
    }
)


def single_loop(folder: Path, weights: Path | str, rounds: int = 1, **keys: Any) -> tuple[Task, Warehouse]:
    """The demo's gold and grammar; ``keys`` are of the task's YAML, those of ``student`` beside the weights."""
    student = {"weights": str(weights), "epochs": 1, "min_steps": 0, **keys.pop("student", {})}
    return _rounds(write_task(folder, student=student, **keys), Warehouse(folder / "warehouse"), rounds)


def pair_loop(folder: Path, weights: Path, **keys: Any) -> tuple[Task, Warehouse]:
    """Pairs whose first texts are kept from gold, of a teacher whose address holds a key."""
    return _asked_of_a_teacher(
        folder,
        PAIRS,
        kind="pair",
        fields={"text": "premise", "text2": "hypothesis", "label": "verdict"},
        labels={"entailment": "The second | follows\nfrom the first.", "neutral": "It may or may not hold."},
        student={"weights": str(weights), "epochs": 1, "min_steps": 0, **keys.pop("student", {})},
        **keys,
    )


def qa_loop(folder: Path, weights: Path, **keys: Any) -> tuple[Task, Warehouse]:
    """Questions about boats."""
    return _asked_of_a_teacher(
        folder,
        QUESTIONS.write_csv(),
        kind="qa",
        fields={"text": "context", "text2": "question", "answer": "reply"},
        labels=None,
        gates=LOOSE,
        student={"weights": str(weights), "epochs": 1, "min_steps": 0, "max_length": 24, **keys.pop("student", {})},
        qa={"stride": 4, "longest_answer": 3},
        **keys,
    )


def shown_code(card: str) -> str:
    """The Python that a card shows first."""
    found = re.search(r"^```python\n(.*?)^```$", card, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def _asked_of_a_teacher(folder: Path, csv: str, **keys: Any) -> tuple[Task, Warehouse]:
    with scripted_teacher(obliging) as teacher:
        url = teacher.url.replace("/v1", f"/{SECRET}/v1")
        task = write_task(folder, csv, teacher={"base_url": url, "model": "writer-1"}, **keys)
        return _rounds(task, Warehouse(folder / "warehouse"), 1)


def _rounds(task: Task, warehouse: Warehouse, count: int) -> tuple[Task, Warehouse]:
    make_gold(task, warehouse)
    for round_ in range(count):
        for make in (make_seed_set, make_trained_model, make_error_set, make_drift, make_extrapolated_set):
            make(task, warehouse, round_)
    return task, warehouse


def everything(folder: Path) -> str:
    """All text files of an export."""
    return "\n".join(file.read_text() for file in folder.rglob("*") if file.suffix in {".md", ".json", ".jsonl"})
