"""One round's training: students trained, one saved, and each asked about gold that it was not trained on.

Belongs here: joining training, saving and prediction into rows of ``trained_model`` and ``predictions``, and taking
them over from another arm that trained the same. Does not belong here: the training loop itself (``student/``), what
rows are given to it (``training_rows.py``), dividing gold (``cross_fitting.py``), reading and writing parts of a step
(``steps.py``).
"""

import json
import logging
import secrets
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from s3_assets.loop.cross_fitting import Fold, folds_of, held_out
from s3_assets.loop.fingerprints import CODE_VERSIONS, TRAINED_MODEL
from s3_assets.loop.training_rows import INPUT, joined, softened, synthetic, taught, weighs, weighted
from s3_assets.store.identity import digest, frame_digest
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.store.tables import table
from s3_assets.student.errors import StudentError
from s3_assets.tasks.gold_spec import SPLITS
from s3_assets.tasks.load import Task
from s3_assets.tasks.strategy import Strategy

# Torch and transformers, about 2.5 s: imported where a student is trained.
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from s3_assets.student.kinds import AnyStudent
    from s3_assets.student.train import TrainedStudent

log = logging.getLogger(__name__)

_JUDGED = ("text", "text2", "label", "answer", "answer_start", "answers")


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
    with_gold: bool = False,
    shared: bool = True,
) -> TrainedRound:
    """Train on ``seed_set``, choose the epoch on selecting gold, save the model, predict gold rows.

    ``gold`` has the uses that the strategy puts it to. ``with_gold`` trains on steering and selecting gold too (alone
    where ``seed_set`` is None): then nothing is left to choose the epoch on, the last is kept, and test rows alone are
    predicted. Test rows are predicted and reported; nothing here depends on them. With ``shared``, a training that
    another arm did from the same inputs is taken over.

    With folds (cross-fitting: Chernozhukov et al. 2018) the steering gold of each is judged by a student that was
    trained on all but what follows from it: rows written from it or for its first texts, its own rows, weights measured
    on it. Those students are not kept, unless they answer together with the round's own.

    Selecting and test gold are judged by what is saved: with ensemble all students together, with distil one that
    learned from the others. Steering gold of folds is judged by single students that learned labels all the same.
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
    spec, split = task.spec, pl.col("split")
    own = gold.filter(split != "test") if with_gold else gold.clear()
    training = joined(seed_set, own)
    steer = gold.filter(split == "steer")
    parts = folds_of(task, steer, key.seed)
    judged = gold.filter(split == "test") if with_gold else gold
    judged = judged.filter(split != "steer") if parts else judged
    select = (gold.clear() if with_gold else gold.filter(split == "select")).select(_JUDGED)
    fingerprint = frame_digest(training.select(INPUT))
    judging = spec.qa.model_dump() if spec.kind == "qa" else None
    version = CODE_VERSIONS[TRAINED_MODEL]
    follows = [version, spec.student.model_dump(), list(spec.labels), judging, key.seed, frame_digest(judged)]
    if parts or weighs(task) or spec.student.kind == "frozen":
        # Which row was written from which gold row says nothing of a training without these.
        options = _how(task).model_dump(include={"ensemble", "distil", "weights"})
        dealt = [[part.number, part.gold["gold_id"].to_list()] for part in parts]
        follows += [options, spec.keeps_context, dealt, frame_digest(steer), training["gold_id"].to_list()]
    return _Inputs(training, select, judged, parts, steer, own.height, fingerprint, digest([fingerprint, *follows]))


def _how(task: Task) -> Strategy:
    """The strategy as far as training can follow it: what goes by labels is left out where there are answers."""
    if task.spec.kind != "qa":
        return task.spec.how
    return task.spec.how.model_copy(update={"ensemble": False, "distil": False, "weights": "none"})


def _train(task: Task, warehouse: Warehouse, key: RoundKey, inputs: _Inputs, model_id: str) -> TrainedRound:
    from s3_assets.student.ensemble import EnsembleStudent
    from s3_assets.student.weights import weights_digest

    spec, how = task.spec, _how(task)
    training = _Training(task, warehouse, key, inputs)
    others = _train_folds(task, key, inputs, training)
    if inputs.folds:
        log.info("round %d: the student of all rows", key.round)
    rows = training.weighted(inputs.training, inputs.steer)
    own = training.train(softened(rows, list(spec.labels), others.told))
    together = how.ensemble and others.students
    answering = EnsembleStudent([own.student, *others.students]) if together else own.student
    with tempfile.TemporaryDirectory() as scratch:
        # A folder of its own for every training: an older part of the same round keeps its weights.
        kept = warehouse.model_folder(key) / f"{model_id}-{secrets.token_hex(2)}" if task.keeps_weights else None
        folder = kept or Path(scratch) / "model"
        answering.save(folder)
        weights = weights_digest(folder)
    constants: dict[str, Any] = {**key.columns(), "model_id": model_id}
    said = [_predictions(answering, inputs.judged, None), *others.predictions]
    said += [_predictions(own.student, fold.gold, fold.number) for fold in others.unseen]
    predictions = _marked(pl.concat(said), constants)
    row = {
        **constants,
        "path": None if kept is None else str(kept.relative_to(warehouse.root)),
        "weights": spec.student.weights,
        "weights_digest": weights,
        "training_rows": inputs.training.height,
        "gold_rows": inputs.gold_rows,
        "training_fingerprint": inputs.fingerprint,
        "training_key": inputs.key,
        "hyperparameters": json.dumps(spec.student.model_dump(), sort_keys=True),
        "epochs": own.epochs,
        "best_epoch": own.best_epoch,
        "history": json.dumps(own.history),
        **_scores(predictions, spec.kind == "qa"),
        "train_seconds": own.seconds + others.seconds,
        "device": own.device,
    }
    return TrainedRound(pl.DataFrame([row], schema=table("trained_model").schema), predictions)


@dataclass
class _OfFolds:
    """What the students of folds came to.

    ``unseen`` are folds that need none, ``students`` those that answer with the round's own. ``told`` are
    probabilities of labels for written rows of the training set, by their place: each by the student that was trained
    without the gold row that it was written from, and so without the row.
    """

    predictions: list[pl.DataFrame] = field(default_factory=list)
    students: "list[AnyStudent]" = field(default_factory=list)
    unseen: list[Fold] = field(default_factory=list)
    told: "dict[int, NDArray[np.float64]]" = field(default_factory=dict)
    seconds: float = 0.0


def _train_folds(task: Task, key: RoundKey, inputs: _Inputs, training: "_Training") -> _OfFolds:
    found, how, written = _OfFolds(), _how(task), synthetic(inputs.training)
    for fold in inputs.folds:
        rows = fold.without(inputs.training)
        if rows.height == inputs.training.height and not weighs(task):
            # Nothing follows from its gold, as in round 0: the round's own student is its student.
            found.unseen.append(fold)
            continue
        log.info("round %d: fold %d of %d", key.round, fold.number, how.cross_fit)
        try:
            trained = training.train(training.weighted(rows, fold.without(inputs.steer)))
        except StudentError as error:
            raise StudentError(
                f"the student of fold {fold.number}, which is trained without what follows from its gold: {error}; "
                "with other folds (the strategy's cross_fit) or none more rows are left"
            ) from error
        found.predictions.append(_predictions(trained.student, fold.gold, fold.number))
        found.seconds += trained.seconds
        if how.distil:
            places = fold.written_from(written).arg_true()
            found.told |= zip(places, trained.student.probabilities(written[places]), strict=True)
        # Students of 90 MB: held only where they are asked again.
        if how.ensemble:
            found.students.append(trained.student)
    return found


class _Training:
    """Trainings of one round, which differ in their rows alone."""

    def __init__(self, task: Task, warehouse: Warehouse, key: RoundKey, inputs: _Inputs) -> None:
        from s3_assets.loop.text_vectors import TextVectors

        self._spec, self._task, self._select, self._seed = task.spec, task, inputs.select, key.seed
        self._vectors = TextVectors(warehouse, task.name, task.spec.student)

    def train(self, rows: pl.DataFrame) -> "TrainedStudent":
        from s3_assets.student.train import train_student

        spec = self._spec
        questions = spec.qa if spec.kind == "qa" else None
        labels = list(spec.labels)
        return train_student(taught(rows), self._select, labels, spec.student, self._seed, questions, self._vectors)

    def weighted(self, rows: pl.DataFrame, steer: pl.DataFrame) -> pl.DataFrame:
        return weighted(self._task, rows, steer, self._vectors, self._seed)


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


def _predictions(student: "AnyStudent", gold: pl.DataFrame, fold: int | None) -> pl.DataFrame:
    """Rows of table ``predictions`` for ``gold``, round and model left null."""
    schema, answers = table("predictions").schema, student.predict(gold.select(_JUDGED))
    judged = gold.select("gold_id", "split", pl.coalesce("answer", "label").alias("label"))
    rows = pl.concat([judged, answers.drop("label", strict=False)], how="horizontal")
    rows = rows.with_columns(pl.lit(fold, pl.Int64).alias("fold"))
    absent = [name for name in schema if name not in rows.columns]
    return rows.with_columns(pl.lit(None, schema[name]).alias(name) for name in absent).select(
        pl.col(name).cast(dtype) for name, dtype in schema.items()
    )


def _scores(predictions: pl.DataFrame, questions: bool) -> dict[str, float | None]:
    """Share right and, for questions, mean F1 of each split; an exact match is what is right about an answer.

    Where no selecting gold was judged, its scores are those of the steering gold that students of folds judged: of held
    out gold, but of single students of folds, which test scores are not with an ensemble or a distilled student.
    """
    found: dict[str, float | None] = {}
    for split in SPLITS:
        rows = held_out(predictions) if split == "select" else predictions.filter(pl.col("split") == split)
        right = rows["exact_match"] if questions else rows["correct"].cast(pl.Float64)
        found[f"{split}_accuracy"] = float(right.to_numpy().mean()) if rows.height else None
        found[f"{split}_f1"] = float(rows["f1"].to_numpy().mean()) if rows.height and questions else None
    return found
