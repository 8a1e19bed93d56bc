"""A ledger in a folder, of any number of entries, made fast: they are no predictions, but tree and files are real."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lineage_ledger import kernel
from lineage_ledger.formats import merkle, packed, tiles
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Signer
from lineage_ledger.v1 import entry_pb2
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.head import Head, HeadRecord
from lineage_ledger_server.static.published import PublishedLog
from lineage_ledger_server.store.log_store import LogStore
from lineage_ledger_server.store.rows import GroupWrite

_GROUP = 65_536


class StoredLog:
    """Entry i is its index in 8 bytes and then some, 20 to 99 bytes; with another `salt`, another history."""

    def __init__(
        self, data: Path, size: int, *, origin: str = "example.com/static", seed: int = 1, salt: bytes = b""
    ) -> None:
        self.data_dir = DataDir(data)
        self.data_dir.make()
        self.signer = Signer(origin, SigningKey.from_seed(bytes([seed]) * 32))
        self.salt = salt
        self.store = LogStore.open(self.data_dir.log)
        self._record = HeadRecord(self.data_dir.head)
        with self.store.snapshot() as snapshot:
            self._blocks = (snapshot.last_block() or (0, 0))[0]
        self.grow(size)
        self.data_dir.verifier_key.write_text(f"{self.signer.verifier}\n")

    def entry(self, index: int) -> bytes:
        """What is logged at `index`; a genesis comes first, by which readers know the key."""
        if index == 0:
            genesis = entry_pb2.Genesis(
                format_version=1,
                origin=self.signer.name,
                ledger_public_key=self.signer.key.public_key,
                admin_public_keys=[bytes([9]) * 32],
                time_unix_ns=1,
            )
            return entry_pb2.Entry(genesis=genesis).SerializeToString()
        return (index.to_bytes(8, "big") + self.salt).ljust(20 + index * 7 % 80, b"e")

    def grow(self, size: int, *, publish: bool = True) -> None:
        """To `size` entries."""
        while self.store.size < size:
            first = self.store.size
            data = packed.pack([self.entry(index) for index in range(first, min(size, first + _GROUP))])
            hashes = kernel.leaf_hashes(data)
            self._blocks += 1
            last = first + len(hashes) // merkle.HASH_SIZE - 1
            self.store.append(GroupWrite(first, data, hashes, [], {}, {}, self._blocks, last))
        if publish:
            self.publish()

    def publish(self) -> None:
        """Sign what is stored."""
        self._record.write(Head.of_note(self.note()))

    def note(self) -> bytes:
        """A signed checkpoint over what is stored."""
        return Checkpoint(self.signer.name, self.store.size, self.store.root()).sign(self.signer)

    def published(self) -> PublishedLog:
        """The log, read in this process, which cannot open its files a second time."""
        return PublishedLog(self.store, self._record.read_published)

    def close(self) -> None:
        self.store.close()
        self._record.close()

    def __enter__(self) -> StoredLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def names_of(size: int) -> list[str]:
    """Paths of all tiles and bundles of the tree of `size` entries."""
    names = []
    for level, number, width in tiles.tiles_of(size):
        names.append(tiles.tile_path(level, number, width))
        if level == 0:
            names.append(tiles.bundle_path(number, width))
    return names


class Expected:
    """What lies at each path, made from the entries alone with hashlib."""

    def __init__(self, log: StoredLog, size: int) -> None:
        self.entries = [log.entry(index) for index in range(size)]
        self._levels = [[hashlib.sha256(b"\0" + entry).digest() for entry in self.entries]]

    def at(self, path: str) -> bytes:
        """The bytes at a tile's or a bundle's path."""
        if path.startswith("tile/entries/"):
            number, width = tiles.parse_bundle_path(path)
            found = self.entries[number * 256 : number * 256 + width]
            return b"".join(len(entry).to_bytes(2, "big") + entry for entry in found)
        level, number, width = tiles.parse_tile_path(path)
        while len(self._levels) <= level:
            below = self._levels[-1]
            self._levels.append([_root(below[at : at + 256]) for at in range(0, len(below) // 256 * 256, 256)])
        return b"".join(self._levels[level][number * 256 : number * 256 + width])


def _root(hashes: list[bytes]) -> bytes:
    while len(hashes) > 1:
        pairs = zip(hashes[::2], hashes[1::2], strict=True)
        hashes = [hashlib.sha256(b"\1" + left + right).digest() for left, right in pairs]
    return hashes[0]


WRONG_PATHS = (
    "checkpoint/",
    "/checkpoint",
    "Checkpoint",
    "checkpoint.txt",
    "tile",
    "tile/",
    "tile/0",
    "tile/0/",
    "tile/entries",
    "tile/entries/",
    "tile/entries/0",
    "tile/entries/0000",
    "tile/entries/x000/000",
    "tile/entries/000/",
    "tile/entries/000.p",
    "tile/entries/000.p/",
    "tile/entries/000.p/0",
    "tile/entries/000.p/01",
    "tile/entries/000.p/256",
    "tile/entries/000.p/257",
    "tile/entries/000.p/+1",
    "tile/entries/000.P/1",
    "tile/entries/000.p/1/",
    "tile/Entries/000",
    "TILE/0/000",
    "tile/00/000",
    "tile/-1/000",
    "tile/64/000",
    "tile/0/0",
    "tile/0/00",
    "tile/0/0000",
    "tile/0/-01",
    "tile/0/001/000",
    "tile/0/X001/000",
    "tile/0/x000/000",
    "tile/0/x01/000",
    "tile/0/x001",
    "tile/0/x001/x000",
    "tile/0/000.p/0",
    "tile/0/000.p/00",
    "tile/0/000.p/256",
    "tile/0/000.p/0255",
    "tile/0/000.p/1.p/1",
    "tile/0/../0/000",
    "tile/0/./000",
    "tile//0/000",
    "tile/0//000",
    "../head",
    "tile/../../keys/ledger.key",
    "tile/0/%30%30%30",
    "tile/0%2F000",
    "%74ile/0/000",
    "tile/0/000%00",
    "tile/0/\u0660\u0660\u0660",
    "tile/0/999",
    "tile/1/001",
    "tile/63/000",
    "tile/63/000.p/1",
    "tile/entries/999",
    "tile/0/x999/x999/x999/x999/x999/999",
    "tile/0/x036/x028/x797/x018/x963/967",
    "tile/0/x036/x028/x797/x018/x963/968",
    "tile/0/x999/x999/x999/x999/x999/x999/999",
    "tile/0/" + "x001/" * 100 + "000",
    "0" * 5_000,
)
"""None of them names anything in a log of 65,836 entries, and most nothing in any."""
