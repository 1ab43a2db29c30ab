"""Spans among tokens: the likeliest run by brute force, and tokenizers that part texts otherwise than BERT's."""

import math

import numpy as np
import polars as pl
import pytest

from s3_assets.student.model import fresh_student
from s3_assets.student.span_head import SpanHead
from s3_assets.student.windows import token_span, windows
from s3_assets.tasks.spec import QaSpec
from s3_assets_tests.span_toys import QA, span_spec
from s3_assets_tests.tiny_student import FILLER, question, toy_questions


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    spec = span_spec(tmp_path_factory.mktemp("questions") / "tiny")
    return fresh_student(spec.weights, ["answer"], spec.max_length, QA).tokenizer


def by_brute_force(own, logits, longest, gold):
    """Best run (first, last), its probability and gold's, and gold's loss, from the definition."""
    scores: dict[tuple[int, int], float] = {}
    losses = []
    for window, (starts, ends) in zip(own, logits, strict=True):
        for first in range(len(window.offsets)):
            for last in range(first, min(first + longest, len(window.offsets))):
                run = first + window.begins, last + window.begins
                score = starts[window.first + first] + ends[window.first + last]
                scores[run] = max(score, scores.get(run, -math.inf))
        if window.holds(gold):
            shift = window.first - window.begins
            losses.append(
                sum(
                    math.log(sum(math.exp(value) for value in each)) - each[place + shift]
                    for each, place in zip((starts, ends), gold, strict=True)
                )
                / 2
            )
    total = sum(math.exp(score) for score in scores.values())
    best = max(scores, key=scores.__getitem__)
    return best, math.exp(scores[best]) / total, math.exp(scores.get(gold, -math.inf)) / total, min(losses)


@pytest.mark.parametrize("longest", [1, 3, 30])
def test_runs_probabilities_and_losses_are_those_of_brute_force(tokenizer, longest):
    import torch

    head = SpanHead(QaSpec(stride=6, longest_answer=longest))
    rows = toy_questions(40, 5, words=(1, 50))
    pieces = windows(tokenizer, rows, 24, 6)
    rng = np.random.default_rng(0)
    # Padded, as a model's outputs are: what stands there counts for nothing.
    outputs = [np.float32(rng.normal(0, 2, (2, 30))) for own in pieces for _ in own]
    for values, window in zip(outputs, (window for own in pieces for window in own), strict=True):
        values[:, len(window.encoded["input_ids"]) :] = 99
    found = head.predict(tokenizer, rows, 24, lambda encoded: [torch.from_numpy(values) for values in outputs])
    left = iter(outputs)
    several = 0
    for row, own, said in zip(rows.to_dicts(), pieces, found.to_dicts(), strict=True):
        logits = [next(left)[:, : len(window.encoded["input_ids"])].astype(float) for window in own]
        gold = token_span(own, row["answer_start"], row["answer_start"] + len(row["answer"]))
        best, probability, gold_probability, loss = by_brute_force(own, logits, longest, gold)
        tokens = tokenizer(row["text"], add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        assert said["prediction"] == row["text"][tokens[best[0]][0] : tokens[best[1]][1]]
        assert said["probability"] == pytest.approx(probability)
        assert said["label_probability"] == pytest.approx(gold_probability)
        assert said["loss"] == pytest.approx(loss)
        several += len(own) > 1
    assert several > 10


def other_tokenizer(pre_tokenizer: object, pieces: list[str]):
    """One that parts texts as ``pre_tokenizer`` does; BERT's are not the only offsets there are."""
    from tokenizers import Tokenizer, models, processors
    from transformers import PreTrainedTokenizerFast

    known = {piece: place for place, piece in enumerate(["[PAD]", "[CLS]", "[SEP]", *pieces])}
    backend = Tokenizer(models.BPE(known, [], ignore_merges=True))
    backend.pre_tokenizer = pre_tokenizer
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", cls_token="[CLS]")


def test_tokens_that_begin_with_a_space():
    import torch
    from tokenizers.pre_tokenizers import Metaspace

    tokenizer = other_tokenizer(Metaspace(), [f"\u2581{word}" for word in (*FILLER, "new", "york")])
    values = torch.zeros(2, 10)
    for answer in ("new york", " new york", "new york "):
        rows = question("the film was new york and", answer).with_columns(text2=pl.lit("plot"))
        [[window]] = windows(tokenizer, rows, 64, 8)
        assert window.offsets[3:5].tolist() == [[12, 16], [16, 21]]
        _, [[first, last]] = SpanHead(QA).examples(tokenizer, rows, 64)
        assert (first - window.first, last - window.first) == (3, 4)
        values[0, first] = values[1, last] = 9
        found = SpanHead(QA).predict(tokenizer, rows, 64, lambda encoded: [values])
        assert found["prediction"][0] == "new york"
        assert found["probability"][0] == found["label_probability"][0] > 0.9


def test_characters_of_several_tokens_are_not_parted():
    from tokenizers.pre_tokenizers import ByteLevel

    tokenizer = other_tokenizer(ByteLevel(add_prefix_space=False), ByteLevel.alphabet())
    rows = question("ab 😀😀 c", "😀😀").with_columns(text2=pl.lit("😀" * 9))
    # Each is four bytes: of ten tokens' room for the question two fill eight.
    [own] = windows(tokenizer, rows, 24, 3)
    assert [window.first for window in own] == [10]
    assert token_span(own, 3, 5) == (3, 10)
    assert own[0].offsets[3:11].tolist() == [[3, 4]] * 4 + [[4, 5]] * 4
