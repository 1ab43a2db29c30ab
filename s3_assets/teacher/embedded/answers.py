"""What the embedded teacher answers: from a chat request's content to the reply's text.

Belongs here: reading the inputs out of a request, the three kinds of request, refusing what cannot be answered. Does
not belong here: HTTP (``server.py``), how texts are written (``grammar.py``, ``recombine.py``).

The embedded teacher is a stand-in without a model, for trying the pipeline. Results obtained with it say that the
pipeline works, not how well an LLM teaches.
"""

import hashlib
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from s3_assets.teacher.embedded.grammar import TRIES, Draft, Grammar, tidy, words_of, write_text
from s3_assets.teacher.embedded.recombine import recombine

MOST_RATIONALES_IN_A_TEXT = 3
TEXTS_TO_COUNT = 600
"""Texts per label in which the lexical guess counts words: half direct, half in the manners."""

_DECODER = json.JSONDecoder()
_FENCE = "```json"


class Refusal(ValueError):
    """A request that this teacher cannot answer; ``param`` names the part of the request."""

    def __init__(self, message: str, param: str | None = None):
        super().__init__(message)
        self.param = param


class EmbeddedTeacher:
    """Answers requests from one grammar. Holds no state: the same request and draw give the same answer."""

    def __init__(self, grammar: Grammar):
        self.grammar = grammar
        self.kinds: dict[str, Callable[[Mapping[str, Any], random.Random], dict[str, Any]]] = {
            "rationales": self.rationales,
            "examples": self.examples,
            "label": self.label,
        }

    def answer(self, body: Mapping[str, Any], draw: str) -> str:
        """The content of the reply, as JSON text; another ``draw`` gives another answer to the same request."""
        schema = (body.get("response_format") or {}).get("json_schema") or {}
        kind = schema.get("name")
        if kind not in self.kinds:
            raise Refusal(
                f"The embedded teacher does not know the kind of request {kind!r}. "
                f"response_format.json_schema.name must be one of: {', '.join(self.kinds)}.",
                "response_format",
            )
        facts = read_facts(body)
        self._refuse_pairs(facts, schema)
        # How long an answer may be does not change what it says.
        said = {name: value for name, value in body.items() if name != "max_tokens"}
        content = json.dumps(said, sort_keys=True, ensure_ascii=False)
        digest = hashlib.blake2b(f"{draw}\n{content}".encode(), digest_size=8).digest()
        return json.dumps(self.kinds[kind](facts, random.Random(digest)), ensure_ascii=False)

    def rationales(self, facts: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
        """Reasons for the label in random order, each one once: fewer than asked for when the grammar has fewer."""
        known = [r.says for r in self.grammar.rationales[self._label_asked(facts)]]
        rng.shuffle(known)
        return {"rationales": known[: _count(facts, default=10)]}

    def examples(self, facts: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
        """New texts for the label: recombined from the example if one is shown, else by the grammar."""
        label = self._label_asked(facts)
        count = _count(facts, default=1)
        symbols = self._symbols(label, facts.get("rationales") or [])
        example = facts.get("example")
        if example is not None:
            text, example_label = _text(example), str(example.get("label", ""))
            texts = recombine(self.grammar, label, text, example_label, count, symbols, rng)
        else:
            texts = self._unprompted(label, count, symbols, rng)
        return {"examples": [{"text": text} for text in texts]}

    def label(self, facts: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
        """A guess by single words, counted in texts of the grammar. It does not read: a stand-in for verification."""
        words = words_of(_text(facts.get("example")))
        scores = {label: sum(weights.get(w, 0.0) for w in words) for label, weights in self._word_weights.items()}
        best = max(scores.values())
        return {"label": rng.choice([label for label, score in scores.items() if score == best])}

    def _unprompted(self, label: str, count: int, symbols: list[str], rng: random.Random) -> list[str]:
        texts: list[str] = []
        for _ in range(count):
            for _ in range(TRIES):
                chosen = rng.sample(symbols, min(len(symbols), MOST_RATIONALES_IN_A_TEXT))
                text = write_text(self.grammar, label, chosen, Draft(self.grammar, rng))
                if text not in texts:
                    texts.append(text)
                    break
        return texts

    def _label_asked(self, facts: Mapping[str, Any]) -> str:
        label = facts.get("label")
        if not isinstance(label, str) or label not in self.grammar.labels:
            allowed = ", ".join(self.grammar.labels)
            raise Refusal(f"The grammar {self.grammar.path.name} has no label {label!r}; it has: {allowed}.", "label")
        return label

    def _symbols(self, label: str, rationales: list[Any]) -> list[str]:
        """The symbols that the given rationales lead to; a rationale in other words leads to the one nearest to it."""
        known = self.grammar.rationales[label]
        found: dict[str, None] = {}
        for rationale in rationales:
            said = str(rationale)
            exact = [r.leads_to for r in known if r.says in said]
            if not exact:
                words = set(words_of(said))
                shared = {r.leads_to: len(words.intersection(w for w in words_of(r.says) if len(w) > 3)) for r in known}
                exact = [max(shared, key=lambda symbol: shared[symbol])] if any(shared.values()) else []
            found.update(dict.fromkeys(exact))
        return list(found)

    def _refuse_pairs(self, facts: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
        items = (schema.get("schema") or {}).get("properties", {}).get("examples", {}).get("items", {})
        shown = facts.get("example") or {}
        if facts.get("given") or "text2" in shown or "text2" in items.get("properties", {}):
            raise Refusal(
                f"The grammar {self.grammar.path.name} writes one text; it cannot write pairs (text and text2). "
                "For pairs, use a model: set OPENAI_BASE_URL and OPENAI_API_KEY.",
                "messages",
            )

    @cached_property
    def _word_weights(self) -> dict[str, dict[str, float]]:
        """Per label, the log of how much likelier a word is in its texts than in the average label's."""
        counts: dict[str, Counter[str]] = {}
        for label, templates in self.grammar.labels.items():
            rng = random.Random(label)
            counts[label] = Counter()
            manners = [manner.productions[label] for manner in self.grammar.manners] or [templates]
            for i in range(TEXTS_TO_COUNT):
                production = templates if i % 2 else manners[i // 2 % len(manners)]
                counts[label].update(words_of(tidy(Draft(self.grammar, rng).write(production))))
        vocabulary = set().union(*counts.values())
        share = {
            label: {w: (count[w] + 1) / (count.total() + len(vocabulary)) for w in vocabulary}
            for label, count in counts.items()
        }
        mean = {w: sum(s[w] for s in share.values()) / len(share) for w in vocabulary}
        return {label: {w: math.log(s[w] / mean[w]) for w in vocabulary} for label, s in share.items()}


def read_facts(body: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs that the last user message states as a fenced JSON block."""
    users = [m for m in body.get("messages") or [] if m.get("role") == "user"]
    content = (users[-1].get("content") or "") if users else ""
    prompt = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    facts = None
    at = prompt.find(_FENCE)
    while at >= 0:  # a fence inside a decoded block is example text, and is stepped over
        start = at + len(_FENCE)
        start += len(prompt[start:]) - len(prompt[start:].lstrip())
        end = start
        try:
            block, end = _DECODER.raw_decode(prompt, start)
            facts = block if isinstance(block, dict) else facts
        except json.JSONDecodeError:
            pass
        at = prompt.find(_FENCE, end)
    if facts is None:
        raise Refusal("The last user message has no fenced ```json block with the inputs of the request.", "messages")
    return facts


def _count(facts: Mapping[str, Any], default: int) -> int:
    count = facts.get("count", default)
    if not isinstance(count, int) or count < 1:
        raise Refusal(f"count is {count!r}; allowed: whole numbers from 1.", "count")
    return count


def _text(example: Any) -> str:
    text = example.get("text") if isinstance(example, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise Refusal("example has no text; it must be an object with a field text that is not empty.", "example")
    return text
