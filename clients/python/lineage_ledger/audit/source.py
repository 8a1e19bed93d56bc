"""What an audit reads from, and who may look on while it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from lineage_ledger.v1 import entry_pb2

if TYPE_CHECKING:
    from lineage_ledger.audit.report import Report
    from lineage_ledger.audit.state import AuditState

BUNDLE_WIDTH = 256


class BundleSource(Protocol):
    """The bundles of a log: what a process needs that checks a part of them."""

    def bundle(self, number: int) -> tuple[bytes | None, bytes]:
        """Leaf hashes as stored, 32 bytes each, and packed entries; the last bundle may hold fewer than 256.

        The hashes are None where the source has no tiles. Raises `LineageError` for a bundle that is missing or
        unusable, which is a finding.
        """


Reopen: TypeAlias = Callable[[], BundleSource]
"""Opens the bundles of a log once more, in another process: it must pickle. What it opens is never closed."""


class LogSource(BundleSource, Protocol):
    """A log as it is stored, at one moment; nothing of it is trusted.

    A `LineageError` from `bundle` or `tile_hashes` says that the stored value is missing or unusable, which is a
    finding; any other exception ends the audit as one that could not be carried out.
    """

    @property
    def size(self) -> int:
        """Entries that are there; may be more than the checkpoint's, if they are not signed yet."""

    @property
    def has_tiles(self) -> bool:
        """Whether there are stored hashes. Without, entries, root and rules are checked, and the report says so."""

    @property
    def reopen(self) -> Reopen | None:
        """How other processes read the full bundles of this log; None: they cannot, and one process audits it."""

    @property
    def checkpoints(self) -> Sequence[tuple[str, bytes]]:
        """The checkpoints that the ledger keeps, signed notes, the newest first; each with what findings call it."""

    def tile_hashes(self, level: int, number: int, width: int) -> bytes:
        """The first `width` (1 to 256) hashes of the stored tile of `level` (1 and above), 32 bytes each.

        Not called where there are no tiles.
        """


@dataclass(slots=True)
class ChainFacts:
    """A chain as its seals say."""

    chain_id: bytes
    public_key: bytes
    ordinal: int
    """Its place in the order in which chains were opened."""
    first_seal_index: int
    last_seal_index: int
    last_seal_hash: bytes
    next_sequence: int
    next_number: int
    closed: bool = False
    conflict_index: int = 0


@dataclass(slots=True)
class ProducerFacts:
    """A key as the admin's entries say."""

    public_key: bytes
    registered_index: int
    retired_index: int = 0
    """0: it was not, as for `compromised_index`."""
    last_block: int = 0
    """For a retired key."""
    compromised_index: int = 0
    suspect_since_unix_ns: int = 0
    """For a compromised key."""


class BatchFacts(NamedTuple):
    """A batch as its seal says."""

    chain: ChainFacts
    """As it stands after this batch."""
    batch_sequence: int
    first_number: int
    entry_count: int
    seal_index: int
    body: entry_pb2.SealBody


@dataclass(slots=True)
class LedgerFacts:
    """What follows from all entries."""

    chains: Mapping[bytes, ChainFacts]
    producers: Mapping[bytes, ProducerFacts]
    key_changes: Sequence[int] = field(default=())
    """Indexes of the entries that changed the ledger's key."""
    unreadable: Sequence[int] = field(default=())
    """Indexes of changed entries that may have been seals or the ledger's own; what they said is not in the facts."""


class Observer:
    """Looks on while the entries go by; what a class that derives from this leaves out does nothing."""

    def start(self, size: int) -> None:
        """Called before anything else, with the size of the checkpoint's tree; entries behind it are looked at, too."""

    def begin(self, since: AuditState) -> None:
        """Called next by an audit that does not read the entries below `since.size`."""

    def on_batch(self, batch: BatchFacts) -> None:
        """A seal that was read, in order of index."""

    def on_deployment(self, leaf_hash: bytes, deployment: entry_pb2.Deployment) -> None:
        """A deployment that was read, in order of index, with the leaf hash of its entry."""

    def on_block(self, number: int, index: int, time_unix_ns: int) -> None:
        """A block that was read, in order of index."""

    def finish(self, facts: LedgerFacts, report: Report) -> None:
        """All entries went by: report what does not agree with them."""


class Observers(Observer):
    """Several that look on, each in turn."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def start(self, size: int) -> None:
        for each in self._observers:
            each.start(size)

    def begin(self, since: AuditState) -> None:
        for each in self._observers:
            each.begin(since)

    def on_batch(self, batch: BatchFacts) -> None:
        for each in self._observers:
            each.on_batch(batch)

    def on_deployment(self, leaf_hash: bytes, deployment: entry_pb2.Deployment) -> None:
        for each in self._observers:
            each.on_deployment(leaf_hash, deployment)

    def on_block(self, number: int, index: int, time_unix_ns: int) -> None:
        for each in self._observers:
            each.on_block(number, index, time_unix_ns)

    def finish(self, facts: LedgerFacts, report: Report) -> None:
        for each in self._observers:
            each.finish(facts, report)
