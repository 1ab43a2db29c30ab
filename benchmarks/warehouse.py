"""A warehouse of made-up rows, as large as wanted, to time queries on.

Every table is filled as the loop fills it: gold, requests and their answers, rows, refused rows, verdicts, models,
predictions, errors, drift, vectors. Texts are drawn from a list of invented words; nothing in them means anything.

    python benchmarks/warehouse.py --to /path/to/million --rows 1000000

A loop has four rounds of --per-round rows each; there are as many loops (tasks by seeds) as make up --rows distinct
synthetic rows. Their seed sets, which hold earlier rounds too, have 2.5 times as many.
"""

import argparse
import json
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from s3_assets.drift.vectors import ENCODER
from s3_assets.store.catalog import ensure_catalog
from s3_assets.store.drift_tables import DIMENSIONS
from s3_assets.store.identity import digest, example_id, gold_id, text_id
from s3_assets.store.parts import DATA_VERSION, RoundKey, Warehouse
from s3_assets.store.tables import table

ROUNDS, SEEDS, PER_REQUEST = 4, 5, 4
LABELS = ("positive", "negative")
GOLD = {"steer": 150, "select": 75, "test": 75}
GATES = ("near_duplicate", "echo", "length", "gold_overlap", "label_words")
TEACHER = {"teacher_id": "made-up.example/v1", "model": "made-up-1"}
METRICS = ("length_wasserstein", "vocabulary_js", "oov_share", "mmd2", "coverage", "c2st_auc", "distinct_2")
# Share of steering gold that the students of successive rounds miss.
MISSED = (0.35, 0.25, 0.18, 0.15)
BEGAN = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)

Rows = list[dict[str, Any]]


class Writer:
    """Words, texts and parts of one warehouse."""

    def __init__(self, warehouse: Warehouse, seed: int) -> None:
        self.warehouse = warehouse
        self.rng = np.random.default_rng(seed)
        syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "ai", "ou")]
        picks = random.Random(seed)
        self.words = np.array(
            sorted({"".join(picks.choices(syllables, k=picks.choice((2, 2, 3)))) for _ in range(6000)})
        )
        # Common words are common: weights fall as one over the rank.
        weights = 1 / np.arange(10, len(self.words) + 10)
        self.weights = np.cumsum(weights / weights.sum())

    def texts(self, count: int) -> list[str]:
        """Texts of 6 to 24 words."""
        lengths = self.rng.integers(6, 25, count)
        drawn = self.words[np.searchsorted(self.weights, self.rng.random(int(lengths.sum())))]
        ends = np.cumsum(lengths)
        return [" ".join(drawn[end - length : end]) for length, end in zip(lengths, ends, strict=True)]

    def put(self, name: str, keys: dict[str, str | int], rows: Rows | pl.DataFrame) -> None:
        """One part; columns that rows lack are null."""
        schema = table(name).schema
        if isinstance(rows, list):
            rows = pl.DataFrame([{**keys, **row} for row in rows], schema=schema)
        self.warehouse.write(name, keys, rows)

    def vectors(self, task: str, ids: list[str], labels: list[str]) -> None:
        """A vector per text, those of one label nearer to each other."""
        shift = np.array([[1.0 if label == LABELS[0] else -1.0] for label in labels], np.float32)
        found = self.rng.standard_normal((len(ids), DIMENSIONS), np.float32) + 0.3 * shift
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        rows = pl.DataFrame({"task": [task] * len(ids), "text_id": ids, "encoder": [ENCODER] * len(ids)}).with_columns(
            pl.Series("embedding", found, dtype=table("embeddings").schema["embedding"])
        )
        self.warehouse.write("embeddings", {"task": task}, rows, {DATA_VERSION: digest(ids[:3])})


