"""Logs of numbered leaves, signed with one key, that grow and fork as a test wants them."""

from __future__ import annotations

from collections.abc import Sequence

from lineage_ledger.formats import merkle
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Signer
from lineage_ledger.history import SignedCheckpoint
from lineage_ledger.v1 import entry_pb2
from tests.trace.small_ledger import Leaves

ORIGIN = "ledger.example.com/history"
SIGNER = Signer(ORIGIN, SigningKey.generate())
NOW = 1_800_000_000 * 10**9


def block_at(time_unix_ns: int) -> bytes:
    block = entry_pb2.Block(number=3, time_unix_ns=time_unix_ns, previous_block_hash=bytes(31) + b"\1")
    return entry_pb2.Entry(block=block).SerializeToString()


class Log:
    """`forked_at`: from this index on its leaves are others than those of a log with another `name`."""

    def __init__(self, name: str = "", forked_at: int = 0, signer: Signer = SIGNER) -> None:
        self.leaves = Leaves(
            [merkle.leaf_hash(f"{name if index >= forked_at else ''}{index}".encode()) for index in range(130)]
        )
        self.signer = signer

    def at(self, size: int) -> SignedCheckpoint:
        checkpoint = Checkpoint(self.signer.name, size, merkle.root_of(size, self.leaves))
        return SignedCheckpoint(checkpoint.sign(self.signer), checkpoint)

    def note(self, size: int) -> bytes:
        return self.at(size).note

    def proof(self, old_size: int, new_size: int) -> Sequence[bytes]:
        return merkle.consistency_proof(old_size, new_size, self.leaves)
