"""The catalog's table macro ``lineage_of(id)``: from one id back to its causes and on to what it caused.

Belongs here: which arrows of ``lineage_edges`` are followed from what, and a sentence for each step. Does not belong
here: the arrows (``lineage_edges.py``), printing steps (``cli/lineage.py``).
"""

from s3_assets.store.lineage_edges import REFUSED_ID, edges_query
from s3_assets.store.views import Macro

_LOOP = "task, arm, seed"
_NODE = f"{_LOOP}, kind, id"
# Literals reach the scans: DuckDB opens the files of that loop alone.
_WITHIN = " AND ".join(f"(in_{key} IS NULL OR {key} = in_{key})" for key in ("task", "arm", "seed"))
# The tables that arrows are made of, each read once.
_CUT = ("predictions", "extrapolated_set", "teacher_uses", "seed_set", "rejected", "verdicts", "trained_model")
_OWN = "own_"
# More than any loop's rounds: rows relabelled back and forth may lead to each other.
_DEEPEST = 250
_TEXT = "CASE WHEN len({0}) > 160 THEN left({0}, 157) || '...' ELSE {0} END"

# Kinds that are followed on, by the kind of the id asked about. A student's answers lead to hundreds of rows: from a
# gold row they are followed to the rows written from it, from a row only to the answers about its own gold row.
_ON = {
    "gold": ("gold", "prediction", "request"),
    "prediction": ("prediction", "request"),
    "request": ("request", "row", "seed_set", "model"),
    "row": ("row", "seed_set", "model"),
    "model": ("model",),
}


