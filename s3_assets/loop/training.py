"""One round's training: the student trained, saved, and asked about every gold row.

Belongs here: joining training, saving and prediction into rows of ``trained_model`` and ``predictions``. Does not
belong here: the training loop itself (``student/``), reading and writing parts (``steps.py``).
"""

import json
import secrets
from dataclasses import dataclass

import polars as pl

from s3_assets.store.identity import digest, frame_digest
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.store.tables import table
from s3_assets.tasks.load import Task
from s3_assets.tasks.spec import SPLITS

_INPUT = ("text", "text2", "label")


@dataclass(frozen=True)
class TrainedRound:
    """The one row of ``trained_model`` and the rows of ``predictions``."""

    row: pl.DataFrame
    predictions: pl.DataFrame


def train_round(
    task: Task, warehouse: Warehouse, key: RoundKey, seed_set: pl.DataFrame, gold: pl.DataFrame
) -> TrainedRound:
    """Train on ``seed_set``, choose the epoch on selecting gold, save the model, predict all gold rows.

    Test rows are predicted and reported; nothing here depends on them.
    """
    from s3_assets.student.train import train_student  # imports torch and transformers, about 2.5 s
    from s3_assets.student.weights import weights_digest

    training = seed_set.select(_INPUT)
    select = gold.filter(pl.col("split") == "select").select(_INPUT)
    labels = list(task.spec.labels)
    trained = train_student(training, select, labels, task.spec.student, key.seed)
    fingerprint = frame_digest(seed_set.select("example_id", *_INPUT))
    hyperparameters = json.dumps(task.spec.student.model_dump(), sort_keys=True)
    model_id = f"m_{digest([key.columns(), fingerprint, hyperparameters, frame_digest(select)], 8)}"
    # A folder of its own for every training: an older part of the same round keeps its weights.
    folder = warehouse.model_folder(key) / f"{model_id}-{secrets.token_hex(2)}"
    trained.student.save(folder)
    predictions = _predictions(trained.student.predict(gold.select(_INPUT)), gold, key, model_id)
    row = {
        **key.columns(),
        "model_id": model_id,
        "path": str(folder.relative_to(warehouse.root)),
        "weights": task.spec.student.weights,
        "weights_digest": weights_digest(folder),
        "training_rows": training.height,
        "training_fingerprint": fingerprint,
        "hyperparameters": hyperparameters,
        "epochs": trained.epochs,
        "best_epoch": trained.best_epoch,
        "history": json.dumps(trained.history),
        **{f"{split}_accuracy": _accuracy(predictions, split) for split in SPLITS},
        "train_seconds": trained.seconds,
        "device": trained.device,
    }
    return TrainedRound(pl.DataFrame([row], schema=table("trained_model").schema), predictions)


def _predictions(answers: pl.DataFrame, gold: pl.DataFrame, key: RoundKey, model_id: str) -> pl.DataFrame:
    rows = pl.concat([gold.select("gold_id", "split", "label"), answers.drop("label", strict=False)], how="horizontal")
    constants = {**key.columns(), "model_id": model_id}
    schema = table("predictions").schema
    return rows.with_columns(
        (pl.col("label") == pl.col("prediction")).alias("correct"),
        *(pl.lit(value, schema[name]).alias(name) for name, value in constants.items()),
    ).select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def _accuracy(predictions: pl.DataFrame, split: str) -> float | None:
    correct = predictions.filter(pl.col("split") == split)["correct"]
    return int(correct.sum()) / correct.len() if correct.len() else None
