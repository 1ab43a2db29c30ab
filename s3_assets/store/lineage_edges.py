"""The catalog's view ``lineage_edges``: lineage as arrows, one from each cause to what it caused.

Belongs here: which arrows there are. Does not belong here: the chain of a row in columns (``lineage_views.py``), which
arrows are followed from an id (``lineage_steps.py``).
"""

from s3_assets.store.columns import ROUND_KEYS
from s3_assets.store.joined_views import key_comments
from s3_assets.store.views import View

_KEYS = ", ".join(ROUND_KEYS)
_LOOP = "task, arm, seed"

# Id of what was refused: what is no row has none of its own, and faults of one kind count once for a request.
REFUSED_ID = "coalesce(row_id, concat_ws('/', request_id, coalesce(item::VARCHAR, gate)))"

# A relabelled row has an id of its own and stands in the seed sets from the decision on instead of the row before.
_RELABELLED = f"""SELECT {_LOOP}, first_round, min(round) AS round, row_id AS was, new_id AS example_id
  FROM {{seed_set}}
  JOIN (
    SELECT task, row_id, new_id, new_id AS example_id, min(from_round) AS from_round
    FROM reviews
    WHERE kind = 'synthetic' AND decision = 'relabel' AND new_id IS NOT NULL
    GROUP BY task, row_id, new_id
  ) USING (task, example_id)
  WHERE round >= from_round
  GROUP BY {_LOOP}, first_round, row_id, new_id"""


def edges_query(own: str = "") -> str:
    """Every arrow; ``own`` is put before the names of tables, for a query that has its own cut of each."""
    by_model = f"(SELECT {_KEYS}, any_value(model_id) AS model_id FROM {own}extrapolated_set GROUP BY {_KEYS}) d"
    # Verdicts have the id as written; a row may have another label, or have been refused, since.
    judged = f"""(
  SELECT {_KEYS}, 'extrapolated_set' AS asset, request_id, item, 'row' AS kind, example_id AS id
  FROM {own}extrapolated_set
  UNION ALL
  SELECT {_KEYS}, 'seed_set', request_id, item, 'row', example_id FROM {own}seed_set WHERE round = 0
  UNION ALL
  SELECT {_KEYS}, asset, request_id, item, 'rejected', row_id FROM {own}rejected WHERE row_id IS NOT NULL
)"""
    relabelled = _RELABELLED.format(seed_set=f"{own}seed_set")
    return f"""SELECT {_KEYS}, cause_kind, CASE cause_kind WHEN 'gold' THEN gold_id ELSE model_id END AS cause_id,
  'prediction' AS effect_kind, model_id || '/' || gold_id AS effect_id,
  CASE WHEN correct THEN 'right' ELSE 'missed' END AS relation
FROM {own}predictions
CROSS JOIN (VALUES ('gold'), ('model')) AS causes(cause_kind)
UNION ALL
SELECT {_KEYS},
  CASE WHEN d.model_id IS NULL THEN 'gold' ELSE 'prediction' END,
  CASE WHEN d.model_id IS NULL THEN gold_id ELSE d.model_id || '/' || gold_id END,
  'request', request_id,
  CASE WHEN d.model_id IS NULL THEN 'extrapolated' ELSE 'error extrapolated' END
FROM (
  SELECT {_KEYS}, gold_id, request_id
  FROM {own}teacher_uses
  WHERE asset = 'extrapolated_set' AND kind <> 'label' AND gold_id IS NOT NULL
  GROUP BY {_KEYS}, gold_id, request_id
)
LEFT JOIN {by_model} USING ({_KEYS})
UNION ALL
SELECT {_KEYS}, 'request', request_id, 'row', example_id, 'wrote'
FROM {own}extrapolated_set
UNION ALL
SELECT {_KEYS}, 'request', request_id, 'row', example_id, 'wrote'
FROM {own}seed_set
WHERE round = 0 AND first_round = 0 AND request_id IS NOT NULL
UNION ALL
SELECT DISTINCT {_KEYS}, 'request', request_id, 'rejected', {REFUSED_ID}, gate
FROM {own}rejected
WHERE request_id IS NOT NULL
UNION ALL
SELECT {_KEYS}, j.kind, j.id, 'request', unnest(v.requests), 'label asked'
FROM (
  SELECT {_KEYS}, asset, request_id, item, requests FROM {own}verdicts WHERE kind = 'synthetic' AND len(requests) > 0
) v
JOIN {judged} j USING ({_KEYS}, asset, request_id, item)
UNION ALL
SELECT {_KEYS}, 'row', example_id, 'seed_set', 'seed_set/' || round, origin
FROM {own}seed_set
WHERE first_round = round
UNION ALL
SELECT {_KEYS}, 'row',
  CASE effect_kind WHEN 'row' THEN was ELSE example_id END, effect_kind,
  CASE effect_kind WHEN 'row' THEN example_id ELSE 'seed_set/' || round END, 'relabelled'
FROM ({relabelled})
CROSS JOIN (VALUES ('row'), ('seed_set')) AS effects(effect_kind)
-- One that the first seed set has under its new id points to it as all rows do.
WHERE effect_kind = 'row' OR round > first_round
UNION ALL
SELECT {_KEYS}, 'seed_set', 'seed_set/' || (round - 1), 'seed_set', 'seed_set/' || round, 'carried over'
FROM {own}seed_set
WHERE round > 0 AND first_round < round
GROUP BY {_KEYS}
UNION ALL
SELECT {_KEYS}, 'seed_set', 'seed_set/' || round, 'model', model_id, 'trained'
FROM {own}trained_model
WHERE training_rows > gold_rows"""


def lineage_edges() -> View:
    """The view ``lineage_edges``."""
    return View(
        "lineage_edges",
        "The same as arrows: one row per arrow from a cause to what it caused. A row points to the first seed set that "
        "holds it, each seed set to the next and to its student.",
        {
            **key_comments(),
            "round": "Round in which the effect came about.",
            "cause_kind": "gold, model, prediction, request, row, rejected or seed_set.",
            "cause_id": "Its id: gold_id, model_id, model_id/gold_id, request_id, example_id or row_id, "
            "seed_set/round.",
            "effect_kind": "Kind of what was caused, as cause_kind.",
            "effect_id": "Its id, as cause_id. What is no row has request_id/item, a refused answer request_id/gate.",
            "relation": "How: right or missed (predictions), error extrapolated, extrapolated, wrote, the gate or "
            "fault that refused, label asked, relabelled, origin of a row in a seed set, carried over, trained.",
        },
        edges_query(),
    )
