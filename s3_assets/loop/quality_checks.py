"""Checks that warn, with numbers: what may make training worse than it need be, and figures flatter than they are.

Belongs here: what is measured of a whole set, and from where on it warns. Does not belong here: checks that keep a set
from becoming live (``checks.py``), finding near duplicates and shortcuts (``quality/``), asking for labels.
"""

from collections.abc import Mapping, Sequence
from statistics import median

import polars as pl

from s3_assets.generation.filling import ROW, SURPLUS
from s3_assets.loop.checks import Check
from s3_assets.loop.cross_fitting import held_out
from s3_assets.quality.near import count_near_duplicates, near_pairs
from s3_assets.quality.words import words

MOST_ACCEPTED, LABELS_BALANCED, LENGTHS_LIKE_GOLD = "most_rows_accepted", "labels_balanced", "lengths_like_gold"
FEW_NEAR_DUPLICATES, LABELS_AGREED, NO_SHORTCUTS = "few_near_duplicates", "labels_agreed", "no_shortcuts"
SPLITS_APART, BEATS_MAJORITY = "splits_apart", "beats_majority"

# The checks of rows that one step wrote, and those of a training set.
ROWS_WARNINGS = (MOST_ACCEPTED, LENGTHS_LIKE_GOLD, FEW_NEAR_DUPLICATES, LABELS_AGREED)
SEED_SET_WARNINGS = (*ROWS_WARNINGS, LABELS_BALANCED, NO_SHORTCUTS)

LEAST_ACCEPTED = 0.5

# Least share of a label, in shares asked for.
LEAST_OF_SHARE = 1 / 3

# Share of rows outside gold's range of words, beyond what as many rows of gold itself would have there.
MOST_OUTSIDE = 0.1

# How many times shorter or longer the median row may be than that of gold.
MEDIAN_WITHIN = 2.0

# Overlap of words (Jaccard) from which on two rows nearly are one.
NEAR = 0.8
MOST_NEAR = 0.02

LEAST_AGREED = 0.8

# So many shortcuts are told in words, and so many labels get a number of their own.
MOST_TOLD, MOST_LABELS = 3, 12


def most_rows_accepted(accepted: int, rejected: pl.DataFrame) -> Check:
    """Rows that passed the gates of a step among those that came to them; ``rejected`` has that table's columns."""
    # Surplus rows passed too: more came than were wanted.
    refused = rejected.filter(pl.col("stage") == ROW)
    surplus = refused.filter(pl.col("gate") == SURPLUS).height
    by_gate = _counts(refused.filter(pl.col("gate") != SURPLUS)["gate"])
    passed, failed = accepted + surplus, sum(by_gate.values())
    if passed + failed == 0:
        return _passes(MOST_ACCEPTED, "no row came to the gates in this step")
    share = passed / (passed + failed)
    reasons = f"; refused: {', '.join(f'{rows} by {gate}' for gate, rows in by_gate.items())}" if by_gate else ""
    numbers = {"accepted": passed, "rejected": failed, "accepted_share": share}
    numbers |= {f"rejected_by_{gate}": rows for gate, rows in by_gate.items()}
    detail = f"{passed} of {passed + failed} rows passed the gates{reasons}"
    return _warns(MOST_ACCEPTED, share >= LEAST_ACCEPTED, detail, numbers)


