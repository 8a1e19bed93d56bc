"""The entries that every peer gets, in a file: made once, of one size, each with a request id of its own."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

REQUEST_ID_BYTES = 16


class Pool:
    """All entries, given out in order and batch by batch; from the first again after the last."""

    def __init__(self, path: Path, entry_bytes: int) -> None:
        data = path.read_bytes()
        self.entries = [data[at : at + entry_bytes] for at in range(0, len(data), entry_bytes)]
        self._next = 0
        self._lock = threading.Lock()

    def take(self, entries: int) -> Sequence[bytes]:
        """The next so many, of any thread."""
        with self._lock:
            start = self._next if self._next + entries <= len(self.entries) else 0
            self._next = start + entries
        batch = self.entries[start : start + entries]
        if len(batch) < entries:
            raise ValueError(f"a batch of {entries:,} was asked of a pool of {len(self.entries):,}")
        return batch


def request_id_of(entry: bytes) -> bytes:
    """The request id in a prediction of the pool."""
    # Before it are tag and length of the entry, tag and value of the binding row, tag and length of the request id.
    return entry[6 : 6 + REQUEST_ID_BYTES]