class Loop:
    """One task with one seed: its rounds, one after another."""

    def __init__(self, writer: Writer, task: str, seed: int, gold: Rows, per_round: int) -> None:
        self.writer, self.task, self.seed, self.gold, self.per_round = writer, task, seed, gold, per_round
        self.clock = BEGAN + timedelta(days=seed)
        self.rows: Rows = []

    def run(self) -> None:
        """All rounds. The last one extrapolates nothing, as in the product."""
        self._ask("seed_set", 0, [(None, label) for label in LABELS], None)
        for round_ in range(ROUNDS):
            errors = self._train(round_)
            if round_ < ROUNDS - 1:
                self._ask("extrapolated_set", round_, [(row["gold_id"], row["label"]) for row in errors], round_)

    def _key(self, round_: int) -> dict[str, str | int]:
        return RoundKey(self.task, "default", self.seed, round_).columns()

    def _model(self, round_: int) -> str:
        return f"m_{digest([self.task, self.seed, round_], 8)}"

    def _ask(self, asset: str, round_: int, sources: list[tuple[str | None, str]], by: int | None) -> None:
        """Requests for ``per_round`` accepted rows, taking the sources in turn."""
        key, calls, uses, accepted, rejected, verdicts = self._key(round_), [], [], list[dict[str, Any]](), [], []
        refused = self.per_round // 10
        texts = self.writer.texts(self.per_round + refused)
        bad = set(self.writer.rng.choice(len(texts), refused, replace=False).tolist())
        for number, start in enumerate(range(0, len(texts), PER_REQUEST)):
            source, label = sources[number % len(sources)]
            own = texts[start : start + PER_REQUEST]
            request = f"q_{digest([self.task, self.seed, asset, round_, number], 8)}"
            self.clock += timedelta(milliseconds=250)
            calls.append(self._call(request, asset, own, label))
            uses.append(
                {"asset": asset, "gold_id": source, "request_id": request, "kind": "examples", "from_ledger": False}
                | {"rows_requested": len(own), "used_at": self.clock}
            )
            for item, text in enumerate(own):
                row: dict[str, Any] = {"text": text, "label": label, "gold_id": source}
                row |= {"request_id": request, "item": item}
                row["example_id"] = example_id(text, None, label)
                if start + item in bad:
                    gate = GATES[(start + item) % len(GATES)]
                    row |= {"row_id": row.pop("example_id"), "stage": "row", "gate": gate, "reason": f"refused: {gate}"}
                    rejected.append(row | {"asset": asset})
                    continue
                accepted.append(row | {"confidence": 0.5 + (start % 50) / 100})
                verdicts.append(
                    {"kind": "synthetic", "row_id": row["example_id"], "label": label, "votes": [label]}
                    | {"requests": [], "confidence": 0.9, "threshold": 0.5, "outcome": "kept", "asset": asset}
                    | {"request_id": request, "item": item}
                )
        made = pl.DataFrame([{**key, **call} for call in calls], schema=table("teacher_calls").schema)
        self.writer.warehouse.write("teacher_calls", {}, made)
        self.writer.put("teacher_uses", key, uses)
        self.writer.put("rejected", {**key, "asset": asset}, rejected)
        if self.task.endswith("0"):
            # Verification is off in most tasks.
            self.writer.put("verdicts", {**key, "asset": asset}, verdicts)
        if by is not None:
            self.writer.put(asset, key, [row | {"model_id": self._model(by)} for row in accepted])
        first = 0 if by is None else by + 1
        origin = "seed" if by is None else "extrapolated"
        self.rows += [row | {"origin": origin, "first_round": first} for row in accepted]
        ids = [text_id(row["text"]) for row in accepted]
        self.writer.vectors(self.task, ids, [row["label"] for row in accepted])

    def _call(self, request: str, asset: str, texts: list[str], label: str) -> dict[str, Any]:
        asked = {"messages": [{"role": "user", "content": f"Write {len(texts)} texts of the label {label}. " * 8}]}
        answer = json.dumps({"examples": [{"text": text} for text in texts]})
        return {
            **TEACHER,
            "request_id": request,
            "sample": 0,
            "attempt": 0,
            "kind": "examples",
            "request": json.dumps(asked),
            "response": answer,
            "finish_reason": "stop",
            "outcome": "answered",
            "prompt_tokens": 220,
            "completion_tokens": len(answer) // 4,
            "cost": 1e-6 * len(answer),
            "price_version": "made-up",
            "latency_seconds": 0.8,
            "dialect": "json_schema",
            "asset": asset,
            "run_id": f"run-{self.seed}",
            "asked_at": self.clock,
        }

    def _train(self, round_: int) -> Rows:
        """Seed set, model, predictions, errors and drift of a round; the errors."""
        key, model = self._key(round_), self._model(round_)
        self.writer.put("seed_set", key, self.rows)
        rng = np.random.default_rng([self.seed, round_, len(self.task)])
        # A row is as hard in every round: what a round gets right mostly stays right.
        hard = np.random.default_rng([self.seed, len(self.task)]).random(len(self.gold))
        chance = np.clip(hard + rng.normal(0, 0.08, len(self.gold)), 0.001, 0.999)
        predictions = []
        for row, difficulty in zip(self.gold, chance, strict=True):
            wrong = difficulty > 1 - MISSED[round_]
            other = LABELS[1 - LABELS.index(row["label"])]
            own = float(0.5 - difficulty / 2.1 if wrong else 1 - difficulty / 2.1)
            predictions.append(
                {"model_id": model, "gold_id": row["gold_id"], "split": row["split"], "label": row["label"]}
                | {"prediction": other if wrong else row["label"], "correct": not wrong, "loss": -float(np.log(own))}
                | {"probability": 1 - own if wrong else own, "label_probability": own}
            )
        self.writer.put("predictions", key, predictions)
        texts = {row["gold_id"]: row["text"] for row in self.gold}
        errors = [row for row in predictions if row["split"] == "steer" and not row["correct"]]
        kept = table("error_set").schema
        named = [{**{k: v for k, v in row.items() if k in kept}, "text": texts[row["gold_id"]]} for row in errors]
        self.writer.put("error_set", key, named)
        shares = {
            f"{split}_accuracy": float(np.mean([row["correct"] for row in predictions if row["split"] == split]))
            for split in GOLD
        }
        trained = {"model_id": model, "weights": "minilm", "training_rows": len(self.rows), "gold_rows": 0}
        trained |= {"epochs": 3, "best_epoch": 2, "train_seconds": 60.0, "device": "cpu/bfloat16", **shares}
        self.writer.put("trained_model", key, [trained])
        self.writer.put("drift", key, list(self._drift(round_)))
        return errors

    def _drift(self, round_: int) -> Iterator[dict[str, Any]]:
        for reference in ("gold_steer", "rounds_before") if round_ else ("gold_steer",):
            for label in (None, *LABELS):
                for place, metric in enumerate(METRICS):
                    value = 0.3 + place / 50 - round_ / 25
                    yield (
                        {"reference": reference, "label": label, "metric": metric, "value": value}
                        | {"ci_low": value - 0.03, "ci_high": value + 0.03, "floor": 0.2}
                        | {"n_ref": GOLD["steer"], "n_syn": len(self.rows)}
                    )


