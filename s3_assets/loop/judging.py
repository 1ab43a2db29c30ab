"""What students say of gold, as rows of ``predictions``, and the scores of a round.

Belongs here: asking students about gold, one temperature for what several said, the columns of ``predictions``. Does
not belong here: which student judges which gold (``cross_fitting.py``, ``training.py``), finding a temperature
(``student/calibration.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from s3_assets.loop.cross_fitting import held_out
from s3_assets.store.tables import table
from s3_assets.tasks.gold_spec import SPLITS

# numpy, and torch with students: imported where they are wanted.
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from s3_assets.student.kinds import AnyStudent
    from s3_assets.student.train import TrainedStudent

# Columns of gold that a student is asked with.
JUDGED = ("text", "text2", "label", "answer", "answer_start", "answers")


@dataclass(frozen=True)
class Said:
    """What a student says of ``gold``: that of a ``fold``, or the round's own where it is None.

    ``logs`` are logarithms of probabilities of ``labels``, of shape (rows, labels), at the ``temperature`` that the
    student has; ``answers`` are what it says to questions. One of them is None.
    """

    gold: pl.DataFrame
    fold: int | None
    labels: tuple[str, ...]
    logs: "NDArray[np.float64] | None"
    answers: pl.DataFrame | None
    temperature: float = 1.0

    def predictions(self, temperature: float) -> pl.DataFrame:
        """Rows of ``predictions``, logits of labels divided by ``temperature`` once more; round and model are null."""
        if self.logs is None:
            return _rows(self.gold, self.answers, self.fold)
        import numpy as np

        from s3_assets.student.calibration import at_temperature
        from s3_assets.student.label_head import label_columns

        logs = at_temperature(self.logs, temperature)
        found = label_columns(logs, np.exp(logs), self.labels, self.gold)
        doubt = _doubts(self.logs, self.temperature, self.gold, self.labels)
        # No other gold decides what is written.
        of_steering = pl.when(pl.lit(self.gold["split"] == "steer")).then(pl.lit(doubt))
        return _rows(self.gold, found.with_columns(doubt=of_steering), self.fold)


def said_of_fold(trained: "TrainedStudent", gold: pl.DataFrame, fold: int, *, questions: bool) -> Said:
    """What a student says of the ``gold`` of a fold."""
    return _said(trained.student, gold, fold, trained.temperature, questions=questions)


def held_out_temperature(said: Sequence[Said]) -> float:
    """The temperature at which the loss of what students of folds ``said`` of gold is least, over all of them.

    1 where they answer questions.
    """
    logs = [one.logs for one in said if one.logs is not None]
    if not logs:
        return 1.0
    import numpy as np

    from s3_assets.student.calibration import best_temperature
    from s3_assets.student.label_head import label_numbers

    labels = [label for one in said for label in one.gold["label"]]
    return best_temperature(np.concatenate(logs), label_numbers(labels, said[0].labels))


def predictions_of(student: "AnyStudent", gold: pl.DataFrame, temperature: float, *, questions: bool) -> pl.DataFrame:
    """Rows of ``predictions`` of a round's own student, which has ``temperature``; round, model and fold are null."""
    return _said(student, gold, None, temperature, questions=questions).predictions(1.0)


def scores(predictions: pl.DataFrame, *, questions: bool) -> dict[str, float | None]:
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


def _said(student: "AnyStudent", gold: pl.DataFrame, fold: int | None, temperature: float, *, questions: bool) -> Said:
    asked = gold.select(JUDGED)
    if questions:
        return Said(gold, fold, student.labels, None, student.predict(asked))
    from s3_assets.student.calibration import logs_of

    return Said(gold, fold, student.labels, logs_of(student.probabilities(asked)), None, temperature)


def _doubts(logs: "NDArray[np.float64]", temperature: float, gold: pl.DataFrame, labels: Sequence[str]) -> pl.Series:
    """Probability that labels of ``gold`` are not given by a student, as it was before its ``temperature``."""
    import numpy as np

    from s3_assets.student.calibration import at_temperature
    from s3_assets.student.label_head import label_numbers

    before = at_temperature(logs, 1 / temperature)
    own = before[np.arange(gold.height), label_numbers(gold["label"].to_list(), labels)]
    return pl.Series("doubt", 1 - np.exp(own), pl.Float64)


def _rows(gold: pl.DataFrame, answers: pl.DataFrame | None, fold: int | None) -> pl.DataFrame:
    schema = table("predictions").schema
    judged = gold.select("gold_id", "split", pl.coalesce("answer", "label").alias("label"))
    said = pl.DataFrame() if answers is None else answers.drop("label", strict=False)
    rows = pl.concat([judged, said], how="horizontal").with_columns(pl.lit(fold, pl.Int64).alias("fold"))
    absent = [name for name in schema if name not in rows.columns]
    return rows.with_columns(pl.lit(None, schema[name]).alias(name) for name in absent).select(
        pl.col(name).cast(dtype) for name, dtype in schema.items()
    )
