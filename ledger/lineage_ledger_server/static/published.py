"""A log up to its published head, read beside the process that writes it; and which checkpoint is shown for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

from lineage_ledger.errors import SettingsError
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.ledger_keys import LedgerKeys
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.errors import NotWitnessedError
from lineage_ledger_server.head import Head, HeadRecord
from lineage_ledger_server.publication import Publication
from lineage_ledger_server.reading.log_reader import LogReader
from lineage_ledger_server.store.log_store import LogStore


class PublishedLog:
    """`store` up to the head that `head` gives. Thread-safe.

    `note` gives the signed checkpoint to show, whose tree must be the head's or the start of it; by default it is the
    head's own.
    """

    def __init__(self, store: LogStore, head: Callable[[], Head], note: Callable[[], bytes] | None = None) -> None:
        self._store = store
        self._note = note or (lambda: head().note)
        self._checked = b""
        self.reader = LogReader(store, head)

    def note(self) -> bytes:
        """The newest checkpoint to show, a signed note as it was signed.

        Raises SignatureError unless it is signed with the key that the log has for its size.
        """
        note = self._note()
        if note != self._checked:
            Checkpoint.open(note, self.keys())
            self._checked = note
        return note

    def checkpoint(self) -> Checkpoint:
        """What `note` says."""
        return Checkpoint.open(self.note(), self.keys())

    def keys(self) -> LedgerKeys:
        """The ledger's keys, as the log itself says them."""
        return self.reader.ledger_keys()

    def reader_of(self, head: Head) -> LogReader:
        """A reader that stays at one head while the log grows."""
        return LogReader(self._store, lambda: head)


@contextmanager
def opened(data_dir: DataDir) -> Iterator[PublishedLog]:
    """The log in a ledger's folder, whose server may be running or not; its files are open meanwhile.

    Raises SettingsError if there is no ledger, StoreError, CorruptError or VerificationError if its files cannot be
    used.
    """
    if not data_dir.exists:
        raise SettingsError(f"there is no ledger in {data_dir.root} to read; `lineage serve --data` makes one")
    with ExitStack() as files:
        record = files.enter_context(closing(HeadRecord(data_dir.head, read_only=True)))
        store = files.enter_context(closing(LogStore.open(data_dir.log, read_only=True)))
        publication = files.enter_context(closing(Publication(data_dir, record)))
        log = PublishedLog(store, publication.head, publication.note)
        with suppress(NotWitnessedError):  # nothing is published yet
            log.checkpoint()
        yield log
