"""Every table of the warehouse: its columns, their types and what they mean.

Belongs here: table and column declarations, used to write parts by name and to comment the catalog.
Does not belong here: paths, reading and writing (``parts.py``), views (``catalog.py``).
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

# Directory levels of the per-round tables, also their first columns.
ROUND_KEYS = ("task", "arm", "seed", "round")


@dataclass(frozen=True)
class Column:
    """One column: name, Polars type, and the sentence shown by ``COMMENT ON``."""

    name: str
    dtype: Any
    comment: str


@dataclass(frozen=True)
class Table:
    """One table. ``keys`` are its directory levels.

    In a ``log`` table every part counts; in any other the newest part of a directory is the live one.
    """

    name: str
    comment: str
    keys: tuple[str, ...]
    columns: tuple[Column, ...]
    log: bool = False

    @property
    def schema(self) -> pl.Schema:
        """Column names and types, in order."""
        return pl.Schema({column.name: column.dtype for column in self.columns})


_TASK = Column("task", pl.String, "Name of the task.")
_ROUND = (
    _TASK,
    Column("arm", pl.String, "Strategy that made the row; the loop's own rows carry the task's strategy."),
    Column("seed", pl.Int64, "Random seed of the arm."),
    Column("round", pl.Int64, "Round of the loop, 0 is the first."),
)
_TEXTS = (
    Column("text", pl.String, "The text, or the first text of a pair."),
    Column("text2", pl.String, "Second text of a pair; null for single texts."),
)
_ASSET = Column("asset", pl.String, "Asset whose step asked or rejected: seed_set or extrapolated_set.")
_REQUEST = Column("request_id", pl.String, "Teacher request; joins teacher_calls and teacher_uses. Null for user rows.")
_EXAMPLE = (
    Column("example_id", pl.String, "Identity of the example, a hash of its texts and label."),
    *_TEXTS,
    Column("label", pl.String, "Label the teacher was asked to write for."),
)
_CAUSE = Column("gold_id", pl.String, "Gold error the row was extrapolated from; null in the seed of round 0.")
_ITEM = Column("item", pl.Int64, "Position of the row in the teacher's answer, from 0.")
_MODEL_ID = Column("model_id", pl.String, "Trained model; joins trained_model.")
_GOLD_ID = Column("gold_id", pl.String, "Identity of the gold row, a hash of its texts; joins gold.")

_TABLES = (
    Table(
        "gold",
        "The person's labelled examples, each with the one use it is put to.",
        ("task",),
        (
            _TASK,
            _GOLD_ID,
            Column(
                "split",
                pl.String,
                "steer: errors are extrapolated; select: chooses epochs and stops; test: reported only.",
            ),
            *_TEXTS,
            Column("label", pl.String, "Label given by the person."),
            Column("source", pl.String, "File the row was read from, relative to the task folder."),
            Column("source_row", pl.Int64, "Row in that file, from 1, header not counted."),
        ),
    ),
    Table(
        "seed_set",
        "Training set of a round: the seed of round 0 plus every extrapolated set since.",
        ROUND_KEYS,
        (
            *_ROUND,
            *_EXAMPLE,
            Column("origin", pl.String, "seed, user (brought by the task) or extrapolated."),
            Column("first_round", pl.Int64, "Round whose training set first held the row."),
            _CAUSE,
            _REQUEST,
            _ITEM,
        ),
    ),
    Table(
        "extrapolated_set",
        "Accepted examples the teacher wrote from the errors of this round (paper, Algorithm 3).",
        ROUND_KEYS,
        (*_ROUND, *_EXAMPLE, _CAUSE, _MODEL_ID, _REQUEST, _ITEM),
    ),
    Table(
        "trained_model",
        "The student trained on this round's seed set, with its metrics. One row a round.",
        ROUND_KEYS,
        (
            *_ROUND,
            _MODEL_ID,
            Column("path", pl.String, "Folder with weights, tokenizer and config, relative to the warehouse."),
            Column("weights", pl.String, "Checkpoint the student started from."),
            Column("weights_digest", pl.String, "SHA-256 of the trained model.safetensors."),
            Column("training_rows", pl.Int64, "Rows trained on."),
            Column("training_fingerprint", pl.String, "Content hash of the rows trained on."),
            Column("hyperparameters", pl.String, "JSON of the hyperparameters used."),
            Column("epochs", pl.Int64, "Epochs trained."),
            Column("best_epoch", pl.Int64, "Epoch kept, from 1: the best on selecting gold."),
            Column("history", pl.String, "JSON list per epoch: training loss, selecting loss and accuracy."),
            Column("steer_accuracy", pl.Float64, "Share right of steering gold, 0 to 1; null without rows."),
            Column("select_accuracy", pl.Float64, "Share right of selecting gold, 0 to 1; null without rows."),
            Column("test_accuracy", pl.Float64, "Share right of test gold, 0 to 1; null without rows."),
            Column("train_seconds", pl.Float64, "Wall time of training, in seconds."),
            Column("device", pl.String, "Device and number format trained on, as cpu/float32."),
        ),
    ),
    Table(
        "predictions",
        "What the round's student says of every gold row.",
        ROUND_KEYS,
        (
            *_ROUND,
            _MODEL_ID,
            _GOLD_ID,
            Column("split", pl.String, "Use of the gold row: steer, select or test."),
            Column("label", pl.String, "Gold label."),
            Column("prediction", pl.String, "Label the student gives."),
            Column("correct", pl.Boolean, "Whether prediction equals label."),
            Column("probability", pl.Float64, "Probability of the prediction, 0 to 1."),
            Column("label_probability", pl.Float64, "Probability of the gold label, 0 to 1."),
            Column("loss", pl.Float64, "Cross entropy of the gold label, in nats."),
        ),
    ),
    Table(
        "error_set",
        "Steering gold that the round's student gets wrong (paper, Algorithm 2: D_mis).",
        ROUND_KEYS,
        (
            *_ROUND,
            _MODEL_ID,
            _GOLD_ID,
            *_TEXTS,
            Column("label", pl.String, "Gold label."),
            Column("prediction", pl.String, "Wrong label the student gives."),
            Column("probability", pl.Float64, "Probability of the wrong label, 0 to 1."),
            Column("label_probability", pl.Float64, "Probability of the gold label, 0 to 1."),
            Column("loss", pl.Float64, "Cross entropy of the gold label, in nats."),
        ),
    ),
    Table(
        "rejected",
        "Everything the teacher returned that was not accepted, with the reason.",
        (*ROUND_KEYS, "asset"),
        (
            *_ROUND,
            _ASSET,
            _REQUEST,
            _ITEM,
            _CAUSE,
            *_TEXTS,
            Column("label", pl.String, "Label asked for."),
            Column("row_id", pl.String, "Identity the row would have had as an example; null for answers."),
            Column("stage", pl.String, "response: an answer was faulty; row: a gate refused a row of it."),
            Column("gate", pl.String, "What was wrong: a fault of the answer, or the gate that refused the row."),
            Column("reason", pl.String, "Why, in words."),
            Column("value", pl.Float64, "Number the reason goes by, as the items that came; null where there is none."),
            Column("raw", pl.String, "The raw answer, or the item where it is no row."),
        ),
    ),
    Table(
        "drift",
        "Distance of a round's seed set from steering gold, per metric and label.",
        ROUND_KEYS,
        (
            *_ROUND,
            Column("reference", pl.String, "What the seed set is compared with: gold_steer."),
            Column("label", pl.String, "Label compared, or null for all labels together."),
            Column("metric", pl.String, "label_js, length_wasserstein, vocabulary_js or oov_share."),
            Column("value", pl.Float64, "Value of the metric; 0 is no drift."),
            Column("ci_low", pl.Float64, "Lower end of the 95% bootstrap interval; null where none is computed."),
            Column("ci_high", pl.Float64, "Upper end of the 95% bootstrap interval; null where none is computed."),
            Column(
                "floor", pl.Float64, "What two random halves of the reference give: the value sampling alone explains."
            ),
            Column("n_ref", pl.Int64, "Rows of the reference."),
            Column("n_syn", pl.Int64, "Rows of the seed set."),
        ),
    ),
    Table(
        "teacher_calls",
        "Ledger: one row per attempt to get an answer from a teacher, and the step that paid for it.",
        (),
        (
            Column(
                "request_id",
                pl.String,
                "Key of the request: hash of teacher id, model, messages, sampling, schema, sample.",
            ),
            Column("sample", pl.Int64, "Which independent answer to the same prompt this is."),
            Column("attempt", pl.Int64, "Attempt number, from 0."),
            Column("teacher_id", pl.String, "Declared name of the teacher, or its endpoint's host and path."),
            Column("model", pl.String, "Model asked."),
            Column("kind", pl.String, "rationales, examples, label or diagnosis."),
            Column("request", pl.String, "JSON of what was asked: messages, sampling parameters, schema."),
            Column("response", pl.String, "Raw text of the answer; null when none came."),
            Column("finish_reason", pl.String, "Why the teacher stopped, as it says; null when no answer came."),
            Column("outcome", pl.String, "answered, refused, or failed when no answer came."),
            Column("cause", pl.String, "Why it failed, in words; null when answered."),
            Column("prompt_tokens", pl.Int64, "Tokens read, as billed by the teacher; null when not said."),
            Column("cached_tokens", pl.Int64, "Tokens of prompt_tokens the teacher had cached; null when not said."),
            Column("completion_tokens", pl.Int64, "Tokens written, as billed by the teacher; null when not said."),
            Column("cost", pl.Float64, "US dollars; null when the price or the tokens are not known."),
            Column("price_version", pl.String, "Price table the cost was computed with."),
            Column(
                "latency_seconds", pl.Float64, "Wall time of the attempt, in seconds; of a batch, until it was read."
            ),
            Column("dialect", pl.String, "How the answer was kept to its schema: json_schema, json_object or text."),
            Column("batch_id", pl.String, "Provider batch that brought the answer; null when asked at once."),
            *_ROUND,
            _ASSET,
            Column("run_id", pl.String, "Run or backfill whose step paid for the attempt; null outside of Dagster."),
            Column("asked_at", pl.Datetime("ms", "UTC"), "When the attempt was sent."),
        ),
        log=True,
    ),
    Table(
        "teacher_uses",
        "Which step used which teacher request, and whether it was paid then or came from the ledger.",
        ROUND_KEYS,
        (
            *_ROUND,
            _ASSET,
            _CAUSE,
            _REQUEST,
            Column("kind", pl.String, "rationales, examples, label or diagnosis."),
            Column("rows_requested", pl.Int64, "Examples asked for; 0 for requests that ask for none."),
            Column("from_ledger", pl.Boolean, "True when no call was made because the answer was already there."),
            Column("used_at", pl.Datetime("ms", "UTC"), "When the step used it."),
        ),
        log=True,
    ),
)


def tables() -> dict[str, Table]:
    """All tables by name."""
    return {table.name: table for table in _TABLES}


def table(name: str) -> Table:
    """The table called ``name``; ``KeyError`` naming the known ones otherwise."""
    known = tables()
    if name not in known:
        raise KeyError(f"no table {name!r}; known: {', '.join(sorted(known))}")
    return known[name]
