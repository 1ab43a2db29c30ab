"""Writes new texts from a shown example: the example's own material, recombined with the grammar.

Belongs here: taking an example apart and writing texts of its kind. Does not belong here: the grammar's format
(``grammar.py``), reading requests (``answers.py``).

The embedded teacher is a stand-in without a model, for trying the pipeline. It does not understand the example. It
exchanges words that the grammar's ``swaps`` name, keeps the example's clauses as they stand, and recognises the manner
of speaking by the cue words of the grammar's ``manners``.
"""

import random
import re

from s3_assets.teacher.embedded.grammar import TRIES, Draft, Grammar, Manner, tidy, words_of, write_text

PLANS = {"manner": 12, "own_and_manner": 2, "own_and_aside": 1, "own_and_plain": 1}
"""How often each way of recombining is used, relative to the others."""

_SENTENCE_END = re.compile(r"(?<=[.!?]) +")
_PARENTHESIS = re.compile(r", (?:who|which|where|whose)\b[^,.;:?!]*,")
_NEGATION = re.compile(r"\b(?:not|no|never|nobody|nothing|hardly|but|yet)\b|n't\b", re.IGNORECASE)


def recombine(
    grammar: Grammar, label: str, example: str, example_label: str, count: int, symbols: list[str], rng: random.Random
) -> list[str]:
    """``count`` different texts for ``label``, none of them the example.

    An example of the asked label lends its clauses and its manner; one of another label lends its neutral words only.
    """
    bindings = material(grammar, example)
    found = manners_of(grammar, example)
    texts: list[str] = []
    for _ in range(count):
        for _ in range(TRIES):
            draft = Draft(grammar, rng, bindings)
            if label == example_label:
                text = _same_label(grammar, label, example, found, draft)
            else:
                text = write_text(grammar, label, symbols, draft)
            if text not in texts and text != example:
                texts.append(text)
                break
    return texts


def material(grammar: Grammar, example: str) -> dict[str, list[str]]:
    """The example's words that a swap symbol knows: symbol -> words, in the order of the text."""
    found: dict[str, list[str]] = {}
    if grammar.swap_pattern:
        for match in grammar.swap_pattern.finditer(example):
            word = match.group(0).lower()
            symbol = grammar.swaps[word]
            found.setdefault(symbol, []).append(next(t[0] for t in grammar.symbols[symbol] if t[0].lower() == word))
    return found


def manners_of(grammar: Grammar, example: str) -> list[tuple[Manner, int]]:
    """The manners whose cues the example shows, each with the number of cues."""
    words = words_of(example)
    phrases = [tuple(words[i : i + n]) for n in (1, 2, 3) for i in range(len(words) - n + 1)]
    counts = [(manner, sum(phrase in manner.cues for phrase in phrases)) for manner in grammar.manners]
    return [(manner, count) for manner, count in counts if count]


def swap(grammar: Grammar, example: str, rng: random.Random) -> str:
    """The example with its swappable words exchanged, the same word always for the same other word."""
    if not grammar.swap_pattern:
        return example
    chosen: dict[str, str] = {}

    def exchange(match: re.Match[str]) -> str:
        word = match.group(0)
        key = word.lower()
        if key not in chosen:
            terminals = [t[0] for t in grammar.symbols[grammar.swaps[key]] if t[0].lower() not in (key, *chosen)]
            chosen[key] = rng.choice(terminals) if terminals else word
        new = chosen[key]
        return new[0].upper() + new[1:] if word[0].isupper() else new

    return grammar.swap_pattern.sub(exchange, example)


def shorten(example: str, rng: random.Random) -> str:
    """The example without one relative clause, or its first sentence of three; nothing with a negation is left out."""
    spans = [m.span() for m in _PARENTHESIS.finditer(example) if not _NEGATION.search(m.group(0))]
    if spans:
        start, end = rng.choice(spans)
        return example[:start] + example[end:]
    sentences = _SENTENCE_END.split(example)
    if len(sentences) > 2 and not _NEGATION.search(sentences[0]):
        return " ".join(sentences[1:])
    return example


def _same_label(grammar: Grammar, label: str, example: str, found: list[tuple[Manner, int]], draft: Draft) -> str:
    """A text of the example's kind: in its manner, or with its own clauses, or both."""
    rng = draft.rng
    plans = [plan for plan in PLANS if found or "manner" not in plan]
    plan = rng.choices(plans, [PLANS[plan] for plan in plans])[0]
    parts = [_in_manner(found, label, draft)] if "manner" in plan else []
    if plan == "manner":
        roll = rng.random()
        if roll < 0.5:
            parts.append(_in_manner(found, label, draft))
        elif roll < 0.75 and grammar.asides:
            parts.append(draft.write(grammar.asides))
    else:
        own = swap(grammar, shorten(example, rng), rng)
        parts.append(own)
        if plan == "own_and_aside" and grammar.asides:
            parts.append(draft.write(grammar.asides))
        elif plan == "own_and_plain":
            parts.append(draft.write(grammar.symbols[rng.choice(grammar.rationales[label]).leads_to]))
    rng.shuffle(parts)
    return tidy(" ".join(parts))


def _in_manner(found: list[tuple[Manner, int]], label: str, draft: Draft) -> str:
    """A sentence for ``label`` in one of the manners found, drawn by the number of cues."""
    manner = draft.rng.choices([m for m, _ in found], [count for _, count in found])[0]
    return draft.write(manner.productions[label])
