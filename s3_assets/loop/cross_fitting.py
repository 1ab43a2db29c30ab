"""Folds of steering gold: which student may judge which gold row.

Belongs here: dividing steering gold, the rows that the student of a fold is trained on, the predictions that are held
out. Does not belong here: training those students (``training.py``), the uses of gold (``uses.py``).
"""

from dataclasses import dataclass

import polars as pl

from s3_assets.store.identity import digest
from s3_assets.tasks.load import Task


@dataclass(frozen=True)
class Fold:
    """One fold, ``number`` from 1, and its rows of steering gold.

    With ``by_text`` rows have their first text from gold word for word, whether or not they name the gold row.
    """

    number: int
    gold: pl.DataFrame
    by_text: bool = False

    def without(self, rows: pl.DataFrame) -> pl.DataFrame:
        """``rows`` without the gold of the fold and what follows from it.

        That is what was written from it, as the column ``gold_id`` says, and by text what has a first text of it.
        """
        out = self.written_from(rows)
        return rows.filter(~(out | rows["text"].is_in(self.gold["text"].to_list())) if self.by_text else ~out)

    def written_from(self, rows: pl.DataFrame) -> pl.Series:
        """Whether each of ``rows`` is of the fold's gold or was written from it, by its ``gold_id``."""
        return rows["gold_id"].is_in(self.gold["gold_id"].to_list()).fill_null(value=False)


def folds_of(task: Task, steer: pl.DataFrame, seed: int) -> list[Fold]:
    """``folds`` as the task's strategy wants them: by text where rows keep the first text that they are written for."""
    return folds(steer, task.spec.how.cross_fit, seed, by_text=task.spec.keeps_context)


def folds(steer: pl.DataFrame, count: int, seed: int, *, by_text: bool = False) -> list[Fold]:
    """``steer`` (columns gold_id, label, ...) in ``count`` folds, those without rows left out; none for a count of 0.

    The rows of a label are dealt out in an order that depends on seed and ids alone: folds have alike shares of labels,
    and do not change when rows of another label come or go. Each label begins at a fold of its own, or the first folds
    would get the odd rows of all of them. ``by_text`` deals out first texts (column text) in the same way, in place of
    a label the labels of all rows of a text: no text is in two folds.
    """
    labels: dict[str, list[str]] = {}
    units = steer["text" if by_text else "gold_id"]
    for unit, label in zip(units, steer["label"], strict=True) if count else ():
        labels.setdefault(unit, []).append(label)
    alike: dict[str, list[str]] = {}
    for unit, own in labels.items():
        alike.setdefault("\n".join(sorted(own)), []).append(unit)
    number: dict[str, int] = {}
    for told, dealt in alike.items():
        first = _drawn(seed, told)
        for place, unit in enumerate(sorted(dealt, key=lambda unit: (_drawn(seed, unit), unit))):
            number[unit] = (first + place) % count
    mine = [[number.get(unit) == fold for unit in units] for fold in range(count)]
    return [Fold(place, steer.filter(own), by_text) for place, own in enumerate(mine, start=1) if any(own)]


def held_out(predictions: pl.DataFrame) -> pl.DataFrame:
    """The rows of table ``predictions`` that judge a round: of selecting gold, or else of steering gold by folds.

    Each is of a student that was not trained on what follows from the row. Those of folds are of single students, also
    where an ensemble of them or a distilled one is what answers for test gold. Empty where the strategy keeps none so.
    """
    selecting = predictions.filter(pl.col("split") == "select")
    # Parts of before there were folds lack the column.
    if selecting.height or "fold" not in predictions.columns:
        return selecting
    return predictions.filter(pl.col("split") == "steer", pl.col("fold").is_not_null())


def held_out_scores(predictions: pl.DataFrame) -> pl.DataFrame:
    """``held_out`` with the column ``score``, 0 to 1: of a question its F1, of other rows whether it is right."""
    return held_out(predictions).with_columns(score=pl.coalesce("f1", pl.col("correct").cast(pl.Float64)))


def _drawn(seed: int, what: str) -> int:
    return int(digest([seed, what], 8), 16)
