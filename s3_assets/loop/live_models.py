"""Trainings that other arms and rounds of a task have done already.

Belongs here: finding one that can be taken over. Does not belong here: what a training follows from and what becomes of
one that is found (``training.py``).
"""

import polars as pl

from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.tasks.load import Task


def done_elsewhere(
    task: Task, warehouse: Warehouse, key: RoundKey, training_key: str
) -> tuple[pl.DataFrame, pl.DataFrame] | None:
    """The row of ``trained_model`` with ``training_key`` in another arm or round of the task, and its predictions.

    Where the task keeps weights only one whose weights are there.
    """
    for row in _live_models(warehouse, key):
        if row["training_key"][0] != training_key:
            continue
        found = RoundKey(key.task, row["arm"][0], row["seed"][0], row["round"][0])
        beside = warehouse.live("predictions", found.columns())
        predictions = beside.read() if beside is not None else None
        path = row["path"][0]
        usable = path is not None and (warehouse.root / path / "model.safetensors").is_file()
        if predictions is None or (task.keeps_weights and not usable):
            continue
        if found != key and set(predictions["model_id"].unique()) <= {row["model_id"][0]}:
            return row, predictions
    return None


def _live_models(warehouse: Warehouse, key: RoundKey) -> list[pl.DataFrame]:
    """Live rows of ``trained_model`` of the task and seed, all arms and rounds, the first made first."""
    folder = warehouse.root / "trained_model" / f"task={key.task}"
    parts = []
    for place in sorted(folder.glob(f"arm=*/seed={key.seed}/round=round_*")):
        arm, _, round_ = place.relative_to(folder).parts
        number = int(round_.removeprefix("round=round_"))
        part = warehouse.live("trained_model", RoundKey(key.task, arm.removeprefix("arm="), key.seed, number).columns())
        parts += [part] if part is not None else []
    rows = (part.read() for part in sorted(parts, key=lambda part: part.stamp))
    # Parts of earlier versions have no key.
    return [row for row in rows if "training_key" in row.columns]
