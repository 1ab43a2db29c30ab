"""The files of a student as a model that ``transformers`` loads.

Belongs here: which files those are, for each kind of student. Does not belong here: the weights a frozen student
becomes (``frozen_encoder.py``), cards (``cards.py``), where the folder is put (``folder.py``).
"""

import fnmatch
import shutil
from collections.abc import Sequence
from pathlib import Path

from s3_assets.export.errors import ExportError
from s3_assets.export.frozen_encoder import Agreement, agreement, standard_model
from s3_assets.student.ensemble import MEMBER
from s3_assets.student.frozen import load_frozen
from s3_assets.student.model import quiet
from s3_assets.student.weights import CONFIG_FILE, WEIGHTS_FILE, is_frozen

# What transformers saves of a model and its tokenizer. Whatever else lies in a student's folder is ours and stays.
FILES = (
    CONFIG_FILE,
    WEIGHTS_FILE,
    "generation_config.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
)

# Share of texts whose prediction the model of a frozen student must share with the student.
LEAST_AGREEMENT = 0.995


def write_model(student: Path, to: Path, texts: Sequence[str]) -> Agreement | None:
    """Write the student saved in folder ``student`` into ``to``, which is there, as a standard model with tokenizer.

    A fine-tuned student's files are copied. A frozen one becomes a model with its encoder; it is compared with the
    student on ``texts``, and what that found is given back. ``ExportError`` where the student cannot be one model, or
    is one that says other things.
    """
    if (student / f"{MEMBER}1").is_dir():
        raise ExportError(
            "several students answer together in this round (ensemble: true), which is no single model; to get one "
            "that learned from all of them, set distil: true and ensemble: false in the task's strategy and run again"
        )
    if is_frozen(student):
        return _write_frozen(student, to, texts)
    for file in sorted(student.iterdir()):
        if file.is_file() and any(fnmatch.fnmatch(file.name, pattern) for pattern in FILES):
            shutil.copyfile(file, to / file.name)
    return None


def _write_frozen(student: Path, to: Path, texts: Sequence[str]) -> Agreement:
    # What bfloat16 rounds away is no difference between the two.
    loaded = load_frozen(student, float32=True)
    model, tokenizer = standard_model(loaded, texts)
    found = agreement(loaded, model, tokenizer, texts)
    # Of few texts one may lie on the border.
    if found.texts - found.same > max(1.0, (1 - LEAST_AGREEMENT) * found.texts):
        raise ExportError(
            f"the frozen student as one model says what the student says of {found.same} of {found.texts} texts alone "
            f"(probabilities differ by up to {found.largest:.3f}): the last layer norm of its encoder {loaded.weights} "
            "cannot be undone. Set student.kind: fine_tuned and run again"
        )
    with quiet():
        model.save_pretrained(to)
    tokenizer.save_pretrained(to)
    # Written for its owner alone, whatever the umask says.
    (to / WEIGHTS_FILE).chmod((to / CONFIG_FILE).stat().st_mode)
    return found
