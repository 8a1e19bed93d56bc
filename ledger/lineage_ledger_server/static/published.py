"""The files of a ledger, opened to be read beside the process that writes them; and which checkpoint is published."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lineage_ledger.errors import SettingsError
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Verifier
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.head import Head, HeadRecord
from lineage_ledger_server.reading.log_reader import LogReader
from lineage_ledger_server.store.log_store import LogStore


class PublishedLog:
    """A log up to its published head, and the signed checkpoint that is shown for it. Thread-safe.

    Opens everything on construction. Raises SettingsError if there is no ledger, StoreError, CorruptError or
    VerificationError if its files cannot be used.
    """

    def __init__(self, data_dir: DataDir) -> None:
        if not data_dir.exists:
            raise SettingsError(f"there is no ledger in {data_dir.root} to read; `lineage serve --data` makes one")
        self.verifier = Verifier.parse(data_dir.verifier_key.read_text().strip())
        self._head_record = HeadRecord(data_dir.head, read_only=True)
        try:
            self._store = LogStore.open(data_dir.log, read_only=True)
        except BaseException:
            self._head_record.close()
            raise
        self.reader = LogReader(self._store, self._head_record)
        try:
            Checkpoint.open(self.note(), self.verifier)
        except BaseException:
            self.close()
            raise

    def note(self) -> bytes:
        """The newest checkpoint to show, a signed note; its tree is the reader's, or the start of it."""
        return self.reader.head().note

    def reader_of(self, head: Head) -> LogReader:
        """A reader that stays at one head while the log grows."""
        return LogReader(self._store, lambda: head)

    def close(self) -> None:
        """Let go of the files."""
        self._store.close()
        self._head_record.close()


@contextmanager
def opened(data_dir: DataDir) -> Iterator[PublishedLog]:
    """A `PublishedLog`, closed at the end."""
    log = PublishedLog(data_dir)
    try:
        yield log
    finally:
        log.close()
