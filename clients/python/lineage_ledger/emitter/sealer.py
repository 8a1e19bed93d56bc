"""One chain as its producer keeps it: seals batches, one after the other, each linked to the one before."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lineage_ledger import kernel
from lineage_ledger.emitter.ring import Cut
from lineage_ledger.formats import merkle, seal
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.packed import frame, spans
from lineage_ledger.v1 import entry_pb2


class Predecessor(NamedTuple):
    """The chain that a new one goes on from."""

    chain_id: bytes
    """16 bytes."""
    next_number: int
    """One more than the last number that it sealed."""


@dataclass(slots=True, eq=False)
class SealedBatch:
    """A batch that is finished: its bytes never change, however often they are sent."""

    chain_id: bytes
    """16 bytes."""
    sequence: int
    first_number: int
    next_number: int
    count: int
    """Entries, the seal not counted."""
    size: int
    """Of the packed bytes, seal included."""
    packed: bytes | None
    """None while they are in the spool only."""
    leaf_hashes: bytes = b""
    """Of its entries and its seal, 32 bytes each; none if they are not needed, or not kept."""
    statements: tuple[tuple[int, int], ...] = ()
    """For each entry that is not a prediction: its number and its place in the batch."""
    closing: bool = False

    @property
    def held_bytes(self) -> int:
        """Memory that it takes."""
        return len(self.packed or b"") + len(self.leaf_hashes)

    @property
    def lost(self) -> int:
        """Numbers that the batch declares lost."""
        return self.next_number - self.first_number - self.count


class ChainSealer:
    """The sealing side of one chain. Not for several threads at once."""

    def __init__(self, origin: str, key: SigningKey) -> None:
        self._origin = origin
        self._key = key
        self._nonce = os.urandom(seal.NONCE_BYTES)
        self._previous_seal_hash = b""
        self.chain_id = seal.chain_id(origin, key.public_key, self._nonce)
        self.next_sequence = 0
        self.next_number = 0

    def open(self, predecessor: Predecessor | None) -> SealedBatch:
        """The empty batch that opens the chain, and says which one it goes on from."""
        body = self._body(0)
        body.chain_nonce = self._nonce
        if predecessor is not None:
            body.predecessor.chain_id = predecessor.chain_id
            body.predecessor.next_number = predecessor.next_number
        return self._finish(body, b"", b"", 0, ())

    def heartbeat(self) -> SealedBatch:
        """An empty batch, which says that nothing is missing up to now."""
        return self._finish(self._body(self.next_number), b"", b"", self.next_number, ())

    def close(self) -> SealedBatch:
        """The empty batch that ends the chain."""
        body = self._body(self.next_number)
        body.closing = True
        return self._finish(body, b"", b"", self.next_number, ())

    def seal(self, cut: Cut, deployments: Sequence[bytes]) -> SealedBatch:
        """Seal what was cut. `deployments[r - 1]` is the leaf hash of binding row r's deployment; 32 bytes.

        Raises `MalformedEntryError` if an entry is not strictly encoded; then the chain is as it was.
        """
        scanned, root = kernel.scan_batch(cut.packed)
        body = self._body(cut.first_number)
        body.count = scanned.count
        body.root = root
        body.earliest_start_time_unix_ns = scanned.earliest_start_time_unix_ns
        body.latest_start_time_unix_ns = scanned.latest_start_time_unix_ns
        for first, end in cut.lost:
            body.lost.add(first=first, count=end - first)
        for deployment_hash, count in zip(deployments, scanned.binding_counts, strict=False):
            body.bindings.add(deployment_hash=deployment_hash, count=count)
        statements = tuple((seal.number_at(body, place), place) for place, _, _ in scanned.others)
        return self._finish(body, cut.packed, scanned.leaf_hashes, cut.next_number, statements)

    def _body(self, first_number: int) -> entry_pb2.SealBody:
        return entry_pb2.SealBody(
            public_key=self._key.public_key,
            chain_id=self.chain_id,
            batch_sequence=self.next_sequence,
            first_number=first_number,
            root=merkle.EMPTY_ROOT,
            previous_seal_hash=self._previous_seal_hash,
            sealed_time_unix_ns=time.time_ns(),
        )

    def _finish(
        self,
        body: entry_pb2.SealBody,
        packed: bytes,
        leaf_hashes: bytes,
        next_number: int,
        statements: tuple[tuple[int, int], ...],
    ) -> SealedBatch:
        entry = seal.build_seal(body, self._origin, self._key)
        seal_hash = merkle.leaf_hash(entry)
        whole = b"".join((packed, frame(entry)))
        batch = SealedBatch(
            chain_id=self.chain_id,
            sequence=self.next_sequence,
            first_number=body.first_number,
            next_number=next_number,
            count=body.count,
            size=len(whole),
            packed=whole,
            leaf_hashes=leaf_hashes + seal_hash,
            statements=statements,
            closing=body.closing,
        )
        self._previous_seal_hash = seal_hash
        self.next_sequence += 1
        self.next_number = next_number
        return batch


def restore(packed: bytes) -> SealedBatch:
    """The batch whose bytes (not empty) were kept in a spool; looks at its seal only.

    Raises `MalformedError`, or `SealError` if its last entry is no seal.
    """
    *_, (offset, length) = spans(packed)
    body = seal.parse_seal(packed[offset : offset + length]).body
    return SealedBatch(
        chain_id=body.chain_id,
        sequence=body.batch_sequence,
        first_number=body.first_number,
        next_number=seal.next_number(body),
        count=body.count,
        size=len(packed),
        packed=packed,
        closing=body.closing,
    )
