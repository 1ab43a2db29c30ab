"""A second opinion on labels that costs no question: many small students, each trained without the rows it judges.

Belongs here: which rows a member is trained on, what members say together. Does not belong here: what becomes of a
doubted row (``generation/verify.py``), vectors of texts (``student/embeddings.py``).

A member is a logistic regression on frozen embeddings; members differ by the rows held out (cross-fitting, as
out-of-sample probabilities in Northcutt et al. 2021, Confident Learning). Their training rows overlap, so their
agreement is steadier than their number suggests.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from s3_assets.student.embeddings import embed
from s3_assets.student.features import Embed, text_features
from s3_assets.tasks.load import Task

# Every row is held out once in each repeat: it is judged by as many members, selecting gold by all FOLDS x REPEATS.
FOLDS, REPEATS = 5, 4

MOST_STEPS = 1000

# Tried for calibration.
POWERS = tuple(1.1**exponent for exponent in range(-15, 21))

# judged: trained on by members that do not judge it; taught: trained on by all, not judged; shown: judged by all.
Role = Literal["judged", "taught", "shown"]

Probabilities = NDArray[np.float64]

_FIELDS = ("text", "text2", "label")


@dataclass(frozen=True)
class Opinion:
    """What students say of a row: its own label's probability, their label and the probability of that one."""

    probability: float
    label: str
    of_label: float


# Opinions on rows, given second, and on selecting gold; None where nobody could judge. Rows given first are trained on.
Students = Callable[
    [Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]], tuple[list[Opinion | None], list[Opinion | None]]
]


@dataclass(frozen=True)
class _Pool:
    """Rows of all roles, one after another: vectors (rows, width), numbers of their labels, roles, folds by repeat."""

    features: NDArray[np.float32]
    targets: NDArray[np.int64]
    roles: NDArray[np.str_]
    folds: NDArray[np.int64]


def second_opinion(
    rows: pl.DataFrame,
    seen: pl.DataFrame | None,
    steer: pl.DataFrame,
    select: pl.DataFrame,
    labels: Sequence[str],
    weights: str,
    max_length: int,
    seed: int,
    vectors: Embed | None = None,
) -> tuple[Probabilities, Probabilities]:
    """Probabilities of ``labels`` for ``rows`` and for ``select``: shapes (rows, labels) and (select, labels).

    All frames have the columns text, text2 (null for single texts) and label. A row is judged only by members that
    were trained neither on it nor on another row of exactly its texts. ``seen`` and ``steer`` are trained on by all,
    ``select`` by none. NaN in a row that no member could judge: none of them knew its label, or had two to tell apart.
    ``vectors`` gives vectors of single texts as ``weights`` do; None: they are computed. The same arguments give the
    same numbers.
    """
    parts: list[tuple[pl.DataFrame, Role]] = [(rows, "judged"), (steer, "taught"), (select, "shown")]
    if seen is not None:
        parts.append((seen, "taught"))
    found = _judge(parts, labels, vectors or _embedder(weights, max_length), seed)
    return found[0], found[2]


def students_of(task: Task, gold: pl.DataFrame, seen: pl.DataFrame | None) -> Students:
    """The ensemble of a task, for ``second_opinion`` on rows as dictionaries. ``gold`` has the columns of ``gold``.

    Its members are trained on the rows given, on ``seen`` and on steering gold.
    """
    labels, student = list(task.spec.labels), task.spec.student
    steer, select = (_plain(gold.filter(pl.col("split") == split)) for split in ("steer", "select"))

    def ask(
        earlier: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
    ) -> tuple[list[Opinion | None], list[Opinion | None]]:
        judged, taught = _plain(rows), _plain(earlier)
        if seen is not None:
            taught = pl.concat([taught, _plain(seen)])
        found = second_opinion(
            judged, taught, steer, select, labels, student.weights, student.max_length, task.spec.seed
        )
        return _said(found[0], judged["label"], labels), _said(found[1], select["label"], labels)

    return ask


