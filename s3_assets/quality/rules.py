"""Simple rules about a text: how it begins, how long it is, its punctuation and single words.

Belongs here: which rules hold for a text, and their wording. Does not belong here: what they tell of labels
(``shortcuts.py``).
"""

from collections.abc import Sequence

import polars as pl

from s3_assets.quality.words import words

FIRST_CHARACTER, FIRST_WORDS, LENGTH, PUNCTUATION, TOKEN = (
    "first_character",
    "first_words",
    "length",
    "punctuation",
    "token",
)

# Classes of characters that rules may name instead of one character.
QUOTE, MARK, DIGIT, LOWER, UPPER, WORD = CLASSES = (
    "quote mark",
    "punctuation mark",
    "digit",
    "lower case letter",
    "upper case letter",
    "letter or digit",
)
QUOTES = "\"'`\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb\u2039\u203a\u300c\u300d\u300e\u300f\uff02"
# Marks that within a text may be apostrophes.
_APOSTROPHES = "'`\u2018\u2019\u201b"
# Before a character or class in the value of a punctuation rule.
ENDS = "ends with "


def cut(texts: pl.Series) -> pl.Series:
    """Texts as lists of words (``quality/words.py``); a null has none."""
    # Joined and split again: Polars takes 0.4 s for 10,000 lists of Python, and 10 ms for as many texts.
    joined = pl.Series([" ".join(words(text or "")) for text in texts], dtype=pl.String)
    return joined.str.split(" ").list.eval(pl.element().filter(pl.element() != ""))


def holding(texts: pl.Series, tokens: pl.Series, at_least: Sequence[int], at_most: Sequence[int] = ()) -> pl.DataFrame:
    """Which rules hold for which texts: columns row (place of the text, from 0), rule, value.

    ``tokens`` are the texts' words, as of ``cut``. Lengths in words are compared with the numbers ``at_least`` and
    ``at_most``. A null counts as an empty text.
    """
    frame = pl.DataFrame({"text": texts.fill_null("").str.strip_chars(), "words": tokens})
    text, listed = pl.col("text"), pl.col("words")
    frame = frame.with_row_index("row").with_columns(length=listed.list.len().cast(pl.Int64))
    first, last = text.str.slice(0, 1), text.str.slice(-1, 1)
    # Seen through marks before it: else every rule about marks is one about the letters of the other texts as well.
    letter = text.str.extract(r"^[^\w]*(\w)")
    marks = text.str.extract_all(r"[^\w\s]")
    quotes = marks.list.eval(pl.element().is_in(list(set(QUOTES) - set(_APOSTROPHES)))).list.any()

    def held(rule: str, value: pl.Expr) -> pl.DataFrame:
        return frame.select("row", rule=pl.lit(rule), value=value)

    parts = [
        held(FIRST_CHARACTER, pl.when(first.ne_missing(letter)).then(first)),
        held(FIRST_CHARACTER, letter),
        *(held(FIRST_CHARACTER, one) for one in _classes(first, (QUOTE, MARK))),
        *(held(FIRST_CHARACTER, one) for one in _classes(letter, (DIGIT, LOWER, UPPER))),
        held(FIRST_WORDS, listed.list.first()),
        held(FIRST_WORDS, pl.when(listed.list.len() > 1).then(listed.list.head(2).list.join(" "))),
        held(PUNCTUATION, marks.list.unique()).explode("value"),
        held(PUNCTUATION, pl.when(quotes).then(pl.lit(QUOTE))),
        held(PUNCTUATION, pl.when(last.str.contains(r"[^\w\s]")).then(pl.lit(ENDS) + last)),
        *(held(PUNCTUATION, pl.lit(ENDS) + one) for one in _classes(last, (QUOTE, WORD))),
        held(TOKEN, listed.list.unique()).explode("value"),
    ]
    for sign, numbers in ((">=", at_least), ("<=", at_most)):
        for number in numbers:
            length = pl.col("length") >= number if sign == ">=" else pl.col("length") <= number
            parts.append(frame.filter(length).select("row", rule=pl.lit(LENGTH), value=pl.lit(f"{sign} {number}")))
    return pl.concat(parts).filter(pl.col("value").str.len_chars() > 0)


def _classes(character: pl.Expr, names: Sequence[str]) -> list[pl.Expr]:
    """For each class its name where the character is of it, else null."""
    belongs = {
        QUOTE: character.is_in(list(QUOTES)),
        MARK: character.str.contains(r"[^\w\s]"),
        DIGIT: character.str.contains(r"\d"),
        LOWER: character.str.contains(r"\p{Ll}"),
        UPPER: character.str.contains(r"\p{Lu}"),
        WORD: character.str.contains(r"\w"),
    }
    return [pl.when(belongs[name]).then(pl.lit(name)) for name in names]


def wording(rule: str, value: str) -> str:
    """A rule as what a text does, as ``begins with a quote mark``."""
    if rule == FIRST_CHARACTER:
        return f"begins with {_named(value)}"
    if rule == FIRST_WORDS:
        return f'begins with "{value}"'
    if rule == LENGTH:
        side, number = value.split()
        return f"has {number} or {'more' if side == '>=' else 'fewer'} words"
    if rule == TOKEN:
        return f'has the word "{value}"'
    if value.startswith(ENDS):
        return f"{ENDS}{_named(value.removeprefix(ENDS))}"
    return f"has {_named(value)} in it"


def _named(character: str) -> str:
    if character in CLASSES:
        return f"{'an' if character == UPPER else 'a'} {character}"
    return f"'{character}'" if character == '"' else f'"{character}"'
