"""Gates that look at one row alone.

Belongs here: refusals, talk about the request, label names in texts, lengths, answers of questions. Does not belong
here: languages (``language.py``), comparing rows with gold or with each other (``overlap.py``), the order of gates
(``gates.py``).
"""

import re

import polars as pl

from s3_assets.quality.candidate import Candidate, Refusal, natural
from s3_assets.quality.phrases import META_TALK, REFUSES
from s3_assets.quality.words import letters_and_words, words
from s3_assets.tasks.load import Task
from s3_assets.tasks.spec import ANSWER

EMPTY, REFUSAL, META = "empty", "refusal", "meta_talk"
LABEL_WORDS, LENGTH, NO_SPAN, ANSWER_GIVEN = "label_words", "length", "answer_not_in_context", "answer_in_question"

# Above this share of steering gold a phrase belongs to how its texts are.
NATURAL_SHARE = 0.02

# What annotations call a label; "class" and "category" are words of too many texts for more than "class: business".
_LABEL_NOUNS = "label|sentiment|polarity|classification"
_LOOSE_LABEL_NOUNS = "class|category|verdict|rating|topic"

# What teachers call a row: after a label, an annotation ("a negative review"), where most other nouns make a compound
# ("business class", "food label"), as do these before another noun ("a positive text message").
_ROW_NOUNS = "review|sentence|statement|example|hypothesis|text|sentiment"
_AFTER_NOUN = (
    r"(?=[\"'\u201d*)\]]*(?:[.,;:!?)\n]|\s*$"
    r"|\s+(?:of|about|for|from|on|in|by|with|that|which|who|where|is|was|to|and|but|as|at|because|[-\u2013\u2014])(?!\w)|\s+\())"
)


class Empty:
    """Texts without a word."""

    def refuse(self, row: Candidate) -> Refusal | None:
        """Refused when a written text holds nothing but space and punctuation."""
        empty = [name for name in row.texts if not row.texts[name].strip()]
        wordless = [name for name in row.written if name not in empty and not row.words[name]]
        if empty:
            return Refusal(EMPTY, f"{', '.join(empty)} is empty")
        return Refusal(EMPTY, f"{', '.join(wordless)} has no word") if wordless else None


class Phrase:
    """A pattern that no text of the task should match, unless steering gold does."""

    def __init__(
        self, gate: str, reason: str, pattern: re.Pattern[str], steer: pl.DataFrame, fields: list[str]
    ) -> None:
        self._gate, self._reason, self._pattern = gate, reason, pattern
        self._off = {
            name
            for name in fields
            if natural((bool(pattern.search(text.strip())) for text in steer[name]), NATURAL_SHARE)
        }

    def refuse(self, row: Candidate) -> Refusal | None:
        """Refused when a written text matches."""
        for name in row.written:
            found = None if name in self._off else self._pattern.search(row.texts[name].strip())
            if found is not None:
                return Refusal(self._gate, f"{self._reason}: {_shown(found[0])!r}")
        return None


class LabelWords:
    """Texts that name their label the way an annotation does: ``(positive)``, ``a negative review``, ``Label: news``.

    A label's name as a word of the text is no fault: texts about travel speak of travel. Names that steering gold's
    texts use in this way are let through; one text is enough for "a negative review".
    """

    def __init__(self, task: Task, steer: pl.DataFrame) -> None:
        self._patterns: dict[str, re.Pattern[str]] = {}
        self._lengths = {label: len(words(label.split("_")[0])) or 1 for label in task.spec.labels}
        self._begins = {label: _parts(label)[0].casefold() for label in task.spec.labels}
        texts = [text for field in task.spec.text_fields for text in steer[field]]
        for label in task.spec.labels if task.spec.kind != "qa" else ():
            named = _named_row(task, label)
            known = any(re.search(named, text, re.IGNORECASE) for text in texts)
            pattern = re.compile(_named_label(task, label) + ("" if known else f"|{named}"), re.IGNORECASE)
            if not natural((bool(pattern.search(text)) for text in texts), NATURAL_SHARE):
                self._patterns[label] = pattern

    def refuse(self, row: Candidate) -> Refusal | None:
        """Refused when a written text names the row's label."""
        pattern, label = self._patterns.get(row.label or ""), row.label or ""
        if pattern is None:
            return None
        for name in row.written:
            # The name first: the pattern costs more. A text that is nothing but the name may be what such texts are
            # like.
            text = row.texts[name]
            if self._begins[label] not in text.casefold() or len(row.words[name]) <= self._lengths[label]:
                continue
            found = pattern.search(text)
            if found is not None:
                return Refusal(LABEL_WORDS, f"names its label: {_shown(found[0])!r}")
        return None


