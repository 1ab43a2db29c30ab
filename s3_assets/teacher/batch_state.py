"""What is known on disk of a provider batch, so that the next run goes on with it wherever this one ends.

Belongs here: state files, written before anything is sent and held by one process at a time. Does not belong here: what
is put into a batch and what becomes of its rows (``batch.py``), the provider (``batch_provider.py``).
"""

import asyncio
import fcntl
import json
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Self

from s3_assets.store.identity import digest
from s3_assets.store.parts import sync

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True)
class BatchState:
    """One batch: whose it is, the request ids in it, the form they were asked in, when (UTC milliseconds).

    ``batch_id`` is the provider's name of it; without one it may or may not have been made.
    """

    key: str
    teacher_id: str
    model: str
    dialect: str
    asked_at: int
    requests: list[str]
    batch_id: str | None = None


def batch_key(teacher_id: str, request_ids: Iterable[str]) -> str:
    """Name of the batch with these requests; the provider keeps it in the batch's metadata."""
    return digest([teacher_id, sorted(request_ids)])


def states(folder: Path, teacher_id: str, model: str) -> Iterator[tuple[Path, BatchState]]:
    """State files of one teacher and model by name, as they are now, whoever holds them."""
    for path in sorted(folder.glob("*.json")):
        try:
            state = BatchState(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            continue
        if (state.teacher_id, state.model) == (teacher_id, model):
            yield path, state


class BatchFile:
    """A state file held by this process until ``close``; the system lets it go when the process ends."""

    def __init__(self, path: Path, state: BatchState, handle: IO[str]) -> None:
        self.path, self.state, self._handle = path, state, handle

    @classmethod
    def create(cls, folder: Path, state: BatchState) -> Self:
        """Write a new one. On disk when this returns."""
        folder.mkdir(parents=True, exist_ok=True)
        sync(folder.parent)
        path = folder / f"{state.key}.json"
        return cls(path, state, _write(path, state))

    @classmethod
    async def hold(cls, path: Path, *, wait: bool) -> Self | None:
        """Hold an existing one; None when it is gone, or another process has it and ``wait`` is False."""
        told = False
        while True:
            try:
                handle = path.open(encoding="utf-8")
            except FileNotFoundError:
                return None
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.close()
                if not wait:
                    return None
                if not told:
                    log.info("another process works on the batch of %s; waiting for it", path.name)
                told = True
                await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
                continue
            if _is_at(handle, path):
                return cls(path, BatchState(**json.load(handle)), handle)
            # Written anew or removed since it was opened.
            handle.close()

    def note(self, batch_id: str) -> None:
        """Add the provider's name of the batch. On disk when this returns."""
        self.state = replace(self.state, batch_id=batch_id)
        before, self._handle = self._handle, _write(self.path, self.state)
        before.close()

    def remove(self) -> None:
        """Delete the file: nothing is to be gone on with."""
        self.path.unlink(missing_ok=True)
        sync(self.path.parent)

    def close(self) -> None:
        """Let it go."""
        self._handle.close()


def _write(path: Path, state: BatchState) -> IO[str]:
    """Write ``state`` to ``path``, whole or not at all; the open file, which is locked before it can be seen."""
    pending = path.with_name(f".{path.name}.tmp")
    handle = pending.open("w", encoding="utf-8")
    fcntl.flock(handle, fcntl.LOCK_EX)
    json.dump(asdict(state), handle)
    handle.flush()
    os.fsync(handle.fileno())
    pending.rename(path)
    sync(path.parent)
    return handle


def _is_at(handle: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False
