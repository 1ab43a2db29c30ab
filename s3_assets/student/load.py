"""Saved students of any kind, from their folder.

Belongs here: finding out the kind. Does not belong here: what a folder of one kind holds (``model.py``, ``frozen.py``,
``ensemble.py``).
"""

import itertools
from pathlib import Path

from s3_assets.student.ensemble import MEMBER, EnsembleStudent
from s3_assets.student.frozen import load_frozen
from s3_assets.student.kinds import AnyStudent
from s3_assets.student.model import Student
from s3_assets.student.weights import is_frozen


def load_student(folder: Path) -> AnyStudent:
    """The student saved in ``folder`` by the ``save`` of whichever kind."""
    places = itertools.takewhile(Path.is_dir, (folder / f"{MEMBER}{number}" for number in itertools.count(1)))
    members = [_load_one(place) for place in (folder, *places)]
    return EnsembleStudent(members) if len(members) > 1 else members[0]


def _load_one(folder: Path) -> AnyStudent:
    return load_frozen(folder) if is_frozen(folder) else Student.load(folder)
