"""Hashes, entries and proofs under one published head: each is shown to belong to the head's root before it is given.

The right edge of the tree hashes to the root; each full tile hashes to one hash of the tile above it; each entry
hashes to one hash of its tile of level 0. So one flipped bit is noticed by whoever reads past it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lineage_ledger import kernel
from lineage_ledger.errors import LineageError
from lineage_ledger.formats import merkle
from lineage_ledger.formats.tiles import hash_in_tile
from lineage_ledger.kernel import RequestIdRows
from lineage_ledger_server.errors import CorruptValueError, HeadMismatchError, IndexOutOfRangeError
from lineage_ledger_server.head import Head
from lineage_ledger_server.reading.caches import PREDICTION_KIND, Caches
from lineage_ledger_server.store.log_snapshot import LogSnapshot
from lineage_ledger_server.store.log_store import LogStore
from lineage_ledger_server.store.packed_entries import span
from lineage_ledger_server.store.right_edge import root_of_partial_tiles
from lineage_ledger_server.store.rows import HASH_SIZE, WIDTH

# About 250 bytes each.
_MAX_KNOWN_NODES = 32_768
_MAX_KNOWN_PROOFS = 256


class VerifiedTree:
    """The log up to `head`, read from `store`. Immutable but for the caches, so any thread may use it.

    Raises CorruptValueError if the right edge as stored does not have the head's root. Methods raise
    IndexOutOfRangeError beyond the head and CorruptValueError for stored bytes that are not what the root says.
    """

    def __init__(self, store: LogStore, head: Head, caches: Caches) -> None:
        self.head = head
        self._store = store
        self._caches = caches
        # Roots of subtrees inside of tiles, and consistency proofs, as they were asked for.
        self._known_nodes: dict[tuple[int, int], bytes] = {}
        self._known_proofs: dict[tuple[int, int], list[bytes]] = {}
        with self._snapshot() as snapshot:
            self._partial_tiles: Sequence[bytes] = snapshot.partial_tiles(head.size)
        if root_of_partial_tiles(self._partial_tiles) != head.root:
            raise self._edge_error()

    def follow(self, head: Head) -> VerifiedTree:
        """The tree of a newer head, which must be this one grown: only so may it share what was verified here.

        Raises HeadMismatchError if it is not.
        """
        if head.size < self.head.size:
            raise HeadMismatchError(f"the published head went back from size {self.head.size} to {head.size}")
        newer = VerifiedTree(self._store, head, self._caches)
        # It must not be held against the hashes that are known here, but against its own.
        if not newer._begins_with_tiles_of(self) and merkle.root_of(self.head.size, newer) != self.head.root:
            raise HeadMismatchError(
                f"the published head of size {head.size} is not over the tree of size {self.head.size} published before"
            )
        newer._known_nodes = self._known_nodes
        return newer

    def _begins_with_tiles_of(self, older: VerifiedTree) -> bool:
        """Whether all partial tiles of `older` begin the ones here: then so does its tree, which they are the root of.

        No bundle was filled since, as with most heads; else this is False, and says nothing.
        """
        return older.head.size >> 8 == self.head.size >> 8 and all(
            ours.startswith(theirs) for ours, theirs in zip(self._partial_tiles, older._partial_tiles, strict=False)
        )

    @contextmanager
    def _snapshot(self) -> Iterator[LogSnapshot]:
        with self._store.snapshot() as snapshot:
            if snapshot.size < self.head.size:
                raise CorruptValueError(
                    f"the log has {snapshot.size} entries, but {self.head.size} are published; restore it from a copy",
                    index=snapshot.size,
                )
            yield snapshot

    # Hashes

    def tile(self, level: int, number: int) -> bytes:
        """All hashes that the tile has under the head: 256 of 32 bytes each, or fewer at the right edge."""
        count = self.head.size >> 8 * level
        if not (number >= 0 and number * WIDTH < count):
            raise IndexOutOfRangeError(
                f"there is no tile {level}/{number} under a head of size {self.head.size}", size=self.head.size
            )
        if (number + 1) * WIDTH > count:
            return self._partial_tiles[level]
        hashes = self._caches.tiles.get((level, number))
        if hashes is None:
            with self._snapshot() as snapshot:
                hashes = snapshot.tile_hashes(level, number, WIDTH)
            if kernel.tree_root(hashes) != self._hash(level + 1, number):
                raise CorruptValueError(
                    f"tile {level}/{number} does not hash to what the tile above it says; restore the log from a copy",
                    tile=(level, number),
                )
            self._caches.tiles.put((level, number), hashes)
        return hashes

    def _hash(self, tile_level: int, n: int) -> bytes:
        number, place = divmod(n, WIDTH)
        return self.tile(tile_level, number)[place * HASH_SIZE : (place + 1) * HASH_SIZE]

    def leaf_hash(self, index: int) -> bytes:
        """32 bytes."""
        self.check_index(index)
        return self._hash(0, index)

    def stored_leaf_hashes(self, start: int, end: int) -> bytes:
        """Of the entries [start, end), 32 bytes each, as they are stored: not shown to belong to the root."""
        self._check_size(end)
        with self._snapshot() as snapshot:
            return snapshot.leaf_hashes(start, end)

    def read_hashes(self, coordinates: Sequence[tuple[int, int]]) -> list[bytes]:
        """As `merkle.HashReader` asks."""
        known = self._known_nodes
        return [known.get(coordinate) or self._read_node(coordinate) for coordinate in coordinates]

    def _read_node(self, coordinate: tuple[int, int]) -> bytes:
        """What it finds holds in every later tree, too, and is shared with those."""
        tile, start = hash_in_tile(*coordinate)
        hashes = self.tile(tile.level, tile.number)
        below = hashes[start * HASH_SIZE : tile.width * HASH_SIZE]
        root = below if len(below) == HASH_SIZE else kernel.tree_root(below)
        if len(self._known_nodes) >= _MAX_KNOWN_NODES:
            self._known_nodes.clear()
        self._known_nodes[coordinate] = root
        return root

    # Entries

    def entry(self, index: int) -> bytes:
        """The entry's bytes."""
        self.check_index(index)
        if (kept := self._caches.entries.get(index)) is not None:
            return kept
        number, place = divmod(index, WIDTH)
        with self._snapshot() as snapshot:
            _, packed = snapshot.bundle_bytes(number)
        try:
            start, end = span(packed, place, place + 1)
        except ValueError as error:
            raise _entry_error(index) from error
        entry = packed[start + 2 : end]
        if merkle.leaf_hash(entry) != self._hash(0, index):
            raise _entry_error(index)
        if entry[0] >> 3 != PREDICTION_KIND:
            self._caches.entries.put(index, entry)
        return entry

    def packed_bundle(self, number: int, start: int, end: int) -> bytes:
        """Packed entries of the places [start, end) of a bundle."""
        with self._snapshot() as snapshot:
            _, packed = snapshot.bundle_bytes(number)
        expected = self.tile(0, number)[start * HASH_SIZE : end * HASH_SIZE]
        try:
            first, last = span(packed, start, end)
            own = packed[first:last]
            hashes = kernel.leaf_hashes(own)
        except (LineageError, ValueError) as error:
            raise _entry_error(number * WIDTH + start) from error
        if hashes != expected:
            raise _entry_error(number * WIDTH + start + _first_difference(hashes, expected))
        return own

    def request_id_rows(self, start: int, end: int, first_offset: int, max_bytes: int | None) -> RequestIdRows | None:
        """Of the full bundles in [start, end); None if their packed entries are more than `max_bytes`.

        The entries that are no predictions are shown to belong to the root. Predictions are not hashed: a row is a
        pointer, and who follows it reads an entry that is.
        """
        with self._snapshot() as snapshot:
            parts = snapshot.packed_bundles(start // WIDTH, end // WIDTH)
            if max_bytes is not None and sum(map(len, parts)) > max_bytes:
                return None
            try:
                found = kernel.request_id_rows(parts, first_offset)
            except LineageError:
                found = None
            del parts
        if found is None or found.count != end - start:
            for number in range(start // WIDTH, end // WIDTH):
                self.packed_bundle(number, 0, WIDTH)  # says which entry it is
            raise _entry_error(start)
        for place, entry in found.others:
            if merkle.leaf_hash(entry) != self._hash(0, start + place):
                raise _entry_error(start + place)
        return found

    # Proofs

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        self._check_size(size)
        if not 0 <= index < size:
            raise IndexOutOfRangeError(f"index {index} is not in a tree of {size} entries", size=size)
        proof = merkle.inclusion_proof(index, size, self)
        merkle.verify_inclusion(self.leaf_hash(index), index, size, proof, self.root(size))
        return proof

    def consistency_proof(self, old_size: int, new_size: int) -> list[bytes]:
        self._check_size(new_size)
        if not 1 <= old_size <= new_size:
            raise IndexOutOfRangeError(f"the old size {old_size} is not within 1 to {new_size}", size=new_size)
        known = self._known_proofs.get((old_size, new_size))
        if known is not None:
            return list(known)
        proof = merkle.consistency_proof(old_size, new_size, self)
        merkle.verify_consistency(old_size, self.root(old_size), new_size, self.root(new_size), proof)
        # Streams that were answered under one head are answered under the next one together.
        if len(self._known_proofs) < _MAX_KNOWN_PROOFS:
            self._known_proofs[old_size, new_size] = list(proof)
        return proof

    def multiproof(self, indexes: Sequence[int], size: int) -> list[bytes]:
        """Every hash in it is shown to belong to the head's root; so are the entries, by who reads them."""
        self._check_size(size)
        for index in indexes:
            if not 0 <= index < size:
                raise IndexOutOfRangeError(f"index {index} is not in a tree of {size} entries", size=size)
        return merkle.multiproof(indexes, size, self)

    def range_proof(self, start: int, end: int, size: int) -> list[bytes]:
        """As `multiproof` for all entries [start, end)."""
        self._check_size(size)
        if not 0 <= start < end <= size:
            raise IndexOutOfRangeError(f"[{start}, {end}) is no range of a tree of {size} entries", size=size)
        return merkle.range_proof(start, end, size, self)

    def root(self, size: int) -> bytes:
        """Root of the first `size` entries, 32 bytes."""
        self._check_size(size)
        return self.head.root if size == self.head.size else merkle.root_of(size, self)

    def check_index(self, index: int) -> None:
        if not 0 <= index < self.head.size:
            raise IndexOutOfRangeError(
                f"index {index} is not below the published size {self.head.size}", size=self.head.size
            )

    def _check_size(self, size: int) -> None:
        if not 0 <= size <= self.head.size:
            raise IndexOutOfRangeError(f"size {size} is beyond the published {self.head.size}", size=self.head.size)

    def _edge_error(self) -> CorruptValueError:
        """Names what is wrong with a right edge that does not have the head's root, as far as that can be told."""
        what = "the right edge of the tree does not have the published root; restore the log from a copy"
        with self._snapshot() as snapshot:
            for level, hashes in enumerate(self._partial_tiles):
                number = self.head.size >> 8 * (level + 1)
                for place in range(len(hashes) // HASH_SIZE):
                    n = number * WIDTH + place
                    if level == 0:
                        try:
                            first, last = span(snapshot.bundle_bytes(number)[1], place, place + 1)
                            below = merkle.leaf_hash(snapshot.bundle_bytes(number)[1][first + 2 : last])
                        except ValueError:
                            return CorruptValueError(what, index=n)
                    else:
                        below = kernel.tree_root(snapshot.tile_hashes(level - 1, n, WIDTH))
                    if below != hashes[place * HASH_SIZE : (place + 1) * HASH_SIZE]:
                        return CorruptValueError(what, tile=(level, number))
        return CorruptValueError(what)


def _entry_error(index: int) -> CorruptValueError:
    return CorruptValueError(
        f"the entry at index {index} does not hash to what the tree says; restore the log from a copy", index=index
    )


def _first_difference(hashes: bytes, expected: bytes) -> int:
    """Place of the first hash in which the two differ."""
    for place in range(len(expected) // HASH_SIZE):
        at = slice(place * HASH_SIZE, (place + 1) * HASH_SIZE)
        if hashes[at] != expected[at]:
            return place
    return len(expected) // HASH_SIZE