def labels_balanced(rows: pl.DataFrame, labels: Sequence[str], prior: pl.Series | None = None) -> Check:
    """No label has far fewer rows than the share that was asked for.

    That is an even one, or with ``prior``, labels of gold, the one that the label has there.
    """
    if rows.is_empty():
        return _passes(LABELS_BALANCED, "there are no rows")
    counts = dict.fromkeys(labels, 0) | {label: n for label, n in _counts(rows["label"]).items() if label in labels}
    even = rows.height / len(labels)
    asked = dict.fromkeys(labels, even)
    if prior is not None:
        of_gold = _counts(prior)
        # A label that gold lacks is asked for once, for every label is to have a row.
        asked = {label: rows.height * of_gold.get(label, 0) / max(prior.len(), 1) or 1 for label in labels}
    few = sorted((label for label in labels if counts[label] < asked[label] * LEAST_OF_SHARE), key=counts.__getitem__)
    shares = [count / rows.height for count in counts.values()]
    numbers = {
        "smallest_share": min(shares),
        "largest_share": max(shares),
        "even_share": 1 / len(labels),
        "labels_below": len(few),
    }
    share = "an even share" if prior is None else "the share that they have in steering gold"
    if not few:
        return _warns(LABELS_BALANCED, True, f"every label has a third of {share} or more", numbers)
    if prior is None:
        share, told = f"{share}, {even:.0f} rows", [f"{label} {counts[label]}" for label in few]
    else:
        told = [f"{label} {counts[label]} for {asked[label]:.0f}" for label in few]
    detail = f"{len(few)} of {len(labels)} labels have less than a third of {share}: {', '.join(told[:MOST_LABELS])}"
    return _warns(LABELS_BALANCED, False, detail, numbers)


def lengths_like_gold(rows: pl.DataFrame, steer: pl.DataFrame, fields: Sequence[str]) -> Check:
    """Rows are about as many words long as steering gold; ``fields`` are those that were written."""
    if rows.is_empty() or steer.is_empty():
        return _passes(LENGTHS_LIKE_GOLD, "there is nothing to compare")
    own, gold = _lengths(rows, fields), _lengths(steer, fields)
    ranges = [(min(lengths), max(lengths)) for lengths in gold]
    outside = sum(
        any(not least <= length <= most for length, (least, most) in zip(row, ranges, strict=True))
        for row in zip(*own, strict=True)
    )
    ratios = {name: median(ours) / max(median(its), 1) for name, ours, its in zip(fields, own, gold, strict=True)}
    share = outside / rows.height
    # One more row of gold would be its shortest or its longest with this probability.
    expected = min(1.0, len(fields) * 2 / (steer.height + 1))
    alike = all(1 / MEDIAN_WITHIN <= ratio <= MEDIAN_WITHIN for ratio in ratios.values())
    numbers = {"outside_share": share, "expected_outside_share": expected}
    numbers |= {f"median_ratio_{name}": ratio for name, ratio in ratios.items()}
    times = ", ".join(f"{ratio:.2f} times that of gold ({name})" for name, ratio in ratios.items())
    detail = f"{share:.0%} of the rows are shorter or longer than any of steering gold; the median length is {times}"
    return _warns(LENGTHS_LIKE_GOLD, alike and share <= expected + MOST_OUTSIDE, detail, numbers)


def few_near_duplicates(rows: pl.DataFrame, fields: Sequence[str]) -> Check:
    """Few rows have an earlier one that shares ``NEAR`` of their words, whatever their labels."""
    if rows.is_empty():
        return _passes(FEW_NEAR_DUPLICATES, "there are no rows")
    near = count_near_duplicates(rows, fields, NEAR)
    share = near / rows.height
    numbers = {"near_duplicates": near, "near_duplicates_share": share}
    detail = f"{near} of {rows.height} rows nearly repeat an earlier one"
    return _warns(FEW_NEAR_DUPLICATES, share <= MOST_NEAR, detail, numbers)


def labels_agreed(verdicts: pl.DataFrame) -> Check:
    """Second opinions on labels agree with them; ``verdicts`` has that table's columns.

    The opinion on a row is the teacher's first vote, or else what the ensemble of students says.
    """
    opinions = (
        verdicts.filter(pl.col("kind") == "synthetic")
        .select("label", opinion=pl.coalesce(pl.col("votes").list.first(), "students_label"))
        .drop_nulls("opinion")
        .with_columns(agreed=pl.col("label") == pl.col("opinion"))
    )
    if opinions.is_empty():
        return _passes(LABELS_AGREED, "nobody was asked for labels in this step")
    agreed = int(opinions["agreed"].sum())
    by_label = opinions.group_by("label").agg(pl.col("agreed").mean()).sort("agreed", "label").head(MOST_LABELS)
    numbers = {"opinions": opinions.height, "agreed_share": agreed / opinions.height}
    numbers |= {f"agreed_share_{label}": share for label, share in by_label.iter_rows()}
    label, share = by_label.row(0)
    detail = f"{agreed} of {opinions.height} second opinions agree; least for {label}, {share:.0%}"
    return _warns(LABELS_AGREED, agreed / opinions.height >= LEAST_AGREED, detail, numbers)


