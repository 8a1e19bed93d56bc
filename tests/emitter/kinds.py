"""Both kinds of rings, for the tests that hold for either."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from lineage_ledger.emitter.lanes import Lane, SlotLane
from lineage_ledger.emitter.ring import Bounds, Ring

KINDS: dict[str, Callable[[], Lane]] = {"python": SlotLane}
with suppress(ImportError):  # there was no compiler when it was installed
    from lineage_ledger.emitter.byte_ring import ByteLane

    KINDS["c"] = ByteLane

LARGE = 1 << 20


def nothing() -> None:
    """Nobody has to be woken."""


def make_ring(
    kind: str,
    capacity: int,
    batch_entries: int = LARGE,
    batch_bytes: int = LARGE,
    wake: Callable[[], None] = nothing,
) -> Ring:
    return KINDS[kind]().begin_ring(b"c" * 16, Bounds(capacity, batch_entries, batch_bytes), wake, wake)


def put(ring: Ring, entry: bytes) -> int:
    """Leave an entry without waiting; its number, whether it was kept or not."""
    placed = ring.place(entry, 0.0)
    assert placed is not None
    return placed.number