def opinions(
    rows: pl.DataFrame, gold: pl.DataFrame, labels: Sequence[str], weights: str, max_length: int, seed: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What the ensemble says of the labels of a seed set and of gold, for a person who looks for wrong ones.

    ``rows`` has the columns text, text2, label; ``gold`` also split. Each row of ``rows`` and of steering gold is
    judged by members that were not trained on its texts, selecting gold by all; test gold is not looked at. Gives for
    ``rows`` and for ``gold``, in their order, ``students_label`` and ``students_probability`` (of the row's own label,
    0 to 1); null for test gold and where no member could judge.
    """
    split = gold["split"].to_numpy()
    steer, select = (gold.filter(pl.col("split") == name) for name in ("steer", "select"))
    parts: list[tuple[pl.DataFrame, Role]] = [(rows, "judged"), (steer, "judged"), (select, "shown")]
    of_rows, of_steer, of_select = _judge(parts, labels, _embedder(weights, max_length), seed)
    of_gold = np.full((gold.height, len(labels)), np.nan)
    of_gold[split == "steer"], of_gold[split == "select"] = of_steer, of_select
    return _as_frame(of_rows, rows["label"], labels), _as_frame(of_gold, gold["label"], labels)


def _as_frame(probabilities: Probabilities, own: pl.Series, labels: Sequence[str]) -> pl.DataFrame:
    said = [(None, None) if one is None else (one.label, one.probability) for one in _said(probabilities, own, labels)]
    schema = {"students_label": pl.String, "students_probability": pl.Float64}
    return pl.DataFrame(said, schema=schema, orient="row")


def _said(probabilities: Probabilities, own: pl.Series, labels: Sequence[str]) -> list[Opinion | None]:
    return [
        None
        if np.isnan(given).any()
        else Opinion(float(given[labels.index(label)]), labels[int(given.argmax())], float(given.max()))
        for given, label in zip(probabilities, own, strict=True)
    ]


def _plain(rows: pl.DataFrame | Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Texts and labels of rows, whatever else they have."""
    if isinstance(rows, pl.DataFrame):
        return rows.select(pl.col(name).cast(pl.String) for name in _FIELDS)
    return pl.DataFrame(
        [[row[name] for name in _FIELDS] for row in rows], dict.fromkeys(_FIELDS, pl.String), orient="row"
    )


def _embedder(weights: str, max_length: int) -> Embed:
    return lambda texts: embed(texts, weights, max_length)


def _judge(
    parts: Sequence[tuple[pl.DataFrame, Role]], labels: Sequence[str], vectors: Embed, seed: int
) -> list[Probabilities]:
    """Mean probabilities that the members allowed to judge a row give it, by part."""
    frames = [_plain(frame) for frame, _ in parts]
    heights = [frame.height for frame in frames]
    everything = pl.concat(frames)
    number = {label: place for place, label in enumerate(labels)}
    roles = np.repeat([role for _, role in parts], heights)
    targets = np.array([number[label] for label in everything["label"]], np.int64)
    texts = list(everything.select("text", "text2").iter_rows())
    features = text_features(texts, vectors)
    pool = _Pool(features, targets, roles, _folds(texts, everything["label"], roles, seed))
    summed = np.zeros((len(texts), len(labels)))
    members = np.zeros(len(texts), np.int64)
    from threadpoolctl import threadpool_limits

    # Problems this small only wait for a second thread: on two busy cores 1.6 s a member with it, 0.2 s without.
    with threadpool_limits(1):
        for repeat in range(REPEATS):
            for fold in range(FOLDS):
                _ask_member(pool, pool.folds[repeat], fold, summed, members)
    asked = members > 0
    shown = asked & (roles == "shown")
    mean = summed / np.maximum(members, 1)[:, None]
    found = np.full_like(mean, np.nan)
    found[asked] = _calibrated(mean[asked], mean[shown], targets[shown])
    return np.split(found, np.cumsum(heights)[:-1])


def _calibrated(probabilities: Probabilities, shown: Probabilities, targets: NDArray[np.int64]) -> Probabilities:
    """Probabilities to the power that makes those of ``shown`` most likely to be right (temperature scaling).

    Guo et al. 2017, On Calibration of Modern Neural Networks. Small regularised members say too little, a mean of them
    less still. A power away from 1 costs as much as one row is worth, so that few rows do not move it far.
    """
    if not len(targets):
        return probabilities
    logs, of_shown = (np.log(np.maximum(given, 1e-12)) for given in (probabilities, shown))
    costs = []
    for power in POWERS:
        scaled = power * of_shown
        own = scaled[np.arange(len(targets)), targets] - np.logaddexp.reduce(scaled, axis=1)
        costs.append(np.log(power) ** 2 - own.sum())
    scaled = POWERS[int(np.argmin(costs))] * logs
    calibrated: Probabilities = np.exp(scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True))
    return calibrated


def _ask_member(
    pool: _Pool, folds: NDArray[np.int64], fold: int, summed: Probabilities, members: NDArray[np.int64]
) -> None:
    """Train the member that goes without ``fold``; add what it says of the rows it may judge."""
    trains = (pool.roles != "shown") & (folds != fold)
    known = np.unique(pool.targets[trains])
    if len(known) < 2:
        return
    judges = (pool.roles != "taught") & ((folds == fold) | ((pool.roles == "shown") & (folds < 0)))
    # Of a row whose label it never saw a member can only say that it is wrong.
    judges &= np.isin(pool.targets, known)
    if not judges.any():
        return
    member = _fitted(pool.features[trains], pool.targets[trains])
    said = np.zeros((int(judges.sum()), summed.shape[1]))
    said[:, known] = member.predict_proba(pool.features[judges])
    summed[judges] += said
    members[judges] += 1


def _fitted(features: NDArray[np.float32], targets: NDArray[np.int64]) -> Any:
    from sklearn.linear_model import LogisticRegression  # 2 s

    # Its default regularisation: ten times less of it found fewer wrong labels, three times more or less as many.
    return LogisticRegression(max_iter=MOST_STEPS).fit(features, targets)


def _folds(
    texts: Sequence[tuple[str, str | None]], labels: pl.Series, roles: NDArray[np.str_], seed: int
) -> NDArray[np.int64]:
    """Fold of every row in every repeat, -1 for rows that are never held out; shape (repeats, rows).

    Rows of the same texts are held out together. Folds have alike shares of the labels.
    """
    held: dict[tuple[str, str], str] = {}
    has: dict[tuple[str, str], set[str]] = {}
    keys = [(text, text2 or "") for text, text2 in texts]
    for key, label, role in zip(keys, labels, roles, strict=True):
        has.setdefault(key, set()).add(role)
        held.setdefault(key, label)
    drawn = sorted(key for key, found in has.items() if "judged" in found or len(found) > 1)
    folds = np.full((REPEATS, len(keys)), -1, np.int64)
    for repeat in range(REPEATS):
        rng = random.Random(f"{seed} ensemble {repeat}")
        order = sorted(rng.sample(drawn, len(drawn)), key=held.__getitem__)
        fold = {key: place % FOLDS for place, key in enumerate(order)}
        folds[repeat] = [fold.get(key, -1) for key in keys]
    return folds
