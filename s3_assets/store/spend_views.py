"""The catalog's views of what was asked for and what came of it: by request, by step, by gold row.

Belongs here: requests with tokens, cost and rows (``request_spend``, ``spend``), what became of every gold row and what
that took (``error_fate``). Does not belong here: how rows follow from errors (``lineage_views.py``).
"""

from s3_assets.store.columns import ROUND_KEYS
from s3_assets.store.joined_views import key_comments
from s3_assets.store.tables import tables
from s3_assets.store.views import View

_KEYS = ", ".join(ROUND_KEYS)
_LOOP = "task, arm, seed"

# An answer without a known price makes a sum unknown; an attempt that brought none was not billed.
_COST = "CASE WHEN bool_or({unknown}) THEN NULL ELSE coalesce(sum({cost}), 0) END"


def spend_views() -> list[View]:
    """The views of spending, each after those it reads."""
    return [_request_spend(), _spend(), _error_fate()]


def _request_spend() -> View:
    step = f"{_KEYS}, asset, request_id"
    # Tokens and cost are those this step itself paid; a request served from the ledger was paid by another.
    cost = _COST.format(unknown="cost IS NULL AND outcome <> 'failed'", cost="cost")
    query = f"""WITH used AS (
  SELECT
    {step},
    any_value(gold_id) AS gold_id, any_value(kind) AS kind, max(rows_requested) AS rows_requested,
    NOT bool_and(from_ledger) AS paid
  FROM teacher_uses
  GROUP BY {step}
), asked AS (
  SELECT request_id, any_value(teacher_id) AS teacher_id, any_value(model) AS model
  FROM teacher_calls
  GROUP BY request_id
), tried AS (
  SELECT
    {step},
    count(*) AS attempts, count(*) FILTER (outcome <> 'answered') AS failed_attempts,
    sum(prompt_tokens)::BIGINT AS prompt_tokens, sum(cached_tokens)::BIGINT AS cached_tokens,
    sum(completion_tokens)::BIGINT AS completion_tokens,
    {cost} AS cost
  FROM teacher_calls
  WHERE task IS NOT NULL
  GROUP BY {step}
), came AS (
  SELECT {step}, any_value(label) AS label, sum(accepted)::BIGINT AS accepted, sum(refused)::BIGINT AS refused
  FROM (
    SELECT {_KEYS}, 'extrapolated_set' AS asset, request_id, label, 1 AS accepted, 0 AS refused FROM extrapolated_set
    UNION ALL
    SELECT {_KEYS}, 'seed_set', request_id, label, 1, 0 FROM seed_set WHERE round = 0 AND request_id IS NOT NULL
    UNION ALL
    SELECT {step}, label, 0, (stage = 'row')::INTEGER FROM rejected WHERE request_id IS NOT NULL
    UNION ALL
    SELECT {_KEYS}, asset, unnest(requests), label, 0, 0 FROM verdicts WHERE len(requests) > 0
  )
  GROUP BY {step}
)
SELECT
  {step}, gold_id, kind, teacher_id, model, label, paid, rows_requested,
  coalesce(accepted, 0) AS accepted, coalesce(refused, 0) AS refused,
  coalesce(attempts, 0) AS attempts, coalesce(failed_attempts, 0) AS failed_attempts,
  coalesce(prompt_tokens, 0) AS prompt_tokens, coalesce(cached_tokens, 0) AS cached_tokens,
  coalesce(completion_tokens, 0) AS completion_tokens,
  CASE WHEN attempts IS NULL THEN 0 ELSE cost END AS cost
FROM used
LEFT JOIN asked USING (request_id)
LEFT JOIN tried USING ({step})
LEFT JOIN came USING ({step})"""
    use = {column.name: column.comment for column in tables()["teacher_uses"].columns}
    call = {column.name: column.comment for column in tables()["teacher_calls"].columns}
    return View(
        "request_spend",
        "One row per request that a step used, however often it ran: what was asked for, what came of it, what the "
        "step paid for it.",
        {
            **key_comments(),
            "asset": use["asset"],
            "request_id": "Teacher request; joins teacher_calls and lineage.",
            "gold_id": use["gold_id"],
            "kind": use["kind"],
            "teacher_id": call["teacher_id"],
            "model": call["model"],
            "label": "Label of the rows that came or were asked about; null where no row came (rationales).",
            "paid": "Whether the step made a call for it; false: every time it came from the ledger.",
            "rows_requested": use["rows_requested"],
            "accepted": "Rows of its answer that the step's set holds.",
            "refused": "Rows of its answer that gates refused.",
            "attempts": "Attempts that this step paid for, failed ones too; 0 where it came from the ledger.",
            "failed_attempts": "Those of them that brought no answer or a refusal.",
            "prompt_tokens": "Tokens read in those attempts; 0 when the teacher does not say.",
            "cached_tokens": "Tokens of prompt_tokens the teacher had cached.",
            "completion_tokens": "Tokens written in those attempts; 0 when the teacher does not say.",
            "cost": "US dollars paid for them; null when a price is not known.",
        },
        query,
    )


