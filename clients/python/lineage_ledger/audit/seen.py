"""What went by once, so that a source which is asked for it again cannot answer with something else."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from lineage_ledger import kernel
from lineage_ledger.audit.source import BundleSource
from lineage_ledger.errors import VerificationError

_MARK_BYTES: Final = 8


class SeenBundles:
    """A mark of each bundle that went by, from that of number `first` on: 8 bytes for 256 entries.

    The marks are made with a key that nobody else has, so that nobody can look for another bundle with the same one.
    """

    def __init__(self, source: BundleSource, first: int) -> None:
        self._source = source
        self._first = first
        self._key = secrets.token_bytes(32)
        self._marks = bytearray()

    def note(self, root: bytes) -> None:
        """The next bundle, by the root (32 bytes) of the tree over its leaf hashes."""
        self._marks += self._mark(root)

    def packed(self, number: int) -> bytes:
        """The bundle's packed entries. Raises `LineageError` if they cannot be read, or are not those that went by."""
        _, packed = self._source.bundle(number)
        if not self._is_as_it_was(number, kernel.leaf_hashes(packed)):
            raise _other(number)
        return packed

    def hashes(self, number: int) -> bytes:
        """The bundle's leaf hashes, 32 bytes each, also where only the stored ones are left. Raises as `packed`."""
        stored, packed = self._source.bundle(number)
        if stored and self._is_as_it_was(number, stored):
            return stored
        computed = kernel.leaf_hashes(packed)
        if not self._is_as_it_was(number, computed):
            raise _other(number)
        return computed

    def _is_as_it_was(self, number: int, hashes: bytes) -> bool:
        at = (number - self._first) * _MARK_BYTES
        return self._mark(kernel.tree_root(hashes)) == self._marks[at : at + _MARK_BYTES]

    def _mark(self, root: bytes) -> bytes:
        return hashlib.blake2b(root, digest_size=_MARK_BYTES, key=self._key).digest()


def _other(number: int) -> VerificationError:
    return VerificationError(f"bundle {number} is not what it was when it was read first")
