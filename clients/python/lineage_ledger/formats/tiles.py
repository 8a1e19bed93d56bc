"""Tiles and entry bundles of a log (C2SP tlog-tiles): which there are, where a hash lies, how they are called.

Entry i of tile n at level L is the root of leaves [(256n + i)·256^L, (256n + i + 1)·256^L); a full tile has 256.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from lineage_ledger.errors import MalformedError
from lineage_ledger.formats.merkle import HASH_SIZE, MAX_SIZE, node_hash
from lineage_ledger.formats.text import MAX_DECIMAL

if TYPE_CHECKING:
    from collections.abc import Iterator

TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
"""Hashes of a full tile, and entries of a full bundle."""
TILE_SIZE: Final = TILE_WIDTH * HASH_SIZE
"""Bytes of a full tile."""
MAX_TILE_LEVEL: Final = 63

_PATH: Final = re.compile(
    r"tile/(?P<kind>entries|[0-9]{1,2})/(?P<number>(?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/(?P<width>[0-9]{1,3}))?"
)


class Tile(NamedTuple):
    """A tile, or as much of one as `width` says."""

    level: int
    """0 to 63; its hashes are roots of 256^level leaves each."""
    number: int
    """Place in its level, from 0."""
    width: int
    """Hashes in it, 1 to 256."""


class Bundle(NamedTuple):
    """An entry bundle, or as much of one as `width` says."""

    number: int
    """It starts with the entry at index 256 * number."""
    width: int
    """Entries in it, 1 to 256."""


class HashPlace(NamedTuple):
    """Where a hash lies: it is the root over the hashes of a tile from `start` to the end of its needed width."""

    tile: Tile
    """Its width is the least that is needed."""
    start: int


def tile_path(level: int, number: int, width: int) -> str:
    """The path of a tile, such as `tile/0/x001/x234/067.p/8`. Raises `MalformedError` for what no log has."""
    if not 0 <= level <= MAX_TILE_LEVEL:
        raise MalformedError(f"a tile's level is 0 to {MAX_TILE_LEVEL}, not {level}")
    return f"tile/{level}/{_encode_number_and_width(number, width)}"


def bundle_path(number: int, width: int) -> str:
    """The path of an entry bundle, such as `tile/entries/000`. Raises `MalformedError` for what no log has."""
    return f"tile/entries/{_encode_number_and_width(number, width)}"


def parse_tile_path(path: str) -> Tile:
    """The tile whose `tile_path` is `path`. Raises `MalformedError`."""
    kind, number, width = _parse_path(path)
    if kind == "entries" or tile_path(int(kind), number, width) != path:
        raise MalformedError(f"{path[:80]!r} is not the path of a tile")
    return Tile(int(kind), number, width)


def parse_bundle_path(path: str) -> Bundle:
    """The bundle whose `bundle_path` is `path`. Raises `MalformedError`."""
    kind, number, width = _parse_path(path)
    if kind != "entries" or bundle_path(number, width) != path:
        raise MalformedError(f"{path[:80]!r} is not the path of an entry bundle")
    return Bundle(number, width)


def hash_count(level: int, size: int) -> int:
    """Hashes, in all its tiles, that a tile level of the tree of `size` leaves has: floor(size / 256^level)."""
    return size >> (TILE_HEIGHT * level)


def tile_width(level: int, number: int, size: int) -> int:
    """Hashes of one tile in the tree of `size` leaves; 0 if there is no such tile."""
    return max(0, min(TILE_WIDTH, hash_count(level, size) - TILE_WIDTH * number))


def tiles_of(size: int, old_size: int = 0) -> Iterator[Tile]:
    """The tiles of the tree of `size` leaves that the tree of `old_size` has not, or has narrower.

    Level by level from 0, in ascending order of numbers.
    """
    level = 0
    while (count := hash_count(level, size)) > 0:
        old_count = hash_count(level, old_size)
        if count > old_count:
            for number in range(old_count // TILE_WIDTH, (count + TILE_WIDTH - 1) // TILE_WIDTH):
                yield Tile(level, number, tile_width(level, number, size))
        level += 1


def hash_in_tile(level: int, n: int) -> HashPlace:
    """Where the root of leaves [n << level, (n + 1) << level) lies. Raises `MalformedError` beyond 2^63 leaves."""
    if level < 0 or n < 0 or (n + 1) << level > MAX_SIZE:
        raise MalformedError(f"no tree holds the hash at level {level}, number {n}")
    tile_level, rest = divmod(level, TILE_HEIGHT)
    number, start = divmod(n << rest, TILE_WIDTH)
    return HashPlace(Tile(tile_level, number, start + (1 << rest)), start)


def hash_from_tile(hashes: bytes, level: int, n: int) -> bytes:
    """The root of leaves [n << level, (n + 1) << level), from the tile that `hash_in_tile` names.

    `hashes` is the tile, 32 bytes a hash; it may be wider than needed. Raises `MalformedError` if it is narrower or no
    tile at all.
    """
    needed, start = hash_in_tile(level, n)
    width, rest = divmod(len(hashes), HASH_SIZE)
    if rest or not needed.width <= width <= TILE_WIDTH:
        raise MalformedError(
            f"tile {needed.number} of level {needed.level} has {len(hashes)} bytes, "
            f"where {needed.width} to {TILE_WIDTH} hashes of {HASH_SIZE} bytes are needed"
        )
    roots = [hashes[at * HASH_SIZE : (at + 1) * HASH_SIZE] for at in range(start, needed.width)]
    while len(roots) > 1:
        roots = [node_hash(left, right) for left, right in zip(roots[::2], roots[1::2], strict=True)]
    return roots[0]


def _encode_number_and_width(number: int, width: int) -> str:
    if not 0 <= number <= MAX_DECIMAL // TILE_WIDTH:
        raise MalformedError(f"no log has a tile {number}")
    if not 1 <= width <= TILE_WIDTH:
        raise MalformedError(f"a tile's width is 1 to {TILE_WIDTH}, not {width}")
    encoded = f"{number % 1000:03}"
    while number := number // 1000:
        encoded = f"x{number % 1000:03}/{encoded}"
    return encoded if width == TILE_WIDTH else f"{encoded}.p/{width}"


def _parse_path(path: str) -> tuple[str, int, int]:
    """What a path says; whether it says so in the one way accepted is for the caller to compare."""
    match = _PATH.fullmatch(path)
    if match is None:
        raise MalformedError(
            f"{path[:80]!r} is not the path of a tile or a bundle, such as tile/0/000 or tile/entries/x001/234.p/5"
        )
    number = int(match["number"].replace("/", "").replace("x", ""))
    return match["kind"], number, TILE_WIDTH if match["width"] is None else int(match["width"])
