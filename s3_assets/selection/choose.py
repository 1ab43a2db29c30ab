"""Which gold rows a round extrapolates, how many rows each gets, and what stands beside it in the request.

Belongs here: carrying out the options by, keep, skips, explore, prior and one_each, and the choice of contrasts and
clusters. Does not belong here: reading what is known (``loop/sources.py``), requests (``generation/extrapolate.py``).
"""

import logging
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from s3_assets.generation.schedule import round_size
from s3_assets.selection.allocation import Room, divided, in_proportion, in_turn, over_groups
from s3_assets.selection.choice import DOUBTED, ERROR, EXPLORED, SKIPPED, Basis, Choice, Source, Why
from s3_assets.selection.clusters import clusters
from s3_assets.selection.contrast import contrasts
from s3_assets.selection.errors import CUT, doubts, error_weights, kept
from s3_assets.tasks.load import Task
from s3_assets.tasks.strategy import Strategy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)


def needs_vectors(task: Task) -> bool:
    """Whether an option of the task's strategy compares texts."""
    return needs_clusters(task.spec.how) or shows_contrast(task)


def needs_folds(task: Task) -> bool:
    """Whether what a row is shown with must be of its own fold."""
    return task.spec.how.cross_fit > 0 and (shows_contrast(task) or "diagnosis" in task.spec.how.shows)


def needs_clusters(how: Strategy) -> bool:
    """Whether errors are grouped."""
    return how.by == "cluster" or "diagnosis" in how.shows


def shows_contrast(task: Task) -> bool:
    """Whether rows are shown beside one of another label; questions have no labels."""
    return "contrast" in task.spec.how.shows and task.spec.kind != "qa"


def turns_alike(task: Task, ids: Sequence[str], round_: int) -> dict[str, int]:
    """Rows by gold id, by the paper's rule: as many as the round has, ``ids`` taken in turn, in random order.

    ``rows.per_error`` caps what one of them gets; with one_each every one gets exactly one.
    """
    if task.spec.how.one_each or not ids:
        return dict.fromkeys(ids, 1)
    drawn, cap = _drawn(task, ids, round_), task.spec.rows.per_error
    whole, rest = divmod(round_size(task, round_), len(drawn))
    turns = {gold_id: whole + (place < rest) for place, gold_id in enumerate(drawn)}
    return {gold_id: count if cap is None else min(count, cap) for gold_id, count in turns.items()}


def choose(task: Task, basis: Basis, round_: int) -> Choice:
    """The gold rows of a round and the rows asked from each. The same arguments give the same choice.

    Explored rows are drawn first, then the rest goes to the sources that ``by`` names. With prior gold both keep the
    labels' shares of steering gold, as far as labels have sources; keep then counts within a label. ``rows.per_error``
    caps what a gold row gets of both together; what it cuts goes to others in turn, of the same label first. Skipped
    errors are not explored either. With one_each every source gets one row. ``ValueError`` where ``basis`` lacks the
    predictions or vectors that an option goes by.
    """
    how = task.spec.how
    labels: dict[str, str] = dict(basis.steer.select("gold_id", "label").iter_rows())
    able = [gold_id for gold_id in basis.steer["gold_id"] if gold_id not in basis.skipped]
    errors = basis.errors.filter(~pl.col("gold_id").is_in(list(basis.skipped)))
    field = _Field(labels, _clusters(task, basis, errors), *_sources(task, basis, able, errors, round_))
    explored: Counter[str] = Counter()
    if how.one_each:
        wanted = Counter(dict.fromkeys(field.turns, 1))
    elif _plain(how):
        wanted = Counter(turns_alike(task, able if how.extrapolates == "gold" else errors["gold_id"].to_list(), round_))
    else:
        cap = task.spec.rows.per_error
        room: Room = dict.fromkeys(able, math.inf if cap is None else cap)
        explored = _explored(task, basis, able, labels, room, round_)
        wanted = explored + _by_rule(how, basis, round_size(task, round_), explored, field, room)
    considered = dict.fromkeys([*wanted, *field.turns, *errors["gold_id"]])
    against = _contrasts(task, basis, [gold_id for gold_id in considered if wanted[gold_id]])
    sources = [_source(gold_id, field, wanted, explored, against) for gold_id in considered]
    skipped = [Source(gold_id, labels[gold_id], SKIPPED, reason) for gold_id, reason in basis.skipped.items()]
    return Choice((*sources, *skipped), explored.total())


@dataclass(frozen=True)
class _Field:
    """Who takes part: labels by gold id, groups of errors; the rule's sources in turn, why they are, what weighs."""

    labels: Mapping[str, str]
    group: Mapping[str, int]
    why: Why
    weights: Mapping[str, float]
    turns: Sequence[str]


def _source(
    gold_id: str,
    field: _Field,
    wanted: Mapping[str, int],
    explored: Mapping[str, int],
    against: Mapping[str, str],
) -> Source:
    rows, drawn = wanted.get(gold_id, 0), explored.get(gold_id, 0)
    only_drawn = drawn > 0 and rows == drawn
    reason = None
    if drawn and not only_drawn:
        reason = f"{drawn} of its rows explored"
    elif not rows and gold_id not in set(field.turns):
        reason = "not kept"
    return Source(
        gold_id,
        field.labels[gold_id],
        EXPLORED if only_drawn else field.why,
        reason,
        field.group.get(gold_id),
        field.weights.get(gold_id, 1.0),
        rows,
        against.get(gold_id),
    )


