"""Some errors and what became of them: what the teacher wrote from each, and whether later students get it right.

Belongs here: choosing and reading them. Does not belong here: how the page shows them (``page.py``). Steering gold
as the strategy uses it, only: texts of other gold never leave their split.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from s3_assets.loop.fingerprints import EXTRAPOLATED_SET, GOLD, loop_key
from s3_assets.loop.steps import live_predictions
from s3_assets.loop.uses import gold_in_use
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.load import Task

# Errors shown of each kind, and rows written from one.
EACH, WRITTEN = 3, 3


@dataclass(frozen=True)
class Verdict:
    """What the student of one round says of a row."""

    round: int
    correct: bool
    prediction: str
    probability: float


@dataclass(frozen=True)
class Example:
    """A steering row that some round's student missed, first in round ``missed``.

    ``texts`` and ``label`` are gold's; for questions the label is the answer. ``written`` are rows the teacher wrote
    from it after that round, as texts and label; ``verdicts`` is what every round says of it.
    """

    texts: tuple[str, ...]
    label: str
    missed: int
    fixed: bool
    written: list[tuple[tuple[str, ...], str]]
    verdicts: list[Verdict]

    @property
    def wrong(self) -> Verdict:
        """The first wrong prediction."""
        return next(verdict for verdict in self.verdicts if not verdict.correct)


def read_examples(task: Task, warehouse: Warehouse, rounds: Sequence[int]) -> list[Example]:
    """At most three errors that the last round's student gets right, then three missed by every one.

    Those with rows written from them come first, then the larger losses. Empty below two rounds with predictions.
    """
    steer = [
        live_predictions(warehouse, loop_key(task, round_)).filter(pl.col("split") == "steer") for round_ in rounds
    ]
    # Parts written before predictions had all of today's columns lack some.
    predictions = pl.concat(steer, how="diagonal").sort("round")
    gold = warehouse.live(GOLD, {"task": task.name})
    if gold is None or predictions["round"].n_unique() < 2:
        return []
    steering = gold_in_use(task, gold.read()).filter(pl.col("split") == "steer")
    texts = {row["gold_id"]: row for row in steering.to_dicts()}
    written = _written(task, warehouse, rounds)
    found = dict[bool, list[tuple[tuple[bool, float, str], Example]]]({True: [], False: []})
    for (gold_id,), rows in predictions.group_by("gold_id", maintain_order=True):
        said = rows.to_dicts()
        fixed = bool(said[-1]["correct"]) and not all(row["correct"] for row in said)
        if str(gold_id) not in texts or not (fixed or not any(row["correct"] for row in said)):
            continue
        example, loss = _example(task, texts[str(gold_id)], said, written, fixed)
        found[fixed].append(((not example.written, -loss, str(gold_id)), example))
    return [example for fixed in (True, False) for _, example in sorted(found[fixed], key=lambda one: one[0])[:EACH]]


def _example(
    task: Task,
    gold: Mapping[str, Any],
    said: Sequence[Mapping[str, Any]],
    written: Mapping[tuple[int, str], list[Mapping[str, Any]]],
    fixed: bool,
) -> tuple[Example, float]:
    """The example and the loss of its first miss."""
    missed = next(row for row in said if not row["correct"])
    fields = task.spec.text_fields
    label = "answer" if task.spec.kind == "qa" else "label"
    rows = written.get((missed["round"], gold["gold_id"]), [])[:WRITTEN]
    example = Example(
        texts=tuple(str(gold[field]) for field in fields),
        label=str(missed["label"]),
        missed=missed["round"],
        fixed=fixed,
        written=[(tuple(str(row[field]) for field in fields), str(row[label])) for row in rows],
        verdicts=[Verdict(row["round"], row["correct"], row["prediction"], row["probability"]) for row in said],
    )
    return example, float(missed["loss"])


def _written(task: Task, warehouse: Warehouse, rounds: Sequence[int]) -> dict[tuple[int, str], list[Mapping[str, Any]]]:
    """Rows the teacher wrote, by round and gold row."""
    found: dict[tuple[int, str], list[Mapping[str, Any]]] = {}
    for round_ in rounds:
        part = warehouse.live(EXTRAPOLATED_SET, loop_key(task, round_).columns())
        for row in part.read().to_dicts() if part is not None else ():
            found.setdefault((round_, row["gold_id"]), []).append(row)
    return found
