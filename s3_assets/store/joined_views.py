"""The catalog's views that join tables: rounds, gold history.

Belongs here: questions people ask of the whole loop, as SQL over the views of ``views.py``, with a comment for every
column. Does not belong here: anything that reads files (``views.py``), what gates and second opinions
made of rows (``quality_views.py``).
"""

from s3_assets.store.columns import ROUND_KEYS
from s3_assets.store.tables import tables
from s3_assets.store.views import View


def joined_views() -> list[View]:
    """The views over the table views and ``parts``."""
    return [_rounds(), _gold_history()]


def key_comments() -> dict[str, str]:
    """Comments of the columns that every per-round view begins with."""
    return {column.name: column.comment for column in tables()["seed_set"].columns if column.name in ROUND_KEYS}


def _rounds() -> View:
    keys = ", ".join(ROUND_KEYS)
    counted = {"seed_rows": "seed_set", "errors": "error_set", "extrapolated_rows": "extrapolated_set"}
    counted["rejected_rows"] = "rejected"
    # count() of no rows would be 0 for a step that did not run: only a live part makes it 0.
    made = ",\n    ".join(f"bool_or(table_name = '{name}') AS has_{name}" for name in counted.values())
    # CASE and not if(): DuckDB 1.5 cannot read if() back from a catalog that 2.0 built.
    shown = ",\n  ".join(
        f"CASE WHEN has_{name} THEN coalesce({column}, 0) END AS {column}" for column, name in counted.items()
    )
    joins = "\n".join(
        f"LEFT JOIN (SELECT {keys}, count(*) AS {column} FROM {name} GROUP BY ALL) USING ({keys})"
        for column, name in counted.items()
    )
    query = f"""WITH made AS (
  SELECT
    {keys},
    {made}
  FROM parts
  WHERE live AND round IS NOT NULL
  GROUP BY ALL
), used AS (
  SELECT
    {keys}, asset, request_id, gold_id,
    any_value(kind) AS kind, max(rows_requested) AS rows_requested
  FROM teacher_uses
  GROUP BY {keys}, asset, request_id, gold_id
), asked AS (
  SELECT
    {keys},
    sum(rows_requested)::BIGINT AS rows_requested,
    count(*) FILTER (kind IN ('label', 'diagnosis')) AS label_questions
  FROM used
  GROUP BY ALL
), paid AS (
  SELECT
    {keys},
    count(DISTINCT request_id) AS paid_requests,
    count(*) AS calls,
    sum(prompt_tokens)::BIGINT AS prompt_tokens,
    sum(completion_tokens)::BIGINT AS completion_tokens,
    -- An answer without a known price makes the sum unknown; an attempt that brought none was not billed.
    CASE WHEN bool_or(cost IS NULL AND outcome <> 'failed') THEN NULL ELSE coalesce(sum(cost), 0) END AS cost
  FROM teacher_calls
  WHERE task IS NOT NULL
  GROUP BY ALL
)
SELECT
  {keys},
  {shown},
  steer_accuracy,
  select_accuracy,
  test_accuracy,
  select_f1,
  test_f1,
  coalesce(rows_requested, 0) AS rows_requested,
  coalesce(label_questions, 0) AS label_questions,
  coalesce(rows_requested, 0) + coalesce(label_questions, 0) AS teacher_budget,
  coalesce(paid_requests, 0) AS paid_requests,
  coalesce(calls, 0) AS calls,
  coalesce(prompt_tokens, 0) AS prompt_tokens,
  coalesce(completion_tokens, 0) AS completion_tokens,
  CASE WHEN calls IS NULL THEN 0 ELSE cost END AS cost
FROM made
{joins}
LEFT JOIN trained_model USING ({keys})
LEFT JOIN asked USING ({keys})
LEFT JOIN paid USING ({keys})"""
    return View(
        "rounds",
        "One row per round of each arm: what was made, how well its student does, what the teacher was asked.",
        {
            **key_comments(),
            "seed_rows": "Rows of seed_set; null when it is not made.",
            "errors": "Rows of error_set; null when it is not made.",
            "extrapolated_rows": "Rows of extrapolated_set; null when it is not made.",
            "rejected_rows": "Rows refused in this round; null when no gate ran.",
            "steer_accuracy": "Share right of steering gold, 0 to 1.",
            "select_accuracy": "Share right of held-out gold, 0 to 1: selecting gold, or steering gold by folds.",
            "test_accuracy": "Share right of test gold, 0 to 1; of questions, exact matches.",
            "select_f1": "Mean F1 of answers on held-out gold, 0 to 1; null for other kinds.",
            "test_f1": "Mean F1 of answers on test gold, 0 to 1; null for other kinds.",
            "rows_requested": "Examples asked for in all goes at the round, paid or not; a request counts once.",
            "label_questions": "Label and diagnosis questions asked, whether paid or served from the ledger.",
            "teacher_budget": "rows_requested plus label_questions.",
            "paid_requests": "Requests that this round's steps made calls for, not from the ledger.",
            "calls": "Attempts paid for, failed and unusable ones too.",
            "prompt_tokens": "Tokens read for the paid requests, all attempts; 0 when the teacher does not say.",
            "completion_tokens": "Tokens written for the paid requests, all attempts; 0 when the teacher does not say.",
            "cost": "US dollars paid for them; null when a price is not known.",
        },
        query,
    )


def _gold_history() -> View:
    keys = ", ".join(ROUND_KEYS)
    query = f"""WITH made AS (
  SELECT {keys}, gold_id, count(*) AS examples FROM extrapolated_set GROUP BY ALL
)
SELECT
  {keys}, gold_id, p.split, g.text, g.text2, p.label, p.prediction, p.correct, p.probability, p.loss,
  p.exact_match, p.f1,
  coalesce(m.examples, 0) AS examples
FROM predictions p
LEFT JOIN gold g USING (task, gold_id)
LEFT JOIN made m USING ({keys}, gold_id)"""
    predictions = {column.name: column.comment for column in tables()["predictions"].columns}
    texts = {column.name: column.comment for column in tables()["gold"].columns if column.name in ("text", "text2")}
    return View(
        "gold_history",
        "Every gold row through the rounds: what each round's student says of it, and the examples made from it.",
        {
            **key_comments(),
            "gold_id": predictions["gold_id"],
            "split": predictions["split"],
            **texts,
            **{name: predictions[name] for name in ("label", "prediction", "correct", "probability", "loss")},
            **{name: predictions[name] for name in ("exact_match", "f1")},
            "examples": "Accepted examples extrapolated from the row in this round; they train the next.",
        },
        query,
    )
