"""One round's training: students trained, one saved, and each asked about gold that it was not trained on.

Belongs here: joining training, calibration, saving and prediction into rows of ``trained_model`` and ``predictions``,
and taking them over from another arm that trained the same. Does not belong here: the training loop itself
(``student/``), what rows are given to it (``training_rows.py``), dividing gold (``cross_fitting.py``), students of
folds (``fold_students.py``), asking about gold (``judging.py``), reading and writing parts of a step (``steps.py``).
"""

import json
import logging
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from s3_assets.loop.cross_fitting import Fold, folds_of
from s3_assets.loop.fingerprints import CODE_VERSIONS, TRAINED_MODEL
from s3_assets.loop.fold_students import Trainings, train_folds, trained_how
from s3_assets.loop.judging import JUDGED, Said, held_out_temperature, predictions_of, said_of_fold, scores
from s3_assets.loop.live_models import done_elsewhere
from s3_assets.loop.training_rows import INPUT, joined, softened, weighs
from s3_assets.store.identity import digest, frame_digest
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.store.tables import table
from s3_assets.tasks.load import Task

# Torch and transformers, about 2.5 s: imported where a student is trained.
if TYPE_CHECKING:
    from s3_assets.student.train import TrainedStudent

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedRound:
    """The one row of ``trained_model`` and the rows of ``predictions``."""

    row: pl.DataFrame
    predictions: pl.DataFrame


@dataclass(frozen=True)
class _Inputs:
    """What a training follows from.

    ``judged`` is the gold that the round's own student judges, ``folds`` that which students of folds judge.
    ``steer`` is all of steering gold.
    """

    training: pl.DataFrame
    select: pl.DataFrame
    judged: pl.DataFrame
    folds: list[Fold]
    steer: pl.DataFrame
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
    learned: Sequence[str] = (),
    shared: bool = True,
) -> TrainedRound:
    """Train on ``seed_set``, choose the epoch on selecting gold, save the model, predict gold rows.

    ``gold`` has the uses that the strategy puts it to. Its splits ``learned`` are trained on too (alone where
    ``seed_set`` is None): of those only folds judge any, so with selecting gold nothing is left to choose the epoch on,
    and the last is kept. Test gold is never learned; it is predicted and reported, and nothing here depends on it. With
    ``shared``, a training that another arm did from the same inputs is taken over.

    With folds (cross-fitting: Chernozhukov et al. 2018) the steering gold of each is judged by a student that was
    trained on all but what follows from it: rows written from it or for its first texts, itself, weights measured on
    it. Those students are not kept, unless they answer together with the round's own.

    Selecting and test gold are judged by what is saved: with ensemble all students together, with distil one that
    learned from the others. Steering gold of folds is judged by single students that learned labels all the same.
    Classifiers are calibrated on selecting gold. Where none selects, what students of folds say of steering gold is,
    by one temperature for all of it, and the round's own student by the same: unless it learned from them, which makes
    it less sure than they are. Students that answer together are not, as their mean is less sure than each of them.
    """
    inputs = _inputs(task, key, seed_set, gold, learned)
    model_id = f"m_{digest([key.columns(), inputs.key], 8)}"
    done = done_elsewhere(task, warehouse, key, inputs.key) if shared else None
    if done is not None:
        log.info("round %d of %s: the same training is done already, taken over", key.round, key.arm)
        own: dict[str, Any] = {**key.columns(), "model_id": model_id}
        row, predictions = done
        return TrainedRound(_marked(row, own), _marked(predictions, own))
    return _train(task, warehouse, key, inputs, model_id)


def _inputs(
    task: Task, key: RoundKey, seed_set: pl.DataFrame | None, gold: pl.DataFrame, learned: Sequence[str]
) -> _Inputs:
    spec, split = task.spec, pl.col("split")
    own = gold.filter(split.is_in([name for name in learned if name != "test"]))
    training = joined(seed_set, own)
    steer = gold.filter(split == "steer")
    parts = folds_of(task, steer, key.seed)
    # What is learned is judged by students of folds, or by none.
    judged = gold.filter(~split.is_in([*learned, *(["steer"] if parts else [])]))
    select = judged.filter(split == "select").select(JUDGED)
    fingerprint = frame_digest(training.select(INPUT))
    judging = spec.qa.model_dump() if spec.kind == "qa" else None
    version = CODE_VERSIONS[TRAINED_MODEL]
    follows = [version, spec.student.options(), list(spec.labels), judging, key.seed, frame_digest(judged)]
    if parts or weighs(task) or spec.student.kind == "frozen" or spec.student.learning_rates:
        # Which row was written from which gold row says nothing of a training without these.
        options = trained_how(task).model_dump(include={"ensemble", "distil", "weights"})
        dealt = [[part.number, part.gold["gold_id"].to_list()] for part in parts]
        follows += [options, spec.keeps_context, dealt, frame_digest(steer), training["gold_id"].to_list()]
    return _Inputs(training, select, judged, parts, steer, own.height, fingerprint, digest([fingerprint, *follows]))


