"""The right edge of the tree: all that is needed to add entries and know the root, however large the tree is.

Of level 0 that is the tail (the entries since the last full bundle), of each level above its last, partial tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lineage_ledger import kernel
from lineage_ledger.formats.merkle import EMPTY_ROOT
from lineage_ledger_server.store.rows import HASH_SIZE, TILE_BYTES, WIDTH


class Bundle(NamedTuple):
    """A full bundle."""

    number: int
    leaf_hashes: bytes
    packed: bytes


class Tile(NamedTuple):
    """A tile of level 1 or above, 1 to 256 hashes wide."""

    level: int
    number: int
    hashes: bytes


class Tail(NamedTuple):
    """Entries behind the last full bundle, from `first_index` on; fewer than 256."""

    first_index: int
    leaf_hashes: bytes
    packed: bytes


class Growth(NamedTuple):
    """What a group of entries adds to a tree, and the edge it leaves."""

    edge: RightEdge
    bundles: Sequence[Bundle]
    """Bundles that the group fills; if there are any, they hold the whole old tail."""
    tail: Tail | None
    """The group's entries that are in no full bundle."""
    tiles: Sequence[Tile]
    """Tiles that are new or wider than before, each once."""


@dataclass(frozen=True, slots=True)
class RightEdge:
    """Immutable, so that a commit that failed leaves nothing to undo."""

    size: int = 0
    tail_hashes: bytes = b""
    """Leaf hashes of the tail, size % 256 of them."""
    tail_packed: tuple[bytes, ...] = ()
    """The tail's packed entries, in pieces: joined once, when the bundle is full."""
    tiles: tuple[bytes, ...] = ()
    """Hashes of the partial tiles: element i is of level i + 1 and holds (size >> 8 (i + 1)) % 256 of them."""

    def root(self) -> bytes:
        """RFC 6962 root of all `size` entries."""
        return root_of_partial_tiles((self.tail_hashes, *self.tiles))

    def grown(self, packed: bytes, leaf_hashes: bytes) -> Growth:
        """Add the entries in `packed`, which have these leaf hashes (32 bytes each).

        Raises ValueError if the bytes do not hold as many entries as there are hashes.
        """
        count = len(leaf_hashes) // HASH_SIZE
        hashes = self.tail_hashes + leaf_hashes
        first_cut = WIDTH - len(self.tail_hashes) // HASH_SIZE
        if count < first_cut:
            edge = RightEdge(self.size + count, hashes, (*self.tail_packed, packed), self.tiles)
            return Growth(edge, (), Tail(self.size, leaf_hashes, packed), ())
        cuts = kernel.entry_offsets(packed, first_cut, WIDTH)
        if len(cuts) != len(hashes) // TILE_BYTES:
            raise ValueError(f"{len(leaf_hashes) // HASH_SIZE} leaf hashes do not belong to the group's packed bytes")
        bundles = self._bundles(packed, hashes, cuts)
        tiles, partial_tiles = self._tiles(kernel.tile_roots(hashes))
        rest, rest_hashes = packed[cuts[-1] :], hashes[len(bundles) * TILE_BYTES :]
        size = self.size + count
        edge = RightEdge(size, rest_hashes, (rest,) if rest else (), partial_tiles)
        tail = Tail(size - len(rest_hashes) // HASH_SIZE, rest_hashes, rest) if rest else None
        return Growth(edge, bundles, tail, tiles)

    def _bundles(self, packed: bytes, hashes: bytes, cuts: Sequence[int]) -> list[Bundle]:
        number = self.size // WIDTH
        view = memoryview(packed)
        bundles = [Bundle(number, hashes[:TILE_BYTES], b"".join((*self.tail_packed, view[: cuts[0]])))]
        for place in range(1, len(cuts)):
            own_hashes = hashes[place * TILE_BYTES : (place + 1) * TILE_BYTES]
            bundles.append(Bundle(number + place, own_hashes, packed[cuts[place - 1] : cuts[place]]))
        return bundles

    def _tiles(self, roots: bytes) -> tuple[list[Tile], tuple[bytes, ...]]:
        """Add the roots of full bundles to level 1, those of full tiles of level 1 to level 2, and so on."""
        changed: list[Tile] = []
        partial: list[bytes] = []
        level = 0
        while roots or level < len(self.tiles):
            hashes = (self.tiles[level] if level < len(self.tiles) else b"") + roots
            level += 1
            if roots:
                number = self.size >> 8 * (level + 1)
                changed.extend(
                    Tile(level, number + offset // TILE_BYTES, hashes[offset : offset + TILE_BYTES])
                    for offset in range(0, len(hashes), TILE_BYTES)
                )
            partial.append(hashes[len(hashes) - len(hashes) % TILE_BYTES :])
            roots = kernel.tile_roots(hashes)
        return changed, tuple(partial)


def root_of_partial_tiles(tiles: Sequence[bytes]) -> bytes:
    """Root of a tree from its partial tiles, level 0 first (RFC 6962, 2.1).

    A tree of w perfect subtrees of 256^l leaves and a smaller rest is split as one of w + 1 leaves would be.
    """
    rest = b""
    for hashes in tiles:
        if hashes or rest:
            rest = kernel.tree_root(hashes + rest)
    return rest or EMPTY_ROOT
