"""Folds of steering gold: which student may judge which gold row.

Belongs here: dividing steering gold, the rows that the student of a fold is trained on, the predictions that are held
out. Does not belong here: training those students (``training.py``), the uses of gold (``uses.py``).
"""

from dataclasses import dataclass

import polars as pl

from s3_assets.store.identity import digest


@dataclass(frozen=True)
class Fold:
    """One fold, ``number`` from 1, and its rows of steering gold."""

    number: int
    gold: pl.DataFrame

    def without(self, rows: pl.DataFrame) -> pl.DataFrame:
        """``rows`` without the gold of the fold and what was written from it, as their column ``gold_id`` says."""
        mine = pl.col("gold_id").is_in(self.gold["gold_id"].to_list())
        return rows.filter(mine.fill_null(value=False).not_())


def folds(steer: pl.DataFrame, count: int, seed: int) -> list[Fold]:
    """``steer`` (columns gold_id, label, ...) in ``count`` folds, those without rows left out; none for a count of 0.

    The rows of a label are dealt out in an order that depends on seed and ids alone: folds have alike shares of labels,
    and do not change when rows of another label come or go. Each label begins at a fold of its own, or the first folds
    would get the odd rows of all of them.
    """
    number: dict[str, int] = {}
    for label in steer["label"].unique().sort() if count else ():
        ids = steer.filter(pl.col("label") == label)["gold_id"].to_list()
        first = _drawn(seed, label)
        for place, gold_id in enumerate(sorted(ids, key=lambda gold_id: (_drawn(seed, gold_id), gold_id))):
            number[gold_id] = (first + place) % count
    own = [[number.get(gold_id) == fold for gold_id in steer["gold_id"]] for fold in range(count)]
    return [Fold(place, steer.filter(mine)) for place, mine in enumerate(own, start=1) if any(mine)]


def held_out(predictions: pl.DataFrame) -> pl.DataFrame:
    """The rows of table ``predictions`` that judge a round: of selecting gold, or else of steering gold by folds.

    Each is of a student that was not trained on what follows from the row. Empty where the strategy keeps none so.
    """
    selecting = predictions.filter(pl.col("split") == "select")
    # Parts of before there were folds lack the column.
    if selecting.height or "fold" not in predictions.columns:
        return selecting
    return predictions.filter(pl.col("split") == "steer", pl.col("fold").is_not_null())


def _drawn(seed: int, what: str) -> int:
    return int(digest([seed, what], 8), 16)
