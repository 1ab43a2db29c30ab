"""The catalog's views of quality: what gates and second opinions made of rows.

Belongs here: counts over ``rejected`` and ``verdicts`` as SQL, with a comment for every column. Does not belong here:
anything that reads files (``views.py``), other questions about the loop (``joined_views.py``).
"""

from s3_assets.store.columns import ROUND_KEYS
from s3_assets.store.joined_views import key_comments
from s3_assets.store.views import View

_ASSET = "Asset whose step asked: seed_set or extrapolated_set."


def quality_views() -> list[View]:
    """The views over the table views of quality."""
    return [_funnel(), _label_agreement()]


def _funnel() -> View:
    keys = ", ".join(ROUND_KEYS)
    query = f"""WITH counted AS (
  SELECT {keys}, asset, gate, stage, count(*) AS rejected, 0::BIGINT AS accepted
  FROM rejected
  GROUP BY {keys}, asset, gate, stage
  UNION ALL
  SELECT {keys}, 'extrapolated_set', 'accepted', 'row', 0, count(*)
  FROM extrapolated_set
  GROUP BY {keys}
  UNION ALL
  SELECT {keys}, 'seed_set', 'accepted', 'row', 0, count(*)
  FROM seed_set
  WHERE origin <> 'extrapolated' AND first_round = round
  GROUP BY {keys}
)
SELECT
  {keys}, asset, gate, stage, rejected, accepted,
  CASE WHEN stage = 'row' THEN
    (rejected + accepted) / sum(rejected + accepted) OVER (PARTITION BY {keys}, asset, stage)
  END AS share
FROM counted"""
    return View(
        "funnel",
        "What became of what the teacher returned and of a task's own rows: a row per fault or gate that refused some, "
        "one for the accepted.",
        {
            **key_comments(),
            "asset": _ASSET,
            "gate": "Fault of answers, gate that refused rows, or accepted for the rows that passed every gate.",
            "stage": "response: counts answers; row: counts rows.",
            "rejected": "Rows this gate refused; 0 in the accepted row.",
            "accepted": "Rows that passed every gate; 0 in the rows of the gates.",
            "share": "Share of the rows that came to the gates in this step, 0 to 1; null for answers.",
        },
        query,
    )


def _label_agreement() -> View:
    keys = ", ".join(ROUND_KEYS)
    query = f"""SELECT
  {keys}, asset, kind, label,
  count(*) AS rows,
  count(*) FILTER (len(votes) > 0) AS asked,
  coalesce(sum(len(requests)), 0)::BIGINT AS label_questions,
  avg((votes[1] = label)::INTEGER) AS first_vote_agrees,
  avg((students_label = label)::INTEGER) AS students_agree,
  avg(confidence) AS mean_confidence,
  count(*) FILTER (outcome = 'kept') AS kept,
  count(*) FILTER (outcome = 'dropped') AS dropped,
  count(*) FILTER (outcome = 'relabelled') AS relabelled
FROM verdicts
GROUP BY {keys}, asset, kind, label"""
    return View(
        "label_agreement",
        "Second opinions by label: how often others give a row the label it was written for, and what became of it.",
        {
            **key_comments(),
            "asset": _ASSET,
            "kind": "synthetic: rows the teacher wrote; gold: rows of gold, whose labels are right.",
            "label": "Label the rows were written for, or have in gold.",
            "rows": "Rows judged.",
            "asked": "Rows the teacher gave a label, blind.",
            "label_questions": "Questions asked about them, whether paid or from the ledger.",
            "first_vote_agrees": "Share of first answers that are this label, 0 to 1; null where none were asked.",
            "students_agree": "Share to which the ensemble of students gives this label, 0 to 1; null where not asked.",
            "mean_confidence": "Mean probability that the label is right, 0 to 1.",
            "kept": "Rows kept with their label.",
            "dropped": "Rows dropped; they are in rejected, by the gate label_doubted.",
            "relabelled": "Rows kept under another label.",
        },
        query,
    )
