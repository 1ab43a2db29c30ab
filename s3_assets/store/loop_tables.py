"""The tables of the loop: gold, what each round makes of it, and what was refused.

Belongs here: columns with their types and meaning. Does not belong here: what the teacher was asked
(``teacher_tables.py``), how far synthetic rows are from gold (``drift_tables.py``), comparing strategies
(``experiment_tables.py``).
"""

import polars as pl

from s3_assets.store.columns import (
    ANSWER_SPAN,
    ASSET,
    CAUSE,
    EXAMPLE,
    GOLD_ID,
    ITEM,
    MODEL_ID,
    REQUEST,
    ROUND,
    ROUND_KEYS,
    TASK,
    TEXTS,
    TRUST,
    Column,
    Table,
)

_MATCH = (
    Column("exact_match", pl.Float64, "1 when the answer is a gold answer, words compared as SQuAD does; else 0."),
    Column("f1", pl.Float64, "F1 of the answer's words, best over gold answers, 0 to 1; null for other kinds."),
)

_MARGIN = Column(
    "margin",
    pl.Float64,
    "Log probability of the gold label less that of the best other label, in nats, below 0 where that is predicted; "
    "null for questions. The option by: margin orders errors by another: the wrong answer's probability less the "
    "gold label's.",
)

LOOP_TABLES = (
    Table(
        "gold",
        "The person's labelled examples, each with the one use it is put to.",
        ("task",),
        (
            TASK,
            GOLD_ID,
            Column(
                "split",
                pl.String,
                "steer: errors are extrapolated; select: chooses epochs and stops; test: reported only.",
            ),
            *TEXTS,
            Column("label", pl.String, "Label given by the person; answer for questions."),
            Column("sublabel", pl.String, "Finer label given by the person; null where none."),
            *ANSWER_SPAN,
            Column("answers", pl.List(pl.String), "All answers that count as right; null for other kinds."),
            Column("source", pl.String, "File the row was read from, relative to the task folder."),
            Column("source_row", pl.Int64, "Row in that file, from 1, header not counted."),
        ),
    ),
    Table(
        "seed_set",
        "Training set of a round: the seed of round 0 plus every extrapolated set since.",
        ROUND_KEYS,
        (
            *ROUND,
            *EXAMPLE,
            Column("origin", pl.String, "seed, user (brought by the task) or extrapolated."),
            Column("first_round", pl.Int64, "Round whose training set first held the row."),
            CAUSE,
            REQUEST,
            ITEM,
            *TRUST,
        ),
    ),
    Table(
        "extrapolated_set",
        "Accepted examples the teacher wrote from the errors of this round (paper, Algorithm 3).",
        ROUND_KEYS,
        (*ROUND, *EXAMPLE, CAUSE, MODEL_ID, REQUEST, ITEM, *TRUST),
    ),
    Table(
        "trained_model",
        "The student trained on this round's seed set, with its metrics. One row a round.",
        ROUND_KEYS,
        (
            *ROUND,
            MODEL_ID,
            Column(
                "path",
                pl.String,
                "Folder with weights, tokenizer and config, relative to the warehouse; null where they were not kept.",
            ),
            Column("weights", pl.String, "Checkpoint the student started from."),
            Column(
                "weights_digest",
                pl.String,
                "SHA-256 of the trained model.safetensors; of students that answer together that of the round's own.",
            ),
            Column("training_rows", pl.Int64, "Rows trained on."),
            Column("gold_rows", pl.Int64, "Gold rows among them."),
            Column("training_fingerprint", pl.String, "Content hash of the rows trained on."),
            Column(
                "training_key", pl.String, "Hash of all that the training follows from; arms with one key share it."
            ),
            Column(
                "hyperparameters",
                pl.String,
                "JSON of the hyperparameters used, batch_size as min_steps made it; where learning rates were tried "
                "also what each came to (learning_rates_tried).",
            ),
            Column(
                "temperature",
                pl.Float64,
                "What the student's logits were divided by after training, in the weights that are saved: fitted on "
                "selecting gold, where none selects on what the students of folds say of steering gold; 1 where they "
                "were not, as of students that answer together and of one that learned soft labels without selecting "
                "gold.",
            ),
            Column("epochs", pl.Int64, "Epochs trained; of a frozen student strengths of the penalty tried."),
            Column(
                "best_epoch",
                pl.Int64,
                "Epoch kept, from 1: the latest not clearly below the best on selecting gold, the last where none "
                "selects. Of a frozen student the strength kept, where none selects the best on training rows held "
                "out.",
            ),
            Column(
                "history",
                pl.String,
                "JSON list per epoch, of a frozen student per strength: training_loss (of a contrastive student "
                "pair_loss), select_loss and select_accuracy, of questions select_f1; before logits are divided.",
            ),
            Column(
                "steer_accuracy",
                pl.Float64,
                "Share right of steering gold, 0 to 1, by the students of its folds where there are any; null without "
                "rows or where they were trained on.",
            ),
            Column(
                "select_accuracy",
                pl.Float64,
                "Share right of selecting gold, 0 to 1. Where none selects or it was trained on: of steering gold, as "
                "judged by single students of folds (predictions.fold), also where an ensemble or a distilled student "
                "answers for test gold; null without folds.",
            ),
            Column("test_accuracy", pl.Float64, "Share right of test gold, 0 to 1; null without rows."),
            Column("steer_f1", pl.Float64, "Mean F1 of answers on steering gold, 0 to 1; null for other kinds."),
            Column(
                "select_f1",
                pl.Float64,
                "Mean F1 of answers on the gold that select_accuracy is of, 0 to 1; null for other kinds.",
            ),
            Column("test_f1", pl.Float64, "Mean F1 of answers on test gold, 0 to 1; null for other kinds."),
            Column(
                "train_seconds",
                pl.Float64,
                "Wall time of training, students of folds included, in seconds; that of the first where shared.",
            ),
            Column("device", pl.String, "Device and number format trained on, as cpu/float32."),
        ),
    ),
    Table(
        "predictions",
        "What the round's student says of every gold row it was not trained on, or the student of a row's fold.",
        ROUND_KEYS,
        (
            *ROUND,
            MODEL_ID,
            GOLD_ID,
            Column("split", pl.String, "Use of the gold row: steer, select or test."),
            Column(
                "fold",
                pl.Int64,
                "Fold, from 1, whose student said it: one that was trained without this gold row and the rows written "
                "from it; null where the round's own student did.",
            ),
            Column("label", pl.String, "Gold label; for questions the (first) gold answer."),
            Column("prediction", pl.String, "Label the student gives, or its answer."),
            Column("correct", pl.Boolean, "Whether prediction equals label; for questions, whether it is no error."),
            Column("probability", pl.Float64, "Probability of the prediction, 0 to 1."),
            Column("label_probability", pl.Float64, "Probability of the gold label or answer, 0 to 1."),
            Column("loss", pl.Float64, "Cross entropy of the gold label or answer, in nats."),
            _MARGIN,
            Column(
                "doubt",
                pl.Float64,
                "Of steering gold, probability that the student does not give the label, 0 to 1, before calibration: "
                "what rows are chosen by where the strategy goes by doubt. Null for questions.",
            ),
            *_MATCH,
        ),
    ),
    Table(
        "error_set",
        "Steering gold that the round's student gets wrong (paper, Algorithm 2: D_mis).",
        ROUND_KEYS,
        (
            *ROUND,
            MODEL_ID,
            GOLD_ID,
            *TEXTS,
            Column("label", pl.String, "Gold label; answer for questions."),
            Column("sublabel", pl.String, "Finer gold label; null where none."),
            *ANSWER_SPAN,
            Column("prediction", pl.String, "Wrong label or answer the student gives."),
            Column("probability", pl.Float64, "Probability of it, 0 to 1."),
            Column("label_probability", pl.Float64, "Probability of the gold label or answer, 0 to 1."),
            Column("loss", pl.Float64, "Cross entropy of the gold label or answer, in nats."),
            _MARGIN,
            *_MATCH,
        ),
    ),
    Table(
        "rejected",
        "Everything the teacher returned that was not accepted, with the reason.",
        (*ROUND_KEYS, "asset"),
        (
            *ROUND,
            ASSET,
            REQUEST,
            ITEM,
            CAUSE,
            *TEXTS,
            Column("label", pl.String, "Label asked for."),
            ANSWER_SPAN[0],
            Column("row_id", pl.String, "Identity the row would have had as an example; null for answers."),
            Column("stage", pl.String, "response: an answer was faulty; row: a gate refused a row of it."),
            Column("gate", pl.String, "What was wrong: a fault of the answer, or the gate that refused the row."),
            Column("reason", pl.String, "Why, in words."),
            Column("value", pl.Float64, "Number the reason goes by, as the items that came; null where there is none."),
            Column("raw", pl.String, "The raw answer, or the item where it is no row."),
        ),
    ),
)
