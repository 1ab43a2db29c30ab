"""A regression on the mean of an encoder's vectors, written as layers of a BERT that classifies.

Belongs here: the weights that do that. Does not belong here: who has such a regression (``contrastive.py``,
``export/frozen_encoder.py``), fitting it (``logistic.py``).

Such a head is ``coefficients @ u + intercepts``, where u is the mean m of the encoder's last layer over the tokens of
an input, divided by its length. BERT's classifier sees the first token alone, through a layer with tanh. So the model
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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s3_assets.student.errors import StudentError
from s3_assets.student.features import Features
from s3_assets.student.logistic import Logistic

Numbers = NDArray[np.float64]

# Powers of two, which change no digit. The residual is smaller than Q m by FACTOR squared; both fit float16.
FACTOR = 2.0**10

# Where tanh(x) is x up to 1e-6 of it, for values of a normed layer.
SMALL = 2.0**-12

# Below this share of a vector of length 1, what lies along the lost direction is none.
NOTHING = 1e-6


def can_have_mean_head(config: Any) -> bool:
    """Whether an encoder with this ``config`` of transformers can: only BERT, and not one that writes."""
    return config.model_type == "bert" and not config.is_decoder


def classifier_on_mean(encoder: Any, head: Logistic, labels: Sequence[str], vectors: Features) -> Any:
    """A model for sequence classification into ``labels`` that says what ``head`` says of the ``encoder``'s means.

    ``encoder`` is one that ``can_have_mean_head``, in float32 and on the CPU. ``vectors`` are u (see above) of some
    inputs; only needed where the encoder loses something. The model is in evaluation mode.
    """
    model = _with_a_layer_more(encoder, labels)
    _set_weights(model, head, vectors)
    return model.eval()


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
        raise StudentError(f"the encoder's weights do not fit a model with one layer more: {', '.join(unexpected)}")
    return model


def _set_weights(model: Any, head: Logistic, vectors: Features) -> None:
    import torch

    *_, last, added = model.bert.encoder.layer
    norm = last.output.LayerNorm
    direction = _constant_direction(norm.weight.detach().double().numpy())
    width = len(direction)
    turned, along = _reflection(direction), 0.0
    if abs(float(norm.bias.detach().double().numpy() @ direction)) > NOTHING and len(vectors):
        along = float((vectors @ direction).mean())
    rest = float(np.sqrt(1 - along**2))

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
