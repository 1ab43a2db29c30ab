"""The journal: rows of the ledger made durable as they come, before they are cut into parts.

Belongs here: the append-only file of one process, its lock, flushing many rows at once. Does not belong here: what
the rows mean and where they go (``ledger.py``).
"""

import asyncio
import contextlib
import fcntl
import json
import os
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Rows after which they are cut into a part, so that SQL sees them while the step goes on.
ROWS_PER_CUT = 1000

Row = tuple[str, dict[str, Any]]
_Waiter = tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]


class Journal:
    """One process's files of rows, each a table's name and a row. ``cut`` makes parts of the rows it is given.

    A row is written when it comes, so that a killed process loses none; a thread of its own flushes what was written to
    disk, many rows at once, before anybody goes on.
    """

    def __init__(self, folder: Path, cut: Callable[[list[Row]], None]) -> None:
        self.folder, self._cut = folder, cut
        self._guard = threading.Lock()
        self._unwritten: list[bytes] = []
        self._rows: list[Row] = []
        self._being_cut: list[Row] = []
        self._failed: Exception | None = None
        self._arrived: queue.SimpleQueue[_Waiter | None] = queue.SimpleQueue()
        folder.mkdir(parents=True, exist_ok=True)
        self._file = _File(folder)
        self._thread = threading.Thread(target=self._flush_all, name="ledger-journal", daemon=True)
        self._thread.start()

    def append(self, name: str, row: dict[str, Any]) -> None:
        """Add a row of table ``name``; on disk with the next that is kept, or when the journal is closed."""
        with self._guard:
            self._unwritten.append(_line(name, row))
            self._rows.append((name, row))

    async def keep(self, name: str, row: dict[str, Any]) -> None:
        """Add a row; on disk when this returns."""
        loop = asyncio.get_running_loop()
        kept: asyncio.Future[None] = loop.create_future()
        self.append(name, row)
        self._write()
        self._arrived.put((loop, kept))
        await kept

    def rows(self) -> list[Row]:
        """Rows that are in no part yet."""
        with self._guard:
            return [*self._being_cut, *self._rows]

    def owns(self, path: Path) -> bool:
        """Whether ``path`` is a file of this journal, whose rows ``rows`` gives."""
        return path.name.endswith(self._file.suffix)

    def close(self) -> None:
        """Write what has come, cut it, and remove the file."""
        self._arrived.put(None)
        self._thread.join()
        if self._failed is not None:
            # The file is left for the next ledger that is opened.
            self._file.close()
            raise self._failed
        self._write()
        self._file.flush()
        self._cut(self._rows)
        self._file.remove()

    def _write(self) -> None:
        with self._guard:
            if self._failed is not None:
                raise self._failed
            lines, self._unwritten = b"".join(self._unwritten), []
            try:
                self._file.write(lines)
            except OSError as error:
                # What stands in the file may be torn: nothing may follow it.
                self._failed = error
                raise

    def _flush_all(self) -> None:
        while True:
            arrived = [self._arrived.get()]
            while not self._arrived.empty():
                arrived.append(self._arrived.get())
            error = self._failed
            try:
                self._file.flush()
                if len(self._rows) >= ROWS_PER_CUT and error is None:
                    self._turn_over()
            except Exception as failure:  # noqa: BLE001 - whoever waits for a row must hear of it, whatever it is
                error = self._failed = failure
            _tell([waiter for waiter in arrived if waiter is not None], error)
            if None in arrived:
                return

    def _turn_over(self) -> None:
        """Go on in a new file, and make parts of the old one."""
        fresh = _File(self.folder, self._file.suffix)
        with self._guard:
            old, self._file = self._file, fresh
            # Rows not written yet go to the new file; those before them are all in the old one.
            split = len(self._rows) - len(self._unwritten)
            self._being_cut, self._rows = self._rows[:split], self._rows[split:]
        old.flush()
        # Parts first: a row must never be in neither place.
        self._cut(self._being_cut)
        with self._guard:
            self._being_cut = []
        old.remove()


class _File:
    """One file of a journal, locked while its process lives. It appears under its name only once it is locked."""

    def __init__(self, folder: Path, suffix: str | None = None) -> None:
        self.suffix = suffix or f"-{os.getpid()}-{secrets.token_hex(3)}.jsonl"
        pending = folder / f".{secrets.token_hex(6)}.tmp"
        self._handle = os.open(pending, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        self._path = folder / f"{time.time_ns():020d}{self.suffix}"
        pending.rename(self._path)

    def write(self, content: bytes) -> None:
        while content:
            content = content[os.write(self._handle, content) :]

    def flush(self) -> None:
        os.fsync(self._handle)

    def close(self) -> None:
        os.close(self._handle)

    def remove(self) -> None:
        self._path.unlink()
        self.close()


def _line(name: str, row: dict[str, Any]) -> bytes:
    return (json.dumps({"table": name, "row": row}) + "\n").encode()


def _tell(waiters: list[_Waiter], error: Exception | None) -> None:
    """Wake those whose rows are written, one event loop after the other: a wake-up for each row would cost more."""
    for loop in {loop for loop, _ in waiters}:
        waiting = [kept for its, kept in waiters if its is loop]
        # A loop that was ended by an interrupt has nobody waiting.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, waiting, error)


def _settle(waiting: list[asyncio.Future[None]], error: Exception | None) -> None:
    for kept in waiting:
        if kept.done():
            continue
        if error is None:
            kept.set_result(None)
        else:
            kept.set_exception(error)


def read_rows(path: Path) -> list[Row]:
    """Whole lines of a journal. A line that is torn was never used, so it is left out."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    rows: list[Row] = []
    for line in content.split(b"\n")[:-1]:
        try:
            said = json.loads(line)
        except ValueError:
            continue
        rows.append((said["table"], said["row"]))
    return rows


def abandoned(folder: Path) -> Iterator[Path]:
    """Journals whose process has ended, each held by this process until the next is asked for."""
    for path in sorted(folder.glob("*.jsonl")):
        try:
            held = path.open("r+")
        except FileNotFoundError:
            continue
        with held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if path.exists():
                yield path
