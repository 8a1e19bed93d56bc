"""What was read and shown to belong to the tree, kept in bounded memory.

A tile or an entry that belongs to the tree of one head belongs to that of every later one, which is only taken up if it
is this tree grown. So what is kept stays right whatever becomes of the disk; that the disk has decayed is for the
audit to find, and for whoever reads what is not kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final, Generic, TypeVar

K = TypeVar("K")

TILE_CACHE_BYTES: Final = 16 << 20
ENTRY_CACHE_BYTES: Final = 8 << 20
ITEM_BYTES: Final = 200
"""What one more item costs besides its bytes, about."""
PREDICTION_KIND: Final = 1
"""These are not kept: they are many, and few are asked for twice."""


class ByteCache(Generic[K]):
    """The least recently used items are dropped first; thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self._left_bytes = max_bytes
        self._items: OrderedDict[K, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> bytes | None:
        with self._lock:
            value = self._items.get(key)
            if value is not None:
                self._items.move_to_end(key)
            return value

    def put(self, key: K, value: bytes) -> None:
        with self._lock:
            if key in self._items:
                return  # it was verified, as this one was: they are the same
            self._items[key] = value
            self._left_bytes -= len(value) + ITEM_BYTES
            while self._left_bytes < 0:
                _, dropped = self._items.popitem(last=False)
                self._left_bytes += len(dropped) + ITEM_BYTES


class Caches:
    """Full tiles by level and number; by index the entries that answers about many predictions rest on."""

    def __init__(self) -> None:
        self.tiles: ByteCache[tuple[int, int]] = ByteCache(TILE_CACHE_BYTES)
        self.entries: ByteCache[int] = ByteCache(ENTRY_CACHE_BYTES)
