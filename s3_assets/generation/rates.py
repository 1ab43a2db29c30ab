"""What earlier calls of a task tell about its next ones.

Belongs here: rates measured from the task's own ledger, and the defaults that stand for them before the first call.
Does not belong here: what a step would ask for and what that comes to (``estimate.py``), prices (``teacher/money.py``).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from s3_assets.generation.filling import SURPLUS
from s3_assets.generation.verify import DOUBTED
from s3_assets.loop.fingerprints import EXTRAPOLATED_SET, SEED_SET, loop_key
from s3_assets.prompting.contract import EXAMPLES, LABEL, RATIONALES
from s3_assets.quality.overlap import DUPLICATE, ECHO, GOLD_COPY, NEAR_DUPLICATE
from s3_assets.quality.remedies import SHORTCUT
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.load import Task
from s3_assets.teacher.endpoint import base_url
from s3_assets.teacher.ledger import CALLS, USES, scan
from s3_assets.teacher.request import TeacherRequest, teacher_id

# English text of most tokenizers.
CHARACTERS_PER_TOKEN = 4.0
CHARACTERS_PER_RATIONALE = 48.0
CHARACTERS_PER_LABEL = 25.0

# Share of extrapolated rows taken to copy their error or to repeat one another until it is known: the least, and the
# most, which is for a teacher that repeats itself in the seed set. How often it does there says no more: prompts of the
# seed set are alike, while every error is another one.
LEAST_REPEATS, MOST_REPEATS = 0.02, 0.05

# Rows with these in ``rejected`` came past the gates. Second opinions are imagined anew.
_PASSED = [SURPLUS, DOUBTED, SHORTCUT]

_REPEATS = (DUPLICATE, NEAR_DUPLICATE, GOLD_COPY, ECHO)

# Fewer requests of a step than this say too little of it alone.
FEWEST = 10

# The newest attempts of each step are looked at, so that a long ledger costs no more memory than a short one.
MOST_LOOKED_AT = 2000


@dataclass(frozen=True)
class Rates:
    """What one request of a step comes to.

    ``calls`` and ``answers`` are attempts per request: all of them, and those that were answered and billed.
    ``read`` is tokens per character of the messages, ``cached`` the share of them that the teacher had cached,
    ``written`` tokens per character of an answer. ``characters`` of an answer per row asked for, None when not known.
    ``accepted`` holds rows accepted and asked for by request; without any, every row is taken to be accepted.
    ``repeated`` is the share of those taken to be refused on top. ``measured`` counts the attempts behind it all.
    """

    calls: float = 1.0
    answers: float = 1.0
    read: float = 1 / CHARACTERS_PER_TOKEN
    cached: float = 0.0
    written: float = 1 / CHARACTERS_PER_TOKEN
    characters: float | None = None
    accepted: Sequence[tuple[int, int]] = ()
    repeated: float = 0.0
    measured: int = 0

    @property
    def accepted_share(self) -> float:
        """Share of rows accepted, 0 to 1."""
        asked = sum(rows for _, rows in self.accepted)
        return sum(rows for rows, _ in self.accepted) / asked if asked else 1.0


def measured_rates(task: Task, warehouse: Warehouse) -> dict[tuple[str, str], Rates]:
    """Rates by asset and kind of request, from what this teacher and model answered this task before.

    A step asked fewer than ``FEWEST`` times borrows from the other one, but not how long its rows are: seed rows are
    as long as the teacher likes, extrapolated ones resemble the error they are shown.
    """
    seed, rationales, extrapolated = (
        _attempts(task, warehouse, asset, kind)
        for asset, kind in ((SEED_SET, EXAMPLES), (SEED_SET, RATIONALES), (EXTRAPOLATED_SET, EXAMPLES))
    )
    found: dict[tuple[str, str], Rates] = {}
    for asset, own, other in ((SEED_SET, seed, EXTRAPOLATED_SET), (EXTRAPOLATED_SET, extrapolated, SEED_SET)):
        accepted = _outcomes(task, warehouse, asset, _PASSED)
        if own["request_id"].n_unique() >= FEWEST:
            found[asset, EXAMPLES] = _rates(own, _characters(own), accepted)
            continue
        kept, new = (_outcomes(task, warehouse, other, gates) for gates in (_PASSED, [*_PASSED, *_REPEATS]))
        rates = _rates(pl.concat([seed, extrapolated]), None, pl.concat([accepted, new]))
        lost = 1 - int(kept["accepted"].sum()) / max(1, int(new["accepted"].sum())) if new.height else 0.0
        repeated = min(MOST_REPEATS, LEAST_REPEATS + lost) if asset == EXTRAPOLATED_SET else 0.0
        found[asset, EXAMPLES] = replace(rates, repeated=repeated)
    per_label = task.spec.rationales.per_label
    listed = _characters(rationales.with_columns(pl.lit(per_label, pl.Int64).alias("rows_requested")))
    asked = rationales if rationales.height else pl.concat([seed, extrapolated])
    # A label is a short answer.
    found[SEED_SET, LABEL] = found[EXTRAPOLATED_SET, LABEL] = Rates(characters=CHARACTERS_PER_LABEL)
    found[SEED_SET, RATIONALES] = _rates(asked, listed or CHARACTERS_PER_RATIONALE, None)
    return found


def message_characters(request: TeacherRequest) -> int:
    """Characters of a request's messages."""
    return sum(len(message["content"]) for message in request.messages)


