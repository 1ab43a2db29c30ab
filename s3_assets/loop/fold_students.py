"""The students of a round: how one is trained, and those of folds, which judge the gold that they were kept from.

Belongs here: trainings of one round and what its folds come to. Does not belong here: dividing gold
(``cross_fitting.py``), what is made of the round's own student (``training.py``).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from s3_assets.loop.cross_fitting import Fold
from s3_assets.loop.judging import Said, said_of_fold
from s3_assets.loop.training_rows import synthetic, taught, weighs, weighted
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.student.errors import StudentError
from s3_assets.tasks.load import Task
from s3_assets.tasks.strategy import Strategy

# Torch and transformers, about 2.5 s: imported where a student is trained.
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from s3_assets.student.kinds import SingleStudent
    from s3_assets.student.train import TrainedStudent

log = logging.getLogger(__name__)


def trained_how(task: Task) -> Strategy:
    """The strategy as far as training can follow it: what goes by labels is left out where there are answers."""
    if task.spec.kind != "qa":
        return task.spec.how
    return task.spec.how.model_copy(update={"ensemble": False, "distil": False, "weights": "none"})


class Trainings:
    """Trainings of one round, which differ in their rows alone."""

    def __init__(self, task: Task, warehouse: Warehouse, key: RoundKey, select: pl.DataFrame) -> None:
        from s3_assets.loop.text_vectors import TextVectors

        self._spec, self._task, self._select, self._seed = task.spec, task, select, key.seed
        self._vectors = TextVectors(warehouse, task.name, task.spec.student)

    def train(self, rows: pl.DataFrame) -> "TrainedStudent":
        """A student of ``rows``, as ``training_rows.joined`` gives them."""
        from s3_assets.student.train import train_student

        spec = self._spec
        questions = spec.qa if spec.kind == "qa" else None
        labels = list(spec.labels)
        return train_student(taught(rows), self._select, labels, spec.student, self._seed, questions, self._vectors)

    def weighted(self, rows: pl.DataFrame, steer: pl.DataFrame) -> pl.DataFrame:
        """``rows`` with the weights of the task's strategy, which may follow from the gold ``steer``."""
        return weighted(self._task, rows, steer, self._vectors, self._seed)


@dataclass
class FoldStudents:
    """What the students of folds came to.

    ``said`` is what they say of their folds' gold. ``unseen`` are folds that need none, ``students`` those that answer
    with the round's own, not calibrated. ``told`` are probabilities of labels for written rows of the training set, by
    their place: each by the student that was trained without the gold row that it was written from, and so without the
    row.
    """

    said: list[Said] = field(default_factory=list)
    students: "list[SingleStudent]" = field(default_factory=list)
    unseen: list[Fold] = field(default_factory=list)
    told: "dict[int, NDArray[np.float64]]" = field(default_factory=dict)
    seconds: float = 0.0


def train_folds(
    task: Task, round_: int, folds: Sequence[Fold], training: pl.DataFrame, steer: pl.DataFrame, trainings: Trainings
) -> FoldStudents:
    """A student for each of ``folds``, trained on the rows of ``training`` that do not follow from the fold's gold."""
    found, how, written = FoldStudents(), trained_how(task), synthetic(training)
    for fold in folds:
        rows = fold.without(training)
        if rows.height == training.height and not weighs(task):
            # Nothing follows from its gold, as in round 0: the round's own student is its student.
            found.unseen.append(fold)
            continue
        log.info("round %d: fold %d of %d", round_, fold.number, how.cross_fit)
        try:
            trained = trainings.train(trainings.weighted(rows, fold.without(steer)))
        except StudentError as error:
            raise StudentError(
                f"the student of fold {fold.number}, which is trained without what follows from its gold: {error}; "
                "with other folds (the strategy's cross_fit) or none more rows are left"
            ) from error
        found.said.append(said_of_fold(trained, fold.gold, fold.number, questions=task.spec.kind == "qa"))
        found.seconds += trained.seconds
        if how.distil:
            places = fold.written_from(written).arg_true()
            found.told |= zip(places, _told(trained, written[places]), strict=True)
        # Students of 90 MB: held only where they are asked again.
        if how.ensemble:
            found.students.append(trained.uncalibrated().student)
    return found


def _told(trained: "TrainedStudent", rows: pl.DataFrame) -> "NDArray[np.float64]":
    """Probabilities of labels that another student learns of ``rows``: as they were before calibration.

    What selecting gold says of how sure a student may be is no part of what is taught.
    """
    import numpy as np

    from s3_assets.student.calibration import at_temperature, logs_of

    found: NDArray[np.float64] = trained.student.probabilities(rows)
    if trained.temperature == 1:
        return found
    return np.exp(at_temperature(logs_of(found), 1 / trained.temperature))
