"""The tables of drift: texts as vectors, and how far synthetic rows are from gold and from the round before.

Belongs here: columns with their types and meaning. Does not belong here: the metrics (``drift/``).
"""

import polars as pl

from s3_assets.store.columns import ROUND, ROUND_KEYS, TASK, Column, Table

# Width of the vectors of the encoder that drift goes by, ``minilm``.
DIMENSIONS = 384

DRIFT_TABLES = (
    Table(
        "drift",
        "Distance of a round's rows from steering gold and from the rounds before, per metric and label.",
        ROUND_KEYS,
        (
            *ROUND,
            Column(
                "reference",
                pl.String,
                "gold_steer: the seed set is compared with steering gold; rounds_before: the rows that the round added "
                "with those of the rounds before.",
            ),
            Column("label", pl.String, "Label compared, or null for all labels together."),
            Column("metric", pl.String, "Name of the metric; docs/drift.md says what each measures."),
            Column("value", pl.Float64, "Value of the metric; of distances, 0 is no drift."),
            Column("ci_low", pl.Float64, "Lower end of its 95% interval; null where none is computed."),
            Column("ci_high", pl.Float64, "Upper end of its 95% interval; null where none is computed."),
            Column(
                "floor",
                pl.Float64,
                "The metric between two halves of the reference, as large as what the value was measured on: what "
                "sampling alone explains. Null where none is computed.",
            ),
            Column("n_ref", pl.Int64, "Rows of the reference."),
            Column("n_syn", pl.Int64, "Synthetic rows compared with it."),
        ),
    ),
    Table(
        "embeddings",
        "Texts of a task as vectors, each distinct text once. The view row_embeddings joins them to rows.",
        ("task",),
        (
            TASK,
            Column("text_id", pl.String, "Identity of the text or texts embedded: text_id(text, text2) in SQL."),
            Column("encoder", pl.String, "What made the vector: name of the weights."),
            Column("embedding", pl.Array(pl.Float32, DIMENSIONS), "The vector, of length 1."),
        ),
        log=True,
    ),
)
