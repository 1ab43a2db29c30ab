"""The catalog's views of lineage: from a gold error to a row, and on to what the row did.

Belongs here: the chain of every row (``lineage``, ``row_origin``). Does not belong here: the same as arrows
(``lineage_edges.py``), the steps from one id (``lineage_steps.py``), what it cost (``spend_views.py``), counts of rows
and rounds (``joined_views.py``, ``quality_views.py``).
"""

from s3_assets.store.columns import ROUND_KEYS
from s3_assets.store.joined_views import key_comments
from s3_assets.store.tables import tables
from s3_assets.store.views import View

_KEYS = ", ".join(ROUND_KEYS)
_LOOP = "task, arm, seed"

# What caused a row: columns by what is joined, and the joins.
_ANSWER = ("teacher_id", "teacher_model", "response")
_CAUSES = (
    *("gold_text", "gold_text2", "gold_label", "gold_answer"),
    *("wrong_prediction", "wrong_probability", "wrong_model_id"),
)
_CAUSE_JOINS = f"""
  LEFT JOIN (
    SELECT task, gold_id, text AS gold_text, text2 AS gold_text2, label AS gold_label, answer AS gold_answer FROM gold
  ) USING (task, gold_id)
  LEFT JOIN (
    SELECT {_LOOP}, round + 1 AS first_round, any_value(model_id) AS wrong_model_id
    FROM extrapolated_set
    GROUP BY {_LOOP}, round + 1
  ) USING ({_LOOP}, first_round)
  LEFT JOIN (
    SELECT
      {_LOOP}, round + 1 AS first_round, gold_id, model_id AS wrong_model_id,
      prediction AS wrong_prediction, probability AS wrong_probability
    FROM error_set
  ) USING ({_LOOP}, first_round, gold_id, wrong_model_id)
  LEFT JOIN (
    SELECT
      request_id, teacher_id, model AS teacher_model, asked_at, response,
      1000 * coalesce(epoch_ms(asked_at), 0) + coalesce(attempt, 0) AS answer_order
    FROM teacher_calls
    WHERE outcome = 'answered'
  ) USING (request_id)"""

# What became of it. A row has few of each, so they are joined as they are and grouped once: filters then reach every
# table.
_EFFECTS = ("verdict", "written_label", "verdict_confidence", "review", "review_why", "seed_sets", "models")
_EFFECT_SUMS = """
    bool_and(from_ledger) AS from_ledger,
    list(refused_item) AS refused_items,
    bool_or(correct) FILTER (judged_round = trained_round) AS gold_right_after,
    arg_max(correct, judged_round) AS gold_right_now,"""
_EFFECT_JOINS = f"""
  LEFT JOIN (SELECT {_LOOP}, request_id, from_ledger FROM teacher_uses) USING ({_LOOP}, request_id)
  LEFT JOIN (
    SELECT {_LOOP}, request_id, item AS refused_item FROM rejected WHERE stage = 'row'
  ) USING ({_LOOP}, request_id)
  LEFT JOIN (
    SELECT
      {_LOOP}, request_id, item, label AS written_label, outcome AS verdict, confidence AS verdict_confidence
    FROM verdicts
    WHERE kind = 'synthetic'
  ) USING ({_LOOP}, request_id, item)
  LEFT JOIN (
    SELECT task, example_id, newest.decision AS review, newest.why AS review_why
    FROM (
      SELECT task, example_id, arg_max(struct_pack(decision := decision, why := why), decided_at) AS newest
      FROM (
        SELECT task, unnest([row_id, new_id]) AS example_id, decision, why, decided_at
        FROM reviews
        WHERE kind = 'synthetic'
      )
      WHERE example_id IS NOT NULL
      GROUP BY task, example_id
    )
  ) USING (task, example_id)
  LEFT JOIN (
    SELECT {_LOOP}, gold_id, round AS judged_round, correct FROM predictions
  ) USING ({_LOOP}, gold_id)"""


def lineage_views() -> list[View]:
    """The views of lineage, each after those it reads."""
    return [_lineage(), _row_origin()]


