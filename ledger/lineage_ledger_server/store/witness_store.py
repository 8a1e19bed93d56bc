"""What a witness has cosigned: of each log the newest tree, in a small LMDB environment of its own.

logs    origin -> SHA-256 of the rest ‖ u64be time ‖ the log's signed note
"""

from __future__ import annotations

import hashlib
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from lineage_ledger.errors import LineageError
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Note
from lineage_ledger_server.errors import CorruptValueError
from lineage_ledger_server.store.environment import Environment

MAP_BYTES: Final = 1 << 30
_LOGS: Final = "logs"
_TIME: Final = struct.Struct(">Q")
_CHECKSUM_BYTES: Final = 32


class WitnessedTree(NamedTuple):
    """The newest tree of a log that was cosigned."""

    checkpoint: Checkpoint
    time_unix_s: int
    """When, by the witness' clock."""
    note: bytes
    """As the log signed it."""


class WitnessStore:
    """Trees by origin, in the folder `path`; any thread may use it. Raises `StoreError` if it cannot be opened."""

    def __init__(self, path: Path) -> None:
        self._environment = Environment(path, tables=(_LOGS,), map_bytes=MAP_BYTES)
        self._lock = threading.Lock()

    def newest(self, origin: str) -> WitnessedTree | None:
        """What was cosigned last. Raises `CorruptValueError` for a row that is not as it was written."""
        with self._environment.read() as txn:
            row = txn.get(origin.encode(), db=self._environment.table(_LOGS))
            return None if row is None else _parse(origin, bytes(row))

    def advance(self, origin: str, decide: Callable[[WitnessedTree | None], WitnessedTree]) -> WitnessedTree:
        """Replace the newest tree of `origin` by what `decide` makes of it; synced when this returns.

        Nobody else changes it meanwhile, in no thread and no process; what `decide` raises leaves all as it was.
        Raises `CorruptValueError` or `StoreError`.
        """
        # LMDB has one writer at a time by itself, but the map must not grow while another thread writes.
        with self._lock, self._environment.write() as txn:
            table = self._environment.table(_LOGS)
            row = txn.get(origin.encode(), db=table)
            newest = None if row is None else _parse(origin, row)
            tree = decide(newest)
            if tree != newest:
                txn.put(origin.encode(), _row(tree), db=table)
        return tree

    def close(self) -> None:
        self._environment.close()


def _row(tree: WitnessedTree) -> bytes:
    content = _TIME.pack(tree.time_unix_s) + tree.note
    return hashlib.sha256(content).digest() + content


def _parse(origin: str, row: bytes) -> WitnessedTree:
    checksum, content = row[:_CHECKSUM_BYTES], row[_CHECKSUM_BYTES:]
    try:
        if hashlib.sha256(content).digest() != checksum:
            raise CorruptValueError("its checksum is another")
        note = content[_TIME.size :]
        checkpoint = Checkpoint.parse(Note.parse(note).text)
        if checkpoint.origin != origin:
            raise CorruptValueError("it is of another log")
    except LineageError as error:
        raise CorruptValueError(
            f"what the witness has on record of {origin!r} is damaged: {error}. Nothing of it will be cosigned"
        ) from error
    (time_unix_s,) = _TIME.unpack_from(content)
    return WitnessedTree(checkpoint, time_unix_s, note)
