"""Students whose encoder is trained by comparing rows, before a regression on its vectors (SetFit).

Belongs here: what rows, outputs and loss mean to such a training, and the model it ends as. Does not belong here: the
loop (``train.py``), the regression (``logistic.py``), writing it as layers (``mean_head.py``).

Tunstall et al. (2022), "Efficient Few-Shot Learning Without Prompts": vectors of rows with one label are brought to
point the same way, those of others to be at right angles; then a logistic regression on the vectors tells the labels.
There pairs of rows are drawn one by one; here every two rows of a batch are a pair, which takes one pass of the encoder
for each row and not two for each pair. Texts of a pair are read together, as a fine-tuned student reads them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from s3_assets.student.batches import Ask, Encoded, encode
from s3_assets.student.errors import StudentError
from s3_assets.student.features import Features
from s3_assets.student.label_head import LabelHead, label_columns, label_numbers
from s3_assets.student.logistic import Logistic, fitted
from s3_assets.student.mean_head import can_have_mean_head, classifier_on_mean
from s3_assets.student.model import Student, student_with
from s3_assets.student.targets import target_matrix
from s3_assets.tasks.student_spec import StudentSpec

# Rows whose vectors are looked at for what the model is unable to say.
ROWS_FOR_MEAN = 100

# Inverse strength of the regression's penalty where none is declared. It is left to tell apart what lies apart already;
# held down as usual, labels of many rows draw in those of others (100 rows of 10 labels: 71.3% right, at 30 77.6%).
LIGHT = 30.0

# Keeps a batch without pairs of one sort from dividing by 0.
LEAST = 1e-6


@dataclass
class ContrastiveHead:
    """Vectors for ``labels``: the mean of an encoder's last layer over the tokens of a row, of length 1.

    ``inverse_strength`` is that of the regression, ``logistic.fitted``. ``vectors`` are those of the rows that it was
    last completed on.
    """

    labels: tuple[str, ...]
    inverse_strength: float = LIGHT
    _regression: Logistic | None = field(default=None, init=False)
    vectors: Features = field(default_factory=lambda: np.zeros((0, 0), np.float32), init=False)

    auto_model = "AutoModel"
    loss_name = "pair_loss"
    compares_rows = True
    ranks_by = "accuracy"

    @property
    def measures(self) -> dict[str, str]:
        """Measures of predictions, each with the column it is the mean of."""
        return {"accuracy": "correct"}

    @property
    def options(self) -> dict[str, Any]:
        """What the encoder is loaded with: nothing."""
        return {}

    @property
    def notes(self) -> dict[str, Any]:
        """Entries of the model's config beside those of transformers: none."""
        return {}

    @property
    def regression(self) -> Logistic:
        """What tells the labels from vectors; ``StudentError`` before ``complete``."""
        if self._regression is None:
            raise StudentError("a contrastive student is asked once its regression is fitted: complete comes before")
        return self._regression

    def examples(self, tokenizer: Any, rows: pl.DataFrame, max_length: int) -> tuple[list[Encoded], Any]:
        """Inputs of ``rows`` (columns text, text2, label), and of each the ``target_matrix``."""
        import torch

        numbers = label_numbers(rows["label"].to_list(), self.labels)
        targets = torch.tensor(target_matrix(rows, numbers, self.labels), dtype=torch.float32)
        return encode(tokenizer, rows, max_length), targets

    def loss(self, output: Any, batch: dict[str, Any], targets: Any, /) -> Any:
        """How far the cosines of every two rows are from 1 for rows of one label and 0 for others, squared.

        The mean of both sorts of pairs, which count alike however many there are. A pair weighs what its rows' weights
        multiply to; with soft labels it is of the first sort as far as both are likely to have the same label.
        """
        vectors = self.values(output, batch)
        cosines, pairs = vectors @ vectors.T, targets.sum(1).outer(targets.sum(1)).fill_diagonal_(0)
        alike = (targets @ targets.T).fill_diagonal_(0)
        apart = (pairs - alike).clamp(min=0)
        near = ((1 - cosines) ** 2 * alike).sum() / alike.sum().clamp(min=LEAST)
        far = (cosines**2 * apart).sum() / apart.sum().clamp(min=LEAST)
        return (near + far) / 2

    def values(self, output: Any, batch: dict[str, Any]) -> Any:
        """Vectors of a batch by row, of length 1."""
        import torch

        last, mask = output.last_hidden_state.float(), batch["attention_mask"].unsqueeze(-1).float()
        return torch.nn.functional.normalize((last * mask).sum(1) / mask.sum(1).clamp(min=1), dim=1)

    def complete(self, ask: Ask, encoded: Sequence[Encoded], targets: Any) -> None:
        """Fit the regression to the vectors that rows have now."""
        import torch

        self.vectors = torch.stack(ask(encoded)).numpy()
        self._regression = fitted(self.vectors, targets.cpu().double().numpy(), self.inverse_strength)

    def predict(self, tokenizer: Any, rows: pl.DataFrame, max_length: int, ask: Ask) -> pl.DataFrame:
        """``rows`` have the columns text, text2; label if known. Gives ``label_columns``; ``complete`` comes before."""
        import torch

        logs = self.regression.log_probabilities(torch.stack(ask(encode(tokenizer, rows, max_length))).numpy())
        return label_columns(logs, np.exp(logs), self.labels, rows)


def contrastive_student(head: ContrastiveHead, spec: StudentSpec) -> Student:
    """The checkpoint of ``spec`` with ``head``; ``StudentError`` where it cannot have one.

    The last layer norm of its encoder is not trained: that of ``minilm`` can be written into a model without loss
    (``mean_head.py``), and stays so.
    """
    student = student_with(head, spec.weights, spec.max_length)
    config = student.model.config
    if not can_have_mean_head(config):
        raise StudentError(
            f"student.kind: contrastive: {config.name_or_path} is of type {config.model_type}; the mean of its vectors "
            "can be put before a classifier of BERT encoders alone. Set student.kind: fine_tuned, or student.weights "
            "to a BERT checkpoint as minilm"
        )
    student.model.encoder.layer[-1].output.LayerNorm.requires_grad_(False)
    return student


def as_classifier(student: Student, head: ContrastiveHead) -> Student:
    """A student that says what ``student`` with its completed ``head`` says, as a standard model."""
    encoder = student.model.float().cpu()
    model = classifier_on_mean(encoder, head.regression, head.labels, head.vectors[:ROWS_FOR_MEAN])
    return Student(
        model.to(student.device.kind), student.tokenizer, LabelHead(head.labels), student.max_length, student.device
    )
