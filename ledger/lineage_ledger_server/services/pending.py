"""How many bytes of batches may be in the server at a time, over all streams and calls."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

MAX_PENDING_BYTES: Final = 128 * 1024 * 1024
"""The most that can be asked for. Half of what the sequencer's queue holds, which counts leaf hashes as well: so nobody
ever waits for that queue."""
MAX_STREAM_BYTES: Final = 16 * 1024 * 1024
"""What one stream may have of it; then it is read no further, and gRPC holds the client back."""


class PendingBytes:
    """Bytes that are reserved, at most `most`; who wants more waits, first come, first served. For one event loop."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._reserved = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def reserved(self) -> int:
        """Bytes reserved now."""
        return self._reserved

    async def reserve(self, size: int) -> None:
        """Reserve `size` bytes, of which something larger than all there is counts as all there is."""
        if not self._waiting and self._reserved + min(size, self.most) <= self.most:
            self._reserved += size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(size)
            else:
                self._serve()
            raise

    def release(self, size: int) -> None:
        """Give `size` reserved bytes back."""
        self._reserved -= size
        self._serve()

    def _serve(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.done() and self._reserved + min(size, self.most) > self.most:
                return
            self._waiting.popleft()
            if not turn.done():
                self._reserved += size
                turn.set_result(None)
