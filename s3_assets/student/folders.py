"""Folders that appear whole or not at all.

Belongs here: writing beside, then renaming. Does not belong here: what is written (``model.py``, ``frozen.py``).
"""

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from s3_assets.store.parts import sync


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to write to, which is ``folder`` once the block has ended, and gone where the block fails.

    ``FileExistsError`` where ``folder`` exists: a saved student is never overwritten.
    """
    if folder.exists():
        raise FileExistsError(f"{folder}: exists; save the student to a folder of its own")
    folder.parent.mkdir(parents=True, exist_ok=True)
    pending = folder.parent / f".{secrets.token_hex(4)}.tmp"
    pending.mkdir()
    try:
        yield pending
        for written in pending.rglob("*"):
            sync(written)
        sync(pending)
        pending.rename(folder)
    except BaseException:
        shutil.rmtree(pending, ignore_errors=True)
        raise
    sync(folder.parent)
