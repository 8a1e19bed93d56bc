"""Sealed batches that are not acknowledged yet, in the order in which they go to the server."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from lineage_ledger.emitter.sealer import SealedBatch


class Window:
    """A queue between the thread that seals and the one that sends, bounded in bytes of memory by who fills it.

    `sent` of the batches at its front are under way; they stay until they are acknowledged.
    """

    def __init__(self, max_bytes: int, max_in_flight: int) -> None:
        self._max_bytes = max_bytes
        self._max_in_flight = max_in_flight
        self._batches: deque[SealedBatch] = deque()
        self._sent = 0
        self._session: object = None
        self._progress_s = 0.0
        self._held_bytes = 0
        self.acknowledged = 0
        """Batches that were acknowledged."""
        self.changed = threading.Condition()
        """Held for every change, and notified of it."""

    @property
    def held_bytes(self) -> int:
        """Bytes of batches in memory."""
        return self._held_bytes

    @property
    def is_full(self) -> bool:
        """Whether memory holds as many bytes as it may."""
        return self._held_bytes >= self._max_bytes

    @property
    def is_empty(self) -> bool:
        return not self._batches

    def put(self, batch: SealedBatch, *, in_spool: bool) -> None:
        """Add a sealed batch; if memory is full and the spool has it, its bytes stay there only."""
        with self.changed:
            if in_spool and self.is_full:
                batch.packed = None
                batch.leaf_hashes = b""
            self._held_bytes += batch.held_bytes
            self._batches.append(batch)
            self.changed.notify_all()

    def holds(self, chain_id: bytes, number: int) -> bool:
        """Whether something of the chain below `number` waits for its acknowledgement."""
        return any(batch.chain_id == chain_id and batch.first_number < number for batch in self._batches)

    def begin(self, session: object) -> None:
        """A new connection: all that is not acknowledged is sent again, for `session` only."""
        with self.changed:
            self._session = session
            self._sent = 0
            self._progress_s = time.monotonic()
            self.changed.notify_all()

    def end(self) -> None:
        """The connection is over; whoever waits in `next_to_send` gets None."""
        self.begin(None)

    def next_to_send(
        self,
        session: object,
        *,
        max_in_flight: int | None,
        idle_s: float,
        stalled_s: float,
        stalled: Callable[[], None],
    ) -> SealedBatch | None:
        """The next batch, waiting for it and for its turn.

        None when the session is over, or nothing was under way and nothing came for `idle_s`. Calls `stalled` if
        nothing under way was acknowledged for `stalled_s`.
        """
        limit = min(max_in_flight or self._max_in_flight, self._max_in_flight)
        with self.changed:
            idle_since_s = time.monotonic()
            while self._session is session:
                if self._sent < min(limit, len(self._batches)):
                    if self._sent == 0:
                        self._progress_s = time.monotonic()
                    self._sent += 1
                    return self._batches[self._sent - 1]
                now_s = time.monotonic()
                if self._sent == 0:
                    if now_s - idle_since_s >= idle_s:
                        return None
                    self.changed.wait(idle_since_s + idle_s - now_s)
                else:
                    idle_since_s = now_s
                    if now_s - self._progress_s >= stalled_s:
                        stalled()
                        return None
                    self.changed.wait(self._progress_s + stalled_s - now_s)
        return None

    def wait_for_batches(self, timeout_s: float, until: Callable[[], bool]) -> bool:
        """Wait until there is something to send, or `until` says True; whether there is something."""
        with self.changed:
            self.changed.wait_for(lambda: self._batches or until(), timeout_s)
            return bool(self._batches)

    def front(self) -> SealedBatch | None:
        """The batch whose acknowledgement comes next."""
        with self.changed:
            return self._batches[0] if self._batches else None

    def acknowledge(self) -> None:
        """Drop the batch at the front."""
        with self.changed:
            self._drop(self._batches.popleft())
            self.acknowledged += 1
            self._sent = max(self._sent - 1, 0)
            self._progress_s = time.monotonic()
            self.changed.notify_all()

    def abandon(self, chain_id: bytes) -> list[SealedBatch]:
        """Drop all batches of a chain that takes no more; returns them. Only between sessions."""
        with self.changed:
            dropped = [batch for batch in self._batches if batch.chain_id == chain_id]
            self._batches = deque(batch for batch in self._batches if batch.chain_id != chain_id)
            self._sent = 0
            for batch in dropped:
                self._drop(batch)
            self.changed.notify_all()
            return dropped

    def _drop(self, batch: SealedBatch) -> None:
        self._held_bytes -= batch.held_bytes
