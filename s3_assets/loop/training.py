"""One round's training: the student trained, saved, and asked about the gold rows it was not trained on.

Belongs here: joining training, saving and prediction into rows of ``trained_model`` and ``predictions``, and taking
them over from another arm that trained the same. Does not belong here: the training loop itself (``student/``),
reading and writing parts of a step (``steps.py``).
"""

import json
import logging
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from s3_assets.loop.fingerprints import CODE_VERSIONS, TRAINED_MODEL
from s3_assets.store.identity import digest, frame_digest
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.store.tables import table
from s3_assets.tasks.gold_spec import SPLITS
from s3_assets.tasks.load import Task

log = logging.getLogger(__name__)

_INPUT = ("text", "text2", "label", "answer", "answer_start")
_JUDGED = ("text", "text2", "label", "answer", "answer_start", "answers")


@dataclass(frozen=True)
class TrainedRound:
    """The one row of ``trained_model`` and the rows of ``predictions``."""

    row: pl.DataFrame
    predictions: pl.DataFrame


@dataclass(frozen=True)
class _Inputs:
    """What a training follows from. ``judged`` are the gold rows predicted afterwards: none that it was trained on."""

    training: pl.DataFrame
    select: pl.DataFrame
    judged: pl.DataFrame
    gold_rows: int
    fingerprint: str
    key: str


def train_round(
    task: Task,
    warehouse: Warehouse,
    key: RoundKey,
    seed_set: pl.DataFrame | None,
    gold: pl.DataFrame,
    *,
    with_gold: bool = False,
    shared: bool = True,
) -> TrainedRound:
    """Train on ``seed_set``, choose the epoch on selecting gold, save the model, predict gold rows.

    ``with_gold`` trains on steering and selecting gold too (alone where ``seed_set`` is None): then nothing is left to
    choose the epoch on, the last is kept, and test rows alone are predicted. Test rows are predicted and reported;
    nothing here depends on them. With ``shared``, a training that another arm did from the same inputs is taken over.
    """
    inputs = _inputs(task, key, seed_set, gold, with_gold)
    model_id = f"m_{digest([key.columns(), inputs.key], 8)}"
    done = _done_elsewhere(task, warehouse, key, inputs.key) if shared else None
    if done is not None:
        log.info("round %d of %s: the same training is done already, taken over", key.round, key.arm)
        own: dict[str, Any] = {**key.columns(), "model_id": model_id}
        return TrainedRound(_marked(done.row, own), _marked(done.predictions, own))
    return _train(task, warehouse, key, inputs, model_id)


def _inputs(task: Task, key: RoundKey, seed_set: pl.DataFrame | None, gold: pl.DataFrame, with_gold: bool) -> _Inputs:
    synthetic = table("seed_set").schema if seed_set is None else seed_set.schema
    rows = pl.DataFrame(schema=synthetic) if seed_set is None else seed_set
    test = pl.col("split") == "test"
    own = gold.filter(~test) if with_gold else gold.clear()
    training = pl.concat([rows.select(_INPUT), own.select(_INPUT)])
    judged = gold.filter(test) if with_gold else gold
    select = (gold.clear() if with_gold else gold.filter(pl.col("split") == "select")).select(_JUDGED)
    fingerprint = frame_digest(training)
    spec = task.spec
    judging = spec.qa.model_dump() if spec.kind == "qa" else None
    version = CODE_VERSIONS[TRAINED_MODEL]
    follows = [version, spec.student.model_dump(), list(spec.labels), judging, key.seed, frame_digest(judged)]
    return _Inputs(training, select, judged, own.height, fingerprint, digest([fingerprint, *follows]))


def _train(task: Task, warehouse: Warehouse, key: RoundKey, inputs: _Inputs, model_id: str) -> TrainedRound:
    from s3_assets.student.train import train_student  # imports torch and transformers, about 2.5 s
    from s3_assets.student.weights import weights_digest

    spec = task.spec
    questions = spec.qa if spec.kind == "qa" else None
    trained = train_student(inputs.training, inputs.select, list(spec.labels), spec.student, key.seed, questions)
    with tempfile.TemporaryDirectory() as scratch:
        # A folder of its own for every training: an older part of the same round keeps its weights.
        kept = warehouse.model_folder(key) / f"{model_id}-{secrets.token_hex(2)}" if task.keeps_weights else None
        folder = kept or Path(scratch) / "model"
        trained.student.save(folder)
        weights = weights_digest(folder)
    answers = trained.student.predict(inputs.judged.select(_JUDGED))
    predictions = _predictions(answers, inputs.judged, key, model_id)
    row = {
        **key.columns(),
        "model_id": model_id,
        "path": None if kept is None else str(kept.relative_to(warehouse.root)),
        "weights": spec.student.weights,
        "weights_digest": weights,
        "training_rows": inputs.training.height,
        "gold_rows": inputs.gold_rows,
        "training_fingerprint": inputs.fingerprint,
        "training_key": inputs.key,
        "hyperparameters": json.dumps(spec.student.model_dump(), sort_keys=True),
        "epochs": trained.epochs,
        "best_epoch": trained.best_epoch,
        "history": json.dumps(trained.history),
        **_scores(predictions, questions is not None),
        "train_seconds": trained.seconds,
        "device": trained.device,
    }
    return TrainedRound(pl.DataFrame([row], schema=table("trained_model").schema), predictions)


def _done_elsewhere(task: Task, warehouse: Warehouse, key: RoundKey, training_key: str) -> TrainedRound | None:
    """The same training in another arm or round of the task, with its predictions; its weights where they are kept."""
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
            return TrainedRound(row, predictions)
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


def _marked(rows: pl.DataFrame, own: dict[str, Any]) -> pl.DataFrame:
    return rows.with_columns(pl.lit(value, rows.schema[name]).alias(name) for name, value in own.items())


def _predictions(answers: pl.DataFrame, gold: pl.DataFrame, key: RoundKey, model_id: str) -> pl.DataFrame:
    schema = table("predictions").schema
    judged = gold.select("gold_id", "split", pl.coalesce("answer", "label").alias("label"))
    rows = pl.concat([judged, answers.drop("label", strict=False)], how="horizontal")
    constants = {**key.columns(), "model_id": model_id}
    absent = [name for name in ("exact_match", "f1") if name not in rows.columns]
    return rows.with_columns(
        *(pl.lit(None, schema[name]).alias(name) for name in absent),
        *(pl.lit(value, schema[name]).alias(name) for name, value in constants.items()),
    ).select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def _scores(predictions: pl.DataFrame, questions: bool) -> dict[str, float | None]:
    """Share right and, for questions, mean F1 of each split; an exact match is what is right about an answer."""
    found: dict[str, float | None] = {}
    for split in SPLITS:
        rows = predictions.filter(pl.col("split") == split)
        right = rows["exact_match"] if questions else rows["correct"].cast(pl.Float64)
        found[f"{split}_accuracy"] = float(right.to_numpy().mean()) if rows.height else None
        found[f"{split}_f1"] = float(rows["f1"].to_numpy().mean()) if rows.height and questions else None
    return found
