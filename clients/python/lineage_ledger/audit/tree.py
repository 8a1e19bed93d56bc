"""The tree over all entries, grown a bundle at a time, and held against every stored hash and every signed root.

Where a computed and a stored hash disagree, the hash above says which is right (`settle`); the accepted one goes on
upwards, so that one changed byte is one finding. Only the right edge is kept: at most 256 hashes a level.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from lineage_ledger import kernel
from lineage_ledger.audit.edge import EMPTY, Edge, edge_root, level_widths
from lineage_ledger.audit.report import Finding
from lineage_ledger.audit.seen import SeenBundles
from lineage_ledger.audit.settle import differing, mixed, settle
from lineage_ledger.audit.source import LogSource
from lineage_ledger.errors import LineageError
from lineage_ledger.formats.merkle import HASH_SIZE
from lineage_ledger.formats.tiles import TILE_HEIGHT, TILE_WIDTH


class TreeCheck:
    """Feed it every bundle in order, then `finish`.

    `signed_size` and `signed_root` are the checkpoint's; `roots` holds afterwards the root at each of `sizes`.
    """

    def __init__(
        self,
        source: LogSource,
        signed_size: int,
        signed_root: bytes,
        sizes: Collection[int],
        add: Callable[[Finding], None],
        since: Edge = EMPTY,
    ) -> None:
        self._source = source
        self.seen = SeenBundles(source, since.size // TILE_WIDTH)
        self._signed = (signed_size, signed_root)
        self._sizes = sorted({signed_size, *sizes})
        self._add = add
        self._since = since
        self._known = since.levels[0] if since.levels else b""
        self._size = since.size - len(self._known) // HASH_SIZE
        self._tail = self._known
        # Accepted hashes of the newest tile of each level from 1, fewer than 256 of them.
        self._edge = list(since.levels[1:])
        self.signed_edge: Edge | None = None
        """The right edge of the signed tree, once all of its entries went by."""
        self._unsettled: list[tuple[int, int]] = []
        self._reported: set[tuple[int, int]] = set()
        self.roots: dict[int, bytes] = {size: since.root() for size in self._sizes if size == since.size}
        if since.size and since.size == signed_size:
            self.signed_edge = since

    def bundle(self, number: int, computed: bytes | None, stored: bytes | None, width: int) -> frozenset[int]:
        """Take a bundle of `width` entries: the hashes of its entries, and those stored beside them; None: not there.

        Returns the places of the entries that are not what the tree says.
        """
        wrong = frozenset[int]()
        hashes = computed if stored is None else stored
        if computed is not None and stored is not None and computed != stored:
            hashes, wrong = self._settle_leaves(number, computed, stored)
        if hashes is not None:
            if self._known:
                self._check_known(hashes)
            self._note_roots(hashes, width)
        self._size += width
        root = kernel.tree_root(hashes) if hashes is not None else None
        self.seen.note(root or bytes(HASH_SIZE))
        if width == TILE_WIDTH:
            self._push(1, root or self._stored_hash(1, number) or bytes(HASH_SIZE))
            self._tail = b""
        else:
            self._tail = hashes or b""
        if self._size == self._signed[0]:
            self.signed_edge = self._edge_with(self._size, self._tail)
        return wrong

    def full_bundle(self, root: bytes) -> None:
        """Take a full bundle whose entries hash to what is stored, by its root; none of the sizes may lie in it."""
        self._size += TILE_WIDTH
        self.seen.note(root)
        self._push(1, root)

    def is_plain(self, start: int, end: int) -> bool:
        """Whether the bundles of the entries from `start` to `end` may be taken by their roots."""
        return start >= self._since.size and not any(start < size <= end for size in self._sizes)

    def _check_known(self, hashes: bytes) -> None:
        """The first bundle of an audit that goes on holds entries that were audited before."""
        known, self._known = self._known, b""
        for place in differing(known[: len(hashes)], hashes[: len(known)]):
            index = self._size + place
            found, expected = _hash_at(hashes, place).hex(), _hash_at(known, place).hex()
            self._add(Finding.at_entry(index, "other_history", f"hashes to {found}", f"{expected}, as audited before"))

    def _edge_with(self, size: int, leaves: bytes) -> Edge:
        return Edge(size, (leaves, *self._edge)[: len(level_widths(size))])

    def _settle_leaves(self, number: int, computed: bytes, stored: bytes) -> tuple[bytes, frozenset[int]]:
        decidable = TILE_WIDTH
        if len(computed) == TILE_WIDTH * HASH_SIZE:
            chosen = settle(computed, stored, kernel.tree_root, self._stored_hash(1, number))
        else:
            # No hash above: the signed root decides, as far as it reaches.
            decidable = max(0, self._signed[0] - self._size)
            chosen = settle(
                computed, stored, lambda hashes: self._root(hashes[: decidable * HASH_SIZE]), self._signed[1]
            )
        for place in differing(computed, stored):
            index = number * TILE_WIDTH + place
            here, there = _hash_at(computed, place).hex(), _hash_at(stored, place).hex()
            if chosen is None or place >= decidable:
                where = f"entry {index} or its hash in tile level 0 number {number}"
                found = f"the entry hashes to {here}, the tile has {there}, and neither leads to the hash above"
                self._add(Finding("entry_or_hash_changed", where, found, index=index, tile=(0, number)))
            elif place in chosen:
                self._add(Finding.at_entry(index, "entry_changed", f"hashes to {here}", there))
            else:
                self._add(Finding.at_tile(0, number, "tile_changed", f"hash {place} is {there}", here))
        if chosen is None:
            self._unsettled.append((self._size, self._size + TILE_WIDTH))
            return computed, frozenset(differing(computed, stored))
        return mixed(computed, stored, chosen), chosen

    def _push(self, level: int, root: bytes) -> None:
        """One more accepted hash at `level`, which may fill a tile."""
        if len(self._edge) < level:
            self._edge.append(b"")
        hashes = self._edge[level - 1] + root
        if len(hashes) < TILE_WIDTH * HASH_SIZE:
            self._edge[level - 1] = hashes
            return
        self._edge[level - 1] = b""
        number = (self._size >> (TILE_HEIGHT * (level + 1))) - 1
        stored = self._stored_tile(level, number, TILE_WIDTH)
        if stored is not None and stored != hashes:
            parent = self._stored_hash(level + 1, number)
            hashes = self._settle_tile(level, number, hashes, stored, kernel.tree_root, parent)
        self._push(level + 1, kernel.tree_root(hashes))

    def _settle_tile(
        self,
        level: int,
        number: int,
        computed: bytes,
        stored: bytes,
        root_of: Callable[[bytes], bytes],
        expected: bytes | None,
    ) -> bytes:
        chosen = settle(computed, stored, root_of, expected)
        for place in differing(computed, stored):
            self._report(level, number, place, _hash_at(computed, place), _hash_at(stored, place), chosen)
        return computed if chosen is None else mixed(computed, stored, chosen)

    def _report(
        self, level: int, number: int, place: int, computed: bytes, stored: bytes, chosen: frozenset[int] | None
    ) -> None:
        at = number * TILE_WIDTH + place
        if (level, at) in self._reported:
            return
        self._reported.add((level, at))
        start, end = (bound << (TILE_HEIGHT * level) for bound in (at, at + 1))
        if chosen is not None and place in chosen:
            if end <= self._since.size:
                found = f"the hash of entries {start} to {end - 1} is {stored.hex()}"
                where, expected = f"tile level {level} number {number}", f"{computed.hex()}, as audited before"
                self._add(Finding("other_history", where, found, expected, tile=(level, number)))
            elif not any(first < end and start < last for first, last in self._unsettled):
                where = f"entries {start} to {end - 1}"
                found = "were changed together with the hashes stored for them"
                self._add(Finding("subtree_changed", where, found, stored.hex(), index=start, tile=(level, number)))
            return
        found = f"hash {place} is {stored.hex()}"
        if chosen is None:
            found += ", and neither it nor that of the entries leads to the hash above"
            self._unsettled.append((start, end))
        self._add(Finding.at_tile(level, number, "tile_changed", found, computed.hex()))

    def finish(self) -> None:
        """Hold the right edge against the stored partial tiles."""
        # Behind the signed tree nothing but the entries can speak.
        signed = self._size == self._signed[0]
        self._check_edge(self._tail, self._signed[1] if signed else self._root(self._tail))

    def _note_roots(self, hashes: bytes, width: int) -> None:
        """Roots at the wanted sizes that lie within the bundle at hand."""
        for size in self._sizes:
            if self._size < size <= self._size + width:
                leaves = hashes[: (size - self._size) * HASH_SIZE]
                if size == self._signed[0]:
                    self._check_edge(leaves, self._signed[1])
                    self.signed_edge = self._edge_with(size, leaves)
                self.roots[size] = self._root(leaves)

    def _check_edge(self, leaves: bytes, expected: bytes) -> None:
        """Compare accepted and stored hashes of the partial tiles; which are right, the `expected` root says."""
        for level, computed in enumerate(self._edge, 1):
            number = self._size >> (TILE_HEIGHT * (level + 1))
            stored = self._stored_tile(level, number, len(computed) // HASH_SIZE) if computed else computed
            if stored is not None and stored != computed:

                def root_with(hashes: bytes, level: int = level) -> bytes:
                    return self._root(leaves, {level: hashes})

                self._edge[level - 1] = self._settle_tile(level, number, computed, stored, root_with, expected)

    def _root(self, leaves: bytes, other: dict[int, bytes] | None = None) -> bytes:
        """Root of all full tiles taken so far and `leaves` (32 bytes each) behind; `other` stands in for levels."""
        levels = [leaves, *self._edge]
        for level, hashes in (other or {}).items():
            levels[level] = hashes
        return edge_root(levels)

    def _stored_tile(self, level: int, number: int, width: int) -> bytes | None:
        if not self._source.has_tiles:
            return None
        try:
            hashes = self._source.tile_hashes(level, number, width)
        except LineageError as error:
            self._missing(level, number, str(error))
            return None
        if len(hashes) != width * HASH_SIZE:
            self._missing(level, number, f"is {len(hashes)} bytes, not {width * HASH_SIZE}")
            return None
        return hashes

    def _stored_hash(self, level: int, at: int) -> bytes | None:
        """The stored hash at place `at` of `level`, counted over all its tiles."""
        number, place = divmod(at, TILE_WIDTH)
        hashes = self._stored_tile(level, number, place + 1)
        return None if hashes is None else _hash_at(hashes, place)

    def _missing(self, level: int, number: int, found: str) -> None:
        if (level, -1 - number) not in self._reported:
            self._reported.add((level, -1 - number))
            self._add(Finding.at_tile(level, number, "tile_missing", found, "a stored tile"))


def _hash_at(hashes: bytes, place: int) -> bytes:
    return hashes[place * HASH_SIZE : (place + 1) * HASH_SIZE]
