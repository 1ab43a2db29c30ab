"""The steps of the loop as plain functions: read live parts, do the work, write a part.

Belongs here: the order of work within one step. Does not belong here: what depends on what (``fingerprints.py``),
reusing, checking and publishing (``publish.py``), Dagster (``assets/``), prompts, training and drift themselves.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import polars as pl

from s3_assets.drift.measures import measure_drift
from s3_assets.generation.contexts import keeps_context, read_contexts, writable
from s3_assets.generation.extrapolate import write_extrapolated_set
from s3_assets.generation.filling import ROW, Written
from s3_assets.generation.gates import Gates, open_gates
from s3_assets.generation.seed import read_seed_rows, write_seed_set
from s3_assets.generation.sublabels import count_sublabels
from s3_assets.loop.checks import Check, check_rows, check_training_set
from s3_assets.loop.fingerprints import (
    DRIFT,
    ERROR_SET,
    EXTRAPOLATED_SET,
    GOLD,
    SEED_SET,
    TRAINED_MODEL,
    loop_key,
    trains_on_gold,
)
from s3_assets.loop.publish import Inputs, Made, Numbers, StepResult, publish
from s3_assets.loop.training import train_round
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.store.tables import table
from s3_assets.tasks.gold import read_gold
from s3_assets.tasks.gold_spec import SPLITS
from s3_assets.tasks.load import Task
from s3_assets.teacher.session import teacher_session


def make_gold(task: Task, warehouse: Warehouse, force: bool = False) -> StepResult:
    """Read, check and split the person's labelled examples."""

    def make(_: Inputs) -> Made:
        rows = read_gold(task)
        counts = dict(rows["split"].value_counts().iter_rows())
        return rows, {f"{split}_rows": counts.get(split, 0) for split in SPLITS}

    return publish(task, warehouse, GOLD, 0, make, force=force)


def make_seed_set(
    task: Task, warehouse: Warehouse, round_: int, force: bool = False, run_id: str | None = None
) -> StepResult:
    """Round 0: what the teacher writes. Later: the last seed set plus the last extrapolated set, exactly.

    ``run_id`` is what the budget of a run is counted by.
    """
    key = loop_key(task, round_)

    def write(inputs: Inputs) -> Made:
        gold = inputs[GOLD].read()
        gates = open_gates(task, gold)
        numbers: Numbers = {}
        with _written(warehouse, SEED_SET, key) as written:
            if task.spec.seed_rows is not None:
                origin = "user"
                _own_rows(task, gates, written)
            else:
                origin = "seed"
                contexts, steer = read_contexts(task, gold), gold.filter(pl.col("split") == "steer")
                with teacher_session(task, warehouse, key, SEED_SET, run_id) as session:
                    sublabels = count_sublabels(task, session, steer, written)
                    write_seed_set(task, session, contexts, gates, written, sublabels)
                numbers = session.tally.numbers()
        rows = _frame(SEED_SET, written.accepted, {**key.columns(), "origin": origin, "first_round": 0})
        return rows, numbers | _counts(rows, written)

    def extend(inputs: Inputs) -> Made:
        before = inputs[SEED_SET].read().with_columns(pl.lit(round_, pl.Int64).alias("round"))
        added = inputs[EXTRAPOLATED_SET].read()
        marked = added.with_columns(
            pl.lit(round_, pl.Int64).alias("round"),
            pl.lit("extrapolated").alias("origin"),
            pl.lit(round_, pl.Int64).alias("first_round"),
        )
        rows = pl.concat([before, marked.select(before.columns)])
        return rows, {"rows": rows.height, "rows_added": added.height}

    def check(rows: pl.DataFrame, inputs: Inputs) -> list[Check]:
        return check_training_set(rows, inputs[GOLD].read(), list(task.spec.labels), task.spec.text_fields)

    return publish(task, warehouse, SEED_SET, round_, write if round_ == 0 else extend, check, force=force)


def make_trained_model(task: Task, warehouse: Warehouse, round_: int, force: bool = False) -> StepResult:
    """Train the student from its checkpoint on the round's seed set, then predict the gold rows it was not trained on.

    Arms that add gold train their last student on steering and selecting gold too, those of gold alone on nothing else.
    """
    key = loop_key(task, round_)

    def make(inputs: Inputs) -> Made:
        gold = inputs[GOLD].read()
        seed_set = inputs[SEED_SET].read() if SEED_SET in inputs else None
        trained = train_round(
            task, warehouse, key, seed_set, gold, with_gold=trains_on_gold(task, round_), shared=not force
        )
        # Before the model's own part: whoever sees the model live must find its predictions.
        warehouse.write("predictions", key.columns(), trained.predictions)
        row = trained.row.row(0, named=True)
        scores = (f"{split}_{score}" for split in SPLITS for score in ("accuracy", "f1"))
        shown = ("training_rows", "gold_rows", "epochs", "best_epoch", "train_seconds", *scores)
        return trained.row, {name: row[name] for name in shown if row[name] is not None}

    def version(row: pl.DataFrame) -> str:
        # Training time and folder differ between identical trainings; the weights do not.
        return f"{row['model_id'][0]}:{row['weights_digest'][0]}"

    return publish(task, warehouse, TRAINED_MODEL, round_, make, version=version, force=force)


