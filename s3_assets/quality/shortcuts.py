"""Shortcuts: simple rules that tell the label of synthetic rows far better than that of steering gold.

Belongs here: what rules tell on both sides, and the choice of those reported. Does not belong here: the rules
(``rules.py``), the test against chance (``chance.py``), what is done about shortcuts (``remedies.py``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from s3_assets.quality.chance import Counts, Floats, p_values
from s3_assets.quality.rules import (
    CLASSES,
    ENDS,
    FIRST_CHARACTER,
    FIRST_WORDS,
    LENGTH,
    PUNCTUATION,
    QUOTE,
    TOKEN,
    cut,
    holding,
    wording,
)
from s3_assets.store.columns import ROUND_KEYS
from s3_assets.store.tables import table

# In one round of a hundred a family of rules may name one by chance (Bonferroni over its rules, labels and fields).
# Form is a family of its own, so that its few rules are not drowned by the many words.
ALPHA = 0.01
_FORM = (FIRST_CHARACTER, LENGTH, PUNCTUATION)

# Rules that hold for nearly the same rows (correlation) are one. It is told in the form that comes first here, unless
# another form exceeds gold by so much more.
SAME_ROWS = 0.8
SAME_EXCESS = 0.05
_PREFERRED = (FIRST_CHARACTER, FIRST_WORDS, PUNCTUATION, LENGTH, TOKEN)

# Rules of one field that are reported, and that are compared for that.
MOST_PER_FIELD = 20
MOST_COMPARED = 200

# Fewer synthetic rows make no rule that is reported.
FEWEST_ROWS = 5

# Thresholds of length are at these shares of the synthetic rows.
_QUANTILES = tuple(step / 20 for step in range(1, 20))

_EXCESS = pl.col("tells") - pl.col("gold_tells")
# Whether synthetic rows have what the rule is about more often than gold does.
ADDED = pl.col("share") + pl.col("share_others") > pl.col("gold_share") + pl.col("gold_share_others")


@dataclass(frozen=True)
class _Tried:
    """Rules of one field: which rows they hold for, those that exceed gold, how many were tried.

    ``counts``, ``sizes`` and ``signs`` have a line for each rule of ``far``; see ``p_values``.
    """

    held: pl.DataFrame
    far: pl.DataFrame
    counts: Counts
    sizes: Counts
    signs: Floats
    forms: int
    phrases: int


def find_shortcuts(
    rows: pl.DataFrame, gold: pl.DataFrame, labels: Sequence[str], fields: Sequence[str], excess: float
) -> pl.DataFrame:
    """Rules that tell the label of ``rows`` at least ``excess`` better than that of ``gold``, and not by chance.

    ``rows`` are synthetic, ``gold`` is steering gold; both have ``fields`` and ``label``. What a rule tells of a label
    is the share of the label's rows it holds for less the share of the others' (Youden's J, -1 to 1); in gold the
    other labels count in the proportions they have in ``rows``. The result has the columns of table ``shortcuts`` but
    for the round's, the largest excess first, at most ``MOST_PER_FIELD`` of a field; it is empty when nothing is found.
    Labels that either side lacks are left out.

    The test takes rows as independent; several rows written from one example are somewhat less than that.
    """
    columns = {name: dtype for name, dtype in table("shortcuts").schema.items() if name not in ROUND_KEYS}
    judged = [label for label in labels if all((side["label"] == label).any() for side in (rows, gold))]
    found = [pl.DataFrame(schema=columns)]
    if len(judged) > 1:
        synthetic, reference = (side.filter(pl.col("label").is_in(judged)) for side in (rows, gold))
        tried = [_try(field, synthetic, reference, judged, excess) for field in fields]
        forms, phrases = sum(one.forms for one in tried), sum(one.phrases for one in tried)
        for one in tried:
            if not one.far.is_empty():
                times = np.where(one.far["rule"].is_in(_FORM), forms, phrases)
                corrected = (p_values(one.counts, one.sizes, one.signs) * times).clip(max=1)
                beyond = one.far.with_columns(p_value=pl.Series(corrected)).filter(pl.col("p_value") <= ALPHA)
                found.append(_without_repeats(beyond, one.held, synthetic.height, binary=len(judged) == 2))
    order = (-_EXCESS, "p_value", "field", "label", "rule", "value")
    return pl.concat([one.select(*columns) for one in found]).sort(*order)


def describe(rule: Mapping[str, Any]) -> str:
    """A row of table ``shortcuts`` in words, without a full stop.

    As ``text2 begins with a quote mark: 95% of not_entailment, 42% of the others (gold 0% and 1%)``.
    """
    shares = f"{rule['share']:.0%} of {rule['label']}, {rule['share_others']:.0%} of the others"
    gold = f"gold {rule['gold_share']:.0%} and {rule['gold_share_others']:.0%}"
    return f"{rule['field']} {wording(rule['rule'], rule['value'])}: {shares} ({gold})"


def holders(rows: pl.DataFrame, found: pl.DataFrame) -> list[list[int]]:
    """For each rule of ``found`` (as of ``find_shortcuts``) the places in ``rows``, from 0, that it holds for."""
    places: list[list[int]] = [[] for _ in range(found.height)]
    for (field,), rules in found.with_row_index("number").group_by("field"):
        texts = rows[str(field)]
        limits = rules.filter(pl.col("rule") == LENGTH)["value"].str.split(" ")
        at_least, at_most = ([int(number) for sign, number in limits if sign == way] for way in (">=", "<="))
        held = holding(texts, cut(texts), at_least, at_most).join(
            rules.select("number", "rule", "value"), on=["rule", "value"]
        )
        for number, row in held.select("number", "row").sort("number", "row").iter_rows():
            places[number].append(row)
    return places


def _try(field: str, rows: pl.DataFrame, gold: pl.DataFrame, labels: Sequence[str], excess: float) -> _Tried:
    """Every rule of a field, counted by label on both sides. Each label has rows on both."""
    many = len(labels)
    place = pl.col("label").replace_strict(labels, range(many), return_dtype=pl.Int64)
    slots = pl.concat([rows.select(slot=place), gold.select(slot=place + many)])["slot"]
    sizes = np.bincount(slots, minlength=2 * many).reshape(2, many)
    texts = pl.concat([rows[field], gold[field]])
    tokens = cut(texts)
    lengths = tokens.head(rows.height).list.len()
    limits = sorted({int(limit) for q in _QUANTILES if (limit := lengths.quantile(q, "nearest")) is not None})
    # With two labels, fewer words for one are more words for the other.
    fewer = [limit - 1 for limit in limits] if many > 2 else []
    held = holding(texts, tokens, limits, fewer)
    # A rule that holds for fewer rows cannot tell half the excess of the label, whichever rows those are: not a try.
    fewest = np.maximum(excess / 2 * sizes[0], FEWEST_ROWS)
    counted = (
        held.with_columns(slot=slots.gather(held["row"]))
        .group_by("rule", "value", "slot")
        .len()
        .filter(pl.col("len").filter(pl.col("slot") < many).sum().over("rule", "value") >= fewest.min())
        .sort("rule", "value", "slot")
        .with_columns(number=pl.struct("rule", "value").rle_id())
    )
    rules = counted.unique("number", keep="first", maintain_order=True)
    counts = np.zeros((rules.height, 2, many), dtype=np.int64)
    counts.reshape(-1, 2 * many)[counted["number"], counted["slot"]] = counted["len"]

    total = counts[:, 0].sum(axis=1)
    weights = np.where(np.eye(many, dtype=bool), 0, sizes[0])
    weights = weights / weights.sum(axis=1, keepdims=True)
    share = counts / sizes
    share_others = share @ weights.T
    tells = share - share_others
    able = total[:, None] >= fewest
    far = able & (tells[:, 0] >= excess / 2) & (tells[:, 0] - tells[:, 1] >= excess)
    at, label = np.nonzero(far)
    values = rules.select(pl.lit(field).alias("field"), "rule", "value")[at].with_columns(
        label=pl.Series(list(labels), dtype=pl.String).gather(label), rows=pl.Series(total[at])
    )
    for side, prefix in enumerate(("", "gold_")):
        for name, numbers in (("share", share), ("share_others", share_others), ("tells", tells)):
            values = values.with_columns(pl.Series(prefix + name, numbers[at, side, label]))
    own, size = counts[at, 0, label], sizes[0, label]
    form = rules["rule"].is_in(_FORM).to_numpy()
    return _Tried(
        held=held,
        far=values,
        counts=np.column_stack([own, total[at] - own, counts[at, 1]]),
        sizes=np.column_stack([size, rows.height - size, np.broadcast_to(sizes[1], (len(at), many))]),
        signs=np.column_stack([np.ones(len(at)), -np.ones(len(at)), (weights - np.eye(many))[label]]),
        forms=int(able[form].sum()),
        phrases=int(able[~form].sum()),
    )


def _without_repeats(found: pl.DataFrame, held: pl.DataFrame, rows: int, *, binary: bool) -> pl.DataFrame:
    """One rule of those that are nearly the same, one threshold of length a label; at most ``MOST_PER_FIELD``."""
    named = pl.col("value").str.strip_prefix(ENDS)
    kind = pl.col("rule").replace_strict(_PREFERRED, range(len(_PREFERRED)), return_dtype=pl.Int64)
    # What was added to the texts tells more than what they lack. A word tells more than its first letter, two more than
    # one; a mark at the end more than anywhere, a quote mark more than the very mark, a mark more than any punctuation.
    letter = (pl.col("rule") == FIRST_CHARACTER) & named.str.contains(r"^\w$")
    two_words = (pl.col("rule") == FIRST_WORDS) & named.str.contains(" ")
    rank = (
        pl.when(ADDED).then(0).otherwise(100)
        + pl.when(letter).then(10 * len(_PREFERRED)).otherwise(10 * kind)
        + pl.when(named == pl.col("value")).then(5).otherwise(0)
        + pl.when((named == QUOTE) | two_words).then(0).when(named.is_in(CLASSES)).then(2).otherwise(1)
    )
    ordered = (
        found.with_columns(excess=_EXCESS, rank=rank)
        .sort(-pl.col("excess"), "rank", "label", "value")
        .head(MOST_COMPARED)
        .with_row_index("number")
    )
    held = held.filter(pl.col("row") < rows).join(ordered, on=["rule", "value"])
    holds = np.zeros((ordered.height, rows))
    holds[held["number"], held["row"]] = 1
    alike = np.atleast_2d(np.corrcoef(holds)) if ordered.height else np.ones((0, 0))
    same_label = ordered["label"].to_numpy()[:, None] == ordered["label"].to_numpy()
    # With two labels, a rule for one is its opposite for the other.
    alike = np.where(same_label, alike, -alike if binary else -1)
    lengths = (ordered["rule"] == LENGTH).to_numpy()
    ways = ordered["value"].str.slice(0, 2).to_numpy()
    alike[same_label & lengths & lengths[:, None] & (ways == ways[:, None])] = 1
    kept: list[int] = []
    left = np.ones(ordered.height, dtype=bool)
    excess, preferred = ordered["excess"].to_numpy(), ordered["rank"].to_numpy()
    while left.any() and len(kept) < MOST_PER_FIELD:
        top = int(np.argmax(left))
        group = left & (alike[top] >= SAME_ROWS)
        group[top] = True
        near = np.flatnonzero(group & (excess >= excess[top] - SAME_EXCESS))
        best = int(near[np.argmin(preferred[near])])
        kept.append(best)
        left &= ~group & (alike[best] < SAME_ROWS)
    return ordered[kept].drop("number", "excess", "rank")