def _plain(how: Strategy) -> bool:
    """Whether the paper's rule says it all."""
    return how.by == "all" and how.explore == 0 and how.prior == "uniform"


def _drawn(task: Task, ids: Sequence[str], round_: int) -> list[str]:
    return random.Random(f"{task.spec.seed} errors {round_}").sample(ids, len(ids))


def _sources(
    task: Task, basis: Basis, able: Sequence[str], errors: pl.DataFrame, round_: int
) -> tuple[Why, Mapping[str, float], list[str]]:
    """Why rows are written from the sources of the rule, what weighs, and the sources in the order of their turns."""
    how = task.spec.how
    if how.extrapolates == "gold":
        return EXPLORED, dict.fromkeys(able, 1.0), _drawn(task, able, round_)
    wrong = errors["gold_id"].to_list()
    if how.by == "doubt":
        if basis.said is None:
            raise ValueError("by: doubt goes by predictions on steering gold; give them")
        doubted = doubts(basis.said, task.spec.kind)
        return DOUBTED, {gold_id: doubted.get(gold_id, 0.0) for gold_id in able}, _drawn(task, able, round_)
    # The paper's rule to the letter has no turns.
    drawn = wrong if how.one_each else _drawn(task, wrong, round_)
    # Within a label, where labels have their own shares.
    parts = errors.partition_by("label") if how.prior == "gold" and how.by in CUT else [errors]
    own = [(part, set(part["gold_id"])) for part in parts]
    turns = [one for part, ids in own for one in kept(how, part, [gold_id for gold_id in drawn if gold_id in ids])]
    return ERROR, error_weights(how, errors), turns


def _explored(
    task: Task, basis: Basis, able: Sequence[str], labels: Mapping[str, str], room: Room, round_: int
) -> Counter[str]:
    """The share of rows that is written from random steering gold, whatever the student says of it."""
    how = task.spec.how
    rows = round(how.explore * round_size(task, round_))
    drawn = random.Random(f"{task.spec.seed} explore {round_}").sample(able, len(able))
    given: Counter[str] = Counter()
    if how.prior == "gold":
        present = {label: share for label, share in basis.shares.items() if label in {labels[one] for one in able}}
        for label, count in divided(rows, present).items():
            given += in_turn(count, [gold_id for gold_id in drawn if labels[gold_id] == label], room)
    return given + in_turn(rows - given.total(), drawn, room)


def _by_rule(
    how: Strategy,
    basis: Basis,
    rows: int,
    explored: Counter[str],
    field: _Field,
    room: Room,
) -> Counter[str]:
    """What exploring leaves of ``rows``, over the rule's sources."""
    group, labels, turns = field.group, field.labels, field.turns

    def give(count: int, able: Sequence[str]) -> Counter[str]:
        if how.by == "cluster":
            names = dict.fromkeys(group[gold_id] for gold_id in able)
            return over_groups(count, [[one for one in able if group[one] == name] for name in names], room)
        if how.by == "doubt":
            return in_proportion(count, {gold_id: field.weights[gold_id] for gold_id in able}, room)
        return in_turn(count, able, room)

    left = rows - explored.total()
    if how.prior == "uniform":
        return give(left, turns)
    by_label: dict[str, list[str]] = {}
    for gold_id in turns:
        by_label.setdefault(labels[gold_id], []).append(gold_id)
    had = Counter[str]()
    for gold_id, count in explored.items():
        had[labels[gold_id]] += count
    total = sum(basis.shares.values())
    # What explored rows lack of the labels' shares, so that both together have them.
    owed = {label: max(0.0, rows * share / total - had[label]) for label, share in basis.shares.items()}
    given: Counter[str] = Counter()
    for label, count in divided(left, {label: owed[label] for label in owed if label in by_label}).items():
        given += give(count, by_label[label])
    return given + in_turn(left - given.total(), turns, room)


def _clusters(task: Task, basis: Basis, errors: pl.DataFrame) -> dict[str, int]:
    """Groups of errors, numbered from 0. Where they are shown a diagnosis, no group has errors of two folds.

    A fold's judge must not learn from what was written with the fold's gold in view, which a diagnosis is.
    """
    how = task.spec.how
    if not needs_clusters(how):
        return {}
    vectors = _vectors(basis)
    place = {gold_id: number for number, gold_id in enumerate(basis.steer["gold_id"])}
    parted: dict[int, list[str]] = {}
    # In the order of ids: groups must not depend on that of the file.
    for gold_id in sorted(errors["gold_id"]):
        parted.setdefault(basis.folds.get(gold_id, 0) if "diagnosis" in how.shows else 0, []).append(gold_id)
    found: dict[str, int] = {}
    for _, ids in sorted(parted.items()):
        first = 1 + max(found.values(), default=-1)
        own = clusters(ids, vectors[[place[gold_id] for gold_id in ids]], task.spec.seed)
        found |= {gold_id: first + number for gold_id, number in own.items()}
    return found


def _vectors(basis: Basis) -> "NDArray[np.float32]":
    if basis.vectors is None:
        raise ValueError("clusters and contrasts go by vectors of steering gold; give them")
    return basis.vectors


def _contrasts(task: Task, basis: Basis, ids: Sequence[str]) -> dict[str, str]:
    if "contrast" in task.spec.how.shows and not shows_contrast(task):
        log.info("shows: contrast has nothing to show: questions have no labels")
    if not shows_contrast(task):
        return {}
    wrong = {*basis.errors["gold_id"], *basis.skipped}
    return contrasts(ids, basis.steer, _vectors(basis), wrong, basis.folds)
