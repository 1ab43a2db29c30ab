"""The gate on scripts and languages.

Belongs here: what steering gold is written in, and rows that are in something else. Does not belong here: any other
gate.
"""

import functools
import unicodedata
from collections import Counter
from typing import Any

import polars as pl

from s3_assets.quality.candidate import Candidate, Refusal
from s3_assets.quality.words import words

LANGUAGE = "language"

# Letters of other scripts a row may have: names and quotations are no fault.
FOREIGN_LETTERS = 0.2

# A script that fewer of gold's letters are in is not one of gold's.
LEAST_OF_GOLD = 0.01

# Short texts are in no certain language. Of 8,000 texts of four English domains none but six that are
# Spanish or Portuguese were surely in another.
FEWEST_LETTERS, SURE = 20, 0.9

# Rows with so many words of gold, or of rows surely in its language, need no look: one costs 90 us.
OWN_WORDS = 0.5

# Gold's languages are known when so many of its rows are surely in one.
FEWEST_ROWS = 5


class Language:
    """Rows in a script that steering gold lacks, or beyond doubt in a language that it lacks."""

    def __init__(self, steer: pl.DataFrame, fields: tuple[str, ...]) -> None:
        texts = [" ".join(row) for row in steer.select(fields).iter_rows()]
        counted = sum((_scripts(text) for text in texts), Counter[str]())
        self._scripts = {name for name, count in counted.items() if count >= LEAST_OF_GOLD * counted.total()}
        self._texts = texts
        self._words = {word for text in texts for word in words(text)}
        self._languages: set[str] | None = None

    def refuse(self, row: Candidate) -> Refusal | None:
        """Refused when the written texts together are in a foreign script or language."""
        text = " ".join(row.texts[name] for name in row.written)
        letters = _scripts(text)
        if self._scripts and letters.total():
            foreign = sum(count for name, count in letters.items() if name not in self._scripts) / letters.total()
            if foreign > FOREIGN_LETTERS:
                most = max((name for name in letters if name not in self._scripts), key=lambda name: letters[name])
                return Refusal(LANGUAGE, f"written in {most.capitalize()}, which gold is not", foreign)
        found_words = [word for name in row.written for word in row.words[name]]
        if sum(word in self._words for word in found_words) >= OWN_WORDS * len(found_words):
            return None
        known = self._gold_languages()
        found = _language(text, letters) if known else None
        if found is None:
            return None
        if found[0] in known:
            self._words.update(found_words)
            return None
        return Refusal(LANGUAGE, f"in the language {found[0]}; gold is in {', '.join(sorted(known))}", found[1])

    def _gold_languages(self) -> set[str]:
        """Languages of gold; empty when too few of its rows are certain."""
        if self._languages is None:
            sure = [found[0] for text in self._texts if (found := _language(text, _scripts(text))) is not None]
            self._languages = set(sure) if len(sure) >= FEWEST_ROWS else set()
            self._texts = []
        return self._languages


def _language(text: str, letters: Counter[str]) -> tuple[str, float] | None:
    """Language of a text (ISO 639-1) and how sure that is, 0 to 1; None when it is not sure."""
    if letters.total() < FEWEST_LETTERS:
        return None
    language, sure = _identifier().classify(text)
    return (str(language), float(sure)) if sure >= SURE else None


def _scripts(text: str) -> Counter[str]:
    """Letters of a text by script."""
    if text.isascii():
        return Counter({"LATIN": sum(map(str.isalpha, text))})
    return Counter(map(_script, filter(str.isalpha, text)))


@functools.lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    """First word of a letter's Unicode name, which is its script: LATIN, CYRILLIC, CJK, ..."""
    return unicodedata.name(letter, "UNKNOWN").split()[0].split("-")[0]


@functools.lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # with its model about 0.6 s

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
