"""Proofs within a batch: that its producer sealed an entry, from the batch's leaf hashes as a tree of its own.

The hashes are taken as they are stored and not shown to belong to the log's tree one tile after the other: the proof
that is made of them has to lead from the entry to the root in the seal, both of which were shown to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NoReturn

from lineage_ledger import kernel
from lineage_ledger.errors import ProofError
from lineage_ledger.formats import merkle
from lineage_ledger.formats.merkle import HASH_SIZE
from lineage_ledger_server.errors import CorruptValueError

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
        """Sibling hashes from the entry to the root of its batch. Raises CorruptValueError."""
        body = sealed.seal.body
        proof = merkle.inclusion_proof(sealed.place, body.count, self._leaves_of(sealed.seal_index, sealed.seal))
        try:
            merkle.verify_inclusion(merkle.leaf_hash(sealed.entry), sealed.place, body.count, proof, body.root)
        except ProofError:
            self._raise_damage(sealed.seal_index, sealed.seal)
        return proof

    def multiproof(self, seal_index: int, seal: ParsedSeal, entries: Mapping[int, bytes]) -> list[bytes]:
        """One proof for entries of the batch, by their place in it, at least one. Raises CorruptValueError."""
        body = seal.body
        proof = merkle.multiproof(sorted(entries), body.count, self._leaves_of(seal_index, seal))
        leaves = {place: merkle.leaf_hash(entry) for place, entry in entries.items()}
        if merkle.multiproof_root(leaves, body.count, proof) != body.root:
            self._raise_damage(seal_index, seal)
        return proof

    def _leaves_of(self, seal_index: int, seal: ParsedSeal) -> _Leaves:
        if seal_index != self._seal_index:
            self._leaves = _Leaves(self._reader.stored_leaf_hashes(seal_index - seal.body.count, seal_index))
            self._seal_index = seal_index
        return self._leaves

    def _raise_damage(self, seal_index: int, seal: ParsedSeal) -> NoReturn:
        for number in range((seal_index - seal.body.count) // BUNDLE, (seal_index - 1) // BUNDLE + 1):
            self._reader.tile(0, number)  # says which tile it is
        raise CorruptValueError(
            f"the seal at index {seal_index} is not over the entries before it; restore the log from a copy",
            index=seal_index,
        )


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