def lineage_macro() -> Macro:
    """``lineage_of(id)``; its edge list is materialized, which is ten times as fast in a recursion."""
    on = " OR ".join(f"(w.start_kind = '{start}' AND w.kind IN {(*kinds, '')})" for start, kinds in _ON.items())
    cuts = ", ".join(
        f"{_OWN}{name} AS MATERIALIZED (SELECT * FROM {name} SEMI JOIN loops USING ({_LOOP}) WHERE {_WITHIN})"
        for name in _CUT
    )
    query = f"""WITH RECURSIVE starts AS MATERIALIZED (
  -- Within a query of its own: clients before 1.5 keep duplicates of a UNION here.
  SELECT * FROM (
    SELECT {_LOOP}, 'row' AS kind FROM seed_set WHERE example_id = wanted AND {_WITHIN}
    UNION
    SELECT {_LOOP}, 'row' FROM extrapolated_set WHERE example_id = wanted AND {_WITHIN}
    UNION
    SELECT {_LOOP}, 'rejected' FROM rejected WHERE row_id = wanted AND {_WITHIN}
    UNION
    SELECT {_LOOP}, CASE WHEN gold_id = wanted THEN 'gold' ELSE 'request' END
    FROM teacher_uses
    WHERE (request_id = wanted OR gold_id = wanted) AND {_WITHIN}
    UNION
    SELECT {_LOOP}, 'gold' FROM predictions WHERE gold_id = wanted AND {_WITHIN}
    UNION
    SELECT {_LOOP}, 'model' FROM trained_model WHERE model_id = wanted AND {_WITHIN}
    UNION
    -- A gold row that no arm has come to.
    SELECT task, NULL, NULL, 'gold'
    FROM gold
    WHERE gold_id = wanted AND (in_task IS NULL OR task = in_task)
      AND NOT EXISTS (FROM predictions WHERE gold_id = wanted)
      AND NOT EXISTS (FROM teacher_uses WHERE gold_id = wanted)
  )
), loops AS MATERIALIZED (
  SELECT DISTINCT {_LOOP} FROM starts
), {cuts}, edges AS MATERIALIZED (
  {edges_query(_OWN)}
), back AS (
  SELECT {_LOOP}, kind, wanted AS id, 0 AS depth, NULL::BIGINT AS round, NULL::VARCHAR AS relation FROM starts
  UNION
  SELECT e.task, e.arm, e.seed, e.cause_kind, e.cause_id, w.depth + 1, e.round, e.relation
  FROM back w
  JOIN edges e
    ON e.task = w.task AND e.arm = w.arm AND e.seed = w.seed AND e.effect_kind = w.kind AND e.effect_id = w.id
  -- What a student was trained on is told as a set.
  WHERE w.kind <> 'seed_set' AND w.depth < {_DEEPEST}
), own AS MATERIALIZED (
  SELECT DISTINCT {_LOOP}, id AS gold_id FROM back WHERE kind = 'gold'
), forward AS (
  SELECT {_LOOP}, kind, wanted AS id, 0 AS depth, NULL::BIGINT AS round, NULL::VARCHAR AS relation, kind AS start_kind
  FROM starts
  UNION
  SELECT e.task, e.arm, e.seed, e.effect_kind, e.effect_id, w.depth + 1, e.round, e.relation, w.start_kind
  FROM forward w
  JOIN edges e
    ON e.task = w.task AND e.arm = w.arm AND e.seed = w.seed AND e.cause_kind = w.kind AND e.cause_id = w.id
  LEFT JOIN own o
    ON o.task = e.task AND o.arm = e.arm AND o.seed = e.seed AND o.gold_id = split_part(e.effect_id, '/', 2)
  WHERE ({on}) AND w.depth < {_DEEPEST}
    AND (w.kind <> 'model' OR o.gold_id IS NOT NULL OR (w.start_kind = 'model' AND e.relation = 'missed'))
), steps AS MATERIALIZED (
  SELECT 'back' AS direction, {_NODE}, min(depth) AS depth, min(round) AS round, min(relation) AS relation
  FROM back
  WHERE depth > 0
  GROUP BY {_NODE}
  UNION ALL
  SELECT 'forward', {_NODE}, min(depth), min(round), min(relation) FROM forward WHERE depth > 0 GROUP BY {_NODE}
  UNION ALL
  SELECT 'self', {_LOOP}, kind, wanted, 0, NULL, NULL FROM starts
), told AS (
  SELECT task, NULL::VARCHAR AS arm, NULL::BIGINT AS seed, 'gold' AS kind, gold_id AS id,
    concat_ws(' ', 'gold,', split || ',', label || ':', {_TEXT.format("text")}, '| ' || ({_TEXT.format("text2")}))
      AS what
  FROM gold
  WHERE gold_id IN (SELECT id FROM steps)
  UNION ALL
  SELECT {_LOOP}, 'prediction', model_id || '/' || gold_id,
    'says ' || prediction || ' with probability ' || round(probability, 2) || CASE WHEN correct THEN ', right'
      ELSE ', wrong' END
  FROM {_OWN}predictions
  WHERE gold_id IN (SELECT split_part(id, '/', 2) FROM steps)
  UNION ALL
  SELECT {_LOOP}, 'request', request_id,
    CASE any_value(kind)
      WHEN 'examples' THEN max(rows_requested) || ' examples asked for'
      ELSE any_value(kind) || ' asked for'
    END || CASE WHEN bool_and(from_ledger) THEN ', answered from the ledger' ELSE ', paid' END
  FROM {_OWN}teacher_uses
  WHERE request_id IN (SELECT id FROM steps)
  GROUP BY {_LOOP}, request_id
  UNION ALL
  SELECT {_LOOP}, 'row', example_id,
    any_value(concat_ws(' ', label || ':', {_TEXT.format("text")}, '| ' || ({_TEXT.format("text2")})))
  FROM {_OWN}seed_set
  WHERE example_id IN (SELECT id FROM steps WHERE kind = 'row')
  GROUP BY {_LOOP}, example_id
  UNION ALL
  SELECT {_LOOP}, 'rejected', {REFUSED_ID},
    any_value(concat_ws(' ', 'refused by', gate || ',', reason || ':', {_TEXT.format("coalesce(text, raw)")}))
  FROM {_OWN}rejected
  WHERE request_id IN (SELECT id FROM steps) OR row_id IN (SELECT id FROM steps)
  GROUP BY ALL
  UNION ALL
  SELECT {_LOOP}, 'model', model_id,
    'student of round ' || round || ', trained on ' || training_rows || ' rows, of them ' || gold_rows || ' of gold'
  FROM {_OWN}trained_model
  WHERE model_id IN (SELECT id FROM steps)
)
SELECT
  s.direction, s.depth, s.kind, s.id, s.round, s.relation,
  CASE WHEN s.kind = 'seed_set' THEN 'training set of round ' || split_part(s.id, '/', 2) ELSE t.what END AS what,
  s.task, s.arm, s.seed
FROM steps s
LEFT JOIN told t
  ON t.kind = s.kind AND t.id = s.id AND t.task = s.task
  AND (t.arm = s.arm OR t.arm IS NULL) AND (t.seed = s.seed OR t.seed IS NULL)
ORDER BY s.task, s.arm, s.seed, s.direction, s.depth, s.kind, s.round, s.id"""
    return Macro(
        "lineage_of",
        ("wanted", "in_task := NULL", "in_arm := NULL", "in_seed := NULL"),
        "Steps from an id (row, refused row, request, student or gold row) back to its causes and forward to its "
        "effects: direction (back, self or forward), depth, kind, id, round, relation as in lineage_edges, and what "
        "the step is. Use: FROM lineage_of('x_...'), or, which reads less, FROM lineage_of('x_...', in_task := '...', "
        "in_arm := '...', in_seed := 0).",
        query,
        table=True,
    )
