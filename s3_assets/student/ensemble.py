"""Several students that answer as one: the mean of their probabilities.

Belongs here: asking and saving them together. Does not belong here: which students they are (``loop/``), the ensemble
that only doubts labels (``quality/ensemble.py``).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from s3_assets.student.calibration import logs_of
from s3_assets.student.errors import StudentError
from s3_assets.student.folders import whole_folder
from s3_assets.student.kinds import AnyStudent
from s3_assets.student.label_head import label_columns
from s3_assets.tasks.spec import ANSWER

MEMBER = "member_"


class EnsembleStudent:
    """Students of the same labels, the round's own first; kinds may differ.

    They are best not calibrated: where they disagree, their mean is less sure than each of them is.

    ``StudentError`` where there is none, their labels differ, or they answer questions: spans of one student are no
    spans of another.
    """

    def __init__(self, members: Sequence[AnyStudent]) -> None:
        if not members:
            raise StudentError("an ensemble needs a student")
        for member in members:
            if member.labels != members[0].labels:
                raise StudentError(
                    f"an ensemble's students have the same labels; these have {list(members[0].labels)} and "
                    f"{list(member.labels)}"
                )
        if members[0].labels == (ANSWER,):
            raise StudentError("students that answer questions form no ensemble; set the strategy's ensemble to false")
        self.members = tuple(members)

    @property
    def labels(self) -> tuple[str, ...]:
        """What it may say of a row."""
        return self.members[0].labels

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        """What the students together say of ``rows``, in their order: columns as of ``LabelHead.predict``."""
        mean = self.probabilities(rows)
        return label_columns(logs_of(mean), mean, self.labels, rows)

    def probabilities(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """Mean of the members' probabilities of the labels, of shape (rows, labels)."""
        found: NDArray[np.float64] = np.mean([member.probabilities(rows) for member in self.members], axis=0)
        return found

    def write(self, folder: Path) -> None:
        """Write the first student into ``folder``, the others into its folders ``member_1`` and so on."""
        self.members[0].write(folder)
        for number, member in enumerate(self.members[1:], start=1):
            place = folder / f"{MEMBER}{number}"
            place.mkdir()
            member.write(place)

    def save(self, folder: Path) -> None:
        """Write ``folder``, for ``load_student``; it appears whole or not at all. ``FileExistsError`` where it exists.

        What loads the folder as the student of its kind has the first member alone.
        """
        with whole_folder(folder) as pending:
            self.write(pending)
