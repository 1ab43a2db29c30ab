"""Reads a task's grammar file and writes texts from it.

Belongs here: the file's shape, its validation, seeded expansion of its productions. Does not belong here: what is
done with a shown example (``recombine.py``), which request gets which answer (``answers.py``), HTTP (``server.py``).

The embedded teacher is a stand-in without a model: it exists so that the pipeline can be tried without a key, a
network or weights. It knows what its grammar file says and nothing else.
"""

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import yaml

from s3_assets.tasks.load import TaskError

SECTIONS = ("labels", "symbols", "rationales", "asides", "manners", "swaps")
REQUIRED = ("labels", "symbols", "rationales")
TRIES = 24
"""How often a text is drawn anew to differ from the ones before it."""

SHORTEST = 6
"""Words; a shorter text is given further sentences."""

# The loader in C takes 0.02 s for the demo's grammar, the one in Python 0.25 s. Both read the safe subset only.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_PLACEHOLDER = re.compile(r"<(\w+)>")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiou])(?!one\b|once\b|eu|uni|us|uk)")
_PLURAL = re.compile(r"(?<=[bcdfghjklmnpqrstvwxz])ys\b")
_WORD = re.compile(r"[\w']+|[?!]")
_SENTENCE_START = re.compile(r"(?:^|[.!?] +)[a-z]")

Template = tuple[str, ...]
"""Literal text and symbol names by turns, beginning with a literal: ``("The ", "film", " is long.")``."""


class GrammarError(TaskError):
    """A grammar file that cannot be used; the message names file, key, what is wrong and what is allowed."""


@dataclass(frozen=True)
class Rationale:
    """A reason for a label, and the symbol that a text with this reason contains."""

    says: str
    leads_to: str


@dataclass(frozen=True)
class Manner:
    """A way of saying it (negation, irony, ...): the words that show it in a text, and productions per label."""

    name: str
    cues: frozenset[tuple[str, ...]]
    productions: Mapping[str, tuple[Template, ...]]


@dataclass(frozen=True)
class Grammar:
    """A validated grammar file."""

    path: Path
    labels: Mapping[str, tuple[Template, ...]]
    symbols: Mapping[str, tuple[Template, ...]]
    rationales: Mapping[str, tuple[Rationale, ...]]
    asides: tuple[Template, ...]
    manners: tuple[Manner, ...]
    swaps: Mapping[str, str]
    """Terminal in lower case -> its symbol."""
    swap_pattern: re.Pattern[str] | None


class Draft:
    """One text being written: draws expansions and avoids using the same one twice.

    ``bindings`` are terminals to prefer for a symbol the first time it comes up: the material of a shown example.
    """

    def __init__(self, grammar: Grammar, rng: random.Random, bindings: Mapping[str, list[str]] | None = None):
        self.grammar = grammar
        self.rng = rng
        self.bindings = {symbol: list(terminals) for symbol, terminals in (bindings or {}).items()}
        self.used: set[Template] = set()

    def pick(self, templates: tuple[Template, ...]) -> Template:
        """One of the templates, an unused one while there are any."""
        chosen = self.rng.choice(templates)
        if chosen in self.used:
            chosen = self.rng.choice([t for t in templates if t not in self.used] or templates)
        self.used.add(chosen)
        return chosen

    def write(self, templates: tuple[Template, ...]) -> str:
        """Expand one of the templates."""
        parts = list(self.pick(templates))
        for i in range(1, len(parts), 2):
            bound = self.bindings.get(parts[i])
            parts[i] = bound.pop(0) if bound else self.write(self.grammar.symbols[parts[i]])
        return "".join(parts)


