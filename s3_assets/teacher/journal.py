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
    """One process's file of rows, each a table's name and a row. ``cut`` is given all rows since the last cut.

    A thread of its own writes and flushes whatever has come meanwhile: the answers of many requests share one flush.
    """

    def __init__(self, folder: Path, cut: Callable[[list[Row]], None]) -> None:
        self._cut = cut
        self._uncut: list[Row] = []
        self._failed: Exception | None = None
        self._guard = threading.Lock()
        self._arrived: queue.SimpleQueue[tuple[Row, _Waiter | None] | None] = queue.SimpleQueue()
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(3)}.jsonl"
        self._file = self.path.open("x", encoding="utf-8")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._thread = threading.Thread(target=self._write_all, name="ledger-journal", daemon=True)
        self._thread.start()

    def append(self, name: str, row: dict[str, Any]) -> None:
        """Add a row of table ``name``; on disk with the next that is waited for, or when the journal is closed."""
        self._arrived.put(((name, row), None))

    async def keep(self, name: str, row: dict[str, Any]) -> None:
        """Add a row; on disk when this returns."""
        loop = asyncio.get_running_loop()
        kept: asyncio.Future[None] = loop.create_future()
        self._arrived.put(((name, row), (loop, kept)))
        await kept

    def rows(self) -> list[Row]:
        """Rows on disk that are in no part yet."""
        with self._guard:
            return list(self._uncut)

    def close(self) -> None:
        """Write what has come, cut it, and remove the file."""
        self._arrived.put(None)
        self._thread.join()
        if self._failed is not None:
            raise self._failed
        self._cut_all()
        self.path.unlink()
        self._file.close()

    def _write_all(self) -> None:
        while True:
            first = self._arrived.get()
            arrived = [first]
            while not self._arrived.empty():
                arrived.append(self._arrived.get())
            written = [one for one in arrived if one is not None]
            error: Exception | None = None
            try:
                self._write([row for row, _ in written])
            except Exception as failure:  # noqa: BLE001 - whoever waits for the row must hear of it, whatever it is
                error = self._failed = failure
            _tell([waiter for _, waiter in written if waiter is not None], error)
            if None in arrived:
                return

    def _write(self, rows: list[Row]) -> None:
        lines = [json.dumps({"table": name, "row": row}, ensure_ascii=False) for name, row in rows]
        self._file.write("\n".join(lines) + "\n" if lines else "")
        self._file.flush()
        os.fsync(self._file.fileno())
        with self._guard:
            self._uncut += rows
        if len(self._uncut) >= ROWS_PER_CUT:
            self._cut_all()

    def _cut_all(self) -> None:
        # Parts first: a row must never be in neither place.
        self._cut(self._uncut)
        with self._guard:
            self._uncut = []
        os.ftruncate(self._file.fileno(), 0)
        self._file.seek(0)


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
    """Whole lines of a journal. A torn last line was never used, so it is left out."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    lines = [json.loads(line) for line in text.split("\n")[:-1] if line]
    return [(line["table"], line["row"]) for line in lines]


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
