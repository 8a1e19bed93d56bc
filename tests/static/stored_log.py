"""A ledger in a folder, of any number of entries, made fast: they are no predictions, but tree and files are real."""

from __future__ import annotations

from pathlib import Path

from lineage_ledger import kernel
from lineage_ledger.formats import merkle, packed
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Signer
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.head import Head, HeadRecord
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
        self._blocks = 0
        self.grow(size)
        self.data_dir.verifier_key.write_text(f"{self.signer.verifier}\n")

    def entry(self, index: int) -> bytes:
        """What is logged at `index`."""
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

    def close(self) -> None:
        self.store.close()
        self._record.close()

    def __enter__(self) -> StoredLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
