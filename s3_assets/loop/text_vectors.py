"""Vectors of single texts for students, from the table ``embeddings``: each distinct text of a task computed once.

Belongs here: what trainings of one step share. Does not belong here: keeping vectors (``drift/vectors.py``), computing
them (``student/embeddings.py``). Import it where it is wanted: numpy costs 0.1 s.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from s3_assets.drift.vectors import ENCODER, Vectors, row_vectors
from s3_assets.store.drift_tables import DIMENSIONS
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.spec import StudentSpec

# Tokens at which texts of the table are cut: what ``embed`` does unless told.
CUT = 256


class TextVectors:
    """Vectors of texts of one task by the encoder ``minilm``, whatever arm and seed; what was read is held."""

    def __init__(self, warehouse: Warehouse, task: str) -> None:
        self._warehouse, self._task = warehouse, task
        self._known: dict[str, Vectors] = {}

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Vectors of ``texts`` in order, float32 of shape (texts, 384), each of length 1."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            rows = pl.DataFrame({"text": new}, schema={"text": pl.String})
            self._known |= zip(new, row_vectors(self._warehouse, self._task, rows, ["text"]), strict=True)
        return np.stack([self._known[text] for text in texts]) if texts else np.zeros((0, DIMENSIONS), np.float32)


def serve(student: StudentSpec) -> bool:
    """Whether kept vectors are those that the student would compute itself: same encoder, texts cut at the same place.

    Other students compute their own at each training.
    """
    return student.kind == "frozen" and student.weights == ENCODER and student.max_length == CUT
