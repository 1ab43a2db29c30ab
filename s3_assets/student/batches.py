"""Texts to batches: tokenised once per distinct text, grouped by length, padded to the longest of those run together.

Belongs here: token ids, order of rows, padding. Does not belong here: the model (``model.py``).
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    import torch

# Batches per pool: rows are shuffled, then sorted by length within a pool, so that batches pad little and still vary.
BATCHES_PER_POOL = 20

Encoded = dict[str, list[int]]

# Runs the model on every input; gives the values of each, a float32 tensor on the CPU.
Ask = Callable[[Sequence[Encoded]], list[Any]]


def encode(tokenizer: Any, rows: pl.DataFrame, max_length: int) -> list[Encoded]:
    """Token ids per row of ``rows`` (columns text, text2; null text2 for single texts), cut to ``max_length``.

    Each distinct text is tokenised once. Of a pair that is too long the longer text is cut first.
    """
    texts = [(text or "", text2) for text, text2 in rows.select("text", "text2").iter_rows()]
    distinct = list(dict.fromkeys(texts))
    if not distinct:
        return []
    paired = any(text2 is not None for _, text2 in distinct)
    second = [text2 or "" for _, text2 in distinct] if paired else None
    done = tokenizer([text for text, _ in distinct], second, truncation="longest_first", max_length=max_length)
    known = {text: {name: values[place] for name, values in done.items()} for place, text in enumerate(distinct)}
    return [known[text] for text in texts]


def training_batches(lengths: Sequence[int], size: int, rng: random.Random) -> list[list[int]]:
    """Row numbers of every batch of one epoch, in random order; each row once."""
    order = rng.sample(range(len(lengths)), len(lengths))
    pool = size * BATCHES_PER_POOL
    batches: list[list[int]] = []
    for start in range(0, len(order), pool):
        grouped = sorted(order[start : start + pool], key=lambda row: lengths[row])
        batches += [grouped[first : first + size] for first in range(0, len(grouped), size)]
    rng.shuffle(batches)
    return batches


def pieces(numbers: Sequence[int], lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """``numbers`` of a batch, longest rows first, in pieces of at most ``tokens`` tokens with padding; a row at least.

    ``lengths`` are those of all rows.
    """
    order = sorted(numbers, key=lambda row: -lengths[row])
    while order:
        count = max(1, tokens // max(1, lengths[order[0]]))
        yield order[:count]
        order = order[count:]


def prediction_batches(rows: Sequence[Encoded], size: int, tokens: int | None = None) -> Iterator[list[int]]:
    """Row numbers of every batch, longest rows first: at most ``size`` rows, and ``tokens`` tokens where it is given.

    Rows of one length are ordered by their ids, not by place: the same rows in another order make the same batches, so
    the same sums, to the last bit.
    """
    order = sorted(range(len(rows)), key=lambda row: (-len(rows[row]["input_ids"]), rows[row]["input_ids"]))
    start = 0
    while start < len(order):
        longest = max(1, len(rows[order[start]]["input_ids"]))
        count = size if tokens is None else max(1, min(size, tokens // longest))
        yield order[start : start + count]
        start += count


def collate(tokenizer: Any, rows: Sequence[Encoded], device: str) -> "dict[str, torch.Tensor]":
    """Tensors of shape (rows, longest of them), on ``device``."""
    padded = tokenizer.pad(list(rows), padding=True, return_tensors="pt")
    return {name: values.to(device) for name, values in padded.items()}
