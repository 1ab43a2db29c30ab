"""A checkpoint small enough for tests: a BERT of a few thousand weights over a given vocabulary.

Belongs here: making the folder. Does not belong here: tests.
"""

import re
import string
from collections.abc import Iterable
from pathlib import Path

from s3_assets.student.device import share_the_processor
from s3_assets.student.model import quiet

POSITIONS = 128


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
