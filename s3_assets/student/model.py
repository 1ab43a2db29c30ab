"""The student: a small model with its tokenizer, and a head that says what its outputs mean.

Belongs here: loading, running, saving. Does not belong here: training (``train.py``), which checkpoint is meant
(``weights.py``), what outputs mean (``label_head.py``, ``span_head.py``).
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from s3_assets.student.batches import Ask, Encoded, collate, encode, prediction_batches
from s3_assets.student.calibration import divide_logits
from s3_assets.student.device import Device, pick_device, share_the_processor
from s3_assets.student.errors import StudentError
from s3_assets.student.folders import whole_folder
from s3_assets.student.label_head import LabelHead
from s3_assets.student.span_head import SpanHead
from s3_assets.student.weights import WeightsError, is_frozen, resolve_weights
from s3_assets.tasks.spec import QaSpec

# What a model is asked to see whether a change of its weights did what it should.
_PROBE = {"text": "It was a long way there, and worth it.", "text2": None}


class Head(Protocol):
    """What the inputs and outputs of a model mean."""

    @property
    def auto_model(self) -> str:
        """Class of transformers that loads the model."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What it may say of a row."""

    @property
    def loss_name(self) -> str:
        """What the loss of its training is called in the history."""

    @property
    def compares_rows(self) -> bool:
        """Whether the loss is of rows with one another, so that those of a batch are better run together."""

    @property
    def measures(self) -> dict[str, str]:
        """Measures of predictions, each with the column it is the mean of."""

    @property
    def ranks_by(self) -> str:
        """The measure by which epochs are ranked."""

    @property
    def options(self) -> dict[str, Any]:
        """What the model is loaded with."""

    @property
    def notes(self) -> dict[str, Any]:
        """Entries of the model's config beside those of transformers."""

    def examples(self, tokenizer: Any, rows: pl.DataFrame, max_length: int) -> tuple[list[Encoded], Any]:
        """Inputs to train on, and a tensor of what is wanted of each."""

    def loss(self, output: Any, batch: dict[str, Any], targets: Any, /) -> Any:
        """Loss of the model's ``output`` for ``batch``."""

    def values(self, output: Any, batch: dict[str, Any], /) -> Any:
        """A tensor of what ``predict`` needs of a batch's output, its first dimension the inputs."""

    def complete(self, ask: Ask, encoded: Sequence[Encoded], targets: Any) -> None:
        """Learn from the training set, as ``examples`` gave it, what steps do not train."""

    def predict(self, tokenizer: Any, rows: pl.DataFrame, max_length: int, ask: Ask) -> pl.DataFrame:
        """A row of predictions for each of ``rows``."""


