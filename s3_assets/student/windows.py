"""Questions and contexts to windows: token ids that fit the model, and which characters they stand for.

Belongs here: cutting questions, windows of long contexts, places of answers among tokens. Does not belong here: what
the model says of a window (``span_head.py``).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from s3_assets.student.batches import Encoded
from s3_assets.student.errors import StudentError

# The tokenizer gives offsets as Python objects, some 100 bytes a token; held only for the rows of one call.
ROWS_PER_CALL = 256

# Of shape (tokens, 2): the first character of each token, and the one after its last.
Offsets = NDArray[np.int32]


@dataclass(frozen=True)
class Window:
    """One piece of a row's context with its question.

    ``first`` is the position of its first context token among its ids, ``begins`` the number of context tokens before
    the window, ``offsets`` the characters of its context tokens.
    """

    encoded: Encoded
    first: int
    begins: int
    offsets: Offsets

    def holds(self, span: tuple[int, int]) -> bool:
        """Whether context tokens ``span`` (first, last, counted over the whole context) are all in the window."""
        return self.begins <= span[0] and span[1] < self.begins + len(self.offsets)


def windows(tokenizer: Any, rows: pl.DataFrame, max_length: int, stride: int) -> list[list[Window]]:
    """Windows of each row of ``rows`` (text: context, text2: question), in order of the context; at least one a row.

    The question comes first in every window and is cut to half of the tokens there are beside special ones.
    Neighbouring windows share ``stride`` context tokens, but no more than half of a window's. ``StudentError`` where
    ``max_length`` has no room for a question and a context.
    """
    room = max_length - tokenizer.num_special_tokens_to_add(pair=True)
    if room < 2:
        raise StudentError(
            f"max_length {max_length} leaves no room for a question and a context; raise student.max_length"
        )
    if not tokenizer.is_fast or tokenizer.padding_side != "right":
        raise StudentError(
            "student.weights: questions need a tokenizer that says which characters its tokens stand for, and pads on "
            "the right"
        )
    contexts = [context or "" for context in rows["text"]]
    asked = [question or "" for question in rows["text2"]]
    cut = _cut(tokenizer, asked, room // 2)
    # One call has one stride.
    calls: dict[int, list[int]] = defaultdict(list)
    for row, question in enumerate(asked):
        calls[min(stride, (room - cut[question][1]) // 2)].append(row)
    found: list[list[Window]] = [[] for _ in asked]
    for shared, numbers in calls.items():
        for start in range(0, len(numbers), ROWS_PER_CALL):
            part = numbers[start : start + ROWS_PER_CALL]
            pairs = [cut[asked[row]][0] for row in part], [contexts[row] for row in part]
            _add(found, part, tokenizer, pairs, max_length, shared)
    return found


def token_span(pieces: Sequence[Window], start: int, end: int) -> tuple[int, int] | None:
    """First and last token, counted over the context, of its characters ``start`` to ``end`` (excluded).

    None where no token stands for them. ``pieces`` are the windows of one row.
    """
    known = 0
    parts = []
    for window in pieces:
        parts.append(window.offsets[known - window.begins :])
        known += len(parts[-1])
    starts, ends = np.concatenate(parts).T
    first = int(np.searchsorted(ends, start, side="right"))
    last = int(np.searchsorted(starts, end, side="left")) - 1
    return (first, last) if first <= last else None


def _cut(tokenizer: Any, questions: list[str], most: int) -> dict[str, tuple[str, int]]:
    """Each distinct question shortened to at most ``most`` tokens, and their number."""
    cut: dict[str, tuple[str, int]] = {}
    left = {question: question for question in questions}
    while left:
        done = tokenizer(list(left.values()), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        lengths = dict(zip(left, done["offset_mapping"], strict=True))
        cut |= {question: (left[question], len(tokens)) for question, tokens in lengths.items() if len(tokens) <= most}
        # Tokens of what is left may be others, and more; but it is shorter than it was.
        left = {q: left[q][: tokens[most][0]] for q, tokens in lengths.items() if len(tokens) > most}
    return cut


def _add(
    found: list[list[Window]],
    numbers: Sequence[int],
    tokenizer: Any,
    pairs: tuple[list[str], list[str]],
    max_length: int,
    stride: int,
) -> None:
    done = tokenizer(
        *pairs,
        truncation="only_second",
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    names = [name for name in tokenizer.model_input_names if name in done]
    for place, within in enumerate(done["overflow_to_sample_mapping"]):
        belongs = done.sequence_ids(place)
        first = belongs.index(1) if 1 in belongs else len(belongs)
        characters = done["offset_mapping"][place][first : first + belongs.count(1)]
        offsets = np.array(characters, dtype=np.int32).reshape(-1, 2)
        row = numbers[within]
        before = found[row][-1] if found[row] else None
        begins = before.begins + len(before.offsets) - stride if before else 0
        encoded = {name: done[name][place] for name in names}
        found[row].append(Window(encoded, first, begins, offsets))
