"""Windows: questions cut, long contexts in pieces, characters found among tokens."""

import itertools
from types import SimpleNamespace

import polars as pl
import pytest

from s3_assets.student.windows import token_span, windows
from s3_assets_tests.tiny_student import FILLER, PLACES, QUESTION, make_tiny_student, question, toy_questions


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from transformers import AutoTokenizer

    folder = make_tiny_student(tmp_path_factory.mktemp("windows") / "tiny", [*FILLER, *PLACES, QUESTION])
    return AutoTokenizer.from_pretrained(folder)


def test_windows_cover_the_context_and_know_their_place_in_it(tokenizer):
    rows = pl.concat([toy_questions(4, 0), toy_questions(6, 1, words=(10, 90))])
    found = windows(tokenizer, rows, 24, 8)
    for context, own in zip(rows["text"], found, strict=True):
        every = tokenizer(context, add_special_tokens=False, return_offsets_mapping=True)
        assert own[0].begins == 0
        assert own[-1].begins + len(own[-1].offsets) == len(every["input_ids"])
        for window in own:
            place = slice(window.begins, window.begins + len(window.offsets))
            assert window.offsets.tolist() == [list(pair) for pair in every["offset_mapping"][place]]
            ids = window.encoded["input_ids"]
            assert ids[window.first : window.first + len(window.offsets)] == every["input_ids"][place]
            assert tokenizer.convert_ids_to_tokens(ids[: window.first]) == ["[CLS]", *QUESTION.split(), "[SEP]"]
            assert len(ids) <= 24
        for before, after in itertools.pairwise(own):
            assert before.begins + len(before.offsets) - after.begins == 8
    assert {len(own) for own in found} >= {1, 2, 3}


def test_every_row_has_a_window_in_the_order_of_rows(tokenizer):
    schema = {"text": pl.String, "text2": pl.String}
    # Questions of different lengths have different strides, and so are tokenised apart.
    asked = ["where", "where was it " * 4, None, "where was it " * 2]
    rows = pl.DataFrame({"text": ["oslo", "film " * 30, None, "lima " * 20], "text2": asked}, schema=schema)
    found = windows(tokenizer, rows, 24, 20)
    said = [tokenizer.decode(own[0].encoded["input_ids"]) for own in found]
    assert said[0] == "[CLS] where [SEP] oslo [SEP]"
    assert said[1].startswith("[CLS] where was it where was it where was it where [SEP] film film")
    assert said[2] == "[CLS] [SEP] [SEP]"
    assert said[3].startswith("[CLS] where was it where was it [SEP] lima")
    assert [own[0].offsets.shape for own in found] == [(1, 2), (11, 2), (0, 2), (15, 2)]
    # No more than half of a window is shared: 5 of 11, 7 of 15.
    assert [own[1].begins for own in found if len(own) > 1] == [6, 8]
    assert windows(tokenizer, rows[:0], 24, 20) == []


def test_long_questions_are_cut_to_half_of_the_room_and_at_whole_characters(tokenizer):
    rows = pl.DataFrame({"text": ["oslo"], "text2": ["film " * 500]})
    [[window]] = windows(tokenizer, rows, 24, 8)
    assert tokenizer.decode(window.encoded["input_ids"]) == f"[CLS] {'film ' * 10}[SEP] oslo [SEP]"
    # The word falls into letters; it is cut between them.
    [[window]] = windows(tokenizer, rows.with_columns(text2=pl.lit("xyz" * 9)), 24, 8)
    assert len(window.encoded["input_ids"]) == 14
    # What 8 tokens, the least a task may ask for, have room for.
    eight = windows(tokenizer, rows.with_columns(text=pl.lit("oslo film plot was")), 8, 64)[0]
    assert [window.begins for window in eight] == [0, 2]


def test_no_room_and_unfit_tokenizers_are_refused(tokenizer):
    rows = toy_questions(1, 0)
    with pytest.raises(ValueError, match="max_length 4 leaves no room"):
        windows(tokenizer, rows, 4, 8)
    for trait in ({"is_fast": False, "padding_side": "right"}, {"is_fast": True, "padding_side": "left"}):
        unfit = SimpleNamespace(num_special_tokens_to_add=lambda pair: 3, **trait)
        with pytest.raises(ValueError, match="need a tokenizer that says which characters"):
            windows(unfit, rows, 24, 8)


def test_characters_to_tokens(tokenizer):
    [own] = windows(tokenizer, question("film was new york , " + "plot " * 20 + "oslo", "oslo"), 24, 8)
    assert len(own) > 1
    assert token_span(own, 9, 17) == (2, 3)
    assert token_span(own, 10, 16) == (2, 3)  # parts of words
    assert token_span(own, 9, 18) == (2, 3)
    assert token_span(own, 120, 124) == (25, 25)
    assert token_span(own, 8, 9) is None
