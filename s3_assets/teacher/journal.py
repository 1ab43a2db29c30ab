"""The journal: rows of the ledger made durable as they come, before they are cut into parts.

Belongs here: the append-only file of one process, its lock, flushing many rows at once. Does not belong here: what
the rows mean and where they go (``ledger.py``).
"""

import asyncio
import fcntl
import json
import os
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

# Rows after which they are cut into a part, so that SQL sees them while the step goes on.
ROWS_PER_CUT = 1000

Row = tuple[str, dict[str, Any]]


class Journal:
    """One process's file of rows, each a table's name and a row. ``cut`` is given all rows since the last cut.

    A thread of its own writes and flushes whatever has come meanwhile: the answers of many requests share one flush.
    """

    def __init__(self, folder: Path, cut: Callable[[list[Row]], None]) -> None:
        self._cut = cut
        self._uncut: list[Row] = []
        self._guard = threading.Lock()
        self._arrived: queue.SimpleQueue[tuple[Row, Future[None]] | None] = queue.SimpleQueue()
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(3)}.jsonl"
        self._file = self.path.open("x", encoding="utf-8")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._thread = threading.Thread(target=self._write_all, name="ledger-journal", daemon=True)
        self._thread.start()

    def append(self, name: str, row: dict[str, Any]) -> Future[None]:
        """Add a row of table ``name``. The result is there once the row is on disk."""
        done: Future[None] = Future()
        self._arrived.put(((name, row), done))
        return done

    async def keep(self, name: str, row: dict[str, Any]) -> None:
        """Add a row; on disk when this returns."""
        await asyncio.wrap_future(self.append(name, row))

    def rows(self) -> list[Row]:
        """Rows on disk that are in no part yet."""
        with self._guard:
            return list(self._uncut)

    def close(self) -> None:
        """Write what has come, cut it, and remove the file."""
        self._arrived.put(None)
        self._thread.join()
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
            try:
                self._write([row for row, _ in written])
            except Exception as error:  # noqa: BLE001 - whoever waits for the row must hear of it, whatever it is
                for _, done in written:
                    done.set_exception(error)
            else:
                for _, done in written:
                    done.set_result(None)
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
