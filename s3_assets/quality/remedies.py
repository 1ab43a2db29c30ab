"""What is done about shortcuts in accepted rows: nothing, texts without marks and leads they go by, or fewer rows.

Belongs here: taking that off, choosing the rows refused. Does not belong here: finding shortcuts (``shortcuts.py``),
repairs of a text whatever the others look like (``repairs.py``).
"""

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl

from s3_assets.generation.filling import refused_row
from s3_assets.quality.overlap import DUPLICATE, GOLD_COPY
from s3_assets.quality.rules import CLASSES, ENDS, FIRST_CHARACTER, FIRST_WORDS, MARK, PUNCTUATION, QUOTE, QUOTES
from s3_assets.quality.words import words
from s3_assets.store.identity import example_id
from s3_assets.tasks.quality_spec import ShortcutsSpec
from s3_assets.tasks.spec import ANSWER
from s3_assets.tasks.split import normalise

# The gate of rows refused to rebalance, and the repair of texts that were stripped.
SHORTCUT = "shortcut"

# Under a quote there may be a lead, and under that another quote.
MOST_PASSES = 4

# Least share of a label's rows that rebalancing leaves.
LEAST_LEFT = 0.5

_CLOSING = {mark: mark for mark in "\"'`*\uff02"} | {"(": ")", "[": "]", "{": "}", "\u00ab": "\u00bb"}
_CLOSING |= {"\u201c": "\u201d", "\u201f": "\u201d", "\u201e": "\u201c", "\u2018": "\u2019", "\u201a": "\u2018"}
_CLOSING |= {"\u2039": "\u203a", "\u300c": "\u300d", "\u300e": "\u300f"}
_OPENING = {closing: opening for opening, closing in _CLOSING.items()} | {"\u201d": "\u201c"}

# Marks that belong to the number or word they stand at, as in "-5", "$3", "5%", "C++": never taken off it.
_SIGN = r"(?!-\d|[+#%\u2030\u00b0\u2212$\u00a2\u00a3\u00a5\u20ac]+\w)"

# What makes first words a lead: a colon, or a dash between spaces.
_LEAD_END = rf"(?:\s*:(?=[\s{re.escape(QUOTES)}])|\s*\uff1a|\s+[-\u2013\u2014]+(?=\s))\s*"

_Row = dict[str, Any]
_Find = Callable[[Sequence[_Row]], pl.DataFrame]
_Strip = Callable[[str], str]


def remedy(
    spec: ShortcutsSpec, rows: list[_Row], steer: pl.DataFrame, labels: Sequence[str], fields: Sequence[str], seed: int
) -> tuple[list[_Row], list[_Row]]:
    """Rows that are kept, in their order, and those refused, as rows of table ``rejected``.

    ``rows`` are accepted rows (``generation/filling.py``), ``steer`` is steering gold (text, text2, label), ``fields``
    are those the teacher writes; others are never touched. By ``spec.remedy``:

    - ``report``: every row is kept as it is.
    - ``strip``: the marks that rules about the beginning or the end go by, and first words that are a lead
      ("Answer:"), are taken off the rows of every label where gold has them less often; marks with the quote mark that
      belongs to them. Such rows get a new ``example_id``, and ``shortcut`` among their ``repairs``. One that then
      repeats another row or steering gold is refused, as it was written. Letters, digits and first words of a sentence
      stay, for without them a text may say something else; so do rules of other kinds.
    - ``rebalance``: rows of its label that a rule holds for are refused, drawn by ``seed``, until it tells at most half
      of ``spec.excess`` more than in gold, or ``LEAST_LEFT`` of the label's rows are left.
    """

    def find(now: Sequence[_Row]) -> pl.DataFrame:
        from s3_assets.quality.shortcuts import find_shortcuts  # numpy, 0.2 s

        return find_shortcuts(_frame(now, fields), steer, labels, fields, spec.excess)

    if spec.remedy == "strip":
        return _strip(rows, steer, find)
    if spec.remedy == "rebalance":
        return _rebalance(rows, find, spec.excess, random.Random(seed))
    return rows, []


def stripper(rule: str, value: str) -> _Strip | None:
    """What takes that which a rule goes by off a text that has it, or None for rules of which nothing can be taken off.

    Those are rules about length, words and marks within a text, and letters and digits at its ends. First words are
    taken off where a colon or a dash makes them a lead; a sign stays at its number, as in "-5". A text of which no word
    would be left stays as it is.
    """
    if rule == FIRST_WORDS:
        return partial(_without_lead, first=value.split())
    if rule == FIRST_CHARACTER and (marks := _marks(value)):
        return partial(_without_marks, marks=marks, partners=_CLOSING)
    if rule == PUNCTUATION and value.startswith(ENDS) and (marks := _marks(value.removeprefix(ENDS))):
        return lambda text: _without_marks(text[::-1], marks, _OPENING)[::-1]
    return None


def _strip(rows: Sequence[_Row], steer: pl.DataFrame, find: _Find) -> tuple[list[_Row], list[_Row]]:
    from s3_assets.quality.shortcuts import ADDED  # numpy, 0.2 s

    now, done = list(rows), set[tuple[str, str, str]]()
    for _ in range(MOST_PASSES):
        found = {(rule["field"], rule["rule"], rule["value"]) for rule in find(now).filter(ADDED).iter_rows(named=True)}
        strips = [(key[0], strip) for key in sorted(found - done) if (strip := stripper(*key[1:]))]
        if not strips:
            break
        done |= found
        now = [_stripped(row, strips) for row in now]
    gold = {_key(row) for row in steer.iter_rows(named=True)}
    seen = {_key(new) for old, new in zip(rows, now, strict=True) if new is old}
    kept, refused = [], []
    for old, new in zip(rows, now, strict=True):
        key = _key(new)
        if new is not old and (key in gold or key in seen):
            gate, where = (GOLD_COPY, "steer gold") if key in gold else (DUPLICATE, "the set already")
            refused.append(refused_row(old, gate, f"without the shortcut in it the same text is in {where}"))
        else:
            seen.add(key)
            kept.append(new)
    return kept, refused