@dataclass
class Student:
    """A model that is trained and asked through its ``head``."""

    model: Any
    tokenizer: Any
    head: Head
    max_length: int
    device: Device

    @property
    def labels(self) -> tuple[str, ...]:
        """What it may say of a row; only ``answer`` where it answers questions."""
        return self.head.labels

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        """What the student says of ``rows``, in their order: columns as its head describes them."""
        return self.head.predict(self.tokenizer, rows, self.max_length, self._ask)

    def probabilities(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """Probabilities of its labels, of shape (rows, labels); ``StudentError`` where it answers questions."""
        if not isinstance(self.head, LabelHead):
            raise StudentError("a student that answers questions has no probabilities of labels")
        return self.head.probabilities(self.tokenizer, rows, self.max_length, self._ask)

    def divide_logits(self, by: float) -> bool:
        """Divide the logits of labels by ``by``, in the weights: what is saved and exported has it too.

        False, and nothing is changed, where it answers questions or no layer is known to give its logits.
        """
        if not isinstance(self.head, LabelHead):
            return False
        rows = pl.DataFrame([_PROBE], {"text": pl.String, "text2": pl.String})
        probe = collate(self.tokenizer, encode(self.tokenizer, rows, self.max_length), self.device.kind)
        return divide_logits(self.model, probe, len(self.labels), by)

    def examples(self, rows: pl.DataFrame) -> tuple[list[Encoded], Any]:
        """Inputs to train on, and a tensor of what is wanted of each, on the device."""
        encoded, targets = self.head.examples(self.tokenizer, rows, self.max_length)
        return encoded, targets.to(self.device.kind)

    def loss(self, batch: dict[str, Any], targets: Any) -> Any:
        """Loss of the model on ``batch``, as the head defines it."""
        with self.device.autocast():
            output = self.model(**batch)
        return self.head.loss(output, batch, targets)

    def complete(self, rows: Sequence[Encoded], targets: Any) -> None:
        """Let the head learn from ``examples`` what steps do not train; before it is asked, and after the last step."""
        self.head.complete(self._ask, rows, targets)

    def _ask(self, encoded: Sequence[Encoded]) -> list[Any]:
        import torch

        found: list[Any] = [None] * len(encoded)
        self.model.eval()
        with torch.inference_mode(), self.device.autocast():
            for numbers in prediction_batches(encoded, self.device.rows, self.device.tokens):
                batch = collate(self.tokenizer, [encoded[number] for number in numbers], self.device.kind)
                values = self.head.values(self.model(**batch), batch).float().cpu()
                for number, value in zip(numbers, values, strict=True):
                    found[number] = value
        return found

    def write(self, folder: Path) -> None:
        """Write weights (safetensors), tokenizer and config into ``folder``."""
        for name, value in self.head.notes.items():
            setattr(self.model.config, name, value)
        with quiet():
            self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def save(self, folder: Path) -> None:
        """Write ``folder`` with weights, tokenizer and config; it appears whole or not at all.

        The folder loads with ``transformers.pipeline("text-classification", folder)`` or, for questions, with
        ``AutoModelForQuestionAnswering``. ``FileExistsError`` where it exists: a saved student is never overwritten.
        """
        with whole_folder(folder) as pending:
            self.write(pending)

    @classmethod
    def load(cls, folder: Path) -> "Student":
        """A student of either head saved by ``save``; texts are cut where they were in training.

        ``StudentError`` for a frozen student. Of an ensemble's folder it is the first member.
        """
        if is_frozen(folder):
            raise StudentError(f"{folder}: a frozen student; load it with s3_assets.student.load.load_student")
        head = _head_of(str(folder))
        model, tokenizer = _from_pretrained(str(folder), head.auto_model)
        device = pick_device()
        return cls(model.to(device.kind).eval(), tokenizer, head, tokenizer.model_max_length, device)


def fresh_student(weights: str, labels: Sequence[str], max_length: int, qa: QaSpec | None = None) -> Student:
    """A student from its checkpoint, its head drawn from torch's current random state.

    With ``qa`` it answers questions, else it classifies into ``labels``. A checkpoint's own head is kept only where it
    is of the same kind and has as many outputs. Texts are cut to ``max_length`` tokens, or to what the checkpoint has
    positions for. ``WeightsError`` where it cannot be loaded.
    """
    return student_with(LabelHead(tuple(labels)) if qa is None else SpanHead(qa), weights, max_length)


def student_with(head: Head, weights: str, max_length: int) -> Student:
    """A student with any ``head``; else as of ``fresh_student``."""
    device = pick_device()
    place = resolve_weights(weights)
    try:
        model, tokenizer = _from_pretrained(place, head.auto_model, **head.options)
    # No such name, no network, no model.safetensors; a folder that is no checkpoint is a ValueError.
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"student weights {weights!r} cannot be loaded: {error}\nCorrect the task's student.weights, or download "
            "them first and give their folder."
        ) from error
    positions = getattr(model.config, "max_position_embeddings", max_length)
    max_length = min(max_length, tokenizer.model_max_length, positions)
    # Saved with the tokenizer, so that a loaded student and a pipeline cut where training did.
    tokenizer.model_max_length = max_length
    return Student(model.to(device.kind), tokenizer, head, max_length, device)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' progress bars and its note that the head is new, which is what is wanted here."""
    from transformers.utils import logging as untyped

    logging: Any = untyped
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _head_of(folder: str) -> Head:
    share_the_processor()
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if any(name.endswith("ForQuestionAnswering") for name in config.architectures or ()):
        return SpanHead.noted(config)
    return LabelHead(tuple(config.id2label[number] for number in range(config.num_labels)))


def _from_pretrained(place: str, auto_model: str, **options: Any) -> tuple[Any, Any]:
    share_the_processor()
    # torch 1.5 s, the two classes about 1 s more (from their own modules the same; the Bert classes 5 s).
    import transformers

    auto: Any = getattr(transformers, auto_model)
    with quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, trust_remote_code=False)
        model = auto.from_pretrained(
            place, use_safetensors=True, trust_remote_code=False, ignore_mismatched_sizes=True, **options
        )
    return model, tokenizer
