"""The ``trained_model`` asset. Only its declaration belongs here; training is in ``loop/training.py``."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl

from s3_assets.assets.common import task_asset
from s3_assets.assets.shown import Events, StepConfig, confusion_table, markdown_table, run_step, sample_table
from s3_assets.loop.cross_fitting import held_out
from s3_assets.loop.fingerprints import GOLD, SEED_SET, TRAINED_MODEL, loop_key
from s3_assets.loop.publish import StepResult
from s3_assets.loop.quality_checks import BEATS_MAJORITY
from s3_assets.loop.steps import live_predictions, make_trained_model
from s3_assets.partitions import round_number
from s3_assets.resources import WarehouseResource
from s3_assets.tasks.load import Task

DESCRIPTION = (
    "The student, trained from its checkpoint on this round's seed set.\n\n"
    "It takes the epochs declared, or smaller batches and more epochs until `min_steps` are done; the epoch kept is "
    "the latest that is not clearly below the best on selecting gold, or the last where all gold steers. Logits are "
    "then divided by `temperature`, so that probabilities are as high as held-out gold bears out. The accuracies are "
    "shares right of steering, held-out (`select_accuracy`) and test gold. Where the strategy cross-fits, a steering "
    "row is judged by a student trained without it and the rows written from it; where no gold selects, those "
    "judgements are the held-out ones. Test accuracy is reported, feeds nothing. "
    "Also writes the table `predictions`: what it says of every gold row."
)


def trained_model_asset(task: Task) -> dg.AssetsDefinition:
    """``<task>/trained_model``, by round."""
    upstream, kinds = [GOLD, SEED_SET], {"pytorch", "huggingface"}
    tags = task.spec.student.op_tags
    declare = task_asset(task, TRAINED_MODEL, DESCRIPTION, upstream, kinds, (BEATS_MAJORITY,), tags)

    @declare
    def trained_model(context: dg.AssetExecutionContext, config: StepConfig, warehouse: WarehouseResource) -> Events:
        store, round_ = warehouse.open(), round_number(context.partition_key)

        def extra(result: StepResult) -> dict[str, Any]:
            row = result.rows.row(0, named=True)
            predictions = live_predictions(store, loop_key(task, round_))
            held = held_out(predictions)
            labels = list(task.spec.labels)
            readable = (
                {"answers_to_held_out_gold": sample_table(held.select("label", "prediction", "exact_match", "f1"))}
                if task.spec.kind == "qa"
                else {"confusion_on_held_out_gold": dg.MetadataValue.md(confusion_table(held, labels))}
            )
            # The seed is here and not a number of its own: it would be plotted.
            hyperparameters = {**json.loads(row["hyperparameters"]), "random_seed": row["seed"]}
            history = json.loads(row["history"])
            return {
                **readable,
                "temperature": row["temperature"],
                "history": dg.MetadataValue.md(markdown_table(pl.DataFrame(history))),
                **_drawn(task, history, row["best_epoch"]),
                "hyperparameters": dg.MetadataValue.json(hyperparameters),
                "device": row["device"],
                "training_fingerprint": row["training_fingerprint"],
                "model_id": row["model_id"],
                "model_folder": row["path"],
            }

        yield from run_step(context, lambda: make_trained_model(task, store, round_, config.force), extra)

    return trained_model


def _drawn(task: Task, history: Sequence[Mapping[str, Any]], kept: int) -> dict[str, Any]:
    """The epochs as a picture; nothing for one alone, nor for strengths of a penalty, which are no course of time."""
    if task.spec.student.kind == "frozen" or len(history) < 2:
        return {}
    from s3_assets.report.drawing import markdown_picture, png
    from s3_assets.report.epochs_picture import epochs_figure

    return {"epochs_drawn": dg.MetadataValue.md(markdown_picture("epochs", png(epochs_figure(history, kept))))}
