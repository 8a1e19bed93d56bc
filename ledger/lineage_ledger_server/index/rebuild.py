"""Makes the indexes of a ledger again from its log, while no server has it open.

They are made beside the old ones and take their place when they are whole, so the ledger can be served in the
meantime; a run that was ended goes on where its last commit was.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.errors import StoreError
from lineage_ledger_server.index.indexer import LMDB_FILES, Indexer
from lineage_ledger_server.static.published import opened
from lineage_ledger_server.store.lock import ExclusiveLock


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a run did."""

    origin: str
    size: int
    """Entries indexed: all that are published."""
    old_size: int
    """Those that a run before this one had indexed."""
    index_bytes: int
    seconds: float

    @property
    def entries_per_second(self) -> float:
        return (self.size - self.old_size) / self.seconds if self.seconds else 0.0


def rebuild(data_dir: DataDir, progress: Callable[[int, int], None] | None = None) -> Rebuilt:
    """`progress` is told how many entries are indexed, of how many.

    Raises SettingsError if there is no ledger, LockedError while a server has it, DiskFullError, StoreError or
    CorruptValueError for a log that cannot be read, NotWitnessedError if nothing is published.
    """
    start_s = time.monotonic()
    with opened(data_dir) as log:
        lock = ExclusiveLock(data_dir.lock)
        try:
            path = data_dir.index.resolve()  # it may be on a disk of its own
            new = path.with_name(f"{path.name}.new")
            _check(path)
            head = log.reader.head()
            indexer = Indexer(new, log.reader_of(head))
            try:
                old_size = min(indexer.indexed_size, head.size)
                while indexer.step():
                    if progress is not None:
                        progress(indexer.indexed_size, head.size)
                if progress is not None:
                    progress(head.size, head.size)
                index_bytes = indexer.file_bytes
            finally:
                indexer.stop()
            _replace(path, new)
            return Rebuilt(log.checkpoint().origin, head.size, old_size, index_bytes, time.monotonic() - start_s)
        finally:
            lock.release()


def _check(path: Path) -> None:
    """What is replaced in the end must be indexes and nothing else. Raises StoreError."""
    if path.exists() and not path.is_dir():
        raise StoreError(f"{path} is no folder of indexes; move it away")
    others = sorted({file.name for file in path.glob("*")} - set(LMDB_FILES))
    if others:
        raise StoreError(f"{path} holds {others[0]}, which is not of the indexes; move it away")


def _replace(path: Path, new: Path) -> None:
    """Put `new` in the place of `path`. If this is cut off there are none, and the next start makes them."""
    try:
        if path.is_dir():
            shutil.rmtree(path)
        new.rename(path)
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreError(f"cannot put {new} in the place of {path}: {error.strerror}") from error