def write_text(grammar: Grammar, label: str, symbols: Iterable[str], draft: Draft) -> str:
    """A text for ``label`` that contains an expansion of each of ``symbols``; without any, one of the label's own."""
    symbols = list(symbols)
    if not symbols:
        return tidy(draft.write(grammar.labels[label]))
    sentences = [draft.write(grammar.symbols[symbol]) for symbol in symbols]
    others = [r.leads_to for r in grammar.rationales[label] if r.leads_to not in symbols]
    wanted = int(len(symbols) == 1 and draft.rng.random() < 0.5)
    while others and (wanted or len(" ".join(sentences).split()) < SHORTEST):
        extra = others.pop(draft.rng.randrange(len(others)))
        sentences.insert(draft.rng.randrange(len(sentences) + 1), draft.write(grammar.symbols[extra]))
        wanted = 0
    return tidy(" ".join(sentences))


def tidy(text: str) -> str:
    """Capital letters after full stops, ``an`` before most vowels, ``-ies`` for ``-ys``, single spaces."""
    text = _PLURAL.sub("ies", text)
    text = _ARTICLE.sub(lambda m: m.group(1) + "n ", " ".join(text.split()))
    return _SENTENCE_START.sub(lambda m: m.group(0).upper(), text)


def load_grammar(path: Path) -> Grammar:
    """Read and validate a grammar file."""
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506 - a safe one
    except (OSError, yaml.YAMLError) as error:
        raise GrammarError(f"{path}: cannot be read as YAML: {error}") from error
    check = _Checker(path)
    raw = check.mapping("the file", raw, allowed=SECTIONS, required=REQUIRED)
    symbols = {
        name: check.templates(f"symbols.{name}", value)
        for name, value in check.mapping("symbols", raw["symbols"]).items()
    }
    labels = {
        name: check.templates(f"labels.{name}", value) for name, value in check.mapping("labels", raw["labels"]).items()
    }
    if len(labels) < 2:
        check.fail("labels", f"has {len(labels)} label", "two or more")
    rationales = {
        label: check.rationales(f"rationales.{label}", value, symbols)
        for label, value in check.mapping("rationales", raw["rationales"], labels, labels).items()
    }
    asides = check.templates("asides", raw["asides"]) if "asides" in raw else ()
    manners = tuple(
        check.manner(f"manners.{name}", value, labels)
        for name, value in check.mapping("manners", raw.get("manners", {})).items()
    )
    check.references(symbols, {f"labels.{name}": templates for name, templates in labels.items()})
    check.references(symbols, {"asides": asides})
    for manner in manners:
        check.references(symbols, {f"manners.{manner.name}.{k}": v for k, v in manner.productions.items()})
    check.cycles(symbols)
    swaps = check.swaps(raw.get("swaps", []), symbols)
    return Grammar(path, labels, symbols, rationales, asides, manners, swaps, any_of(swaps) if swaps else None)