def _rates(attempts: pl.DataFrame, characters: float | None, accepted: pl.DataFrame | None) -> Rates:
    if attempts["answer"].count() == 0:
        # Nothing was ever answered: what an endpoint that is down did tells nothing of one that is not.
        return Rates(characters=characters)
    requests = attempts["request_id"].n_unique()
    billed = attempts.filter(pl.col("answer").is_not_null() & pl.col("read").is_not_null())
    totals = billed.select(pl.col("read", "cached", "written", "asked", "answer").fill_null(0).sum()).row(0, named=True)
    known = totals["asked"] > 0 and totals["answer"] > 0 and totals["read"] > 0
    fresh = attempts["request_id"].unique()
    ours = None if accepted is None else accepted.filter(pl.col("request_id").is_in(fresh.implode()))
    return Rates(
        calls=attempts.height / requests,
        answers=attempts["answer"].count() / requests,
        read=totals["read"] / totals["asked"] if known else Rates.read,
        cached=totals["cached"] / totals["read"] if known else Rates.cached,
        written=totals["written"] / totals["answer"] if known else Rates.written,
        characters=characters,
        accepted=() if ours is None else ours.select("accepted", "rows_requested").rows(),
        measured=attempts.height,
    )


def _characters(attempts: pl.DataFrame) -> float | None:
    """Characters of an answer per row asked for, unusable answers included."""
    answered = attempts.filter(pl.col("answer").is_not_null() & (pl.col("rows_requested") > 0))
    characters, rows = answered.select(pl.col("answer", "rows_requested").sum()).row(0)
    return characters / rows if answered.height else None


def _attempts(task: Task, warehouse: Warehouse, asset: str, kind: str) -> pl.DataFrame:
    """The newest attempts of one kind in one step: tokens, characters of messages and answer, rows asked for."""
    where = {
        "task": task.name,
        "teacher_id": teacher_id(task, base_url(task)),
        "model": task.spec.teacher.model,
        "asset": asset,
        "kind": kind,
    }
    newest = (
        scan(warehouse, CALLS)
        .filter(*(pl.col(name) == value for name, value in where.items()))
        .select(
            "request_id",
            "request",
            "asked_at",
            pl.col("response").str.len_chars().cast(pl.Int64).alias("answer"),
            pl.col("prompt_tokens").alias("read"),
            pl.col("cached_tokens").alias("cached"),
            pl.col("completion_tokens").alias("written"),
        )
        .top_k(MOST_LOOKED_AT, by="asked_at")
        .collect()
    )
    rows = _uses(task, warehouse, asset).collect()
    asked = pl.Series("asked", [_said(body) for body in newest["request"]], pl.Int64)
    return newest.drop("request", "asked_at").with_columns(asked).join(rows, on="request_id", how="left")


def _outcomes(task: Task, warehouse: Warehouse, asset: str, counted: list[str]) -> pl.DataFrame:
    """Rows asked for and accepted, by request of the live parts of a step; also those refused by gates ``counted``."""
    found = []
    rounds = [0] if asset == SEED_SET else range(task.spec.rounds)
    for key in (loop_key(task, round_).columns() for round_ in rounds):
        part, beside = warehouse.live(asset, key), warehouse.live("rejected", {**key, "asset": asset})
        if part is None:
            continue
        found.append(part.read().select("request_id", pl.lit(1).alias("accepted")))
        # Written before the rows that were accepted; a younger one is of another attempt at the step.
        if beside is not None and beside.stamp <= part.stamp:
            found.append(
                beside.read().select("request_id", pl.col("gate").is_in(counted).cast(pl.Int32).alias("accepted"))
            )
    empty = pl.DataFrame(schema={"request_id": pl.String, "accepted": pl.Int32})
    return (
        pl.concat([empty, *found])
        .group_by("request_id")
        .agg(pl.col("accepted").sum())
        .join(_uses(task, warehouse, asset).collect(), on="request_id")
        .filter(pl.col("rows_requested") > 0)
        .sort("request_id")
    )


def _uses(task: Task, warehouse: Warehouse, asset: str) -> pl.LazyFrame:
    used = scan(warehouse, USES).filter((pl.col("task") == task.name) & (pl.col("asset") == asset))
    return used.select("request_id", "rows_requested").unique("request_id")


def _said(body: str) -> int:
    """Characters of the messages of a request as the ledger keeps it."""
    return sum(len(message["content"]) for message in json.loads(body)["messages"])
