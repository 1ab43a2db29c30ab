"""The parts of ``student.py``, each for a process of its own: three ways to train, predicting, starting a step.

Belongs here: what is timed. Does not belong here: turns, ratios, the report (``student.py``).
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import yaml

SELECTING, PAPER_LENGTH = 100, 512
OURS, TRAINER, PAPER = "ours", "Trainer", "the paper's way"
PAPER_THROUGH = f"{PAPER}, trained through"
Found = dict[str, Any]

# A step's process: what Dagster's loads, then the step, until the student is given its first batch.
START = """
import os, sys, time
began = time.perf_counter()
import s3_assets.definitions
from pathlib import Path
from s3_assets.loop.steps import make_trained_model
from s3_assets.store.parts import Warehouse
from s3_assets.student import model
from s3_assets.tasks.load import load_task
step = time.perf_counter()
def first(*_):
    print("STARTED", step - began, time.perf_counter() - step, flush=True)
    os._exit(0)
model.Student.loss = first
make_trained_model(load_task(Path(sys.argv[1])), Warehouse(Path(sys.argv[2])), 0)
"""


class Rows:
    """Rows of one seed: to train on, selecting and test gold; and the options all ways share."""

    def __init__(self, pack: Path, count: int, tested: int, epochs: int, seed: int) -> None:
        self._pack, self.epochs, self.seed = pack, epochs, seed
        self.training = self._read("pool").sample(count, seed=seed, shuffle=True)
        self.select, self.test = self._read("gold_val").head(SELECTING), self._read("gold_test").head(tested)
        self.labels = sorted(self.test["label"].unique())

    def _read(self, name: str) -> pl.DataFrame:
        rows = pl.read_parquet(self._pack / f"{name}.parquet")
        second = pl.col("text2") if "text2" in rows.columns else pl.lit(None, pl.String).alias("text2")
        return rows.select("text", second, "label")

    def predicted(self, count: int) -> pl.DataFrame:
        """``count`` rows of the pool, from its start."""
        return self._read("pool").head(count)


def ours(rows: Rows, _: int) -> Found:
    from s3_assets.student.model import fresh_student
    from s3_assets.student.train import train_student

    spec, loading = _declared(rows), 0.0

    def loaded(*given: Any) -> Any:
        nonlocal loading
        start = time.perf_counter()
        student = fresh_student(*given)
        loading = time.perf_counter() - start
        return student

    with patch("s3_assets.student.train.fresh_student", loaded):
        began = time.perf_counter()
        done = train_student(rows.training, rows.select, rows.labels, spec, rows.seed)
        took = time.perf_counter() - began - loading
    found = done.student.predict(rows.test)
    return _trained(took, found["correct"].to_numpy().mean(), device=done.device, temperature=done.temperature)


def trainer(rows: Rows, _: int) -> Found:
    import torch
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    spec, student, began = _loaded(rows, _declared(rows).max_length)
    encoded, numbers = student.examples(rows.training)
    given = [{**row, "labels": int(number)} for row, number in zip(encoded, numbers, strict=True)]
    with tempfile.TemporaryDirectory() as scratch:
        options = TrainingArguments(
            output_dir=scratch,
            num_train_epochs=rows.epochs,
            per_device_train_batch_size=spec.batch_size,
            learning_rate=spec.learning_rate,
            seed=rows.seed,
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            # Without a GPU torch warns of it.
            dataloader_pin_memory=torch.cuda.is_available(),
        )
        Trainer(student.model, options, DataCollatorWithPadding(student.tokenizer), given).train()
    took = time.perf_counter() - began
    return _trained(took, student.predict(rows.test)["correct"].to_numpy().mean())


def paper(rows: Rows, steps: int) -> Found:
    return _own_loop(rows, "max_length", steps)


def paper_through(rows: Rows, _: int) -> Found:
    return _own_loop(rows, "longest", 0)


def _own_loop(rows: Rows, padding: str, steps: int) -> Found:
    """The loop that the paper's code has: every row padded alike, AdamW, a rate that falls linearly."""
    import torch
    from transformers import get_linear_schedule_with_warmup

    spec, student, began = _loaded(rows, PAPER_LENGTH)
    model, tokenizer, size = student.model, student.tokenizer, spec.batch_size
    texts, seconds = rows.training["text"].to_list(), rows.training["text2"].to_list()
    pairs = seconds if seconds[0] is not None else None
    encoded = tokenizer(texts, pairs, truncation=True, max_length=PAPER_LENGTH)
    tokenised = time.perf_counter() - began
    targets = torch.tensor([rows.labels.index(label) for label in rows.training["label"]], device=student.device.kind)
    all_steps = rows.epochs * -(-len(texts) // size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=spec.learning_rate)
    schedule = get_linear_schedule_with_warmup(optimizer, 0, all_steps)
    took: list[float] = []
    model.train()
    for _ in range(rows.epochs):
        for numbers in torch.randperm(len(texts)).split(size):
            if steps and len(took) == steps:
                break
            start = time.perf_counter()
            chosen = {name: [values[number] for number in numbers] for name, values in encoded.items()}
            batch = tokenizer.pad(chosen, padding=padding, max_length=PAPER_LENGTH, return_tensors="pt")
            given = batch.to(student.device.kind)
            torch.nn.functional.cross_entropy(model(**given).logits, targets[numbers]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            took.append(time.perf_counter() - start)
    if steps and steps < all_steps:
        return _trained(tokenised + all_steps * median(took), None, timed=len(took), of=all_steps)
    return _trained(time.perf_counter() - began, student.predict(rows.test)["correct"].to_numpy().mean())


def predicting(rows: Rows, count: int) -> Found:
    from s3_assets.student.model import fresh_student

    student = fresh_student("minilm", rows.labels, 256)
    given = rows.predicted(count)
    student.predict(given[:64])
    began = time.perf_counter()
    student.predict(given)
    return {"seconds": time.perf_counter() - began, "rows": given.height}


def head(rows: Rows, _: int) -> Found:
    from s3_assets.student.embeddings import embed
    from s3_assets.student.train import train_student
    from s3_assets.tasks.student_spec import StudentSpec

    frames = (rows.training, rows.select, rows.test)
    texts = [text for frame in frames for name in ("text", "text2") for text in frame[name] if text is not None]
    kept = dict(zip(texts, embed(texts), strict=True))

    def vectors(asked: list[str]) -> Any:
        return np.stack([kept[text] for text in asked])

    spec = StudentSpec(kind="frozen")
    began = time.perf_counter()
    done = train_student(rows.training, rows.select, rows.labels, spec, rows.seed, None, vectors)
    took = time.perf_counter() - began
    return _trained(took, done.student.predict(rows.test)["correct"].to_numpy().mean())


def starting(rows: Rows, _: int) -> Found:
    """Seconds that a step's process takes to load what Dagster's does, and from there to its first batch."""
    from s3_assets.loop.steps import make_gold, make_seed_set
    from s3_assets.store.parts import Warehouse
    from s3_assets.tasks.load import load_task

    with tempfile.TemporaryDirectory(prefix="starting-") as scratch:
        folder = Path(scratch) / "starting"
        folder.mkdir()
        rows.training.write_parquet(folder / "seed.parquet")
        pl.concat([rows.select, rows.test]).write_parquet(folder / "gold.parquet")
        paired = rows.test["text2"].null_count() == 0
        declared = {
            "name": folder.name,
            "kind": "pair" if paired else "single",
            "fields": {"text": "text", "label": "label"} | ({"text2": "text2"} if paired else {}),
            "labels": {label: f"It is {label}." for label in rows.labels},
            "gold": "gold.parquet",
            "seed_rows": "seed.parquet",
        }
        (folder / "task.yaml").write_text(yaml.safe_dump(declared))
        task, warehouse = load_task(folder), Warehouse(Path(scratch) / "warehouse")
        make_gold(task, warehouse)
        make_seed_set(task, warehouse, 0)
        command = [sys.executable, "-c", START, str(folder), str(warehouse.root)]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wall = time.perf_counter() - began
    line = next((line for line in done.stdout.splitlines() if line.startswith("STARTED")), None)
    if line is None:
        raise RuntimeError(f"no batch was reached:\n{done.stdout}\n{done.stderr}")
    _, loading, first = line.split()
    return {"loading": float(loading), "seconds": float(first), "wall": wall}


def _declared(rows: Rows) -> Any:
    """Options that all ways share; with torch imported, which none of them is timed with."""
    from s3_assets.student.device import share_the_processor
    from s3_assets.tasks.student_spec import StudentSpec

    share_the_processor()
    import torch  # noqa: F401

    return StudentSpec(epochs=rows.epochs, min_steps=0)


def _loaded(rows: Rows, max_length: int) -> tuple[Any, Any, float]:
    """Options, a student from its checkpoint that cuts texts at ``max_length``, and when it was there."""
    import torch

    from s3_assets.student.model import fresh_student

    spec = _declared(rows)
    torch.manual_seed(rows.seed)
    student = fresh_student("minilm", rows.labels, max_length)
    return spec, student, time.perf_counter()


def _trained(seconds: float, accuracy: float | None, **more: Any) -> Found:
    # Kilobytes on Linux, bytes on macOS.
    unit = 1e9 if sys.platform == "darwin" else 1e6
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return {"seconds": seconds, "accuracy": None if accuracy is None else float(accuracy), "gigabytes": largest, **more}


PARTS: dict[str, Callable[[Rows, int], Found]] = {
    OURS: ours,
    TRAINER: trainer,
    PAPER: paper,
    PAPER_THROUGH: paper_through,
    "predicting": predicting,
    "head": head,
    "starting": starting,
}
