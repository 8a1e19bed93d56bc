"""Proofs within a batch: that its producer sealed an entry, from the batch's leaf hashes as a tree of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from lineage_ledger import kernel
from lineage_ledger.formats import merkle
from lineage_ledger.formats.merkle import HASH_SIZE

if TYPE_CHECKING:
    from lineage_ledger.formats.seal import ParsedSeal
    from lineage_ledger.trace import SealedEntry
    from lineage_ledger_server.reading.log_reader import LogReader

BUNDLE: Final = 256


class BatchProofs:
    """Keeps the hashes of the batch that was asked for last: neighbours in an answer are mostly of one batch."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        self._seal_index = -1
        self._leaves = _Leaves(b"")

    def inclusion(self, sealed: SealedEntry) -> list[bytes]:
        """Sibling hashes from the entry to the root of its batch."""
        return merkle.inclusion_proof(
            sealed.place, sealed.seal.body.count, self._leaves_of(sealed.seal_index, sealed.seal)
        )

    def multiproof(self, seal_index: int, seal: ParsedSeal, places: Sequence[int]) -> list[bytes]:
        """One proof for the entries at `places` in the batch, strictly ascending."""
        return merkle.multiproof(places, seal.body.count, self._leaves_of(seal_index, seal))

    def _leaves_of(self, seal_index: int, seal: ParsedSeal) -> _Leaves:
        if seal_index != self._seal_index:
            self._leaves = _Leaves(_leaf_hashes(self._reader, seal_index - seal.body.count, seal_index))
            self._seal_index = seal_index
        return self._leaves


def _leaf_hashes(reader: LogReader, start: int, end: int) -> bytes:
    """Leaf hashes of the entries [start, end), from verified tiles."""
    tiles = b"".join(reader.tile(0, number) for number in range(start // BUNDLE, (end - 1) // BUNDLE + 1))
    skipped = start % BUNDLE
    return tiles[skipped * HASH_SIZE : (skipped + end - start) * HASH_SIZE]


class _Leaves:
    """A `merkle.HashReader` over the leaf hashes of one batch; what it read once it does not hash again."""

    def __init__(self, leaf_hashes: bytes) -> None:
        self._leaf_hashes = leaf_hashes
        self._roots: dict[tuple[int, int], bytes] = {}

    def read_hashes(self, coordinates: Sequence[tuple[int, int]]) -> list[bytes]:
        return [self._root(level, n) for level, n in coordinates]

    def _root(self, level: int, n: int) -> bytes:
        root = self._roots.get((level, n))
        if root is None:
            root = kernel.tree_root(self._leaf_hashes[(n << level) * HASH_SIZE : (n + 1 << level) * HASH_SIZE])
            self._roots[level, n] = root
        return root
