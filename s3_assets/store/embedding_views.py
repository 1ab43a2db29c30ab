"""The catalog's view of vectors: the rows they belong to.

Belongs here: ``row_embeddings`` and the macro ``text_id`` that joins rows to vectors. Does not belong here: making
vectors (``drift/vectors.py``).
"""

from s3_assets.store.identity import SEPARATOR
from s3_assets.store.tables import tables
from s3_assets.store.views import View

TEXT_ID = f"'t_' || left(md5(concat_ws(chr({ord(SEPARATOR)}), text, text2)), 16)"
TEXT_ID_COMMENT = "Identity of texts, as in embeddings: text_id(text, text2), or text_id(text, NULL) of one text."


def embedding_views() -> list[View]:
    """The views over ``embeddings``."""
    seed_set = {column.name: column.comment for column in tables()["seed_set"].columns}
    embeddings = {column.name: column.comment for column in tables()["embeddings"].columns}
    # A row's vector is that of its texts together or, where its first text is a given context, of the second alone.
    query = """WITH rows AS (
  SELECT 'gold' AS kind, task, NULL::VARCHAR AS arm, NULL::BIGINT AS seed, NULL::BIGINT AS round,
    gold_id AS row_id, label, text, text2
  FROM gold
  UNION ALL
  SELECT 'synthetic', task, arm, seed, round, example_id, label, text, text2
  FROM seed_set
  WHERE first_round = round
), keyed AS (
  -- One pass over the rows: read twice, DuckDB would keep them with their texts first.
  SELECT
    kind, task, arm, seed, round, row_id, label,
    unnest(
      CASE WHEN text2 IS NULL THEN [text_id(text, NULL)] ELSE [text_id(text, text2), text_id(text2, NULL)] END
    ) AS text_id
  FROM rows
)
SELECT kind, task, arm, seed, round, row_id, label, text_id, encoder, embedding
FROM keyed
JOIN embeddings USING (task, text_id)"""
    return [
        View(
            "row_embeddings",
            "Gold and synthetic rows with their vectors, each synthetic row in the round that first had it. Rows of "
            "rounds whose drift is not made have none.",
            {
                "kind": "gold or synthetic.",
                "task": seed_set["task"],
                "arm": "Strategy that made the row; null for gold.",
                "seed": "Random seed of the arm; null for gold.",
                "round": "Round whose seed set first held the row; null for gold.",
                "row_id": "gold_id or example_id.",
                "label": "Label of the row.",
                "text_id": embeddings["text_id"],
                "encoder": embeddings["encoder"],
                "embedding": embeddings["embedding"],
            },
            query,
        )
    ]
