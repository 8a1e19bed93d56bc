"""The right edge of a tree: all that adding to it needs, and all that its root follows from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lineage_ledger import kernel
from lineage_ledger.formats.merkle import EMPTY_ROOT, HASH_SIZE
from lineage_ledger.formats.tiles import TILE_HEIGHT, TILE_WIDTH


class Edge(NamedTuple):
    """The newest tile of each level, at most 255 hashes of it; a level is empty when its newest tile is full."""

    size: int
    """Entries of the tree."""
    levels: tuple[bytes, ...]
    """Hashes, 32 bytes each, from level 0 (of leaves) up; as many levels as have had a hash."""

    def root(self) -> bytes:
        """Root of the tree."""
        return edge_root(self.levels)

    def extended(self, leaf_hashes: bytes) -> Edge:
        """The edge with these leaves (32 bytes each) added."""
        levels = list(self.levels)
        added, level = leaf_hashes, 0
        while added:
            if len(levels) == level:
                levels.append(b"")
            hashes = levels[level] + added
            full = len(hashes) - len(hashes) % (TILE_WIDTH * HASH_SIZE)
            levels[level] = hashes[full:]
            added = kernel.tile_roots(hashes[:full])
            level += 1
        return Edge(self.size + len(leaf_hashes) // HASH_SIZE, tuple(levels))


EMPTY = Edge(0, ())


def level_widths(size: int) -> list[int]:
    """How many hashes each level of the edge of a tree of `size` entries has, from level 0 up."""
    widths = []
    while size:
        widths.append(size % TILE_WIDTH)
        size >>= TILE_HEIGHT
    return widths


def edge_root(levels: Sequence[bytes]) -> bytes:
    """Root of the tree whose right edge this is; a level may also hold 256 hashes, if those above do not count them.

    RFC 6962 splits w perfect subtrees with a smaller rest behind them as it does w + 1 leaves.
    """
    rest = b""
    for hashes in levels:
        if hashes or rest:
            rest = kernel.tree_root(hashes + rest)
    return rest or EMPTY_ROOT
