"""The catalog's views of lineage: from a gold error to a row, and on to what the row did.

Belongs here: the chain of every row (``lineage``), the same as arrows (``lineage_edges``), the steps from one id
(``lineage_of``). Does not belong here: what it cost (``spend_views.py``), counts of rows and rounds
(``joined_views.py``, ``quality_views.py``).
"""

from s3_assets.store.columns import ROUND_KEYS
from s3_assets.store.joined_views import key_comments
from s3_assets.store.tables import tables
from s3_assets.store.views import View

_KEYS = ", ".join(ROUND_KEYS)
_LOOP = "task, arm, seed"

# A relabelled row has an id of its own and stands in the next seed set instead of the row before. Each table is cut by
# what ``reviews`` says before it is joined: DuckDB then reads nothing of it where nobody relabelled.
_RELABELS = "reviews WHERE kind = 'synthetic' AND decision = 'relabel'"
_OLD = f"old AS MATERIALIZED (SELECT * FROM seed_set WHERE example_id IN (SELECT row_id FROM {_RELABELS}))"
_RELABELLED = f"""WITH {_OLD}
  SELECT {{columns}}
  FROM old
  JOIN (
    SELECT *
    FROM seed_set
    WHERE round > first_round
      AND round IN (SELECT from_round FROM {_RELABELS}) AND label IN (SELECT new_label FROM {_RELABELS})
  ) new ON new.task = old.task AND new.arm = old.arm AND new.seed = old.seed AND new.round = old.round + 1
    AND new.text = old.text AND new.text2 IS NOT DISTINCT FROM old.text2 AND new.answer IS NOT DISTINCT FROM old.answer
    AND new.example_id <> old.example_id
  ANTI JOIN old earlier ON earlier.task = new.task AND earlier.arm = new.arm AND earlier.seed = new.seed
    AND earlier.example_id = new.example_id AND earlier.round < new.round"""

# Columns of ``lineage`` that are joined to its rows, and those that are of an answer.
_ANSWER = ("teacher_id", "teacher_model", "response")
_FOUND = (
    *(
        "gold_text",
        "gold_text2",
        "gold_label",
        "gold_answer",
        "wrong_prediction",
        "wrong_probability",
        "wrong_model_id",
    ),
    *(*_ANSWER, "from_ledger", "refused", "verdict", "written_label"),
    *("verdict_confidence", "review", "review_why", "seed_sets", "models", "gold_right_after", "gold_right_now"),
)


def lineage_views() -> list[View]:
    """The views of lineage, each after those it reads."""
    return [_lineage(), _lineage_edges()]


