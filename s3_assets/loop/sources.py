"""What a round's choice of gold rows rests on, read from live parts.

Belongs here: predictions, earlier rounds, vectors and folds of steering gold, the table ``sources``. Does not belong
here: choosing (``selection/``), the order of a step's work (``steps.py``).
"""

from typing import TYPE_CHECKING

import polars as pl

from s3_assets.generation.contexts import writable
from s3_assets.loop.cross_fitting import folds_of
from s3_assets.loop.fingerprints import ERROR_SET, EXTRAPOLATED_SET
from s3_assets.loop.writing import frame_of
from s3_assets.selection.choice import Basis, Choice
from s3_assets.selection.choose import needs_folds, needs_vectors
from s3_assets.selection.skipped import ROUNDS_IN_VAIN, mislabelled, never_learned, unless_all
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.store.tables import table
from s3_assets.tasks.load import Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SOURCES = "sources"

# Width of vectors that stand for those that nobody computed yet.
_STAND_IN_WIDTH = 8


def read_basis(
    task: Task,
    warehouse: Warehouse,
    key: RoundKey,
    gold: pl.DataFrame,
    errors: pl.DataFrame | None,
    seed_set: pl.DataFrame | None,
    *,
    ahead: bool = False,
) -> Basis:
    """What is known of steering gold in the round ``key``; only what the options of the strategy need is read.

    ``gold`` is gold as the strategy uses it, ``errors`` the round's error set (None: rows are not chosen by errors),
    ``seed_set`` the round's seed set. With ``ahead`` nothing is computed that costs seconds, for an estimate: vectors
    that are not kept yet are drawn at random, and nobody doubts labels.
    """
    how = task.spec.how
    steer = gold.filter(pl.col("split") == "steer")
    rows = writable(task, steer, gold)
    wrong = pl.DataFrame(schema=table(ERROR_SET).schema) if errors is None else errors
    wrong = wrong.join(rows.select("gold_id"), on="gold_id", how="semi", maintain_order="left")
    fold = {}
    if needs_folds(task):
        fold = {one: part.number for part in folds_of(task, steer, key.seed) for one in part.gold["gold_id"]}
    return Basis(
        rows,
        wrong,
        said=_said(warehouse, key, rows) if how.by == "doubt" else None,
        vectors=_vectors(task, warehouse, rows, ahead=ahead) if needs_vectors(task) else None,
        skipped=_skipped(task, warehouse, key, gold, wrong, None if ahead else seed_set),
        folds=fold,
        shares=dict(steer["label"].value_counts(sort=True).sort("label").iter_rows()),
    )


def write_sources(warehouse: Warehouse, key: RoundKey, choice: Choice) -> None:
    """Store what a round chose as its part of table ``sources``."""
    rows = sorted(choice.records(), key=lambda row: row["gold_id"])
    warehouse.write(SOURCES, key.columns(), frame_of(SOURCES, rows, key.columns()))


def _said(warehouse: Warehouse, key: RoundKey, rows: pl.DataFrame) -> pl.DataFrame:
    """Predictions on steering gold."""
    part = warehouse.live("predictions", key.columns())
    found = pl.DataFrame(schema=table("predictions").schema) if part is None else part.read()
    return found.join(rows.select("gold_id"), on="gold_id", how="semi", maintain_order="left")


def _vectors(task: Task, warehouse: Warehouse, rows: pl.DataFrame, *, ahead: bool) -> "NDArray[np.float32]":
    import numpy as np

    from s3_assets.drift.vectors import kept_vectors, row_vectors
    from s3_assets.store.identity import text_id

    fields = task.spec.text_fields
    if not ahead:
        return row_vectors(warehouse, task.name, rows, fields)
    ids = [text_id(*values) for values in rows.select(fields).iter_rows()]
    kept = kept_vectors(warehouse, task.name, ids)
    if len(kept) == len(set(ids)):
        return np.stack([kept[one] for one in ids])
    return np.random.default_rng(task.spec.seed).standard_normal((len(ids), _STAND_IN_WIDTH), np.float32)


def _skipped(
    task: Task,
    warehouse: Warehouse,
    key: RoundKey,
    gold: pl.DataFrame,
    errors: pl.DataFrame,
    seed_set: pl.DataFrame | None,
) -> dict[str, str]:
    """Reasons by gold id of errors that are passed over; labels are doubted only where there is a ``seed_set``."""
    skips, ids = task.spec.how.skips, errors["gold_id"].to_list()
    found: dict[str, str] = {}
    if "mislabelled" in skips and seed_set is not None and ids:
        # Rows written from gold rows would speak for the labels in question.
        steer = gold.filter(pl.col("split") == "steer")
        found |= mislabelled(task, ids, steer, seed_set.filter(pl.col("gold_id").is_null()))
    if "never_learned" in skips and key.round >= ROUNDS_IN_VAIN:
        rounds = [key.at(earlier) for earlier in range(key.round)]
        before = [(_ids(warehouse, ERROR_SET, one), _ids(warehouse, EXTRAPOLATED_SET, one)) for one in rounds]
        found |= never_learned(ids, before)
    return unless_all(found, ids)


def _ids(warehouse: Warehouse, name: str, key: RoundKey) -> set[str]:
    part = warehouse.live(name, key.columns())
    return set() if part is None else set(part.read()["gold_id"].drop_nulls())
