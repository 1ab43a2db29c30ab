"""Who asks a request: two processes that want the same answer at once make one call.

Belongs here: a lock per request, held while it is being asked, let go by the system when its process ends. Does not
belong here: finding the answer another process got (``ledger.py``), waiting for it (``session.py``).
"""

import fcntl
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

# Byte offsets of a file that is never written stand for requests.
_OFFSETS = 2**62


class Claims:
    """Claims of one session on requests, as locks on single bytes of ``file``.

    Locks belong to the open file (Linux ``F_OFD_SETLK``), so sessions within a process exclude each other too.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._held: set[str] = set()

    def __enter__(self) -> Self:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._handle = self._file.open("ab")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.clear()
        self._handle.close()

    def take(self, request_id: str) -> bool:
        """Claim a request. False when it is claimed, by this session or another."""
        if request_id in self._held:
            return False
        try:
            self._lock(fcntl.F_WRLCK, request_id)
        except (BlockingIOError, PermissionError):
            return False
        self._held.add(request_id)
        return True

    def release(self, request_id: str) -> None:
        """Let a request go, once its answer is in the ledger or is given up."""
        self._held.discard(request_id)
        self._lock(fcntl.F_UNLCK, request_id)

    def release_all(self) -> None:
        """Let every request go, those that were never answered too."""
        for request_id in list(self._held):
            self.release(request_id)

    def _lock(self, kind: int, request_id: str) -> None:
        offset = int(request_id.rpartition("_")[2], 16) % _OFFSETS
        # struct flock: type, whence, start, length, pid (0 for locks of an open file).
        fcntl.fcntl(self._handle, fcntl.F_OFD_SETLK, struct.pack("hhqqi", kind, 0, offset, 1, 0))
