"""The thread that makes the derived indexes follow the published head.

It is never in the way of intake: it reads what is published, and whatever goes wrong here is logged, tried again and
shown (`Indexer.status`), while the log goes on.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from lineage_ledger_server.errors import DiskFullError, NotWitnessedError, StoreError
from lineage_ledger_server.index.lookup import Lookup, origin_of
from lineage_ledger_server.index.stretch import Stretch
from lineage_ledger_server.store.index_store import EMPTY, IndexStore, Position

if TYPE_CHECKING:
    from pathlib import Path

    from lineage_ledger_server.reading.log_reader import LogReader
    from lineage_ledger_server.store.disk_use import IndexUse

# How often the head is looked at.
POLL_S: Final = 0.05
# How rarely commits follow each other while the log grows and nobody waits for them: each syncs the disk, and rows that
# come many at a time are merged less often.
COMMIT_INTERVAL_S: Final = 0.25
MAX_RETRY_S: Final = 5.0
LMDB_FILES: Final = ("data.mdb", "lock.mdb")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class IndexerStatus:
    indexed_size: int
    """Entries in the indexes; the head's size less this is the lag."""
    error: str
    """Why it does not advance; empty if it does."""


class IndexWork(NamedTuple):
    """What indexing took since the start."""

    commits: int = 0
    entries: int = 0
    busy_us: int = 0
    """In all, waiting for the disk included."""
    merged_rows: int = 0
    """Rows of request ids that were written again, into larger runs."""
    merge_us: int = 0


class Indexer:
    """Follows `reader`'s head in a thread of its own, the only one that writes to the indexes in the folder `path`.

    `origin` is the log's, by default that of its head. Indexes that cannot be opened, or are of another ledger or
    format, are made anew. Raises StoreError if that fails.
    """

    def __init__(self, path: Path, reader: LogReader, origin: str | None = None) -> None:
        self._reader = reader
        self._store = _open_or_make_anew(path, origin or origin_of(reader))
        self._wake = threading.Event()
        self.lookup = Lookup(reader, self._store, self._wake.set)
        self._stop = threading.Event()
        self._rebuild = False
        self._checked = False
        self._thread: threading.Thread | None = None
        self._status = IndexerStatus(self._store.position().size, "")
        self._work = IndexWork()

    @property
    def status(self) -> IndexerStatus:
        return self._status

    @property
    def work(self) -> IndexWork:
        return self._work

    @property
    def indexed_size(self) -> int:
        """Entries in the indexes."""
        return self._status.indexed_size

    def totals(self) -> Position:
        """How far the indexes are, and what they have seen up to there."""
        return self._store.position()

    @property
    def file_bytes(self) -> int:
        """Bytes that the indexes take on disk."""
        return self._store.file_bytes

    def disk_use(self) -> IndexUse:
        """What these hold. Raises StoreError."""
        return self._store.disk_use()

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="indexer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread after the commit it is at, and close the indexes. What is left is indexed after a restart."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        self._store.close()

    def rebuild(self) -> None:
        """Throw the indexes away and make them again from the log, in the thread, from now on."""
        self._rebuild = True
        self._wake.set()

    def _run(self) -> None:
        retry_s = POLL_S
        while not self._stop.is_set():
            self._wake.clear()
            try:
                indexed_size = self.indexed_size
                if self.step():
                    continue  # far behind
                wait_s = COMMIT_INTERVAL_S if self.indexed_size > indexed_size else POLL_S
                retry_s = POLL_S
            except Exception as error:  # noqa: BLE001  (the log goes on whatever happens here; seen in status and log)
                _log.error("indexing failed, will be tried again", error=str(error), retry_s=retry_s, exc_info=error)
                self._status = IndexerStatus(self._status.indexed_size, str(error) or type(error).__name__)
                wait_s = retry_s
                retry_s = min(2 * retry_s, MAX_RETRY_S)
            self._wake.wait(wait_s)

    def step(self) -> bool:
        """Index the next stretch, one commit; False if there is nothing to do. For the thread, or in its place."""
        if self._rebuild:
            self._store.clear()
            self._rebuild = False
        before = self._store.position()
        try:
            size = self._reader.head().size
        except NotWitnessedError:
            return False  # nothing is published yet
        if not self._is_of_this_log(before, size):
            _log.warning("the indexes are of another log or ahead of it; made again", indexed=before.size, size=size)
            self._store.clear()
            before = EMPTY
        if before.size == size:
            self._status = IndexerStatus(size, "")
            return False
        stretch = Stretch(self._reader, self._store.run, before, size)
        start_s = time.perf_counter()
        write = stretch.read(self._stop.is_set)
        self._store.commit(write)
        work, builder = self._work, stretch.builder
        self._work = IndexWork(
            work.commits + 1,
            work.entries + write.after.size - before.size,
            work.busy_us + int(1e6 * (time.perf_counter() - start_s)),
            work.merged_rows + builder.merged_rows,
            work.merge_us + int(1e6 * builder.merge_seconds),
        )
        self._status = IndexerStatus(write.after.size, "")
        return write.after.size < size

    def _is_of_this_log(self, position: Position, size: int) -> bool:
        if position.size > size:
            return False
        if not self._checked and position.size:
            self._checked = self._reader.root(position.size) == position.root
            return self._checked
        return True


def _open_or_make_anew(path: Path, origin: str) -> IndexStore:
    """Nothing here is worth more than its making: indexes that do not open must not keep the ledger from serving."""
    try:
        return IndexStore.open(path, origin=origin)
    except DiskFullError:
        raise
    except StoreError as error:
        _log.warning("the indexes cannot be opened; made again", path=str(path), error=str(error))
        try:
            for name in LMDB_FILES:
                (path / name).unlink(missing_ok=True)
        except OSError as unlinking:
            raise StoreError(f"cannot make the indexes in {path} anew: {unlinking.strerror}") from error
        return IndexStore.open(path, origin=origin)