def gold_rows(writer: Writer, task: str) -> Rows:
    """Gold of a task, also written."""
    splits = [split for split, count in GOLD.items() for _ in range(count)]
    rows = [
        {"gold_id": gold_id(text, None), "split": split, "text": text, "label": LABELS[place % 2]}
        | {"source": "gold.csv", "source_row": place + 1}
        for place, (split, text) in enumerate(zip(splits, writer.texts(len(splits)), strict=True))
    ]
    writer.put("gold", {"task": task}, rows)
    writer.vectors(task, [text_id(row["text"]) for row in rows], [row["label"] for row in rows])
    return rows


def write(warehouse: Warehouse, rows: int, per_round: int, seed: int = 0) -> int:
    """Fill ``warehouse`` with at least ``rows`` distinct synthetic rows; how many loops that took."""
    writer = Writer(warehouse, seed)
    loops = -(-rows // (ROUNDS * per_round))
    for task_number in range(-(-loops // SEEDS)):
        task = f"made_up_{task_number:02d}"
        gold = gold_rows(writer, task)
        for loop_seed in range(min(SEEDS, loops - task_number * SEEDS)):
            Loop(writer, task, loop_seed, gold, per_round).run()
            print(f"{task} seed {loop_seed} written", flush=True)
    return loops


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, required=True, help="folder of the warehouse to fill; must be empty")
    parser.add_argument("--rows", type=int, default=1_000_000, help="distinct synthetic rows")
    parser.add_argument("--per-round", type=int, default=10_000, help="rows a round adds")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.to.exists() and any(given.to.iterdir()):
        parser.error(f"{given.to} is not empty")
    began = time.monotonic()
    warehouse = Warehouse(given.to)
    loops = write(warehouse, given.rows, given.per_round, given.seed)
    ensure_catalog(warehouse)
    size = sum(file.stat().st_size for file in given.to.rglob("*.parquet"))
    print(f"{loops} loops of {ROUNDS} rounds, {size / 1e9:.1f} GB, {time.monotonic() - began:.0f} s: {given.to}")


if __name__ == "__main__":
    main()
