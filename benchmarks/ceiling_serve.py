"""`lineage serve` that checks and hashes nothing and keeps no indexes: the same way of a batch without its purpose.

For `benchmarks.ceiling` alone. What it writes is no ledger: leaf hashes and roots are zeros, and no audit would pass.
It receives, orders, copies into LMDB, syncs, signs and answers as the real one does.
"""

from __future__ import annotations

from typing import Any

from lineage_ledger import kernel
from lineage_ledger.formats import merkle
from lineage_ledger.formats.seal import ParsedSeal
from lineage_ledger.v1 import entry_pb2
from lineage_ledger_server.cli.serve import serve
from lineage_ledger_server.head import Head
from lineage_ledger_server.index.indexer import Indexer
from lineage_ledger_server.reading.verified_tree import VerifiedTree
from lineage_ledger_server.sequencer.check import CheckedBatch
from lineage_ledger_server.services import append

_LENGTH_BYTES = 2


def unchecked(packed: bytes, origin: str) -> CheckedBatch:  # noqa: ARG001  # in the place of `check_batch`
    """A batch whose entries are all of one size, as the benchmark's are, its seal found and taken apart."""
    framed = _LENGTH_BYTES + int.from_bytes(packed[:_LENGTH_BYTES], "big")
    count = len(packed) // framed
    while framed * count + _LENGTH_BYTES + _length_at(packed, framed * count) != len(packed):
        count -= 1
    entry = packed[framed * count + _LENGTH_BYTES :]
    seal = entry_pb2.Entry.FromString(entry).seal
    body = entry_pb2.SealBody.FromString(seal.body)
    parsed = ParsedSeal(body, seal.body, seal.signature, merkle.leaf_hash(entry))
    return CheckedBatch(packed, bytes(merkle.HASH_SIZE * (count + 1)), count + 1, parsed, entry)


def _length_at(packed: bytes, offset: int) -> int:
    return int.from_bytes(packed[offset : offset + _LENGTH_BYTES], "big")


def _zero_root(_: Any) -> bytes:
    return bytes(merkle.HASH_SIZE)


def _zero_roots(hashes: Any) -> bytes:
    return bytes(len(hashes) // 256 // merkle.HASH_SIZE * merkle.HASH_SIZE)


def _nothing(_: Indexer) -> None:
    """Neither started nor stopped."""


def _followed(tree: VerifiedTree, head: Head) -> VerifiedTree:
    return VerifiedTree(tree._store, head, tree._caches)


_EMPTIED: tuple[tuple[Any, str, Any], ...] = (
    (append, "check_batch", unchecked),
    (kernel, "tree_root", _zero_root),
    (kernel, "tile_roots", _zero_roots),
    (VerifiedTree, "follow", _followed),
    (Indexer, "start", _nothing),
    (Indexer, "stop", _nothing),
)

if __name__ == "__main__":
    for owner, name, emptied in _EMPTIED:
        if not hasattr(owner, name):
            raise SystemExit(f"{owner} has no {name} any more; the ceiling would be of something else")
        setattr(owner, name, emptied)
    serve()