def make_error_set(task: Task, warehouse: Warehouse, round_: int, force: bool = False) -> StepResult:
    """The steering gold that the round's student gets wrong."""
    key = loop_key(task, round_)

    def make(inputs: Inputs) -> Made:
        model_id = inputs[TRAINED_MODEL].read()["model_id"][0]
        predictions = live_predictions(warehouse, key).filter(pl.col("split") == "steer")
        if set(predictions["model_id"].unique()) != {model_id}:
            raise RuntimeError(
                f"predictions of round {round_} of task {task.name} are not those of its model {model_id}; "
                "materialize trained_model of the round again with force: true"
            )
        texts = inputs[GOLD].read().select("gold_id", "text", "text2", "label", "sublabel", "answer", "answer_start")
        wrong = predictions.drop("label").filter(~pl.col("correct")).join(texts, on="gold_id")
        rows = wrong.select(list(table(ERROR_SET).schema)).sort("gold_id")
        share = rows.height / predictions.height
        return rows, {"errors": rows.height, "steer_rows": predictions.height, "error_share": share}

    return publish(task, warehouse, ERROR_SET, round_, make, force=force)


def make_extrapolated_set(
    task: Task, warehouse: Warehouse, round_: int, force: bool = False, run_id: str | None = None
) -> StepResult:
    """New examples for the next round's seed set, from the errors of the round or, in GoldGen, from steering gold.

    ``run_id``: see ``make_seed_set``.
    """
    key = loop_key(task, round_)

    def make(inputs: Inputs) -> Made:
        gold = inputs[GOLD].read()
        by_errors = ERROR_SET in inputs
        sources = inputs[ERROR_SET].read() if by_errors else gold.filter(pl.col("split") == "steer")
        sources = writable(task, sources, gold)
        gates = open_gates(task, gold, inputs[SEED_SET].read())
        with (
            _written(warehouse, EXTRAPOLATED_SET, key) as written,
            teacher_session(task, warehouse, key, EXTRAPOLATED_SET, run_id) as session,
        ):
            write_extrapolated_set(task, session, sources, round_, gates, written)
        model_id = sources["model_id"][0] if by_errors and sources.height else None
        rows = _frame(EXTRAPOLATED_SET, written.accepted, {**key.columns(), "model_id": model_id})
        return rows, {**session.tally.numbers(), "sources": sources.height, **_counts(rows, written)}

    def check(rows: pl.DataFrame, inputs: Inputs) -> list[Check]:
        return check_rows(rows, inputs[GOLD].read(), list(task.spec.labels), task.spec.text_fields)

    return publish(task, warehouse, EXTRAPOLATED_SET, round_, make, check, force=force)


def make_drift(task: Task, warehouse: Warehouse, round_: int, force: bool = False) -> StepResult:
    """Distance of the round's seed set from steering gold."""
    key = loop_key(task, round_)

    def make(inputs: Inputs) -> Made:
        steer = inputs[GOLD].read().filter(pl.col("split") == "steer")
        # A context that rows take from gold as it stands is no distance from gold.
        fields = ("text2",) if keeps_context(task) else task.spec.text_fields
        measured = measure_drift(inputs[SEED_SET].read(), steer, list(task.spec.labels), task.spec.seed, fields)
        schema = table(DRIFT).schema
        leading = (pl.lit(value, schema[name]).alias(name) for name, value in key.columns().items())
        rows = measured.with_columns(leading).select(pl.col(name).cast(dtype) for name, dtype in schema.items())
        return rows, dict(rows.filter(pl.col("label").is_null()).select("metric", "value").iter_rows())

    return publish(task, warehouse, DRIFT, round_, make, force=force)


def live_predictions(warehouse: Warehouse, key: RoundKey) -> pl.DataFrame:
    """Predictions of a round; empty when there are none."""
    part = warehouse.live("predictions", key.columns())
    return part.read() if part is not None else pl.DataFrame(schema=table("predictions").schema)


def _own_rows(task: Task, gates: Gates, written: Written) -> None:
    """The task's own seed rows through the same gates as a teacher's."""
    nobody: Mapping[str, Any] = {"gold_id": None, "request_id": None, "item": None}
    for row in read_seed_rows(task):
        refusal = gates.refuse({name: row[name] for name in (*task.spec.text_fields, "answer", "answer_start")})
        if refusal is None:
            written.accepted.append({**row, **nobody})
        else:
            texts = {name: row[name] for name in ("text", "text2", "label", "answer")}
            why = {"row_id": row["example_id"], "stage": ROW, "gate": refusal[0], "reason": refusal[1]}
            written.rejected.append({**texts, **nobody, **why, "value": None, "raw": None})


@contextmanager
def _written(warehouse: Warehouse, asset: str, key: RoundKey) -> Iterator[Written]:
    """Rows to be filled. On leaving, even by an error, the rejected ones are stored: nothing disappears."""
    written = Written()
    try:
        yield written
    finally:
        rejected = _frame("rejected", written.rejected, {**key.columns(), "asset": asset})
        warehouse.write("rejected", {**key.columns(), "asset": asset}, rejected)


def _frame(name: str, rows: list[dict[str, Any]], constants: Mapping[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{**constants, **row} for row in rows], schema=table(name).schema)


def _counts(rows: pl.DataFrame, written: Written) -> Numbers:
    shortfall = sum(written.shortfall.values())
    return {"rows": rows.height, "rejected_rows": len(written.rejected), "shortfall": shortfall}
