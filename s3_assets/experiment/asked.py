"""What a step asked of its teacher, whoever paid for it.

Belongs here: adding up the requests behind a live part. Does not belong here: the ledger (``teacher/ledger.py``),
limits on spending (``teacher/budget.py``).
"""

from dataclasses import dataclass

import polars as pl

from s3_assets.loop.publish import BEGAN
from s3_assets.prompting.contract import DIAGNOSIS, LABEL
from s3_assets.store.parts import Part, RoundKey, Warehouse
from s3_assets.teacher.ledger import CALLS, USES, scan

# Kinds of requests that bring no row and are counted one by one: which label, and what errors have in common.
QUESTIONS = (LABEL, DIAGNOSIS)


@dataclass(frozen=True)
class Asked:
    """Rows and questions asked, and the attempts at those requests: all of them, and those this step paid for.

    ``label_questions`` are questions of both kinds, ``diagnoses`` those among them about what errors have in common.
    Costs are US dollars, None when the price of an answer is not known.
    """

    rows_requested: int = 0
    label_questions: int = 0
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = 0.0
    paid_calls: int = 0
    paid_cost: float | None = 0.0
    diagnoses: int = 0

    def __add__(self, other: "Asked") -> "Asked":
        return Asked(
            self.rows_requested + other.rows_requested,
            self.label_questions + other.label_questions,
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            None if self.cost is None or other.cost is None else self.cost + other.cost,
            self.paid_calls + other.paid_calls,
            None if self.paid_cost is None or other.paid_cost is None else self.paid_cost + other.paid_cost,
            self.diagnoses + other.diagnoses,
        )


def asked(warehouse: Warehouse, key: RoundKey, asset: str, part: Part) -> Asked:
    """What the step that made ``part`` asked. Earlier goes at the step, with other settings, do not count."""
    step = {**key.columns(), "asset": asset}
    here = [pl.col(name) == value for name, value in step.items()]
    used_at = pl.col("used_at").dt.epoch("ms")
    uses = (
        scan(warehouse, USES)
        .filter(*here, used_at.is_between(int(part.metadata()[BEGAN]), part.stamp))
        .unique("request_id")
        .select("request_id", "kind", "rows_requested")
        .collect()
    )
    calls = scan(warehouse, CALLS).filter(pl.col("request_id").is_in(uses["request_id"].implode()))
    attempts = calls.select(
        "prompt_tokens",
        "completion_tokens",
        "cost",
        pl.all_horizontal(pl.col(name).eq_missing(value) for name, value in step.items()).alias("own"),
        (pl.col("cost").is_null() & pl.col("response").is_not_null()).alias("unpriced"),
    ).collect()
    paid = attempts.filter("own")
    return Asked(
        rows_requested=int(uses["rows_requested"].sum()),
        label_questions=uses.filter(pl.col("kind").is_in(QUESTIONS)).height,
        calls=attempts.height,
        prompt_tokens=int(attempts["prompt_tokens"].sum()),
        completion_tokens=int(attempts["completion_tokens"].sum()),
        cost=_cost(attempts),
        paid_calls=paid.height,
        paid_cost=_cost(paid),
        diagnoses=uses.filter(pl.col("kind") == DIAGNOSIS).height,
    )


def _cost(attempts: pl.DataFrame) -> float | None:
    return None if attempts["unpriced"].any() else float(attempts["cost"].sum())
