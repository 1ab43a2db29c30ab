"""Students of the toy questions: their options and a checkpoint to train them from.

Belongs here: what tests of such students share. Does not belong here: tests, the toy questions (``tiny_student.py``).
"""

from pathlib import Path

from s3_assets.tasks.spec import QaSpec
from s3_assets.tasks.student_spec import StudentSpec
from s3_assets_tests.tiny_student import FILLER, PLACES, QUESTION, make_tiny_student

QA = QaSpec(stride=8, longest_answer=4)


def span_spec(folder: Path) -> StudentSpec:
    """Options of a student whose checkpoint is made in ``folder``."""
    make_tiny_student(folder, [*FILLER, *PLACES, QUESTION])
    return StudentSpec(weights=str(folder), epochs=6, min_steps=0, learning_rate=5e-3, max_length=24)
