"""Texts as vectors: what a student's checkpoint makes of them before any training.

Belongs here: loading the checkpoint as an encoder, the mean over tokens. Does not belong here: training it
(``train.py``), what is done with vectors (``quality/ensemble.py``).
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from s3_assets.student.batches import collate, encode, prediction_batches
from s3_assets.student.device import pick_device, share_the_processor
from s3_assets.student.model import quiet
from s3_assets.student.weights import MINILM, WeightsError, resolve_weights

log = logging.getLogger(__name__)

Vectors = NDArray[np.float32]


def embed(texts: Sequence[str], weights: str = MINILM, max_length: int = 256) -> Vectors:
    """Vectors of ``texts``, float32 of shape (texts, width), each of length 1.

    The mean of the last layer over the tokens of a text (Reimers & Gurevych 2019), each distinct text computed once.
    Texts are cut to ``max_length`` tokens, or to what the checkpoint has positions for. Where ``weights`` is a model
    that reads and writes, which is no encoder alone, those of ``minilm`` stand for it. ``WeightsError`` where they
    cannot be loaded.
    """
    share_the_processor()
    import torch  # 1.5 s; transformers' classes about 1 s more

    distinct = list(dict.fromkeys(texts))
    model, tokenizer = load_encoder(weights)
    width = int(model.config.hidden_size)
    if not distinct:
        return np.zeros((0, width), np.float32)
    device = pick_device()
    model = model.to(device.kind).eval()
    positions = getattr(model.config, "max_position_embeddings", max_length)
    rows = pl.DataFrame({"text": distinct, "text2": None}, schema={"text": pl.String, "text2": pl.String})
    encoded = encode(tokenizer, rows, min(max_length, tokenizer.model_max_length, positions))
    found = np.zeros((len(distinct), width), np.float32)
    with torch.inference_mode(), device.autocast():
        for numbers in prediction_batches(encoded, device.rows, device.tokens):
            batch = collate(tokenizer, [encoded[number] for number in numbers], device.kind)
            last = model(**batch).last_hidden_state.float()
            mask = batch["attention_mask"].unsqueeze(-1).float()
            mean = (last * mask).sum(1) / mask.sum(1).clamp(min=1)
            found[numbers] = torch.nn.functional.normalize(mean, dim=1).cpu().numpy()
    place = {text: number for number, text in enumerate(distinct)}
    return found[[place[text] for text in texts]]


def load_encoder(weights: str) -> tuple[Any, Any]:
    """The model that texts are embedded by, and its tokenizer; ``WeightsError`` as of ``embed``."""
    share_the_processor()
    import transformers

    place = resolve_weights(weights)
    try:
        config = transformers.AutoConfig.from_pretrained(place, trust_remote_code=False)
        if config.is_encoder_decoder:
            log.info("student weights %s are no encoder alone: texts are embedded by %s", weights, MINILM)
            place = resolve_weights(MINILM)
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(place, trust_remote_code=False)
            model = transformers.AutoModel.from_pretrained(place, use_safetensors=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"student weights {weights!r} cannot be loaded to embed texts: {error}\nCorrect the task's "
            "student.weights, or download them first and give their folder."
        ) from error
    return model, tokenizer
