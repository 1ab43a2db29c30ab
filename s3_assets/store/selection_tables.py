"""The table of what a round chose among steering gold.

Belongs here: columns with their types and meaning. Does not belong here: choosing (``selection/``), what was written
from the chosen rows (``loop_tables.py``).
"""

import polars as pl

from s3_assets.store.columns import GOLD_ID, ROUND, ROUND_KEYS, Column, Table

SELECTION_TABLES = (
    Table(
        "sources",
        "Steering gold that a round considered writing from, with the rows asked for and what the teacher was shown.",
        ROUND_KEYS,
        (
            *ROUND,
            GOLD_ID,
            Column("label", pl.String, "Gold label; answer for questions."),
            Column(
                "why",
                pl.String,
                "error; doubted: its share goes by the student's doubt; explored: drawn at random; skipped.",
            ),
            Column("reason", pl.String, "More about it in words, as why it was skipped; null for nothing."),
            Column("cluster", pl.Int64, "Group of errors that are alike, from 0; null where errors are not grouped."),
            Column("weight", pl.Float64, "What its share goes by: doubt, loss or margin; 1 where all count alike."),
            Column("rows_requested", pl.Int64, "Rows asked for in the first requests, explored ones among them."),
            Column("contrast_id", pl.String, "Gold row shown as a contrast; joins gold on gold_id. Null without one."),
            Column("diagnosis", pl.String, "What the teacher said of the errors of its group; null without one."),
        ),
    ),
)
