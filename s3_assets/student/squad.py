"""Exact match and F1 of an answer, as SQuAD v1.1 defines them.

Written here because values are needed per row, for errors and tables; published implementations give means over a set.
The tests compare with torchmetrics.

Belongs here: comparing one answer with gold answers. Does not belong here: finding answers (``span_head.py``).
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise_answer(answer: str) -> str:
    """``answer`` in lower case, without ASCII punctuation and English articles, words parted by single spaces."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_WITHOUT_PUNCTUATION)).split())


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """1.0 when ``prediction`` normalises to the same as any of ``answers``, else 0.0."""
    return _best(_same, prediction, answers)


def f1(prediction: str, answers: Sequence[str]) -> float:
    """F1 of the words of ``prediction``, from 0 to 1: the highest over ``answers``.

    Where no words are left of either, 1.0 if none are left of both, else 0.0, as in v2.0; v1.1 has no such answers.
    """
    return _best(_overlap, prediction, answers)


def _best(measure: Callable[[str, str], float], prediction: str, answers: Sequence[str]) -> float:
    if not answers:
        raise ValueError("no gold answers to compare with")
    normal = normalise_answer(prediction)
    return max(measure(normal, normalise_answer(answer)) for answer in answers)


def _same(prediction: str, answer: str) -> float:
    return float(prediction == answer)


def _overlap(prediction: str, answer: str) -> float:
    said, wanted = prediction.split(), answer.split()
    if not said or not wanted:
        return float(said == wanted)
    shared = (Counter(said) & Counter(wanted)).total()
    # 2pr/(p+r) with p = shared/said and r = shared/wanted.
    return 2 * shared / (len(said) + len(wanted))