def any_of(phrases: Iterable[str]) -> re.Pattern[str]:
    """A pattern that finds any of the phrases as whole words, in either case, the longest first."""
    longest_first = sorted(phrases, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE)


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, question and exclamation marks among them."""
    return _WORD.findall(text.lower())


class _Checker:
    """Turns the parsed YAML into checked parts."""

    def __init__(self, path: Path):
        self.path = path

    def fail(self, key: str, wrong: str, allowed: str) -> NoReturn:
        raise GrammarError(f"{self.path}: {key}: {wrong}; allowed: {allowed}")

    def mapping(
        self, key: str, value: Any, allowed: Iterable[str] | None = None, required: Iterable[str] = ()
    ) -> dict[str, Any]:
        if not isinstance(value, dict) or not all(isinstance(k, str) for k in value):
            self.fail(key, "is not a mapping with text keys", "NAME: VALUE (quote names such as yes, no and numbers)")
        mapping: dict[str, Any] = value
        for name in mapping:
            if allowed is not None and name not in allowed:
                self.fail(key, f"unknown key '{name}'", ", ".join(allowed))
        for name in required:
            if name not in mapping:
                self.fail(key, f"has no '{name}'", f"a mapping that has {', '.join(required)}")
        return mapping

    def templates(self, key: str, value: Any) -> tuple[Template, ...]:
        if not isinstance(value, list) or not value:
            self.fail(key, "has no productions", "a list of one or more texts")
        for text in value:
            if not isinstance(text, str) or not text.strip():
                self.fail(key, f"{text!r} is not a text", "texts (quote yes, no, numbers and what holds ': ')")
            if "<" in _PLACEHOLDER.sub("", text) or ">" in _PLACEHOLDER.sub("", text):
                self.fail(key, f"{text!r} has a '<' or '>' that marks no symbol", "<name>, of letters, digits and _")
        return tuple(tuple(_PLACEHOLDER.split(text)) for text in value)

    def rationales(self, key: str, value: Any, symbols: Mapping[str, Any]) -> tuple[Rationale, ...]:
        if not isinstance(value, list) or not value:
            self.fail(key, "has no rationales", "a list of {says: TEXT, leads_to: SYMBOL}")
        fields = ("says", "leads_to")
        for item in value:
            if self.mapping(key, item, fields, fields)["leads_to"] not in symbols:
                self.unknown(f"{key} '{item['says']}'", item["leads_to"], symbols)
        return tuple(Rationale(str(item["says"]), item["leads_to"]) for item in value)

    def manner(self, key: str, value: Any, labels: Mapping[str, Any]) -> Manner:
        value = self.mapping(key, value, allowed=("cues", *labels), required=("cues", *labels))
        cues = value["cues"]
        if not isinstance(cues, list) or not cues:
            self.fail(f"{key}.cues", "has no cues", "a list of one or more texts")
        for cue in cues:
            if not isinstance(cue, str) or not words_of(cue):
                self.fail(f"{key}.cues", f"{cue!r} is not a text", "texts (quote yes, no, numbers and what holds ': ')")
        productions = {label: self.templates(f"{key}.{label}", value[label]) for label in labels}
        return Manner(key.removeprefix("manners."), frozenset(tuple(words_of(cue)) for cue in cues), productions)

    def references(self, symbols: Mapping[str, Any], groups: Mapping[str, tuple[Template, ...]]) -> None:
        for key, templates in groups.items():
            for template in templates:
                for name in template[1::2]:
                    if name not in symbols:
                        self.unknown(key, name, symbols)

    def unknown(self, key: str, name: str, symbols: Mapping[str, Any]) -> None:
        near = get_close_matches(str(name), symbols, n=1)
        hint = f" (did you mean <{near[0]}>?)" if near else ""
        self.fail(key, f"unknown symbol <{name}>{hint}", ", ".join(sorted(symbols)))

    def cycles(self, symbols: Mapping[str, tuple[Template, ...]]) -> None:
        self.references(symbols, {f"symbols.{name}": templates for name, templates in symbols.items()})
        done: set[str] = set()

        def visit(name: str, trail: tuple[str, ...]) -> None:
            if name in trail:
                loop = " -> ".join((*trail[trail.index(name) :], name))
                self.fail(f"symbols.{name}", f"refers to itself: {loop}", "symbols that end in plain text")
            if name not in done:
                for template in symbols[name]:
                    for inner in template[1::2]:
                        visit(inner, (*trail, name))
                done.add(name)

        for name in symbols:
            visit(name, ())

    def swaps(self, value: Any, symbols: Mapping[str, tuple[Template, ...]]) -> dict[str, str]:
        if not isinstance(value, list):
            self.fail("swaps", f"is {type(value).__name__}", "a list of symbols")
        owners: dict[str, str] = {}
        for name in value:
            if name not in symbols:
                self.unknown("swaps", name, symbols)
            for template in symbols[name]:
                if len(template) > 1:
                    self.fail(f"swaps.{name}", f"'{template[1]}' is a symbol inside it", "symbols of plain words only")
                if owners.setdefault(template[0].lower(), name) != name:
                    other = owners[template[0].lower()]
                    self.fail("swaps", f"'{template[0]}' is in both {other} and {name}", "each word in one symbol only")
        return owners
