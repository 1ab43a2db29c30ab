"""Texts as points in a plane: steering gold, and the rows that each round added.

Belongs here: choosing the rows, reading their kept vectors, projecting them. Does not belong here: computing vectors
(``drift/vectors.py`` does, for drift), drawing (``map_picture.py``). Texts of gold that does not steer are not shown.

The projection is onto the two principal components of the rows shown. t-SNE keeps more of who is near whom (on 724
rows of the demo its trustworthiness for 10 neighbours is 0.85, that of principal components 0.70) and took 10 s on one
core instead of 0.03 s; what it does to distances between groups has no meaning, and those are what drift is about.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from s3_assets.drift.vectors import kept_vectors
from s3_assets.loop.fingerprints import GOLD, SEED_SET, loop_key
from s3_assets.loop.steps import live_predictions
from s3_assets.loop.uses import gold_in_use
from s3_assets.store.identity import text_id
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.load import Task

# Rows shown at most. A page with more is slow to move about in, and marks hide one another.
MOST_POINTS = 1500


@dataclass(frozen=True)
class Point:
    """One row. ``round`` is the one that added it, None for gold; ``prediction`` is ``Map.last_round``'s, for gold."""

    x: float
    y: float
    texts: tuple[str, ...]
    label: str
    round: int | None
    prediction: str | None = None
    probability: float | None = None
    error: bool = False


@dataclass(frozen=True)
class Map:
    """The points, gold first, then by round. ``explained`` is the two components' share of variance, 0 to 1.

    ``last_round`` is the newest round whose student has predictions, None where there is none.
    """

    points: list[Point]
    last_round: int | None
    explained: float
    rows: int


def read_map(task: Task, warehouse: Warehouse, rounds: Sequence[int]) -> Map | str:
    """The map of a task's rounds, or a sentence that says why there is none.

    Above 1,500 rows as many are drawn from gold and from each round in proportion, by the task's seed. Rows whose
    vectors are not kept are left out; none is computed.
    """
    if not task.spec.drift.embeddings:
        return "The task declares drift.embeddings: false, so its texts have no vectors."
    last_round, said = _newest_predictions(task, warehouse, rounds)
    rows = _rows(task, warehouse, rounds, said)
    kept = kept_vectors(warehouse, task.name, rows["text_id"].to_list())
    rows = rows.filter(pl.col("text_id").is_in(list(kept)))
    if rows["round"].null_count() < 2 or rows["round"].n_unique() < 2:
        return "The vectors of these rows are not kept; they are made with the asset drift."
    shown = _sample(rows, task.spec.seed)
    places, explained = project(np.stack([kept[identity] for identity in shown["text_id"]]))
    points = [
        Point(
            x=float(x),
            y=float(y),
            texts=tuple(str(row[field]) for field in task.spec.text_fields),
            label=row["answer"] if task.spec.kind == "qa" else row["label"],
            round=row["round"],
            prediction=row["prediction"],
            probability=row["probability"],
            error=row["correct"] is False,
        )
        for (x, y), row in zip(places, shown.to_dicts(), strict=True)
    ]
    return Map(points, last_round, explained, rows.height)


def project(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """Coordinates of ``vectors`` (n, d) on their two principal components, (n, 2), and those's share of variance."""
    from sklearn.decomposition import PCA  # 1 s

    found = PCA(2, svd_solver="arpack", random_state=0)
    places = found.fit_transform(vectors.astype(np.float64))
    return places, float(np.nansum(found.explained_variance_ratio_))


def _newest_predictions(task: Task, warehouse: Warehouse, rounds: Sequence[int]) -> tuple[int | None, pl.DataFrame]:
    """The newest round whose student has predictions, with them; None and no rows where there is none."""
    for round_ in sorted(rounds, reverse=True):
        said = live_predictions(warehouse, loop_key(task, round_))
        if not said.is_empty():
            return round_, said
    return None, live_predictions(warehouse, loop_key(task, min(rounds)))


def _rows(task: Task, warehouse: Warehouse, rounds: Sequence[int], predictions: pl.DataFrame) -> pl.DataFrame:
    """Steering gold with one round's predictions, then the rows that each round added, by id."""
    columns = ["round", "text", "text2", "label", "answer", "prediction", "probability", "correct"]
    said = predictions.select("gold_id", "prediction", "probability", "correct")
    part = warehouse.live(GOLD, {"task": task.name})
    frames = []
    if part is not None:
        steer = gold_in_use(task, part.read()).filter(pl.col("split") == "steer").sort("gold_id")
        judged = steer.join(said, on="gold_id", how="left")
        frames.append(judged.with_columns(pl.lit(None, pl.Int64).alias("round")).select(columns))
    for round_ in rounds:
        seed_set = warehouse.live(SEED_SET, loop_key(task, round_).columns())
        if seed_set is not None:
            added = seed_set.read().filter(pl.col("first_round") == round_).sort("example_id")
            nothing = (pl.lit(None, said.schema[name]).alias(name) for name in columns[5:])
            frames.append(added.with_columns(*nothing).select(columns))
    found = pl.concat(frames)
    texts = found.select(task.spec.fields_written).iter_rows()
    return found.with_columns(pl.Series("text_id", [text_id(*values) for values in texts], dtype=pl.String))


def _sample(rows: pl.DataFrame, seed: int) -> pl.DataFrame:
    """At most ``MOST_POINTS`` of ``rows``, the same share of gold and of every round."""
    if rows.height <= MOST_POINTS:
        return rows
    share = MOST_POINTS / rows.height
    groups = [group for _, group in rows.group_by("round", maintain_order=True)]
    return pl.concat([group.sample(max(1, int(share * group.height)), seed=seed) for group in groups])
