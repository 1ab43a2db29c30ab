"""The tables that compare strategies: one row per arm and seed, one row per arm.

Belongs here: columns with their types and meaning. Does not belong here: what an arm's rounds made (``loop_tables.py``
holds that under the arm's name), computing the figures (``experiment/``).
"""

import polars as pl

from s3_assets.store.columns import ARM, SEED, TASK, Column, Table

_ASKED = (
    Column("teacher_budget", pl.Int64, "rows_requested plus label_questions: what arms are compared at."),
    Column(
        "over_budget",
        pl.Boolean,
        "Whether the arm's strategy asked for over 5% more than it may: refused rows asked for again, one row from "
        "each of many errors. Label questions that the task has of its own are not held against an arm.",
    ),
    Column("calls", pl.Int64, "Attempts at the arm's requests, whoever paid for them."),
    Column("prompt_tokens", pl.Int64, "Tokens read in those attempts."),
    Column("completion_tokens", pl.Int64, "Tokens written in those attempts."),
    Column("cost", pl.Float64, "US dollars of those attempts; null when a price is not known."),
)

EXPERIMENT_TABLES = (
    Table(
        "experiment",
        "One arm with one seed: what its last student was trained on, what that took, what it achieved.",
        ("task", "arm", "seed"),
        (
            TASK,
            ARM,
            SEED,
            Column("last_round", pl.Int64, "Round of the last student; 0 for arms without rounds."),
            Column("synthetic_rows", pl.Int64, "Accepted rows of the seed set that the last student trained on."),
            Column("gold_rows", pl.Int64, "Gold rows it trained on."),
            Column("rows_requested", pl.Int64, "Rows asked for, whether paid or from the ledger."),
            Column(
                "label_questions",
                pl.Int64,
                "Questions asked about labels, and on what errors have in common, whether paid or from the ledger.",
            ),
            *_ASKED,
            Column("paid_calls", pl.Int64, "Attempts that this arm itself paid for; the rest came from the ledger."),
            Column("paid_cost", pl.Float64, "US dollars this arm itself paid; null when a price is not known."),
            Column("train_seconds", pl.Float64, "Training time of all its students, in seconds, shared ones too."),
            Column("metric", pl.String, "What test_score is: accuracy, or f1 for questions."),
            Column("test_rows", pl.Int64, "Test gold rows."),
            Column("test_score", pl.Float64, "The metric on test gold, 0 to 1; null without a test split."),
            Column("test_exact_match", pl.Float64, "Share of exact answers on test gold; null for other kinds."),
            Column(
                "select_score",
                pl.Float64,
                "The metric on held-out gold: selecting gold, or cross-fitted steering gold; null where none.",
            ),
            Column("model_id", pl.String, "The last student; joins trained_model."),
        ),
    ),
    Table(
        "leaderboard",
        "Arms of a task over their seeds, best first: test metric with spread, what it took, paired tests.",
        ("task",),
        (
            TASK,
            ARM,
            Column(
                "place",
                pl.Int64,
                "Place by mean test score, from 1; ties by smaller budget, then name; null without one.",
            ),
            Column("seeds", pl.Int64, "Seeds done."),
            Column("synthetic_rows", pl.Float64, "Mean accepted rows."),
            Column("gold_rows", pl.Float64, "Mean gold rows trained on."),
            Column("teacher_budget", pl.Float64, "Mean rows requested plus label questions."),
            Column("over_budget", pl.Boolean, "Whether any seed asked for over 5% more than the arm may."),
            Column("calls", pl.Float64, "Mean attempts at the arm's requests, whoever paid for them."),
            Column("tokens", pl.Float64, "Mean tokens read and written in those attempts."),
            Column(
                "cost", pl.Float64, "Mean US dollars of those attempts; null when a price of any seed is not known."
            ),
            Column("train_seconds", pl.Float64, "Mean training time of all of an arm's students."),
            Column("metric", pl.String, "What the score is: accuracy, or f1 for questions."),
            Column("test_rows", pl.Int64, "Test gold rows."),
            Column("score_mean", pl.Float64, "Mean test score over seeds, 0 to 1; null without a test split."),
            Column("score_sd", pl.Float64, "Sample standard deviation over seeds; null for one seed."),
            Column("ci_low", pl.Float64, "Lower end of its 95% t interval over seeds, test rows and gold held fixed."),
            Column("ci_high", pl.Float64, "Upper end of it."),
            Column("exact_match_mean", pl.Float64, "Mean share of exact answers; null for other kinds."),
            Column(
                "vs_goldgen",
                pl.Float64,
                "Mean paired difference from goldgen, over the seeds both have; null for itself, and for an arm that "
                "asked for over 5% more over those seeds.",
            ),
            Column("vs_goldgen_low", pl.Float64, "Lower end of its 95% t interval; null below two common seeds."),
            Column("vs_goldgen_high", pl.Float64, "Upper end of it."),
            Column("vs_goldgen_p", pl.Float64, "p of the paired t test, of this one comparison; null without spread."),
            Column(
                "vs_gold_only",
                pl.Float64,
                "Mean paired difference from gold_only, which asks for nothing, over the seeds both have; null for "
                "itself.",
            ),
            Column("vs_gold_only_low", pl.Float64, "Lower end of its 95% t interval; null below two common seeds."),
            Column("vs_gold_only_high", pl.Float64, "Upper end of it."),
            Column(
                "vs_gold_only_p", pl.Float64, "p of the paired t test, of this one comparison; null without spread."
            ),
            Column(
                "points_per_dollar",
                pl.Float64,
                "vs_gold_only in points (of 100) per US dollar of cost; null without gold_only or without cost.",
            ),
        ),
    ),
)
