"""Tiles: paths in one encoding, which tiles a tree has, and every hash from the one tile it lies in."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage_ledger.errors import MalformedError
from lineage_ledger.formats import tiles
from lineage_ledger.formats.tiles import Bundle, Tile

PATHS = [
    ("tile/0/000", Tile(0, 0, 256)),
    ("tile/0/000.p/1", Tile(0, 0, 1)),
    ("tile/0/x001/x234/067", Tile(0, 1234067, 256)),
    ("tile/0/x001/x234/067.p/255", Tile(0, 1234067, 255)),
    ("tile/63/999", Tile(63, 999, 256)),
    ("tile/10/x001/000.p/17", Tile(10, 1000, 17)),
    ("tile/2/x001/x000/000", Tile(2, 1_000_000, 256)),
]
BUNDLE_PATHS = [
    ("tile/entries/000", Bundle(0, 256)),
    ("tile/entries/x001/x234/067", Bundle(1234067, 256)),
    ("tile/entries/273.p/112", Bundle(273, 112)),
]
REFUSED = [
    "",
    "tile",
    "tile/",
    "/tile/0/000",
    "tile/0/000/",
    "tile/0",
    "tile//000",
    "tile/00/000",
    "tile/01/000",
    "tile/64/000",
    "tile/100/000",
    "tile/-1/000",
    "tile/+1/000",
    "tile/0x0/000",
    "tile/0/0",
    "tile/0/00",
    "tile/0/0000",
    "tile/0/-01",
    "tile/0/x000",
    "tile/0/x000/001",
    "tile/0/x000/x001/001",
    "tile/0/001/001",
    "tile/0/x001",
    "tile/0/x1/001",
    "tile/0/x001/x001",
    "tile/0/X001/001",
    "tile/0/000.p/0",
    "tile/0/000.p/00",
    "tile/0/000.p/01",
    "tile/0/000.p/256",
    "tile/0/000.p/257",
    "tile/0/000.p/999",
    "tile/0/000.p/1000",
    "tile/0/000.p/-1",
    "tile/0/000.p/",
    "tile/0/000.p",
    "tile/0/000.p/1/",
    "tile/0/000.P/1",
    "tile/0/000\n",
    "tile/0/000 ",
    "tile/0/\u0660\u0660\u0660",
    "tile/\u0660/000",
    "tile/0/../000",
    "tile/8/0/000",
    "tile/data/000",
    "tile/Entries/000",
    "tile/0/" + "x999/" * 6 + "999",
    "tile/0/" + "x001/" * 7 + "000",
    "tile/0/" + "x001/" * 100_000 + "000",
    "entries/000",
]


class LeafTree:
    """The root of any perfect subtree over numbered leaves, straight from the definition."""

    def __init__(self, size: int) -> None:
        self.leaves = [hashlib.sha256(i.to_bytes(4, "big")).digest() for i in range(size)]

    def root(self, level: int, n: int) -> bytes:
        nodes = self.leaves[n << level : (n + 1) << level]
        while len(nodes) > 1:
            nodes = [hashlib.sha256(b"\x01" + a + b).digest() for a, b in zip(nodes[::2], nodes[1::2], strict=True)]
        return nodes[0]

    def tile(self, tile: Tile) -> bytes:
        first = tile.number * 256
        return b"".join(self.root(8 * tile.level, first + i) for i in range(tile.width))


@pytest.mark.parametrize(("path", "tile"), PATHS)
def test_tile_paths(path: str, tile: Tile) -> None:
    assert tiles.tile_path(*tile) == path
    assert tiles.parse_tile_path(path) == tile


@pytest.mark.parametrize(("path", "bundle"), BUNDLE_PATHS)
def test_bundle_paths(path: str, bundle: Bundle) -> None:
    assert tiles.bundle_path(*bundle) == path
    assert tiles.parse_bundle_path(path) == bundle


@pytest.mark.parametrize("path", REFUSED)
def test_paths_refused(path: str) -> None:
    with pytest.raises(MalformedError):
        tiles.parse_tile_path(path)
    with pytest.raises(MalformedError):
        tiles.parse_bundle_path(path.replace("tile/0/", "tile/entries/"))


def test_a_tile_is_no_bundle() -> None:
    with pytest.raises(MalformedError):
        tiles.parse_tile_path("tile/entries/000")
    with pytest.raises(MalformedError):
        tiles.parse_bundle_path("tile/0/000")


@given(st.integers(0, 63), st.integers(0, (2**63 - 1) // 256), st.integers(1, 256))
def test_paths_round_trip(level: int, number: int, width: int) -> None:
    assert tiles.parse_tile_path(tiles.tile_path(level, number, width)) == (level, number, width)
    assert tiles.parse_bundle_path(tiles.bundle_path(number, width)) == (number, width)


@given(st.from_regex(r"\Atile/([0-9]{1,2}|entries)/(x[0-9]{3}/){0,7}[0-9]{1,4}(\.p/[0-9]{1,4})?\Z"))
@settings(max_examples=300)
def test_a_path_that_parses_is_the_path_of_what_it_says(path: str) -> None:
    try:
        tile = tiles.parse_tile_path(path)
    except MalformedError:
        return
    assert tiles.tile_path(*tile) == path


@pytest.mark.parametrize(
    ("level", "number", "width"), [(-1, 0, 1), (64, 0, 1), (0, -1, 1), (0, 2**55, 1), (0, 0, 0), (0, 0, 257)]
)
def test_no_path_of_what_no_log_has(level: int, number: int, width: int) -> None:
    with pytest.raises(MalformedError):
        tiles.tile_path(level, number, width)


def test_tiles_of_the_specification_s_example() -> None:
    found = list(tiles.tiles_of(70_000))
    assert found == [
        *(Tile(0, n, 256) for n in range(273)),
        Tile(0, 273, 112),
        Tile(1, 0, 256),
        Tile(1, 1, 17),
        Tile(2, 0, 1),
    ]


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        (0, []),
        (1, [Tile(0, 0, 1)]),
        (255, [Tile(0, 0, 255)]),
        (256, [Tile(0, 0, 256), Tile(1, 0, 1)]),
        (257, [Tile(0, 0, 256), Tile(0, 1, 1), Tile(1, 0, 1)]),
    ],
)
def test_tiles_of_small_trees(size: int, wanted: list[Tile]) -> None:
    assert list(tiles.tiles_of(size)) == wanted


@given(st.integers(0, 200_000), st.integers(0, 200_000))
@settings(max_examples=60, deadline=None)
def test_new_tiles_are_those_that_differ(size: int, other: int) -> None:
    old_size, size = sorted((size, other))
    before, after = set(tiles.tiles_of(old_size)), set(tiles.tiles_of(size))
    assert set(tiles.tiles_of(size, old_size)) == after - before
    for tile in after:
        assert tiles.tile_width(tile.level, tile.number, size) == tile.width


@given(st.integers(0, 7), st.integers(0, 2**40), st.integers(0, 2**48))
def test_width_of_a_tile(level: int, number: int, size: int) -> None:
    hashes = size // 256**level
    wanted = min(256, max(0, hashes - 256 * number))
    assert tiles.tile_width(level, number, size) == wanted


def test_every_hash_comes_from_its_tile() -> None:
    size = 1000
    tree = LeafTree(size)
    for level in range(10):
        for n in range(size >> level):
            needed = tiles.hash_in_tile(level, n).tile
            assert needed.width <= tiles.tile_width(needed.level, needed.number, size)
            if level > 4 or n % 17 == 0:
                assert tiles.hash_from_tile(tree.tile(needed), level, n) == tree.root(level, n)


@given(st.integers(0, 62), st.integers(0, 2**63))
def test_place_of_a_hash(level: int, n: int) -> None:
    n %= (2**63 - 1) >> level
    tile, start = tiles.hash_in_tile(level, n)
    leaves_each = 256**tile.level
    assert (256 * tile.number + start) * leaves_each == n << level
    assert (256 * tile.number + tile.width) * leaves_each == (n + 1) << level
    assert 0 <= start < tile.width <= 256
    assert tile.width - start <= 128


@pytest.mark.parametrize(("level", "n"), [(-1, 0), (0, -1), (0, 2**63 - 1), (63, 0), (62, 1), (2**20, 0)])
def test_no_place_beyond_all_trees(level: int, n: int) -> None:
    with pytest.raises(MalformedError):
        tiles.hash_in_tile(level, n)


@pytest.mark.parametrize(
    ("size", "level", "n"), [(0, 0, 0), (31, 0, 0), (33, 0, 0), (32 * 5, 0, 5), (32 * 7, 3, 0), (8224, 0, 0)]
)
def test_a_tile_that_does_not_hold_the_hash_is_refused(size: int, level: int, n: int) -> None:
    with pytest.raises(MalformedError):
        tiles.hash_from_tile(bytes(size), level, n)


def test_a_wider_tile_holds_the_same_hash() -> None:
    tree = LeafTree(256)
    full = tree.tile(Tile(0, 0, 256))
    for width in range(12, 257, 61):
        assert tiles.hash_from_tile(full[: 32 * width], 2, 2) == tree.root(2, 2)