def _lineage() -> View:
    # Of a request that was answered several times, what was read is the last answer.
    found = ",\n    ".join(
        f"arg_max({name}, asked_at) AS {name}" if name in _ANSWER else f"any_value({name}) AS {name}" for name in _FOUND
    )
    # Grouped by what it is joined on, so that DuckDB leaves out the one join below, and with it all those within, where
    # nobody asks for their columns.
    query = f"""WITH missing AS (
  SELECT {_LOOP}, round + 1 AS first_round, any_value(model_id) AS wrong_model_id
  FROM extrapolated_set
  GROUP BY {_LOOP}, round + 1
), used AS (
  SELECT {_LOOP}, request_id, bool_and(from_ledger) AS from_ledger FROM teacher_uses GROUP BY {_LOOP}, request_id
), refused AS (
  SELECT {_LOOP}, request_id, count(*) AS refused FROM rejected WHERE stage = 'row' GROUP BY {_LOOP}, request_id
), reviewed AS (
  SELECT task, row_id AS example_id, arg_max(decision, decided_at) AS review, arg_max(why, decided_at) AS review_why
  FROM reviews
  WHERE kind = 'synthetic'
  GROUP BY task, row_id
), held AS (
  SELECT
    {_LOOP}, first_round, example_id,
    any_value(gold_id) AS gold_id, any_value(request_id) AS request_id, any_value(item) AS item,
    list(round ORDER BY round) AS seed_sets,
    list(model_id ORDER BY round) FILTER (model_id IS NOT NULL) AS models,
    min(round) FILTER (model_id IS NOT NULL) AS trained_round
  FROM seed_set
  LEFT JOIN trained_model USING ({_KEYS})
  GROUP BY {_LOOP}, first_round, example_id
), newest AS (
  SELECT {_LOOP}, gold_id, correct AS gold_right_now
  FROM predictions
  JOIN (SELECT {_LOOP}, max(round) AS round FROM trained_model GROUP BY {_LOOP}) USING ({_KEYS})
), found AS (
  SELECT
    {_LOOP}, first_round, example_id,
    max(asked_at) AS asked_at,
    {found}
  FROM held
  LEFT JOIN (
    SELECT task, gold_id, text AS gold_text, text2 AS gold_text2, label AS gold_label, answer AS gold_answer FROM gold
  ) USING (task, gold_id)
  LEFT JOIN missing USING ({_LOOP}, first_round)
  LEFT JOIN (
    SELECT
      {_LOOP}, round + 1 AS first_round, gold_id, model_id AS wrong_model_id,
      prediction AS wrong_prediction, probability AS wrong_probability
    FROM error_set
  ) USING ({_LOOP}, first_round, gold_id, wrong_model_id)
  LEFT JOIN used USING ({_LOOP}, request_id)
  LEFT JOIN (
    SELECT request_id, teacher_id, model AS teacher_model, asked_at, response
    FROM teacher_calls
    WHERE outcome = 'answered'
  ) USING (request_id)
  LEFT JOIN refused USING ({_LOOP}, request_id)
  LEFT JOIN (
    SELECT
      {_LOOP}, request_id, item, label AS written_label, outcome AS verdict, confidence AS verdict_confidence
    FROM verdicts
    WHERE kind = 'synthetic'
  ) USING ({_LOOP}, request_id, item)
  LEFT JOIN reviewed USING (task, example_id)
  LEFT JOIN (
    SELECT {_LOOP}, round AS trained_round, gold_id, correct AS gold_right_after FROM predictions
  ) USING ({_LOOP}, trained_round, gold_id)
  LEFT JOIN newest USING ({_LOOP}, gold_id)
  GROUP BY {_LOOP}, first_round, example_id
)
SELECT
  {_LOOP}, first_round AS round, example_id,
  gold_id, gold_text, gold_text2, gold_label, gold_answer,
  CASE WHEN wrong_model_id IS NOT NULL THEN first_round - 1 END AS error_round,
  wrong_prediction, wrong_probability, wrong_model_id,
  request_id, teacher_id, teacher_model, asked_at, from_ledger, response, item,
  text, text2, label, sublabel, answer, origin,
  repairs,
  CASE WHEN request_id IS NOT NULL THEN coalesce(refused, 0) END AS refused_beside,
  verdict, written_label, coalesce(confidence, verdict_confidence) AS confidence,
  review, review_why,
  seed_sets, models, gold_right_after, gold_right_now
FROM seed_set
LEFT JOIN found USING ({_LOOP}, first_round, example_id)
WHERE first_round = round"""
    row = {column.name: column.comment for column in tables()["seed_set"].columns}
    call = {column.name: column.comment for column in tables()["teacher_calls"].columns}
    return View(
        "lineage",
        "One row per distinct synthetic row of an arm: the error it was written for, request, answer, what became of "
        "it, what it did. Columns stand in the order of cause and effect. A row relabelled by a person stands here as "
        "it was written.",
        {
            **key_comments(),
            "round": "Round whose seed set first held the row under this id.",
            "example_id": row["example_id"],
            "gold_id": row["gold_id"],
            "gold_text": "Text of that gold row.",
            "gold_text2": "Second text of that gold row.",
            "gold_label": "Label of that gold row.",
            "gold_answer": "Answer of that gold row; null for other kinds.",
            "error_round": "Round whose student missed the gold row; null for seeds and gold drawn at random.",
            "wrong_prediction": "Label or answer that student gave; null as error_round.",
            "wrong_probability": "Probability it gave that, 0 to 1; null as error_round.",
            "wrong_model_id": "That student; joins trained_model; null as error_round.",
            "request_id": row["request_id"],
            "teacher_id": call["teacher_id"],
            "teacher_model": call["model"],
            "asked_at": "When the attempt that was answered was sent.",
            "from_ledger": "True when this arm paid no call for the request: the answer was already there.",
            "response": call["response"],
            "item": row["item"],
            **{name: row[name] for name in ("text", "text2", "label", "sublabel", "answer", "origin", "repairs")},
            "refused_beside": "Rows of the same request that gates refused; null for user rows.",
            "verdict": "What second opinions made of it: kept or relabelled; null where nobody was asked.",
            "written_label": "Label it was written for, as second opinions saw it; null where nobody was asked.",
            "confidence": "Probability that the label is right, 0 to 1; null where nobody was asked.",
            "review": "A person's newest decision about the row by this id: exclude, relabel or keep. The task's own "
            "loop follows it, arms of experiments do not.",
            "review_why": "Reason the person gave.",
            "seed_sets": "Rounds whose seed set holds the row, in order.",
            "models": "Students of those rounds, in order; rounds without one are left out.",
            "gold_right_after": "Whether the first of those students gets the row's gold row right; null for seeds.",
            "gold_right_now": "Whether the student of the arm's newest round gets it right; null for seeds.",
        },
        query,
    )