class Length:
    """Texts far outside the range of steering gold, in words, by field."""

    def __init__(self, steer: pl.DataFrame, fields: tuple[str, ...], times: float) -> None:
        self._range: dict[str, tuple[float, float]] = {}
        for name in fields:
            counts = [len(words(text)) for text in steer[name]]
            if counts:
                self._range[name] = (min(counts) / times, max(counts) * times)

    def refuse(self, row: Candidate) -> Refusal | None:
        """Refused when a written text is shorter or longer than the range allows."""
        for name in row.written:
            low, high = self._range.get(name, (0.0, float("inf")))
            count = len(row.words[name])
            if not low <= count <= high:
                return Refusal(LENGTH, f"{name} has {count} words; gold suggests {low:.0f} to {high:.0f}", float(count))
        return None


class AnswerInContext:
    """Questions whose answer does not stand in their context."""

    def refuse(self, row: Candidate) -> Refusal | None:
        """Refused when the answer was not found."""
        if row.answer_start is not None:
            return None
        return Refusal(NO_SPAN, f"the {ANSWER} {row.answer!r} does not stand in the context")


class AnswerGiven:
    """Questions that contain their own answer."""

    def refuse(self, row: Candidate) -> Refusal | None:
        """Refused when the answer's words stand in the question in the same order."""
        answer, question = letters_and_words(row.answer or ""), letters_and_words(row.texts.get("text2", ""))
        if not answer or not _within(answer, question):
            return None
        return Refusal(ANSWER_GIVEN, f"the question holds its answer {row.answer!r}")


def label_like_gates(task: Task, steer: pl.DataFrame) -> list[Phrase | LabelWords]:
    """The gates on phrases that the task leaves on."""
    gates, fields = task.spec.gates, list(task.spec.text_fields)
    found: list[Phrase | LabelWords] = []
    if gates.refusal:
        found.append(Phrase(REFUSAL, "the teacher refuses instead of writing the text", REFUSES, steer, fields))
    if gates.meta_talk:
        found.append(Phrase(META, "talks about the request", META_TALK, steer, fields))
    if gates.label_words:
        found.append(LabelWords(task, steer))
    return found


def _named_label(task: Task, label: str) -> str:
    """Pattern of ``(positive)``, ``Sentiment: positive``, a last sentence ``Positive.``, ``not_entailment``."""
    name = rf"(?<![\w-]){_name(label)}(?![\w-])"
    columns = [re.escape(value) for value in (task.spec.fields.label, task.spec.fields.sublabel) if value]
    nouns = "|".join([_LABEL_NOUNS, _LOOSE_LABEL_NOUNS, *columns])
    # With its own underscore a name is no word of any text.
    exact = rf"|(?<!\w){re.escape(label)}(?!\w)" if "_" in label else ""
    return (
        rf"[(\[{{<]\s*{_name(label)}\s*[)\]}}>]"
        rf"|(?<!\w)(?:{nouns})\s?(?:[:=]|->|=>|\u2192)\s?[\"'(*]{{0,2}}{name}"
        rf"|(?<!\w)(?:(?:{_LABEL_NOUNS}) (?:is|was|of)|label+ed(?: as)?|classified as) [\"'(*]{{0,2}}{name}"
        r"(?=[\"'.,;:!?)*]|\s*$)"
        rf"|(?:[.!?:=>\u2192\n]\s+){name}[.!]?\s*$" + exact
    )


def _named_row(task: Task, label: str) -> str:
    """Pattern of ``a negative review``."""
    fields = task.spec.fields
    columns = [re.escape(value) for value in (fields.text, fields.text2) if value and value != "text2"]
    return rf"(?<![\w-]){_name(label)}[\"'\u201d]?\s(?:{'|'.join([_ROW_NOUNS, *columns])})\b(?![\w-]){_AFTER_NOUN}"


def _parts(label: str) -> list[str]:
    return [part for part in re.split(r"[\s_-]+", label) if part] or [label]


def _name(label: str) -> str:
    return r"[\s_-]+".join(map(re.escape, _parts(label)))


def _within(needle: list[str], hay: list[str]) -> bool:
    return any(hay[start : start + len(needle)] == needle for start in range(len(hay) - len(needle) + 1))


def _shown(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"