def _train(task: Task, warehouse: Warehouse, key: RoundKey, inputs: _Inputs, model_id: str) -> TrainedRound:
    from s3_assets.student.ensemble import EnsembleStudent
    from s3_assets.student.weights import weights_digest

    spec, how, questions = task.spec, trained_how(task), task.spec.kind == "qa"
    trainings = Trainings(task, warehouse, key, inputs.select)
    others = train_folds(task, key.round, inputs.folds, inputs.training, inputs.steer, trainings)
    if inputs.folds:
        log.info("round %d: the student of all rows", key.round)
    rows = trainings.weighted(inputs.training, inputs.steer)
    own = trainings.train(softened(rows, list(spec.labels), others.told))
    said = [said_of_fold(own, fold.gold, fold.number, questions=questions) for fold in others.unseen]
    said = [*others.said, *said]
    together = bool(how.ensemble and others.students)
    # Where gold selects, each student was calibrated on it.
    common = held_out_temperature(said) if inputs.select.is_empty() else 1.0
    if together:
        own = own.uncalibrated()
    elif not others.told:
        own = _calibrated(own, common, said)
    answering = EnsembleStudent([own.student, *others.students]) if together else own.student
    with tempfile.TemporaryDirectory() as scratch:
        # A folder of its own for every training: an older part of the same round keeps its weights.
        kept = warehouse.model_folder(key) / f"{model_id}-{secrets.token_hex(2)}" if task.keeps_weights else None
        folder = kept or Path(scratch) / "model"
        answering.save(folder)
        weights = weights_digest(folder)
    constants: dict[str, Any] = {**key.columns(), "model_id": model_id}
    judged = [
        predictions_of(answering, inputs.judged, own.temperature, questions=questions),
        *(one.predictions(common) for one in said),
    ]
    predictions = _marked(pl.concat(judged), constants)
    row = {
        **constants,
        "path": None if kept is None else str(kept.relative_to(warehouse.root)),
        "weights": spec.student.weights,
        "weights_digest": weights,
        "training_rows": inputs.training.height,
        "gold_rows": inputs.gold_rows,
        "training_fingerprint": inputs.fingerprint,
        "training_key": inputs.key,
        "hyperparameters": json.dumps(_hyperparameters(task, own), sort_keys=True),
        "temperature": own.temperature,
        "epochs": own.epochs,
        "best_epoch": own.best_epoch,
        "history": json.dumps(own.history),
        **scores(predictions, questions=questions),
        "train_seconds": own.seconds + others.seconds,
        "device": own.device,
    }
    return TrainedRound(pl.DataFrame([row], schema=table("trained_model").schema), predictions)


def _calibrated(own: "TrainedStudent", temperature: float, said: Sequence[Said]) -> "TrainedStudent":
    """``own`` with its logits divided by the ``temperature`` that fits what students of folds ``said``.

    The round's own student, which was trained on what the gold of every fold led to, is taken to be as sure of texts it
    does not know as those are.
    """
    if temperature == 1 or not own.student.divide_logits(temperature):
        return own
    rows = sum(one.gold.height for one in said)
    log.info("logits divided by %.2f, found on %d rows of steering gold, held out by folds", temperature, rows)
    return replace(own, temperature=temperature)


def _hyperparameters(task: Task, own: "TrainedStudent") -> dict[str, Any]:
    used = task.spec.student.options()
    if own.batch_size is not None:
        used["batch_size"] = own.batch_size
    if own.tried:
        used |= {"learning_rate": own.learning_rate, "learning_rates_tried": own.tried}
    return used


def _marked(rows: pl.DataFrame, own: dict[str, Any]) -> pl.DataFrame:
    return rows.with_columns(pl.lit(value, rows.schema[name]).alias(name) for name, value in own.items())