def _lineage_edges() -> View:
    by_model = f"(SELECT {_KEYS}, any_value(model_id) AS model_id FROM extrapolated_set GROUP BY {_KEYS}) d"
    row_of_verdict = "CASE WHEN outcome = 'dropped' THEN 'rejected' ELSE 'row' END"
    relabelled = _RELABELLED.format(
        columns="new.task, new.arm, new.seed, new.round, new.example_id, old.example_id AS was"
    )
    query = f"""SELECT {_KEYS}, cause_kind, CASE cause_kind WHEN 'gold' THEN gold_id ELSE model_id END AS cause_id,
  'prediction' AS effect_kind, model_id || '/' || gold_id AS effect_id,
  CASE WHEN correct THEN 'right' ELSE 'missed' END AS relation
FROM predictions
CROSS JOIN (VALUES ('gold'), ('model')) AS causes(cause_kind)
UNION ALL
SELECT {_KEYS},
  CASE WHEN d.model_id IS NULL THEN 'gold' ELSE 'prediction' END,
  CASE WHEN d.model_id IS NULL THEN gold_id ELSE d.model_id || '/' || gold_id END,
  'request', request_id,
  CASE WHEN d.model_id IS NULL THEN 'extrapolated' ELSE 'error extrapolated' END
FROM (
  SELECT {_KEYS}, gold_id, request_id
  FROM teacher_uses
  WHERE asset = 'extrapolated_set' AND kind <> 'label' AND gold_id IS NOT NULL
  GROUP BY {_KEYS}, gold_id, request_id
)
LEFT JOIN {by_model} USING ({_KEYS})
UNION ALL
SELECT {_KEYS}, 'request', request_id, 'row', example_id, 'wrote'
FROM extrapolated_set
UNION ALL
SELECT {_KEYS}, 'request', request_id, 'row', example_id, 'wrote'
FROM seed_set
WHERE round = 0 AND first_round = 0 AND request_id IS NOT NULL
UNION ALL
SELECT {_KEYS}, 'request', request_id, 'rejected', coalesce(row_id, concat_ws('/', request_id, item)), gate
FROM rejected
WHERE request_id IS NOT NULL
UNION ALL
SELECT {_KEYS}, {row_of_verdict}, row_id, 'request', unnest(requests), 'label asked'
FROM verdicts
WHERE kind = 'synthetic' AND len(requests) > 0
UNION ALL
SELECT {_KEYS}, 'row', example_id, 'seed_set', 'seed_set/' || round, origin
FROM seed_set
WHERE first_round = round
UNION ALL
SELECT {_KEYS}, 'row',
  CASE effect_kind WHEN 'row' THEN was ELSE example_id END, effect_kind,
  CASE effect_kind WHEN 'row' THEN example_id ELSE 'seed_set/' || round END, 'relabelled'
FROM ({relabelled})
CROSS JOIN (VALUES ('row'), ('seed_set')) AS effects(effect_kind)
UNION ALL
SELECT {_KEYS}, 'seed_set', 'seed_set/' || (round - 1), 'seed_set', 'seed_set/' || round, 'carried over'
FROM seed_set
WHERE round > 0 AND first_round < round
GROUP BY {_KEYS}
UNION ALL
SELECT {_KEYS}, 'seed_set', 'seed_set/' || round, 'model', model_id, 'trained'
FROM trained_model
WHERE training_rows > gold_rows"""
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
            "effect_id": "Its id, as cause_id. A refused answer, and what is no row, has request_id/item.",
            "relation": "How: right or missed (predictions), error extrapolated, extrapolated, wrote, the gate or "
            "fault that refused, label asked, relabelled, origin of a row in a seed set, carried over, trained.",
        },
        query,
    )
