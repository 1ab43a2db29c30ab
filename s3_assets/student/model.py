"""The student: a small sequence classifier with its tokenizer and labels.

Belongs here: loading, predicting, saving. Does not belong here: training (``train.py``), which checkpoint is meant
(``weights.py``).
"""

import contextlib
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from s3_assets.store.parts import sync
from s3_assets.student.batches import collate, encode, prediction_batches
from s3_assets.student.device import Device, pick_device, share_the_processor
from s3_assets.student.weights import WeightsError, resolve_weights

PREDICTION_BATCH = 64


@dataclass
class Student:
    """A classifier. ``labels`` are in the order of the model's outputs."""

    model: Any
    tokenizer: Any
    labels: tuple[str, ...]
    max_length: int
    device: Device

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        """What the student says of ``rows`` (columns text, text2; label if known), in their order.

        Columns: prediction, probability (of the prediction, 0 to 1); with labels also label_probability and loss
        (cross entropy of the label, in nats). A label the student does not know is a ``ValueError``.
        """
        import torch

        logits = self.logits(encode(self.tokenizer, rows, self.max_length))
        log_probabilities = torch.log_softmax(logits.double(), dim=-1)
        best = log_probabilities.max(dim=-1)
        columns: dict[str, Any] = {
            "prediction": [self.labels[place] for place in best.indices.tolist()],
            "probability": best.values.exp().tolist(),
        }
        if "label" in rows.columns:
            numbers = torch.tensor(label_numbers(rows["label"].to_list(), self.labels), dtype=torch.long)
            chosen = log_probabilities.gather(1, numbers.unsqueeze(1)).squeeze(1)
            columns |= {"label_probability": chosen.exp().tolist(), "loss": (-chosen).tolist()}
        schema = {name: pl.String if name == "prediction" else pl.Float64 for name in columns}
        return pl.DataFrame(columns, schema=schema)

    def logits(self, encoded: Sequence[dict[str, list[int]]]) -> Any:
        """Outputs before softmax, a float32 tensor of shape (rows, labels) on the CPU."""
        import torch

        found = torch.empty(len(encoded), len(self.labels))
        self.model.eval()
        with torch.inference_mode(), self.device.autocast():
            for numbers in prediction_batches(encoded, PREDICTION_BATCH):
                batch = collate(self.tokenizer, [encoded[number] for number in numbers], self.device.kind)
                found[numbers] = self.model(**batch).logits.float().cpu()
        return found

    def save(self, folder: Path) -> None:
        """Write weights (safetensors), tokenizer and config; the folder appears whole or not at all.

        The folder loads with ``transformers.pipeline("text-classification", folder)``. ``FileExistsError`` where it
        exists: a saved student is never overwritten.
        """
        if folder.exists():
            raise FileExistsError(f"{folder}: exists; save the student to a folder of its own")
        folder.parent.mkdir(parents=True, exist_ok=True)
        pending = folder.parent / f".{secrets.token_hex(4)}.tmp"
        try:
            with quiet():
                self.model.save_pretrained(pending)
            self.tokenizer.save_pretrained(pending)
            for written in pending.iterdir():
                sync(written)
            sync(pending)
            pending.rename(folder)
        except BaseException:
            shutil.rmtree(pending, ignore_errors=True)
            raise
        sync(folder.parent)

    @classmethod
    def load(cls, folder: Path) -> "Student":
        """A student saved by ``save``; texts are cut where they were in training."""
        model, tokenizer = _from_pretrained(str(folder))
        labels = tuple(model.config.id2label[number] for number in range(model.config.num_labels))
        device = pick_device()
        return cls(model.to(device.kind).eval(), tokenizer, labels, tokenizer.model_max_length, device)


def fresh_student(weights: str, labels: Sequence[str], max_length: int) -> Student:
    """A student from its checkpoint, its head drawn from torch's current random state.

    A checkpoint's own head is kept only where it has as many outputs as there are labels. Texts are cut to
    ``max_length`` tokens, or to what the checkpoint has positions for. ``WeightsError`` where it cannot be loaded.
    """
    device = pick_device()
    names = {"id2label": dict(enumerate(labels)), "label2id": {label: place for place, label in enumerate(labels)}}
    place = resolve_weights(weights)
    try:
        model, tokenizer = _from_pretrained(place, num_labels=len(labels), **names)
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
    return Student(model.to(device.kind), tokenizer, tuple(labels), max_length, device)


def label_numbers(found: Sequence[str], labels: Sequence[str]) -> list[int]:
    """Position of each label; ``ValueError`` naming one that is not among ``labels``."""
    numbers = {label: place for place, label in enumerate(labels)}
    unknown = sorted(set(found) - set(numbers), key=str)
    if unknown:
        raise ValueError(f"labels {unknown} are not among {list(labels)}")
    return [numbers[label] for label in found]


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


def _from_pretrained(place: str, **options: Any) -> tuple[Any, Any]:
    share_the_processor()
    # torch 1.5 s, these two about 1 s more (from their own modules the same; the Bert classes 5 s).
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
        model = AutoModelForSequenceClassification.from_pretrained(
            place, use_safetensors=True, trust_remote_code=False, ignore_mismatched_sizes=True, **options
        )
    return model, tokenizer
