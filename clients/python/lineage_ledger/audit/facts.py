"""What an audit knows of a ledger from the entries that went by; nothing here checks anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lineage_ledger.v1 import entry_pb2


@dataclass(slots=True)
class Counts:
    """What went by."""

    entries: int = 0
    predictions: int = 0
    statements: int = 0
    seals: int = 0
    chains: int = 0
    blocks: int = 0
    producers: int = 0
    conflicts: int = 0
    lost: int = 0
    """Numbers that seals declare lost."""


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
