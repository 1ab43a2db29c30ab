"""Students whose encoder stays as it is: a logistic regression on the vectors that the checkpoint makes of texts.

Belongs here: the student, its training, its folder. Does not belong here: the regression (``logistic.py``), features
(``features.py``), students that are trained as a whole (``model.py``, ``train.py``).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from s3_assets.student.embeddings import Encoder, checkpoint_digest
from s3_assets.student.errors import StudentError
from s3_assets.student.features import PAIR, SINGLE, Embed, Features, are_pairs, text_features
from s3_assets.student.folders import whole_folder
from s3_assets.student.label_head import label_columns, label_numbers
from s3_assets.student.logistic import INVERSE_STRENGTHS, Logistic, best_held_out, fitted
from s3_assets.student.targets import target_matrix
from s3_assets.student.weights import CONFIG_FILE, FROZEN, KIND, WEIGHTS_FILE, is_frozen
from s3_assets.tasks.student_spec import StudentSpec

ENCODER_DIGEST = "encoder_sha256"

History = list[dict[str, float | int | None]]


@dataclass
class FrozenStudent:
    """A regression ``head`` into ``labels`` on the vectors that ``weights`` make of texts.

    Texts are cut to ``max_length`` tokens. ``pairs`` says whether it was trained on two texts a row. ``embed`` gives
    the vectors of single texts. ``encoder_digest`` is that of the checkpoint it was trained on (``checkpoint_digest``).
    """

    head: Logistic
    labels: tuple[str, ...]
    weights: str
    max_length: int
    pairs: bool
    embed: Embed
    encoder_digest: str | None = None

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        """What the student says of ``rows`` (text, text2; label if known), in their order: as ``LabelHead.predict``."""
        logs = self._log_probabilities(rows)
        return label_columns(logs, np.exp(logs), self.labels, rows)

    def probabilities(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """Probabilities of its labels, of shape (rows, labels)."""
        return np.exp(self._log_probabilities(rows))

    def divide_logits(self, by: float) -> bool:
        """Divide the logits of labels by ``by``, in the head; True, as that is always possible."""
        self.head = Logistic(self.head.coefficients / by, self.head.intercepts / by)
        return True

    def write(self, folder: Path) -> None:
        """Write the head (safetensors) and what it is a head of (JSON) into ``folder``; the encoder is not copied."""
        from safetensors.numpy import save_file

        arrays = {"coefficients": self.head.coefficients, "intercepts": self.head.intercepts}
        save_file({name: np.ascontiguousarray(values) for name, values in arrays.items()}, folder / WEIGHTS_FILE)
        config = {
            KIND: FROZEN,
            "labels": self.labels,
            "weights": self.weights,
            ENCODER_DIGEST: self.encoder_digest,
            "max_length": self.max_length,
            "features": PAIR if self.pairs else SINGLE,
        }
        (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def save(self, folder: Path) -> None:
        """Write ``folder``, for ``load_frozen``, whole or not at all. ``FileExistsError`` where it exists."""
        with whole_folder(folder) as pending:
            self.write(pending)

    def _log_probabilities(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        if rows.is_empty():
            return np.zeros((0, len(self.labels)))
        return self.head.log_probabilities(text_features(_texts(rows), self.embed, self.pairs))


def load_frozen(folder: Path, vectors: Embed | None = None, *, float32: bool = False) -> FrozenStudent:
    """A student saved by ``FrozenStudent.save``. ``vectors`` as of ``fit_frozen``, ``float32`` as of ``Encoder``.

    ``StudentError`` where ``folder`` holds another kind. Its checkpoint is looked for when the student is first asked:
    ``WeightsError`` then, where it is gone or is not the one that the student was trained on.
    """
    if not is_frozen(folder):
        raise StudentError(f"{folder}: no frozen student; load it with s3_assets.student.load.load_student")
    from safetensors.numpy import load_file

    config: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    arrays = load_file(folder / WEIGHTS_FILE)
    pairs = tuple(config["features"]) == PAIR
    labels, weights, max_length = tuple(config["labels"]), config["weights"], config["max_length"]
    head = Logistic(arrays["coefficients"], arrays["intercepts"])
    # None in folders of before it was noted.
    digest = config.get(ENCODER_DIGEST)
    embedded = vectors or Encoder(weights, max_length, digest, float32=float32)
    return FrozenStudent(head, labels, weights, max_length, pairs, embedded, digest)


def fit_frozen(
    training: pl.DataFrame,
    select: pl.DataFrame,
    labels: Sequence[str],
    spec: StudentSpec,
    seed: int,
    vectors: Embed | None = None,
) -> tuple[FrozenStudent, History, int]:
    """The student, an entry for each strength tried as of an epoch, and the number of the one kept, from 1.

    Tried is ``spec.strength``, or where it is null each of ``INVERSE_STRENGTHS``. Kept is the strength with the highest
    accuracy on ``select``, then the lowest loss; of equals the one that holds coefficients down the most. Without rows
    in ``select`` the one with the lowest loss of training rows held out (``held_out_losses``), those of one ``gold_id``
    together where ``training`` has that column; then an entry's scores on ``select`` are null. ``vectors`` gives
    vectors of single texts as the checkpoint of ``spec`` does; None: they are computed.
    """
    digest = checkpoint_digest(spec.weights)
    embedded = vectors or Encoder(spec.weights, spec.max_length, digest)
    texts = _texts(training)
    pairs = are_pairs(texts)
    # One call: texts that both have are embedded once.
    features = text_features([*texts, *_texts(select)], embedded, pairs)
    own, others = features[: training.height], features[training.height :]
    groups = training["gold_id"].to_list() if "gold_id" in training.columns else None
    targets = target_matrix(training, label_numbers(training["label"].to_list(), labels), labels)
    strengths = INVERSE_STRENGTHS if spec.strength is None else (spec.strength,)
    heads = [fitted(own, targets, strength) for strength in strengths]
    history: History = [
        {
            "epoch": number,
            "training_loss": -float((targets * head.log_probabilities(own)).sum()) / training.height,
            **_scores(head, others, labels, select),
        }
        for number, head in enumerate(heads, start=1)
    ]
    if spec.strength is not None:
        kept = 0
    elif select.is_empty():
        kept = INVERSE_STRENGTHS.index(best_held_out(own, targets, seed, groups))
    else:
        kept = max(range(len(heads)), key=lambda place: _rank(history[place]))
    student = FrozenStudent(heads[kept], tuple(labels), spec.weights, spec.max_length, pairs, embedded, digest)
    return student, history, kept + 1


def _scores(head: Logistic, features: Features, labels: Sequence[str], select: pl.DataFrame) -> dict[str, float | None]:
    if select.is_empty():
        return {"select_loss": None, "select_accuracy": None}
    logs = head.log_probabilities(features)
    found = label_columns(logs, np.exp(logs), labels, select)
    return {
        "select_loss": float(found["loss"].to_numpy().mean()),
        "select_accuracy": float(found["correct"].to_numpy().mean()),
    }


def _rank(entry: dict[str, float | int | None]) -> tuple[float, float]:
    return entry["select_accuracy"] or 0.0, -(entry["select_loss"] or 0.0)


def _texts(rows: pl.DataFrame) -> list[tuple[str | None, str | None]]:
    return list(rows.select("text", "text2").iter_rows())
