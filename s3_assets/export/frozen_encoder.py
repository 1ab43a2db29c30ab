"""A frozen student as one standard model: its encoder, with mean pooling and regression written as layers of BERT.

Belongs here: the weights that do that, and how near the model comes to the student. Does not belong here: the student
(``student/frozen.py``), writing folders (``model_folder.py``).

A frozen student is ``coefficients @ u + intercepts``, where u is the mean m of the encoder's last layer over the tokens
of a text, divided by its length. BERT's classifier sees the first token alone, through a layer with tanh. So the model
has one layer more, whose

* queries and keys are zero: every token attends to all tokens alike, so what it gets is m;
* dense layer turns m into ``Q m``, larger by a factor than the residual it is added to, which then does not count;
* layer norm takes off the mean over dimensions and divides by the length, which makes ``sqrt(width) Q m / |m|``.

The mean over dimensions is one of them lost. But outputs of the encoder's last layer norm, with scale g and shift b,
all satisfy ``sum_i (x_i - b_i) / g_i = 0``: along one direction they are all the same. Q is the reflection that brings
this direction to the one that the new layer norm takes off. Where the encoder is 0 along it, as ``minilm`` is, nothing
is lost; where not, what is lost differs little from text to text, and its mean over some texts is put back.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from s3_assets.export.errors import ExportError
from s3_assets.student.batches import collate, encode, prediction_batches
from s3_assets.student.device import CPU_ROWS, CPU_TOKENS
from s3_assets.student.embeddings import load_encoder
from s3_assets.student.frozen import FrozenStudent
from s3_assets.student.weights import MINILM, resolve_weights

Numbers = NDArray[np.float64]

# Powers of two, which change no digit. The residual is smaller than Q m by FACTOR squared; both fit float16.
FACTOR = 2.0**10

# Where tanh(x) is x up to 1e-6 of it, for values of a normed layer.
SMALL = 2.0**-12

# Below this share of a vector of length 1, what lies along the lost direction is none.
NOTHING = 1e-6

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

    ``texts`` are some that it may be asked about; only needed where the encoder loses something (see above).
    ``ExportError`` for a student of pairs and for encoders that are not BERT, ``WeightsError`` where the encoder cannot
    be loaded.
    """
    if student.pairs:
        raise ExportError(
            "a frozen student of pairs embeds both texts alone, which no standard model of transformers does; set "
            "student.kind: fine_tuned and run again to export one of pairs"
        )
    encoder, tokenizer = load_encoder(student.weights)
    encoder = encoder.float()
    if encoder.config.model_type != "bert" or encoder.config.is_decoder:
        raise ExportError(
            f"the encoder of this frozen student, {student.weights}, is of type {encoder.config.model_type}; only BERT "
            "encoders can be exported with a head on their mean. Set student.kind: fine_tuned, or student.weights to a "
            "BERT checkpoint as minilm, and run again"
        )
    model = _with_a_layer_more(encoder, student.labels)
    positions = encoder.config.max_position_embeddings
    tokenizer.model_max_length = min(student.max_length, tokenizer.model_max_length, positions)
    _set_weights(model, student, texts)
    return model.eval(), tokenizer


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


def _with_a_layer_more(encoder: Any, labels: Sequence[str]) -> Any:
    import torch
    import transformers

    config = copy.deepcopy(encoder.config)
    config.num_hidden_layers += 1
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in enumerate(labels)}
    config.problem_type = "single_label_classification"
    auto: Any = transformers.AutoModelForSequenceClassification
    # Weights drawn at random are replaced below; the caller's random state stays as it was.
    with torch.random.fork_rng(devices=[]):
        model = auto.from_config(config)
    lacking = model.bert.load_state_dict(encoder.state_dict(), strict=False)
    new = f"encoder.layer.{config.num_hidden_layers - 1}."
    unexpected = [*lacking.unexpected_keys, *(name for name in lacking.missing_keys if not name.startswith(new))]
    if [name for name in unexpected if not name.startswith("pooler.")]:
        raise ExportError(f"the encoder's weights do not fit a model with one layer more: {', '.join(unexpected)}")
    return model


def _set_weights(model: Any, student: FrozenStudent, texts: Sequence[str]) -> None:
    import torch

    *_, last, added = model.bert.encoder.layer
    norm = last.output.LayerNorm
    direction = _constant_direction(norm.weight.detach().double().numpy())
    width = len(direction)
    turned, along = _reflection(direction), 0.0
    if abs(float(norm.bias.detach().double().numpy() @ direction)) > NOTHING and texts:
        along = float((student.embed(texts[:TEXTS_FOR_MEAN]) @ direction).mean())
    head, rest = student.head, float(np.sqrt(1 - along**2))

    def put(place: Any, values: Numbers) -> None:
        place.copy_(torch.from_numpy(values))

    with torch.no_grad():
        norm.weight.div_(FACTOR)
        norm.bias.div_(FACTOR)
        for weights in (*added.parameters(), *model.bert.pooler.parameters()):
            weights.zero_()
        put(added.attention.self.value.weight, FACTOR * np.eye(width))
        put(added.attention.output.dense.weight, FACTOR * turned)
        added.attention.output.LayerNorm.weight.fill_(1)
        # The layer's second half adds nothing, and what is normed already stays as it is.
        added.output.LayerNorm.weight.fill_(1)
        put(model.bert.pooler.dense.weight, SMALL * turned)
        put(model.classifier.weight, head.coefficients * (rest / (SMALL * np.sqrt(width))))
        put(model.classifier.bias, head.intercepts + along * (head.coefficients @ direction))


def _constant_direction(scale: Numbers) -> Numbers:
    """Unit vector along which all outputs of a layer norm with this scale are the same."""
    silent = scale == 0
    found = silent.astype(np.float64) if silent.any() else np.abs(scale).min() / scale
    unit: Numbers = found / np.linalg.norm(found)
    return unit


def _reflection(direction: Numbers) -> Numbers:
    """The reflection that swaps a unit vector and the one with all entries alike; its own inverse."""
    width = len(direction)
    between = direction - np.full(width, width**-0.5)
    length = float(between @ between)
    # Nothing to turn where they are the same.
    return np.eye(width) - (2 / length) * np.outer(between, between) if length > NOTHING**2 else np.eye(width)
