"""How an emitter behaves: its bounds, and what it does when it reaches them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from lineage_ledger.emitter.sender import Backoff
from lineage_ledger.errors import SettingsError
from lineage_ledger.formats.seal import MAX_BATCH_BYTES as MAX_PACKED_BYTES
from lineage_ledger.formats.seal import MAX_BATCH_ENTRIES, MAX_SEAL_BYTES
from lineage_ledger.v1 import append_pb2

_MIN_BATCH_BYTES = 128 * 1024


class WhenFull(StrEnum):
    """What `emit` does when nothing more can wait."""

    DROP = "drop"
    """Declare the entry lost; the loss is sealed, counted and logged."""
    BLOCK = "block"
    """Wait until there is room."""
    RAISE = "raise"
    """Declare it lost and raise `EmitterFullError`."""
    SPOOL = "spool"
    """Go on into the spool for as long as that has room, then drop."""


class WaitFor(StrEnum):
    """What the ledger must promise of a batch before the emitter lets go of it; each includes those before it."""

    DURABLE = "durable"
    """It is synced to the ledger's disk. That alone cannot be proven."""
    PUBLISHED = "published"
    """It is under a signed checkpoint."""
    WITNESSED = "witnessed"
    """The checkpoint is cosigned by the quorum of the ledger's witness policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """An emitter's bounds. Raises `SettingsError` where they contradict each other."""

    when_full: WhenFull | str = WhenFull.DROP
    fail_closed: bool = False
    """Raise into the prediction when it cannot be recorded; otherwise nothing ever does, but `RAISE` above."""
    prove: bool = False
    """Have the ledger prove, and check, that each batch is in the one tree, and that the tree only grows."""
    wait_for: WaitFor | str = WaitFor.PUBLISHED
    max_pending_entries: int = 65_536
    """Entries that wait to be sealed; without the C kernel rounded up to a power of two."""
    max_unacknowledged_bytes: int = 64 * 1024 * 1024
    """Memory for sealed batches that wait for their acknowledgement."""
    max_batch_entries: int = 4_096
    max_batch_bytes: int = 1024 * 1024
    linger_ms: float = 20.0
    """How long an entry waits for others to be sealed with."""
    max_batches_in_flight: int = 8
    max_spool_bytes: int = 4 * 1024 * 1024 * 1024
    heartbeat_s: float = 60.0
    """After so long without entries, an empty seal says that nothing is missing."""
    hole_timeout_s: float = 3.0
    """A number taken for so long and not used has the emitter go on in a new chain; in the C kernel there are none."""
    exit_timeout_s: float = 5.0
    """How long the process's exit waits for acknowledgements."""
    backoff: Backoff = field(default_factory=Backoff)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "when_full", WhenFull(self.when_full))  # A plain string is welcome too.
        except ValueError:
            raise SettingsError(f"when_full must be one of {', '.join(WhenFull)}, not {self.when_full!r}") from None
        try:
            object.__setattr__(self, "wait_for", WaitFor(self.wait_for))
        except ValueError:
            raise SettingsError(f"wait_for must be one of {', '.join(WaitFor)}, not {self.wait_for!r}") from None
        _within("max_pending_entries", self.max_pending_entries, 16, 1 << 24)
        _within("max_unacknowledged_bytes", self.max_unacknowledged_bytes, _MIN_BATCH_BYTES, 1 << 40)
        _within("max_batch_entries", self.max_batch_entries, 1, MAX_BATCH_ENTRIES)
        _within("max_batch_bytes", self.max_batch_bytes, _MIN_BATCH_BYTES, MAX_PACKED_BYTES - MAX_SEAL_BYTES - 2)
        _within("linger_ms", self.linger_ms, 0, 60_000)
        _within("max_batches_in_flight", self.max_batches_in_flight, 1, 1_024)
        _within("max_spool_bytes", self.max_spool_bytes, _MIN_BATCH_BYTES, 1 << 50)
        _within("heartbeat_s", self.heartbeat_s, 0.01, 86_400)
        _within("hole_timeout_s", self.hole_timeout_s, 0.01, 3_600)
        _within("exit_timeout_s", self.exit_timeout_s, 0, 3_600)

    @property
    def promise(self) -> append_pb2.Promise:
        """`wait_for`, as the contract has it."""
        return _PROMISES[WaitFor(self.wait_for)]


_PROMISES: Final = {
    WaitFor.DURABLE: append_pb2.PROMISE_DURABLE,
    WaitFor.PUBLISHED: append_pb2.PROMISE_PUBLISHED,
    WaitFor.WITNESSED: append_pb2.PROMISE_WITNESSED,
}


def _within(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise SettingsError(f"{name} must be {least:,} to {most:,}, not {value:,}")