def no_shortcuts(found: pl.DataFrame) -> Check:
    """No simple rule tells the label far better than in gold; ``found`` has the columns of table ``shortcuts``."""
    from s3_assets.quality.shortcuts import describe  # numpy, 0.2 s

    if found.is_empty():
        return _warns(NO_SHORTCUTS, True, "no rule tells the label far better than in gold", {"shortcuts": 0})
    strongest = found.with_columns(excess=pl.col("tells") - pl.col("gold_tells")).sort("excess", descending=True)
    told = "; ".join(describe(rule) for rule in strongest.head(MOST_TOLD).iter_rows(named=True))
    more = f"; and {found.height - MOST_TOLD} more, see table shortcuts" if found.height > MOST_TOLD else ""
    numbers = {"shortcuts": found.height, "strongest_excess": float(strongest["excess"][0])}
    return _warns(NO_SHORTCUTS, False, f"{told}{more}", numbers)


def splits_apart(gold: pl.DataFrame, fields: Sequence[str]) -> Check:
    """No row of selecting or test gold nearly repeats a steering row. Of test gold the texts are read, not the labels.

    What is learnt from the errors on one row is then no news on the other. ``gold`` has the uses that the strategy puts
    it to: selecting gold that steers counts as steering gold.
    """
    splits = gold["split"].to_list()
    held = [split for split in ("select", "test") if split in splits]
    if not held:
        return _passes(SPLITS_APART, "all gold steers")
    pairs = [
        (one, other)
        for earlier, later, _ in near_pairs(gold, fields, NEAR)
        for one, other in ((earlier, later), (later, earlier))
        if splits[one] == "steer"
    ]
    near = {split: len({other for _, other in pairs if splits[other] == split}) for split in held}
    told = [f"{count} of {splits.count(split)} {split} rows" for split, count in near.items()]
    flatter = "; figures on them are better than they would be on new texts" if any(near.values()) else ""
    numbers = {f"{split}_near_steer": count for split, count in near.items()}
    detail = f"{' and '.join(told)} nearly repeat a steering row{flatter}"
    return _warns(SPLITS_APART, not any(near.values()), detail, numbers)


def beats_majority(predictions: pl.DataFrame, kind: str) -> Check:
    """Students are right more often, on gold held out from them, than by always naming its commonest label.

    Held out is selecting gold from the round's student, or else steering gold from single students of folds, also where
    an ensemble of them or a distilled one answers for test gold.
    """
    select = held_out(predictions)
    if kind == "qa":
        return _passes(BEATS_MAJORITY, "not measured: answers have no commonest label")
    if select.is_empty():
        return _passes(BEATS_MAJORITY, "not measured: no gold is held out from the student")
    (label, commonest), *_ = _counts(select["label"]).items()
    accuracy, majority = int(select["correct"].sum()) / select.height, commonest / select.height
    detail = f"{accuracy:.1%} right on {select.height} rows of held-out gold; always {label} gives {majority:.1%}"
    return _warns(BEATS_MAJORITY, accuracy > majority, detail, {"accuracy": accuracy, "majority_share": majority})


def _warns(name: str, passed: bool, detail: str, numbers: Mapping[str, float]) -> Check:
    return Check(name, passed, detail, blocking=False, numbers=dict(numbers))


def _passes(name: str, detail: str) -> Check:
    return _warns(name, True, detail, {})


def _counts(values: pl.Series) -> dict[str, int]:
    """How often each value comes, commonest first."""
    counted = values.alias("value").value_counts(name="rows").sort(["rows", "value"], descending=[True, False])
    return dict(counted.iter_rows())


def _lengths(rows: pl.DataFrame, fields: Sequence[str]) -> list[list[int]]:
    """Words of every row, by field."""
    return [[len(words(text)) for text in rows[field]] for field in fields]
