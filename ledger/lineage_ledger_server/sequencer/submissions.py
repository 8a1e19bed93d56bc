"""What waits for the sequencer, in order, bounded in bytes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from lineage_ledger.v1 import append_pb2
from lineage_ledger_server.errors import NotWritableError
from lineage_ledger_server.head import Head
from lineage_ledger_server.sequencer.check import CheckedBatch
from lineage_ledger_server.sequencer.producers import AdminChange
from lineage_ledger_server.sequencer.signing import KeyChange

_OVERHEAD_BYTES = 1_024  # what a waiting submission costs beside its bytes


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of a batch; true once `head` is published."""

    acknowledgement: append_pb2.Acknowledgement
    head: Head


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of an admin's change: the index of its entry."""

    index: int
    head: Head


Outcome = Appended | Changed | Exception
Work = CheckedBatch | AdminChange | KeyChange | Exception


@dataclass(slots=True)
class Submission:
    """One piece of work; `done` is called once, from the sequencer's thread, and must not block.

    An exception as `work` is handed back in its turn: so a stream's answers stay in order when a batch was refused
    before it came this far.
    """

    work: Work
    done: Callable[[Outcome], object]

    @property
    def size_bytes(self) -> int:
        """What it holds in memory, about."""
        if isinstance(self.work, CheckedBatch):
            return len(self.work.packed) + len(self.work.leaf_hashes) + _OVERHEAD_BYTES
        return _OVERHEAD_BYTES


class SubmissionQueue:
    """First in, first out. `put` blocks while `max_bytes` wait, so a slow disk slows the streams and not the memory."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._waiting: deque[Submission] = deque()  # guarded by _lock, as are the next two
        self._bytes = 0
        self._closed = False
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        self._drained = threading.Condition(self._lock)

    def put(self, submission: Submission) -> None:
        """Queue it; raises `NotWritableError` once the queue is closed."""
        with self._lock:
            while self._bytes >= self._max_bytes and not self._closed:
                self._drained.wait()
            if self._closed:
                raise NotWritableError("the ledger is stopping; try again when it is back", reason="STOPPING")
            self._waiting.append(submission)
            self._bytes += submission.size_bytes
            self._filled.notify()

    def take(self, max_bytes: int, timeout_s: float) -> list[Submission]:
        """All that waits, up to `max_bytes` (and at least one); empty after `timeout_s`, or when closed and drained."""
        with self._lock:
            if not self._waiting and not self._closed:
                self._filled.wait(timeout_s)
            taken: list[Submission] = []
            size = 0
            while self._waiting and (not taken or size + self._waiting[0].size_bytes <= max_bytes):
                submission = self._waiting.popleft()
                size += submission.size_bytes
                taken.append(submission)
            self._bytes -= size
            self._drained.notify_all()
            return taken

    @property
    def waiting_bytes(self) -> int:
        return self._bytes

    @property
    def finished(self) -> bool:
        """Closed, with nothing waiting."""
        with self._lock:
            return self._closed and not self._waiting

    def close(self) -> None:
        """Take nothing more; what waits is still handed out."""
        with self._lock:
            self._closed = True
            self._filled.notify_all()
            self._drained.notify_all()
