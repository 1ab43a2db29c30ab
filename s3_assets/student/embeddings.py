"""Texts as vectors: what a student's checkpoint makes of them before any training.

Belongs here: loading the checkpoint as an encoder, the mean over tokens. Does not belong here: training it
(``train.py``), what is done with vectors (``quality/ensemble.py``).
"""

import functools
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from s3_assets.student.batches import collate, encode, prediction_batches
from s3_assets.student.device import Device, pick_device, share_the_processor
from s3_assets.student.model import quiet
from s3_assets.student.weights import (
    MINILM,
    MINILM_SHA256,
    WEIGHTS_FILE,
    WeightsError,
    resolve_weights,
    weights_digest,
)

log = logging.getLogger(__name__)

Vectors = NDArray[np.float32]


class Encoder:
    """A checkpoint that embeds texts, loaded when it is first asked and held from then on.

    ``weights`` and ``max_length`` are as of ``embed``. With ``digest`` it is the checkpoint with this digest
    (``checkpoint_digest``), or ``WeightsError`` when it is asked. With ``float32`` it computes so also where the
    hardware has bfloat16.
    """

    def __init__(
        self, weights: str = MINILM, max_length: int = 256, digest: str | None = None, *, float32: bool = False
    ) -> None:
        self._weights, self._max_length, self._digest, self._float32 = weights, max_length, digest, float32

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Vectors of ``texts``, as of ``embed``."""
        model, tokenizer, device = self._loaded
        import torch

        distinct = list(dict.fromkeys(texts))
        found = np.zeros((len(distinct), int(model.config.hidden_size)), np.float32)
        if not distinct:
            return found
        positions = getattr(model.config, "max_position_embeddings", self._max_length)
        rows = pl.DataFrame({"text": distinct, "text2": None}, schema={"text": pl.String, "text2": pl.String})
        encoded = encode(tokenizer, rows, min(self._max_length, tokenizer.model_max_length, positions))
        with torch.inference_mode(), device.autocast():
            for numbers in prediction_batches(encoded, device.rows, device.tokens):
                batch = collate(tokenizer, [encoded[number] for number in numbers], device.kind)
                last = model(**batch).last_hidden_state.float()
                mask = batch["attention_mask"].unsqueeze(-1).float()
                mean = (last * mask).sum(1) / mask.sum(1).clamp(min=1)
                found[numbers] = torch.nn.functional.normalize(mean, dim=1).cpu().numpy()
        place = {text: number for number, text in enumerate(distinct)}
        return found[[place[text] for text in texts]]

    @functools.cached_property
    def _loaded(self) -> tuple[Any, Any, Device]:
        if self._digest is not None:
            _refuse_another(self._weights, self._digest)
        model, tokenizer = load_encoder(self._weights)  # torch 1.5 s; transformers' classes about 1 s more
        device = pick_device()
        if self._float32:
            device = replace(device, bf16=False)
        return model.to(device.kind).eval(), tokenizer, device


def embed(texts: Sequence[str], weights: str = MINILM, max_length: int = 256) -> Vectors:
    """Vectors of ``texts``, float32 of shape (texts, width), each of length 1; the checkpoint is loaded for this alone.

    The mean of the last layer over the tokens of a text (Reimers & Gurevych 2019), each distinct text computed once.
    Texts are cut to ``max_length`` tokens, or to what the checkpoint has positions for. Where ``weights`` is a model
    that reads and writes, which is no encoder alone, those of ``minilm`` stand for it. ``WeightsError`` where they
    cannot be loaded.
    """
    return Encoder(weights, max_length)(texts)


def checkpoint_digest(weights: str) -> str | None:
    """SHA-256 of a checkpoint's weights; None of a hub name, and of a folder that does not hold them in one file.

    ``WeightsError`` where a folder is missing.
    """
    if weights == MINILM:
        # Which file that is, is verified when it is loaded.
        return MINILM_SHA256
    folder = Path(resolve_weights(weights))
    return weights_digest(folder) if (folder / WEIGHTS_FILE).is_file() else None


def _refuse_another(weights: str, expected: str) -> None:
    actual = checkpoint_digest(weights)
    if actual != expected:
        found = f"no one {WEIGHTS_FILE} is there" if actual is None else f"{WEIGHTS_FILE} has SHA-256 {actual}"
        raise WeightsError(
            f"student weights {weights!r} are not those that this frozen student was trained on: {found}, expected "
            f"{expected}\nPut those back, or train anew on what is there now: `s3-assets reset TASK --from-round 0 "
            "--yes`, then `s3-assets run TASK`."
        )


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