def _found(effects: bool) -> str:
    """The start of a query: ``found`` has what is joined to each row of a loop, by its id and first round."""
    # Of a request that was answered several times, what was read is the last answer.
    found = ",\n    ".join(
        [f"arg_max({name}, answer_order) AS {name}" for name in _ANSWER]
        + [f"any_value({name}) AS {name}" for name in (*_CAUSES, *(_EFFECTS if effects else ()))]
    )
    students = """
    list(round ORDER BY round) AS seed_sets,
    list(model_id ORDER BY round) FILTER (model_id IS NOT NULL) AS models,
    min(round) FILTER (model_id IS NOT NULL) AS trained_round,"""
    # Grouped by what it is joined on, so that DuckDB leaves out the one join to it, and with it all those within, where
    # nobody asks for their columns.
    return f"""WITH held AS (
  SELECT
    {_LOOP}, first_round, example_id,{students if effects else ""}
    any_value(gold_id) AS gold_id, any_value(request_id) AS request_id, any_value(item) AS item
  FROM seed_set{f" LEFT JOIN trained_model USING ({_KEYS})" if effects else ""}
  GROUP BY {_LOOP}, first_round, example_id
), found AS (
  SELECT
    {_LOOP}, first_round, example_id,{_EFFECT_SUMS if effects else ""}
    max(asked_at) AS asked_at,
    {found}
  FROM held{_CAUSE_JOINS}{_EFFECT_JOINS if effects else ""}
  GROUP BY {_LOOP}, first_round, example_id
)"""


def _lineage() -> View:
    query = f"""{_found(effects=True)}
SELECT
  {_LOOP}, first_round AS round, example_id,
  gold_id, gold_text, gold_text2, gold_label, gold_answer,
  CASE WHEN wrong_model_id IS NOT NULL THEN first_round - 1 END AS error_round,
  wrong_prediction, wrong_probability, wrong_model_id,
  request_id, teacher_id, teacher_model, asked_at, from_ledger, response, item,
  text, text2, label, sublabel, answer, origin,
  repairs,
  CASE WHEN request_id IS NOT NULL THEN coalesce(len(list_distinct(refused_items)), 0) END AS refused_beside,
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
        "it, what it did. Columns stand in the order of cause and effect. A row relabelled before any seed set held it "
        "has its new label.",
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
            "review": "A person's newest decision about the row, or that made it of another: exclude, relabel or keep. "
            "The task's own loop follows it, arms of experiments do not.",
            "review_why": "Reason the person gave.",
            "seed_sets": "Rounds whose seed set holds the row, in order.",
            "models": "Students of those rounds, in order; rounds without one are left out.",
            "gold_right_after": "Whether the first of those students gets the row's gold row right; null for seeds.",
            "gold_right_now": "Whether the student of the arm's newest round gets it right; null for seeds.",
        },
        query,
    )


def _row_origin() -> View:
    query = f"""{_found(effects=False)}
SELECT
  {_LOOP}, round,
  example_id, text, text2, label, sublabel, answer, origin, first_round,
  gold_id, gold_text, gold_text2, gold_label, gold_answer,
  CASE WHEN wrong_model_id IS NOT NULL THEN first_round - 1 END AS error_round,
  wrong_prediction, wrong_probability, wrong_model_id,
  request_id, item,
  teacher_id, teacher_model, response
FROM seed_set
LEFT JOIN found USING ({_LOOP}, first_round, example_id)"""
    seed_set = {column.name: column.comment for column in tables()["seed_set"].columns}
    return View(
        "row_origin",
        "Every row of seed_set with where it came from: gold error, the model that missed it, request and answer.",
        {
            **{name: seed_set[name] for name in (*ROUND_KEYS, "example_id", "text", "text2", "label")},
            **{name: seed_set[name] for name in ("sublabel", "answer", "origin")},
            "first_round": seed_set["first_round"],
            "gold_id": seed_set["gold_id"],
            "gold_text": "Text of that gold row.",
            "gold_text2": "Second text of that gold row.",
            "gold_label": "Label of that gold row.",
            "gold_answer": "Answer of that gold row; null for other kinds.",
            "error_round": "Round whose student missed the gold row; null when it was not an error (control arms).",
            "wrong_prediction": "Label that student gave.",
            "wrong_probability": "Probability it gave that label, 0 to 1.",
            "wrong_model_id": "That student; joins trained_model.",
            "request_id": seed_set["request_id"],
            "item": seed_set["item"],
            "teacher_id": "Teacher that answered the request.",
            "teacher_model": "Model that answered the request.",
            "response": "Raw text of the answer.",
        },
        query,
    )
