"""The tables of quality: what others say of labels, shortcuts found, what a person decided.

Belongs here: columns with their types and meaning. Does not belong here: rows that gates refused (``rejected``, in
``loop_tables.py``).
"""

import polars as pl

from s3_assets.store.columns import ASSET, ITEM, ROUND, ROUND_KEYS, TASK, Column, Table

QUALITY_TABLES = (
    Table(
        "verdicts",
        "Second opinions on labels: of every row that passed the gates, and of gold to know their worth.",
        (*ROUND_KEYS, "asset"),
        (
            *ROUND,
            ASSET,
            Column(
                "kind",
                pl.String,
                "synthetic: a row the teacher wrote; gold: one of selecting gold, or of steering where none selects.",
            ),
            Column("row_id", pl.String, "Identity of the row as written: example_id, or gold_id."),
            Column("label", pl.String, "Label the row was written for, or has in gold."),
            Column("votes", pl.List(pl.String), "Labels the teacher gave blind, in the order asked; empty where not."),
            Column("requests", pl.List(pl.String), "The label questions; join teacher_calls on request_id."),
            Column("students_label", pl.String, "Label an ensemble of small students gives; null where not asked."),
            Column("students_probability", pl.Float64, "Probability the ensemble gives the row's own label, 0 to 1."),
            Column("confidence", pl.Float64, "Probability that the row's own label is right, 0 to 1."),
            Column(
                "threshold", pl.Float64, "Confidence below which rows are doubted, chosen on the rows of kind gold."
            ),
            Column("outcome", pl.String, "kept, dropped or relabelled; for gold what would become of the row."),
            Column("new_label", pl.String, "Label the row has now where it was relabelled; else null."),
            Column("request_id", pl.String, "Teacher request whose answer the row stood in; null for gold."),
            ITEM,
        ),
    ),
    Table(
        "shortcuts",
        "Rules that tell the label of a round's seed set far better than that of steering gold.",
        ROUND_KEYS,
        (
            *ROUND,
            Column("field", pl.String, "Field the rule looks at: text or text2."),
            Column("rule", pl.String, "What it looks at: first_character, first_words, length, punctuation or token."),
            Column("value", pl.String, "The character, the words, or the number of words compared with."),
            Column("label", pl.String, "Label that rows with it have more often than others."),
            Column("rows", pl.Int64, "Synthetic rows the rule holds for."),
            Column("share", pl.Float64, "Share of the label's synthetic rows that it holds for, 0 to 1."),
            Column("share_others", pl.Float64, "Share of the other labels' synthetic rows that it holds for, 0 to 1."),
            Column("tells", pl.Float64, "share - share_others: 0 tells nothing of the label, 1 everything."),
            Column("gold_share", pl.Float64, "share in steering gold."),
            Column("gold_share_others", pl.Float64, "share_others in steering gold."),
            Column("gold_tells", pl.Float64, "tells in steering gold."),
            Column("p_value", pl.Float64, "That gold and synthetic rows tell alike, corrected for all rules tried."),
        ),
    ),
    Table(
        "reviews",
        "What a person decided about rows: every decision, the newest of a row counts.",
        ("task",),
        (
            TASK,
            Column("kind", pl.String, "gold or synthetic."),
            Column("row_id", pl.String, "gold_id or example_id."),
            Column("decision", pl.String, "exclude, relabel, or keep: looked at and right."),
            Column("label", pl.String, "Label the row had."),
            Column("new_label", pl.String, "Label it gets by relabel; else null."),
            Column("new_id", pl.String, "example_id it has with that label; null for gold."),
            Column("from_round", pl.Int64, "First round whose seed set follows it; null for gold, which is made anew."),
            Column("who", pl.String, "Who decided."),
            Column("why", pl.String, "Reason given."),
            Column("decided_at", pl.Datetime("ms", "UTC"), "When it was taken over."),
        ),
        log=True,
    ),
)
