"""Vectors of single texts for the trainings of one round, each distinct text computed once.

Belongs here: where vectors are had from, holding them. Does not belong here: the table ``embeddings``
(``drift/vectors.py``), computing vectors (``student/embeddings.py``). Import it where it is wanted: numpy costs 0.1 s.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from s3_assets.drift.vectors import ENCODER, Vectors, row_vectors
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.student_spec import StudentSpec

# Tokens at which texts of the table are cut: what ``embed`` does unless told.
CUT = 256


class TextVectors:
    """Vectors of texts of one task as the checkpoint of ``student`` makes them, untrained; what was had is held.

    They come from the table ``embeddings`` where it serves, whatever arm and seed, and are computed where it does not.
    """

    def __init__(self, warehouse: Warehouse, task: str, student: StudentSpec) -> None:
        self._warehouse, self._task, self._student = warehouse, task, student
        self._known: dict[str, Vectors] = {}

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Vectors of ``texts`` in order, float32 of shape (texts, width), each of length 1."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if not texts:
            return self._found([])
        if new:
            self._known |= zip(new, self._found(new), strict=True)
        return np.stack([self._known[text] for text in texts])

    def _found(self, texts: list[str]) -> Vectors:
        if serve(self._student):
            rows = pl.DataFrame({"text": texts}, schema={"text": pl.String})
            return row_vectors(self._warehouse, self._task, rows, ["text"])
        from s3_assets.student.embeddings import embed  # torch and transformers, about 2.5 s

        return embed(texts, self._student.weights, self._student.max_length)


def serve(student: StudentSpec) -> bool:
    """Whether kept vectors are those of the student's checkpoint: same encoder, texts cut at the same place."""
    return student.weights == ENCODER and student.max_length == CUT
