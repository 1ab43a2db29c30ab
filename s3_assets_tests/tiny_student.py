"""A checkpoint small enough for tests, a BERT of a few thousand weights over a given vocabulary; and toy tasks for it.

Belongs here: making the folder, rows of the toy tasks. Does not belong here: tests.
"""

import random
import re
import string
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from s3_assets.student.device import share_the_processor
from s3_assets.student.model import quiet

POSITIONS = 128

LABELS = ("good", "bad")
CUES = {"good": ("lovely", "bright", "fun"), "bad": ("dull", "grim", "slow")}
FILLER = ("the", "film", "plot", "was", "and", "scene", "camera", "story")

QUESTION = "where was it ?"
PLACES = ("paris", "new york", "oslo", "san jose", "lima", "the hague")


def make_tiny_student(folder: Path, texts: Iterable[str]) -> Path:
    """A folder that ``transformers`` loads: random weights, and a WordPiece tokenizer over the words of ``texts``.

    Other words fall into letters. Some 150 kB; the same texts give the same folder.
    """
    share_the_processor()
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    words = {word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower())}
    letters = string.ascii_lowercase + string.digits
    pieces = sorted({*words, *letters, *string.punctuation, *(f"##{letter}" for letter in letters)})
    vocabulary = {piece: place for place, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces])}
    BertTokenizer(vocab=vocabulary, model_max_length=POSITIONS).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=POSITIONS,
    )
    # Leaves the random state of the test as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertModel(config)
    with quiet():
        model.save_pretrained(folder)
    return folder


def toy_rows(count: int, seed: int, pair: bool = False) -> pl.DataFrame:
    """Short texts whose label is told by one word; of a pair, by a word of the second text."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        label = LABELS[number % 2]
        told = rng.choices(FILLER, k=rng.randint(2, 9))
        told.insert(rng.randrange(len(told)), rng.choice(CUES[label]))
        other = " ".join(rng.choices(FILLER, k=4))
        text, text2 = (other, " ".join(told)) if pair else (" ".join(told), None)
        rows.append({"text": text, "text2": text2, "label": label})
    return pl.DataFrame(rows, schema={"text": pl.String, "text2": pl.String, "label": pl.String})


def toy_questions(count: int, seed: int, words: tuple[int, int] = (2, 9)) -> pl.DataFrame:
    """Contexts that name one place, the answer, among other words, their number in the range ``words``."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        told = rng.choices(FILLER, k=rng.randint(*words))
        place = rng.randrange(len(told) + 1)
        before, answer = [*told[:place], ""], rng.choice(PLACES)
        text = " ".join([*told[:place], answer, *told[place:]])
        start = len(" ".join(before))
        rows.append({"text": text, "text2": QUESTION, "label": "answer", "answer": answer, "answer_start": start})
    texts = dict.fromkeys(("text", "text2", "label", "answer"), pl.String)
    return pl.DataFrame(rows, schema={**texts, "answer_start": pl.Int64})


def question(text: str, answer: str, **more: object) -> pl.DataFrame:
    """One row that asks for ``answer`` where it stands first in ``text``."""
    row = {"text": text, "text2": QUESTION, "label": "answer", "answer": answer, "answer_start": text.index(answer)}
    return pl.DataFrame([{**row, **more}])
