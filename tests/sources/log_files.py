"""A log in files, written plainly; and what may be done to such files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lineage_ledger import kernel
from lineage_ledger.formats import merkle, packed, tiles
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Note

WIDTH = tiles.TILE_WIDTH


def said(note: bytes) -> Checkpoint:
    """What a checkpoint says."""
    return Checkpoint.parse(Note.parse(note).text)


def entries_of(root: Path) -> list[bytes]:
    """All entries under the folder's checkpoint."""
    size = said((root / "checkpoint").read_bytes()).size
    return [entry for path in bundle_paths(size) for entry in packed.split((root / path).read_bytes())]


def bundle_paths(size: int) -> list[str]:
    """The bundles of a tree, in order."""
    numbers = range((size + WIDTH - 1) // WIDTH)
    return [tiles.bundle_path(number, tiles.tile_width(0, number, size)) for number in numbers]


def write(root: Path, entries: list[bytes], note: bytes) -> Path:
    """The log of `entries`, whatever `note` says of it."""
    for name, content in _files(entries):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "checkpoint").write_bytes(note)
    return root


def _files(entries: list[bytes]) -> Iterator[tuple[str, bytes]]:
    hashes = [merkle.leaf_hash(entry) for entry in entries]
    for number, path in enumerate(bundle_paths(len(entries))):
        yield path, packed.pack(entries[WIDTH * number : WIDTH * (number + 1)])
    levels = {0: hashes}
    for tile in tiles.tiles_of(len(entries)):
        if tile.level not in levels:
            below = levels[tile.level - 1]
            full = range(0, len(below) // WIDTH * WIDTH, WIDTH)
            levels[tile.level] = [kernel.tree_root(b"".join(below[at : at + WIDTH])) for at in full]
        content = levels[tile.level][WIDTH * tile.number :][: tile.width]
        yield tiles.tile_path(*tile), b"".join(content)


def change(path: Path, at: int, content: bytes) -> None:
    """Put `content` over what stands at byte `at`."""
    data = bytearray(path.read_bytes())
    data[at : at + len(content)] = content
    path.write_bytes(data)
