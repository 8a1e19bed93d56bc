"""Where serving threads leave what they emit, and one other thread takes it from, batch by batch.

Each entry gets a number as it is left, so that its place in its chain is known before it has left the thread that made
it. Numbers are never given twice; one whose entry cannot be taken is declared lost, in its place.

There are two: in C (`byte_ring`) an entry is packed into the bytes of its batch; in Python (`slot_ring`) it fills the
slot of its number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

MAX_LOST_RANGES = 512


class Bounds(NamedTuple):
    """How much a ring takes, and how it is cut."""

    capacity: int
    """Entries that wait, at most; a ring in Python rounds it up to a power of two."""
    batch_entries: int
    """In one cut, at most."""
    batch_bytes: int
    """In one cut, at most; must hold the largest entry."""
    drops: bool = False
    """Whether `emit` may declare its entry lost by itself when there is no room."""


class Cut(NamedTuple):
    """What was taken from a ring's front."""

    first_number: int
    next_number: int
    packed: bytes
    """Entries with their length before each, in the order of their numbers."""
    entries: int
    """How many entries `packed` holds."""
    lost: list[tuple[int, int]]
    """Numbers that were refused, as [first, end); ascending, not touching."""


class Placed(NamedTuple):
    """What became of an entry that was to be left in a ring."""

    number: int
    is_kept: bool
    """False: there was no room, and the number is declared lost."""


class Ring(Protocol):
    """What waits to be sealed in one chain. Thread-safe; `cut` is for one thread."""

    attention: bool
    """Whether somebody is to be told of each entry: at first, while the cutting thread sleeps, once it is closed."""

    @property
    def chain_id(self) -> bytes:
        """16 bytes."""

    @property
    def closed(self) -> bool:
        """Whether it takes no more."""

    @property
    def drained(self) -> int:
        """Numbers below were cut."""

    @property
    def lost_count(self) -> int:
        """Numbers that were declared lost."""

    @property
    def announces_batches(self) -> bool:
        """Whether the cutting thread is woken when a batch is full; else it has to look."""

    def place(self, framed: bytes, wait_s: float | None, told: Callable[[int], None] | None = None) -> Placed | None:
        """Leave a framed entry, waiting for room (None: for as long as it takes). None if the ring was closed.

        `told` learns the number before the entry can be cut; that number counts only if it is the one returned, and
        kept.
        """

    def lose(self) -> int:
        """Declare a new number lost; returns it. A closed ring's leads nowhere."""

    def taken(self) -> int:
        """How many numbers were given out."""

    def numbered(self) -> int:
        """How many numbers count: those given out before the ring was closed."""

    def hole(self) -> int:
        """A number at the front that was taken and whose entry is not there (yet); -1 if there is none."""

    def has_batch(self) -> bool:
        """Whether a full batch seems to wait."""

    def cut(self) -> Cut:
        """Take what waits at the front, up to the bounds of a batch."""

    def close(self) -> None:
        """Take no more. What is there can still be cut."""
