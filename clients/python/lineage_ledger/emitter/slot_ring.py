"""A ring of slots, filled by number without a lock: where there is no C kernel.

A thread takes a number from one atomic counter and stores its framed entry in that number's slot. One other thread
cuts: it takes the filled slots from the front, in order, by slices.

    drained <= number < limit    the number's slot is free, or holds its entry
    number >= limit              the ring is full: the number may wait for its slot, or be refused and so be lost

A hole is a slot whose number was taken and that is still empty: its thread is between the two steps, or died there.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate, count
from typing import cast

from lineage_ledger.emitter.ring import MAX_LOST_RANGES, Bounds, Cut, Placed


class SlotRing:
    """Slots for at least `bounds.capacity` entries of one chain (`ring.Ring`). `wake` has somebody cut.

    `take`, `slots`, `mask`, `limit` and `attention` are what the hot path uses (see `SlotBinding.emit`); every other
    method is for when something is out of the ordinary.
    """

    __slots__ = (
        "_bounds", "_capacity", "_counter", "_end", "_lock", "_lost", "_room", "_waiting", "_wake",
        "attention", "chain_id", "closed", "drained", "limit", "lost_count", "mask", "slots", "take",
    )  # fmt: skip

    announces_batches = False

    def __init__(self, chain_id: bytes, bounds: Bounds, wake: Callable[[], None]) -> None:
        size = 1 << (bounds.capacity - 1).bit_length()
        self._bounds = bounds
        self._wake = wake
        self.chain_id = chain_id
        self.slots: list[bytes | None] = [None] * size
        self.mask = size - 1
        self._counter = count()
        self.take = self._counter.__next__
        """Gives out the next number; atomic, as `itertools.count` is."""
        self._capacity = size
        self.limit = size
        self.attention = True
        """True if whoever fills a slot must look further: the cutting thread sleeps, or the ring is closed."""
        self.drained = 0
        """Numbers below were cut."""
        self.closed = False
        self.lost_count = 0
        self._end = 0
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._waiting = 0
        self._lost = _Numbers()

    # -- for the threads that emit ---------------------------------------------------------------------------

    def place(self, framed: bytes, wait_s: float | None, told: Callable[[int], None] | None = None) -> Placed | None:
        """See `Ring.place`."""
        number = self.take()
        if told is not None:
            told(number)
        if number >= self.limit:
            return self.place_late(number, framed, wait_s)
        self.slots[number & self.mask] = framed
        return self.settle(number)

    def settle(self, number: int) -> Placed | None:
        """The slot is filled. If somebody wants to know: the thread that sleeps, or whoever closed the ring."""
        if self.attention:
            if self.closed:
                return Placed(number, True) if self.is_kept(number) else None
            self._wake()
        return Placed(number, True)

    def place_late(self, number: int, framed: bytes, wait_s: float | None) -> Placed | None:
        """The number has no slot (yet)."""
        if not self.closed:
            self._wake()
            if wait_s != 0 and self.wait_for_room(number, wait_s):
                self.slots[number & self.mask] = framed
                return self.settle(number)
        self.refuse(number)
        return None if self.closed else Placed(number, False)

    def lose(self) -> int:
        """See `Ring.lose`."""
        number = self.take()
        self.refuse(number)
        return number

    def refuse(self, number: int) -> None:
        """Declare `number`, which has no slot, lost."""
        with self._lock:
            if not self.closed or (number < self._end and number not in self._lost):
                self._lost.add(number)
                self.lost_count += 1

    def wait_for_room(self, number: int, timeout_s: float | None) -> bool:
        """Wait until `number` has a slot; False if the time is over or the ring was closed."""
        with self._lock:
            self._waiting += 1
            try:
                self._room.wait_for(lambda: self.closed or number < self.limit, timeout_s)
            finally:
                self._waiting -= 1
            return not self.closed and number < self.limit

    def is_kept(self, number: int) -> bool:
        """Whether a slot that was filled while the ring was being closed is still going to be cut, or was."""
        with self._lock:
            return not self.closed or (number < self._end and number not in self._lost)

    # -- for the thread that cuts ----------------------------------------------------------------------------

    def taken(self) -> int:
        """How many numbers were given out."""
        # The only way to look at a count without taking from it that every Python version has.
        return int(repr(self._counter)[6:-1])

    def numbered(self) -> int:
        """How many numbers count: those given out before the ring was closed."""
        return self._end if self.closed else self.taken()

    def hole(self) -> int:
        """See `Ring.hole`."""
        drained = self.drained
        return -1 if self.taken() == drained or self.slots[drained & self.mask] is not None else drained

    def has_batch(self) -> bool:
        """Whether the slots of a batch seem to be filled; looks at the last one only."""
        entries = min(self._bounds.batch_entries, self._capacity)
        return self.slots[(self.drained + entries - 1) & self.mask] is not None

    def cut(self) -> Cut:
        """Take what is filled, up to a hole or a bound."""
        with self._lock if self.closed else _NO_LOCK:
            return self._cut(self._bounds.batch_entries, self._bounds.batch_bytes)

    def _cut(self, max_entries: int, max_bytes: int) -> Cut:
        first = position = self.drained
        parts: list[bytes] = []
        lost: list[tuple[int, int]] = []
        entries = size = 0
        full = False
        while entries < max_entries and not full:
            begin = position & self.mask
            chunk = _filled(self.slots[begin : begin + max_entries - entries])
            joined = b"".join(chunk)
            if size + len(joined) > max_bytes:
                chunk = chunk[: bisect_right(list(accumulate(map(len, chunk))), max_bytes - size)]
                joined, full = b"".join(chunk), True
            filled = len(chunk)
            if filled:
                self.slots[begin : begin + filled] = [None] * filled
                parts.append(joined)
                position += filled
                entries += filled
                size += len(joined)
            elif full or len(lost) == MAX_LOST_RANGES:
                break
            else:
                end = self._lost_from(position)
                if end == position:
                    break
                if lost and lost[-1][1] == position:
                    lost[-1] = (lost[-1][0], end)
                else:
                    lost.append((position, end))
                position = end
        if position != first:
            self._advance(position)
        return Cut(first, position, b"".join(parts), entries, lost)

    def _lost_from(self, position: int) -> int:
        """End of the range of lost numbers that begins at `position`; `position` itself if it is not lost (yet)."""
        if not self.closed:
            with self._lock:
                return self._lost.take(position)
        end = self._lost.end_of(position)
        if end == position < self._end:
            # A hole in a closed ring. Its number stays among the lost, for its thread to find in `is_kept`.
            end = self._lost.add(position)
            self.lost_count += 1
        return end

    def _advance(self, position: int) -> None:
        self.drained = position
        if self.closed:
            return
        self.limit = position + self._capacity
        if self._waiting:
            with self._lock:
                self._room.notify_all()

    def close(self) -> None:
        """Give out no more slots. What is filled can still be cut; what is not is lost then."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
            self.attention = True
            self.limit = -1
            self._end = self.taken()
            self._room.notify_all()


