"""How sure a student may be of its labels: one temperature that all its logits are divided by (Guo et al. 2017).

Belongs here: finding the temperature on rows that a student was not trained on, putting it into a model for good. Does
not belong here: which rows those are (``train.py``, ``loop/training.py``), the kinds of students (``model.py``,
``frozen.py``).
"""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

Numbers = NDArray[np.float64]

# With fewer rows the temperature says more about them than about the student.
LEAST_ROWS = 20

LOWEST, HIGHEST = 0.25, 8.0

# Digits of a temperature behind the point.
DIGITS = 3

# How far logits may be from those divided, after weights were: float32 of a model of a dozen layers.
NEAR = 1e-3


def logs_of(probabilities: Numbers) -> Numbers:
    """Logarithms of ``probabilities``; of those that are 0 a number all the same."""
    found: Numbers = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
    return found


def at_temperature(log_probabilities: Numbers, temperature: float) -> Numbers:
    """Logarithms of the probabilities, shape (rows, labels), of a student whose logits are divided by ``temperature``.

    The label that is likeliest stays so.
    """
    if temperature == 1 or not len(log_probabilities):
        return log_probabilities
    divided = log_probabilities / temperature
    found: Numbers = divided - np.logaddexp.reduce(divided, axis=1, keepdims=True)
    return found


def mean_loss(log_probabilities: Numbers, numbers: Sequence[int], temperature: float = 1.0) -> float:
    """Mean cross entropy, in nats, of the labels with ``numbers`` at ``temperature``."""
    logs = at_temperature(log_probabilities, temperature)
    return -float(logs[np.arange(len(numbers)), list(numbers)].mean())


def best_temperature(log_probabilities: Numbers, numbers: Sequence[int]) -> float:
    """The temperature from ``LOWEST`` to ``HIGHEST`` at which the loss of the labels with ``numbers`` is least.

    ``log_probabilities`` has the shape (rows, labels). 1, which changes nothing, for fewer rows than ``LEAST_ROWS``,
    and where the student is right about all of them: nothing says then how sure would be too sure.
    """
    if len(numbers) < LEAST_ROWS or (log_probabilities.argmax(axis=1) == np.asarray(numbers)).all():
        return 1.0
    from scipy.optimize import minimize_scalar  # 0.3 s

    found = minimize_scalar(
        lambda logarithm: mean_loss(log_probabilities, numbers, math.exp(logarithm)),
        bounds=(math.log(LOWEST), math.log(HIGHEST)),
        method="bounded",
    )
    # Rounded: rows in another order, whose sums differ in their last digit, give the same.
    temperature = round(math.exp(float(found.x)), DIGITS)
    better = mean_loss(log_probabilities, numbers, temperature) < mean_loss(log_probabilities, numbers)
    return temperature if better else 1.0


def divide_logits(model: Any, batch: Mapping[str, Any], outputs: int, by: float) -> bool:
    """Divide the weights of the layer that gives the ``model``'s ``outputs`` logits by ``by``, and so the logits.

    That layer is the last linear one with as many outputs. Whether it is, is seen by asking the model about ``batch``
    before and after: where the logits did not follow, the weights are put back, and the answer is False.
    """
    import torch

    layers = [one for one in model.modules() if isinstance(one, torch.nn.Linear) and one.out_features == outputs]
    if not layers:
        log.warning("no layer of %s gives its %d logits: it is not calibrated", type(model).__name__, outputs)
        return False
    weights = [weight for weight in (layers[-1].weight, layers[-1].bias) if weight is not None]
    kept = [weight.detach().clone() for weight in weights]
    model.eval()
    with torch.no_grad(), torch.autocast(weights[0].device.type, enabled=False):
        wanted = model(**batch).logits.float() / by
        for weight in weights:
            weight.div_(by)
        given = model(**batch).logits.float()
        if (given - wanted).abs().max() <= NEAR * wanted.abs().max().clamp(min=1):
            return True
        for weight, before in zip(weights, kept, strict=True):
            weight.copy_(before)
    log.warning("the last linear layer of %s does not give its logits: it is not calibrated", type(model).__name__)
    return False
