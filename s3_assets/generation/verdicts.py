"""Verdicts: what was said of a row's label, as it is kept in the table ``verdicts``.

Belongs here: the record of one row, counts over records, votes known from an earlier step. Does not belong here: asking
and deciding (``verify.py``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from s3_assets.quality.ensemble import Opinion

SYNTHETIC, GOLD = "synthetic", "gold"
KEPT, DROPPED, RELABELLED = "kept", "dropped", "relabelled"


@dataclass
class Judged:
    """One row and all that was said of it.

    ``cause`` is the gold row it comes from, or is. ``confidence`` is that of the label it was written for or has in
    gold, ``new_confidence`` that of the label it gets.
    """

    kind: str
    row_id: str
    row: Mapping[str, Any]
    cause: str | None
    votes: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    opinion: "Opinion | None" = None
    confidence: float | None = None
    threshold: float | None = None
    outcome: str = KEPT
    new_label: str | None = None
    new_confidence: float | None = None

    @property
    def label(self) -> str:
        """The label in doubt."""
        return str(self.row["label"])

    def verdict(self) -> dict[str, Any]:
        """The row of ``verdicts`` without its leading columns."""
        return {
            "kind": self.kind,
            "row_id": self.row_id,
            "label": self.label,
            "votes": list(self.votes),
            "requests": list(self.requests),
            "students_label": self.opinion.label if self.opinion is not None else None,
            "students_probability": self.opinion.probability if self.opinion is not None else None,
            "confidence": self.confidence,
            "threshold": self.threshold,
            "outcome": self.outcome,
            "new_label": self.new_label,
            "request_id": self.row.get("request_id"),
            "item": self.row.get("item"),
        }


def verdict_numbers(verdicts: Sequence[Mapping[str, Any]]) -> dict[str, int | float]:
    """What verifying cost and did, for metadata: questions about gold and rows, rows judged, dropped, relabelled."""
    rows = [verdict for verdict in verdicts if verdict["kind"] == SYNTHETIC]
    questions = sum(len(verdict["requests"]) for verdict in rows)
    counted: dict[str, int | float] = {
        "rows_judged": len(rows),
        "label_questions": questions,
        "label_questions_about_gold": sum(len(verdict["requests"]) for verdict in verdicts) - questions,
        "rows_doubted": sum(verdict["outcome"] == DROPPED for verdict in rows),
        "rows_relabelled": sum(verdict["outcome"] == RELABELLED for verdict in rows),
    }
    return counted | ({"label_questions_per_row": questions / len(rows)} if rows else {})


def calibrating_gold(gold: pl.DataFrame) -> pl.DataFrame:
    """The rows whose labels tell how good a judge is: selecting gold, or steering gold where none selects.

    Either is judged without its label in view. Never test gold. ``gold`` is gold as the strategy uses it.
    """
    selecting = gold.filter(pl.col("split") == "select")
    return selecting if selecting.height else gold.filter(pl.col("split") == "steer")


def gold_to_judge(gold: pl.DataFrame) -> list[Judged]:
    """``calibrating_gold`` as rows to judge; nobody was asked yet."""
    rows = calibrating_gold(gold).select("gold_id", "text", "text2", "label")
    return [Judged(GOLD, row["gold_id"], row, row["gold_id"]) for row in rows.iter_rows(named=True)]


def votes_known(
    verdicts: pl.DataFrame | None, of_gold: Sequence[Judged], questions: int
) -> dict[str, dict[str, Any]] | None:
    """Verdicts of an earlier step on gold by id, for their votes; None where it must be asked again.

    That is unless they are about exactly these rows and labels, each asked as often as ``questions`` says.
    """
    if verdicts is None:
        return None
    known = {row["row_id"]: row for row in verdicts.filter(pl.col("kind") == GOLD).iter_rows(named=True)}
    if {one.row_id: one.label for one in of_gold} != {row_id: row["label"] for row_id, row in known.items()}:
        return None
    asked = all(_asked_out(row, questions) for row in known.values())
    return known if asked else None


def in_words(votes: Sequence[str]) -> str:
    """What was said, in order: ``negative twice``, ``negative, then positive``."""
    if len(set(votes)) > 1 or len(votes) == 1:
        return ", then ".join(votes)
    return f"{votes[0]} twice" if len(votes) == 2 else f"{votes[0]} {len(votes)} times"


def _asked_out(verdict: Mapping[str, Any], questions: int) -> bool:
    asked = len(verdict["requests"])
    return asked == questions or (0 < asked < questions and verdict["label"] in verdict["votes"])