def _filled(chunk: list[bytes | None]) -> list[bytes]:
    """The filled slots at the front of `chunk`."""
    # `all` looks at truth only: a third of the time that `None in chunk` takes. No framed entry is empty.
    return cast("list[bytes]", chunk if all(chunk) else chunk[: chunk.index(None)])


class _Numbers:
    """A set of numbers, as ranges; every step costs the same however many there are and in whatever order."""

    __slots__ = ("_end_of", "_first_of")

    def __init__(self) -> None:
        self._end_of: dict[int, int] = {}
        self._first_of: dict[int, int] = {}

    def add(self, number: int) -> int:
        """Add one number that is not in the set; returns the end of the range that it is in now."""
        first = self._first_of.pop(number, number)
        end = self._end_of.pop(number + 1, number + 1)
        self._end_of[first] = end
        self._first_of[end] = first
        return end

    def take(self, first: int) -> int:
        """Remove the range that begins at `first` and return its end; `first` if there is none."""
        end = self._end_of.pop(first, first)
        self._first_of.pop(end, None)
        return end

    def end_of(self, first: int) -> int:
        return self._end_of.get(first, first)

    def __contains__(self, number: int) -> bool:
        return any(first <= number < end for first, end in self._end_of.items())


class _NoLock:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


_NO_LOCK = _NoLock()
