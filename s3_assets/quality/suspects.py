"""Rows whose label a person should look at, and why.

Belongs here: what counts as suspicious and how much, in words. Does not belong here: finding the evidence
(``loop/evidence.py``), what a person decides (``loop/reviews.py``).

Every frame is given by the caller; rows are named by their place in it. Of test gold nothing but the text is read, and
only to say of another row that it nearly repeats one.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from s3_assets.quality.words import words

MISSED = "missed in every round"
STUDENTS = "the students say another label"
TEACHER = "the teacher says another label"
UNSURE = "low confidence"
OTHER_LABEL = "near duplicate with another label"
OTHER_SPLIT = "near duplicate in another split"
LENGTH = "unusual length"
SHORTCUT = "goes by a shortcut"
REASONS = (MISSED, STUDENTS, TEACHER, UNSURE, OTHER_LABEL, OTHER_SPLIT, LENGTH, SHORTCUT)

# Columns of ``rank``.
RANKED: dict[str, Any] = {
    "row": pl.Int64,
    "why": pl.String,
    "suspicion": pl.Float64,
    "suggested_label": pl.String,
    "reasons": pl.List(pl.String),
}

# Probability of a row's own label below which a student, or the ensemble, contradicts it rather than wavers.
CONTRADICTED_BELOW = 0.25
# Confidence below which the label is more likely wrong than right.
UNSURE_BELOW = 0.5
# Word overlap (Jaccard) of near duplicates.
NEAR = 0.8

# Most that a reason says alone. Votes may follow a wording, contrasts are often wanted, and length or a shortcut say
# nothing of the label.
_VOTES, _NEAR_LABEL, _NEAR_SPLIT, _LENGTH, _SHORTCUT = 0.8, 0.7, 0.5, 0.5, 0.3


@dataclass(frozen=True)
class Finding:
    """One reason to look at a row. ``strength`` is 0 to 1; ``suggests`` is the label it speaks for, if any."""

    row: int
    reason: str
    said: str
    strength: float
    suggests: str | None = None


def missed(gold: pl.DataFrame, predictions: pl.DataFrame, *, labels: bool) -> Iterator[Finding]:
    """Gold rows that every round's student missed with high loss.

    ``predictions`` has the columns of that table, of the rounds that count, in their order. Without ``labels`` the
    predictions are answers, and none is suggested.
    """
    by_row = (
        predictions.filter(pl.col("split") != "test")
        .group_by("gold_id", maintain_order=True)
        .agg(pl.col("correct").any(), pl.col("label_probability").mean(), pl.col("prediction"))
        .filter(~pl.col("correct") & (pl.col("label_probability") < CONTRADICTED_BELOW))
    )
    told = {row["gold_id"]: row for row in by_row.iter_rows(named=True)}
    for place, (gold_id, split) in enumerate(gold.select("gold_id", "split").iter_rows()):
        row = told.get(gold_id)
        if row is None or split == "test":
            continue
        rounds, probability = len(row["prediction"]), float(row["label_probability"])
        how_often = "in the only round so far" if rounds == 1 else f"in all {rounds} rounds so far"
        what = "label" if labels else "answer"
        said = f"missed {how_often}, mean probability of the {what} {probability:.2f}"
        # One round is one student; with more rounds a miss is less likely to be its own.
        strength = (1 - probability) * rounds / (rounds + 1)
        yield Finding(place, MISSED, said, strength, _commonest(reversed(row["prediction"])) if labels else None)


def contradicted_by_students(rows: pl.DataFrame, opinions: pl.DataFrame) -> Iterator[Finding]:
    """Rows to which the ensemble gives another label with high confidence.

    ``opinions`` has ``students_label`` and ``students_probability`` (of the row's own label) of every row, in order.
    """
    given = zip(rows["label"], opinions["students_label"], opinions["students_probability"], strict=True)
    for place, (label, other, probability) in enumerate(given):
        if other is not None and other != label and probability < CONTRADICTED_BELOW:
            said = f"the students say {other} and give {label} a probability of {probability:.2f}"
            yield Finding(place, STUDENTS, said, 1 - probability, other)


def contradicted_by_teacher(rows: pl.DataFrame, votes: Iterable[Sequence[str]]) -> Iterator[Finding]:
    """Rows to which the teacher, asked blind, gave another label than they have now.

    ``votes`` are its answers about every row, in order; none where it was not asked.
    """
    for place, (label, said_of_it) in enumerate(zip(rows["label"], votes, strict=True)):
        others = [vote for vote in said_of_it if vote != label]
        if others:
            asked, other = len(said_of_it), _commonest(others)
            said = f"the teacher, asked blind, says {other} ({others.count(other)} of {asked} times)"
            yield Finding(place, TEACHER, said, _VOTES * len(others) / asked, other)


def unsure(rows: pl.DataFrame) -> Iterator[Finding]:
    """Rows whose label is more likely wrong than right, by the column ``confidence``; null says nothing."""
    for place, confidence in enumerate(rows["confidence"]):
        if confidence is not None and confidence < UNSURE_BELOW:
            yield Finding(place, UNSURE, f"confidence in the label {confidence:.2f}", 1 - confidence)


def near_in_gold(gold: pl.DataFrame, pairs: Iterable[tuple[int, int, float]]) -> Iterator[Finding]:
    """Gold rows that nearly repeat one with another label, or one in another split. ``pairs``: places and overlap."""
    facts = gold.select("gold_id", "split", "label").rows()
    for one, other, overlap in pairs:
        for place, beside in ((one, other), (other, one)):
            _, split, label = facts[place]
            name, its_split, its_label = facts[beside]
            if split == "test":
                continue
            if split != its_split:
                said = f"nearly the same as {name}, a {its_split} row ({overlap:.2f})"
                yield Finding(place, OTHER_SPLIT, said, _NEAR_SPLIT * overlap)
            # A person may not learn from here how test rows are labelled.
            if its_split != "test" and label != its_label:
                said = f"nearly the same as {name}, which is {its_label} ({overlap:.2f})"
                yield Finding(place, OTHER_LABEL, said, _NEAR_LABEL * overlap)


def near_in_synthetic(rows: pl.DataFrame, pairs: Iterable[tuple[int, int, float]]) -> Iterator[Finding]:
    """Synthetic rows that nearly repeat one with another label. ``pairs``: places and overlap."""
    facts = rows.select("example_id", "label").rows()
    for one, other, overlap in pairs:
        if facts[one][1] == facts[other][1]:
            continue
        for place, beside in ((one, other), (other, one)):
            name, label = facts[beside]
            said = f"nearly the same as {name}, which is {label} ({overlap:.2f})"
            yield Finding(place, OTHER_LABEL, said, _NEAR_LABEL * overlap)


def unusual_length(rows: pl.DataFrame, gold: pl.DataFrame, fields: Sequence[str]) -> Iterator[Finding]:
    """Rows shorter or longer, in words, than any row of ``gold`` (without test rows)."""
    for field in fields:
        lengths = [len(words(text or "")) for text in gold[field]]
        if not lengths:
            continue
        shortest, longest = min(lengths), max(lengths)
        for place, text in enumerate(rows[field]):
            length = len(words(text or ""))
            if shortest <= length <= longest:
                continue
            times = max(length / max(longest, 1), shortest / max(length, 1))
            said = f"{field} has {length} words, gold {shortest} to {longest}"
            yield Finding(place, LENGTH, said, _LENGTH * (1 - 1 / times))


def goes_by_shortcut(held: Iterable[tuple[int, str, float]]) -> Iterator[Finding]:
    """Rows for which a shortcut to their label holds: place, the rule in words, what it tells more than in gold."""
    for place, rule, excess in held:
        yield Finding(place, SHORTCUT, f"a shortcut holds for it: {rule}", _SHORTCUT * min(max(excess, 0.0), 1.0))


def rank(findings: Iterable[Finding]) -> pl.DataFrame:
    """One row for each row that something was found of, the most suspicious first.

    ``row`` is its place, ``why`` all reasons in words, the strongest first; ``suspicion`` is 0 to 1, as if reasons were
    independent; ``suggested_label`` is what the strongest reason with a label says; ``reasons`` are of ``REASONS``.
    """
    strongest: dict[tuple[int, str], Finding] = {}
    more = Counter[tuple[int, str]]()
    for one in findings:
        place = (one.row, one.reason)
        more[place] += 1
        if place not in strongest or one.strength > strongest[place].strength:
            strongest[place] = one
    by_row: dict[int, list[Finding]] = {}
    for place, one in strongest.items():
        others = more[place] - 1
        told = replace(one, said=f"{one.said} and {others} more of that kind") if others else one
        by_row.setdefault(one.row, []).append(told)
    ranked = []
    for row, found in by_row.items():
        found.sort(key=lambda one: (-one.strength, REASONS.index(one.reason)))
        innocent = 1.0
        for one in found:
            innocent *= 1 - one.strength
        ranked.append(
            {
                "row": row,
                "why": "; ".join(one.said for one in found),
                "suspicion": round(1 - innocent, 3),
                "suggested_label": next((one.suggests for one in found if one.suggests is not None), None),
                "reasons": [one.reason for one in found],
            }
        )
    return pl.DataFrame(ranked, schema=RANKED).sort("suspicion", "row", descending=[True, False])


def _commonest(values: Iterable[str]) -> str:
    """The value that comes most often; of several the first."""
    return Counter(values).most_common(1)[0][0]
