"""Students that classify: one output per label.

Belongs here: what rows and outputs mean to a classifier. Does not belong here: running the model (``model.py``),
training (``train.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from s3_assets.student.batches import Ask, Encoded, encode
from s3_assets.student.errors import StudentError
from s3_assets.student.targets import has_soft, row_weights, target_matrix


@dataclass(frozen=True)
class LabelHead:
    """Classification into ``labels``, which are in the order of the model's outputs."""

    labels: tuple[str, ...]

    auto_model = "AutoModelForSequenceClassification"
    loss_name = "training_loss"
    compares_rows = False
    ranks_by = "accuracy"

    @property
    def measures(self) -> dict[str, str]:
        """Measures of predictions, each with the column it is the mean of."""
        return {"accuracy": "correct"}

    @property
    def options(self) -> dict[str, Any]:
        """What the model is loaded with."""
        names = {"id2label": dict(enumerate(self.labels)), "label2id": {name: n for n, name in enumerate(self.labels)}}
        # Named, as a checkpoint may name another: a pipeline then gives probabilities that do not add up to 1.
        return {"num_labels": len(self.labels), "problem_type": "single_label_classification", **names}

    @property
    def notes(self) -> dict[str, Any]:
        """Entries of the model's config beside those of transformers: none."""
        return {}

    def examples(self, tokenizer: Any, rows: pl.DataFrame, max_length: int) -> tuple[list[Encoded], Any]:
        """Inputs of ``rows`` (columns text, text2, label), and what is wanted of each.

        The number of its label; where rows have other weights than 1 or soft labels, ``target_matrix``.
        """
        import torch

        encoded, numbers = encode(tokenizer, rows, max_length), label_numbers(rows["label"].to_list(), self.labels)
        if row_weights(rows) is None and not has_soft(rows):
            return encoded, torch.tensor(numbers)
        return encoded, torch.tensor(target_matrix(rows, numbers, self.labels), dtype=torch.float32)

    def loss(self, output: Any, _batch: dict[str, Any], targets: Any, /) -> Any:
        """Mean over rows of the cross entropy of ``targets``, times the rows' weights where they have any; in nats."""
        import torch

        return torch.nn.functional.cross_entropy(output.logits.float(), targets)

    def values(self, output: Any, _batch: dict[str, Any], /) -> Any:
        """Outputs of a batch by row: the logits."""
        return output.logits

    def complete(self, ask: Ask, encoded: Sequence[Encoded], targets: Any) -> None:
        """Nothing: steps train all of it."""

    def predict(self, tokenizer: Any, rows: pl.DataFrame, max_length: int, ask: Ask) -> pl.DataFrame:
        """``rows`` have the columns text, text2; label if known. Gives ``label_columns``."""
        logs = self._log_probabilities(tokenizer, rows, max_length, ask)
        return label_columns(logs.numpy(), logs.exp().numpy(), self.labels, rows)

    def probabilities(self, tokenizer: Any, rows: pl.DataFrame, max_length: int, ask: Ask) -> NDArray[np.float64]:
        """Probabilities of the labels for ``rows``, of shape (rows, labels)."""
        found: NDArray[np.float64] = self._log_probabilities(tokenizer, rows, max_length, ask).exp().numpy()
        return found

    def _log_probabilities(self, tokenizer: Any, rows: pl.DataFrame, max_length: int, ask: Ask) -> Any:
        import torch

        found = ask(encode(tokenizer, rows, max_length))
        logits = torch.stack(found) if found else torch.empty(0, len(self.labels))
        return torch.log_softmax(logits.double(), dim=-1)


def label_columns(
    log_probabilities: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    labels: Sequence[str],
    rows: pl.DataFrame,
) -> pl.DataFrame:
    """What a classifier says of ``rows``, given both of its probabilities of ``labels``, of shape (rows, labels).

    Columns: prediction, probability (of the prediction, 0 to 1); where ``rows`` have labels also label_probability,
    loss (cross entropy of the label, in nats), margin (its log probability less that of the best other label, below 0
    where that is predicted) and correct. A label that is not among ``labels`` is a ``StudentError``.
    """
    every, best = np.arange(rows.height), log_probabilities.argmax(axis=1)
    predictions = [labels[place] for place in best]
    columns: dict[str, pl.Series] = {
        "prediction": pl.Series(predictions, dtype=pl.String),
        "probability": pl.Series(probabilities[every, best], dtype=pl.Float64),
    }
    if "label" in rows.columns:
        own = rows["label"].to_list()
        numbers = np.array(label_numbers(own, labels), np.int64)
        correct = [said == label for said, label in zip(predictions, own, strict=True)]
        others = log_probabilities.copy()
        others[every, numbers] = -np.inf
        margins = log_probabilities[every, numbers] - others.max(axis=1)
        columns |= {
            "label_probability": pl.Series(probabilities[every, numbers], dtype=pl.Float64),
            "loss": pl.Series(-log_probabilities[every, numbers], dtype=pl.Float64),
            "margin": pl.Series(margins, dtype=pl.Float64),
            "correct": pl.Series(correct, dtype=pl.Boolean),
        }
    return pl.DataFrame(columns)


def label_numbers(found: Sequence[str], labels: Sequence[str]) -> list[int]:
    """Position of each label; ``StudentError`` naming one that is not among ``labels``."""
    numbers = {label: place for place, label in enumerate(labels)}
    unknown = sorted(set(found) - set(numbers), key=str)
    if unknown:
        raise StudentError(f"labels {unknown} are not among {list(labels)}")
    return [numbers[label] for label in found]


def refuse_labels(training: pl.DataFrame, select: pl.DataFrame, labels: Sequence[str]) -> None:
    """``StudentError`` for labels not among ``labels``, or only one in ``training``."""
    label_numbers(training["label"].to_list(), labels)
    present = training["label"].unique().to_list()
    if len(present) < 2:
        raise StudentError(
            f"the training set has only the label {present[0]!r}; a classifier needs two: ask for more rows "
            "(rows.seed), or look in the table rejected for what became of those of the others"
        )
    label_numbers(select["label"].to_list(), labels)