def _stripped(row: _Row, strips: Sequence[tuple[str, _Strip]]) -> _Row:
    """The row without what ``strips`` take off its fields; the very row where that is nothing."""
    texts: dict[str, str | None] = {field: row[field] for field, _ in strips}
    for field, strip in strips:
        rest = strip(texts[field] or "")
        texts[field] = rest if words(rest) else texts[field]
    if all(row[field] == text for field, text in texts.items()):
        return row
    new = row | texts
    repairs = [name for name in (row["repairs"] or "").split(", ") if name not in {"", SHORTCUT}]
    new["repairs"] = ", ".join([*repairs, SHORTCUT])
    new["example_id"] = example_id(new["text"], new["text2"], new["label"], new[ANSWER])
    return new


def _marks(value: str) -> str | None:
    """Pattern of one mark of a rule about first or last characters; None where it is about letters or digits."""
    if value == QUOTE:
        return f"[{re.escape(QUOTES)}]"
    if value == MARK:
        return r"[^\w\s]"
    return None if value in CLASSES or value.isalnum() else re.escape(value)


def _without_marks(text: str, marks: str, partners: Mapping[str, str]) -> str:
    """The text without the marks it begins with, and without the partner of each that comes next, if any."""
    found = re.match(rf"(?:{_SIGN}{marks}\s*)+", text)
    if found is None:
        return text
    rest = text[found.end() :]
    for mark in reversed(found[0]):
        place = _partner(rest, mark, partners[mark]) if mark in partners else None
        if place is not None:
            rest = rest[:place] + rest[place + 1 :]
    return rest.strip()


def _partner(text: str, mark: str, partner: str) -> int | None:
    """Place in ``text`` of the mark that closes what ``mark`` before it opened; pairs within are passed over."""
    within = 0
    for found in re.finditer(f"{re.escape(mark)}|{re.escape(partner)}", text):
        before, after = text[: found.start()][-1:], text[found.end() :][:1]
        if before.isalnum() and after.isalnum():
            continue  # an apostrophe
        opens = found[0] == mark and (mark != partner or ((not before or before.isspace()) and after.isalnum()))
        if not opens and within == 0:
            return found.start()
        within += 1 if opens else -1
    return None


def _without_lead(text: str, first: Sequence[str]) -> str:
    """The text without its first words where they are a lead; what comes next gets their capital letter.

    They are where a colon or a dash ends them. First words of a sentence are part of what it says: "Not a moving film"
    would become "Moving film".
    """
    # Numbers alone are no lead: "3 - 2 for the guests".
    if not any(character.isalpha() for character in "".join(first)):
        return text
    between = r"[\W_]*"
    found = re.match(rf"({between})({between.join(map(re.escape, first))}){_LEAD_END}", text, re.IGNORECASE)
    if found is None:
        return text
    rest = text[found.end() :]
    # Without anything between, one word of the text may look like two.
    if words(rest) != words(text)[len(first) :]:
        return text
    if found[2][0].isupper():
        rest = rest[:1].upper() + rest[1:]
    return (found[1] + rest).strip()


def _rebalance(rows: Sequence[_Row], find: _Find, excess: float, rng: random.Random) -> tuple[list[_Row], list[_Row]]:
    from s3_assets.quality.shortcuts import describe, holders  # numpy, 0.2 s

    now, refused, done = list(rows), list[_Row](), set[tuple[str, ...]]()
    left = Counter(row["label"] for row in rows)
    least = {label: math.ceil(LEAST_LEFT * count) for label, count in left.items()}
    found = find(now)
    while True:
        keys = found.select("field", "rule", "value", "label").rows()
        at = next((place for place, key in enumerate(keys) if key not in done), None)
        if at is None:
            return now, refused
        done.add(keys[at])
        rule, label = found.row(at, named=True), keys[at][3]
        (places,) = holders(_frame(now, [rule["field"]]), found[at : at + 1])
        carry = [place for place in places if now[place]["label"] == label]
        count = min(_too_many(rule, len(carry), left[label], excess), left[label] - least[label])
        if count <= 0:
            continue
        out = set(rng.sample(carry, count))
        refused += [refused_row(now[place], SHORTCUT, describe(rule), rule["tells"]) for place in sorted(out)]
        now = [row for place, row in enumerate(now) if place not in out]
        left[label] -= count
        found = find(now)


def _too_many(rule: Mapping[str, Any], carry: int, rows: int, excess: float) -> int:
    """Rows of a label to take from those that carry its rule, so that it tells half of ``excess`` more than in gold."""
    share: float = rule["gold_tells"] + excess / 2 + rule["share_others"]
    if share >= 1:
        return 0
    # (carry - n) / (rows - n) = share
    return min(carry, math.ceil((carry - share * rows) / (1 - share) - 1e-9))


def _frame(rows: Sequence[_Row], fields: Sequence[str]) -> pl.DataFrame:
    names = (*fields, "label")
    return pl.DataFrame({name: [row[name] for row in rows] for name in names}, schema=dict.fromkeys(names, pl.String))


def _key(row: Mapping[str, Any]) -> tuple[str, str]:
    return normalise(row["text"]), normalise(row["text2"] or "")
