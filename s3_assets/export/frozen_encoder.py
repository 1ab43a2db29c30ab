"""A frozen student as one standard model.

Belongs here: its encoder with its head as one model, and how near the model comes to the student. Does not belong here:
the layers that do that (``student/mean_head.py``), the student (``student/frozen.py``), writing folders
(``model_folder.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from s3_assets.export.errors import ExportError
from s3_assets.student.batches import collate, encode, prediction_batches
from s3_assets.student.device import CPU_ROWS, CPU_TOKENS
from s3_assets.student.embeddings import load_encoder
from s3_assets.student.frozen import FrozenStudent
from s3_assets.student.mean_head import can_have_mean_head, classifier_on_mean
from s3_assets.student.weights import MINILM, resolve_weights

# Texts that the mean of what is lost is taken over.
TEXTS_FOR_MEAN = 100


@dataclass(frozen=True)
class Agreement:
    """How near a model is to the student it was made of.

    Of ``texts`` the prediction is the ``same`` for so many; ``largest`` is the largest difference of a probability.
    ``stands_in``: the student's checkpoint is no encoder alone, so that ``minilm`` embeds its texts.
    """

    texts: int
    same: int
    largest: float
    stands_in: bool = False


def standard_model(student: FrozenStudent, texts: Sequence[str]) -> tuple[Any, Any]:
    """A sequence classification model that says what ``student`` says, and its tokenizer; float32, on the CPU.

    ``texts`` are some that it may be asked about; only needed where the encoder loses something (``mean_head.py``).
    ``ExportError`` for a student of pairs and for encoders that are not BERT, ``WeightsError`` where the encoder cannot
    be loaded.
    """
    if student.pairs:
        raise ExportError(
            "a frozen student of pairs embeds both texts alone, which no standard model of transformers does; set "
            "student.kind: fine_tuned and run again to export one of pairs"
        )
    encoder, tokenizer = load_encoder(student.weights)
    if not can_have_mean_head(encoder.config):
        raise ExportError(
            f"the encoder of this frozen student, {student.weights}, is of type {encoder.config.model_type}; only BERT "
            "encoders can be exported with a head on their mean. Set student.kind: fine_tuned, or student.weights to a "
            "BERT checkpoint as minilm, and run again"
        )
    vectors = student.embed(texts[:TEXTS_FOR_MEAN]) if texts else np.zeros((0, 0), np.float32)
    model = classifier_on_mean(encoder.float(), student.head, student.labels, vectors)
    positions = encoder.config.max_position_embeddings
    tokenizer.model_max_length = min(student.max_length, tokenizer.model_max_length, positions)
    return model, tokenizer


def agreement(student: FrozenStudent, model: Any, tokenizer: Any, texts: Sequence[str]) -> Agreement:
    """``student`` and ``model`` asked about ``texts``."""
    import torch

    rows = pl.DataFrame({"text": texts, "text2": None}, schema={"text": pl.String, "text2": pl.String})
    encoded = encode(tokenizer, rows, tokenizer.model_max_length)
    said = np.zeros((rows.height, len(student.labels)))
    with torch.inference_mode():
        for numbers in prediction_batches(encoded, CPU_ROWS, CPU_TOKENS):
            batch = collate(tokenizer, [encoded[number] for number in numbers], "cpu")
            said[numbers] = torch.softmax(model(**batch).logits.double(), dim=-1).numpy()
    wanted = student.probabilities(rows)
    same = int((said.argmax(1) == wanted.argmax(1)).sum())
    loaded = str(model.config.name_or_path)
    stands_in = loaded != resolve_weights(student.weights) and loaded == resolve_weights(MINILM)
    return Agreement(rows.height, same, float(np.abs(said - wanted).max(initial=0)), stands_in)