def _spend() -> View:
    cost = _COST.format(unknown="cost IS NULL", cost="cost")
    query = f"""SELECT
  {_KEYS}, asset, kind, teacher_id, model,
  count(*) AS requests,
  count(*) FILTER (paid) AS paid_requests,
  count(*) FILTER (NOT paid) AS ledger_requests,
  sum(attempts)::BIGINT AS attempts, sum(failed_attempts)::BIGINT AS failed_attempts,
  sum(prompt_tokens)::BIGINT AS prompt_tokens, sum(cached_tokens)::BIGINT AS cached_tokens,
  sum(completion_tokens)::BIGINT AS completion_tokens,
  {cost} AS cost,
  sum(rows_requested)::BIGINT AS rows_requested,
  sum(accepted)::BIGINT AS accepted, sum(refused)::BIGINT AS refused,
  CASE WHEN sum(accepted) > 0 THEN {cost} / sum(accepted) END AS cost_per_row
FROM request_spend
GROUP BY {_KEYS}, asset, kind, teacher_id, model"""
    each = _request_spend().columns
    summed = ("attempts", "failed_attempts", "prompt_tokens", "cached_tokens", "completion_tokens", "cost")
    return View(
        "spend",
        "What each step asked its teachers for, by kind of request and model: requests, attempts, tokens, cost and the "
        "rows that came. By label or request: request_spend.",
        {
            **{name: each[name] for name in (*ROUND_KEYS, "asset", "kind", "teacher_id", "model")},
            "requests": "Requests the step used; one that it used in several goes counts once.",
            "paid_requests": "Those that it made calls for.",
            "ledger_requests": "Those whose answer was there already.",
            **{name: each[name] for name in summed},
            "rows_requested": "Examples asked for, paid or from the ledger.",
            "accepted": each["accepted"],
            "refused": each["refused"],
            "cost_per_row": "cost by accepted row; null without any, or when a price is not known.",
        },
        query,
    )


def _error_fate() -> View:
    loop = f"{_LOOP}, gold_id"
    cost = _COST.format(unknown="cost IS NULL", cost="cost")
    query = f"""WITH judged AS (
  SELECT
    {loop},
    any_value(split) AS split, any_value(label) AS label,
    list(round ORDER BY round) AS rounds,
    list(correct ORDER BY round) AS correct,
    list(prediction ORDER BY round) AS predictions,
    arg_max(correct, round) AS right_now,
    bool_or(correct) AS ever_right,
    bool_and(correct) AS ever_since,
    min(round) FILTER (NOT correct) AS first_wrong_round,
    max(round) FILTER (NOT correct) AS last_wrong_round
  FROM predictions
  GROUP BY {loop}
), counted AS (
  SELECT
    {loop}, round,
    count(*) AS requests, sum(accepted)::BIGINT AS examples, sum(refused)::BIGINT AS refused,
    sum(prompt_tokens + completion_tokens)::BIGINT AS tokens, {cost} AS cost
  FROM request_spend
  WHERE gold_id IS NOT NULL AND asset = 'extrapolated_set'
  GROUP BY {loop}, round
  -- Selecting gold is only asked about, to know what the judge of labels is worth.
  HAVING bool_or(kind <> 'label')
), made AS (
  SELECT
    {loop},
    sum(requests)::BIGINT AS requests, sum(examples)::BIGINT AS examples, sum(refused)::BIGINT AS refused,
    list({{'round': round, 'requests': requests, 'examples': examples, 'refused': refused}} ORDER BY round) AS by_round,
    sum(tokens)::BIGINT AS tokens, {cost} AS cost
  FROM counted
  GROUP BY {loop}
)
SELECT
  {loop}, j.split, g.text, g.text2, j.label, rounds, correct, predictions,
  CASE
    WHEN ever_since THEN 'always_right'
    WHEN right_now THEN 'fixed'
    WHEN ever_right THEN 'broken'
    ELSE 'never_fixed'
  END AS fate,
  first_wrong_round,
  CASE WHEN right_now THEN list_min(list_filter(rounds, lambda r: r > last_wrong_round)) END AS fixed_in_round,
  coalesce(requests, 0) AS requests, coalesce(examples, 0) AS examples, coalesce(refused, 0) AS refused,
  coalesce(by_round, []) AS by_round,
  coalesce(tokens, 0) AS tokens,
  CASE WHEN requests IS NULL THEN 0 ELSE cost END AS cost
FROM judged j
LEFT JOIN gold g USING (task, gold_id)
LEFT JOIN made USING ({loop})"""
    keys = key_comments()
    predictions = {column.name: column.comment for column in tables()["predictions"].columns}
    gold = {column.name: column.comment for column in tables()["gold"].columns}
    return View(
        "error_fate",
        "One row per gold row and arm: right or wrong in each round, what became of the error, and what was spent on "
        "it. Gold that every student of an arm was trained on has no row.",
        {
            **{name: keys[name] for name in ("task", "arm", "seed")},
            "gold_id": predictions["gold_id"],
            "split": predictions["split"],
            "text": gold["text"],
            "text2": gold["text2"],
            "label": predictions["label"],
            "rounds": "Rounds whose student was asked about the row, in order; those that trained on it are left out.",
            "correct": "Whether each of those students is right, in the same order.",
            "predictions": "What each of them says, in the same order.",
            "fate": "always_right: right in every round. fixed: wrong in some round, right in the last. broken: right "
            "in an earlier round, wrong in the last. never_fixed: wrong in every round.",
            "first_wrong_round": "First round that got it wrong; null for always_right.",
            "fixed_in_round": "Round from which on it is right; null unless fixed.",
            "requests": "Requests made for it when it was extrapolated, label questions about its rows too.",
            "examples": "Accepted examples written from it.",
            "refused": "Rows written from it that gates refused.",
            "by_round": "The same by the round in which it was extrapolated: round, requests, examples, refused.",
            "tokens": "Tokens read and written for it, as far as this arm paid for them.",
            "cost": "US dollars this arm paid for it; null when a price is not known.",
        },
        query,
    )
