"""The tables of the teacher: every attempt to get an answer, and who used it.

Belongs here: columns with their types and meaning. Does not belong here: what was made of answers
(``loop_tables.py``).
"""

import polars as pl

from s3_assets.store.columns import ASSET, CAUSE, REQUEST, ROUND, ROUND_KEYS, Column, Table

TEACHER_TABLES = (
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
            *ROUND,
            ASSET,
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
            *ROUND,
            ASSET,
            CAUSE,
            REQUEST,
            Column("kind", pl.String, "rationales, examples, label or diagnosis."),
            Column("rows_requested", pl.Int64, "Examples asked for; 0 for requests that ask for none."),
            Column("from_ledger", pl.Boolean, "True when no call was made because the answer was already there."),
            Column("used_at", pl.Datetime("ms", "UTC"), "When the step used it."),
        ),
        log=True,
    ),
)
