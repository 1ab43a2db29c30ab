"""Students that classify: one output per label.

Belongs here: what rows and outputs mean to a classifier. Does not belong here: running the model (``model.py``),
training (``train.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from s3_assets.student.batches import Ask, Encoded, encode
from s3_assets.student.errors import StudentError


@dataclass(frozen=True)
class LabelHead:
    """Classification into ``labels``, which are in the order of the model's outputs."""

    labels: tuple[str, ...]

    auto_model = "AutoModelForSequenceClassification"
    ranks_by = "accuracy"

    @property
    def measures(self) -> dict[str, str]:
        """Measures of predictions, each with the column it is the mean of."""
        return {"accuracy": "correct"}

    @property
    def options(self) -> dict[str, Any]:
        """What the model is loaded with."""
        names = {"id2label": dict(enumerate(self.labels)), "label2id": {name: n for n, name in enumerate(self.labels)}}
        return {"num_labels": len(self.labels), **names}

    @property
    def notes(self) -> dict[str, Any]:
        """Entries of the model's config beside those of transformers: none."""
        return {}

    def examples(self, tokenizer: Any, rows: pl.DataFrame, max_length: int) -> tuple[list[Encoded], Any]:
        """Inputs of ``rows`` (columns text, text2, label), and the number of each one's label."""
        import torch

        return encode(tokenizer, rows, max_length), torch.tensor(label_numbers(rows["label"].to_list(), self.labels))

    def loss(self, output: Any, _batch: dict[str, Any], targets: Any, /) -> Any:
        """Mean cross entropy of ``targets``, in nats."""
        import torch

        return torch.nn.functional.cross_entropy(output.logits.float(), targets)

    def values(self, output: Any) -> Any:
        """Outputs of a batch by row: the logits."""
        return output.logits

    def predict(self, tokenizer: Any, rows: pl.DataFrame, max_length: int, ask: Ask) -> pl.DataFrame:
        """``rows`` have the columns text, text2; label if known.

        Columns: prediction, probability (of the prediction, 0 to 1); with labels also label_probability, loss (cross
        entropy of the label, in nats) and correct. A label the student does not know is a ``StudentError``.
        """
        import torch

        found = ask(encode(tokenizer, rows, max_length))
        logits = torch.stack(found) if found else torch.empty(0, len(self.labels))
        log_probabilities = torch.log_softmax(logits.double(), dim=-1)
        best = log_probabilities.max(dim=-1)
        predictions = [self.labels[place] for place in best.indices.tolist()]
        columns: dict[str, pl.Series] = {
            "prediction": pl.Series(predictions, dtype=pl.String),
            "probability": pl.Series(best.values.exp().tolist(), dtype=pl.Float64),
        }
        if "label" in rows.columns:
            labels = rows["label"].to_list()
            numbers = torch.tensor(label_numbers(labels, self.labels), dtype=torch.long)
            chosen = log_probabilities.gather(1, numbers.unsqueeze(1)).squeeze(1)
            correct = [said == label for said, label in zip(predictions, labels, strict=True)]
            columns |= {
                "label_probability": pl.Series(chosen.exp().tolist(), dtype=pl.Float64),
                "loss": pl.Series((-chosen).tolist(), dtype=pl.Float64),
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
