"""Finding through the indexes. They say where to look; what is returned is read from the log and checked there."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from lineage_ledger.formats import packed as packed_format
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Note
from lineage_ledger.formats.strict import parse_entry
from lineage_ledger.trace import SealedEntry, digest_key
from lineage_ledger.v1 import entry_pb2
from lineage_ledger_server.errors import CorruptValueError, NotFoundError
from lineage_ledger_server.index.rows import Tally
from lineage_ledger_server.store.index_store import IndexStore, Position, Posting, PostingRow
from lineage_ledger_server.store.run_rows import PREFIX_BYTES

if TYPE_CHECKING:
    from lineage_ledger_server.reading.log_reader import LogReader

PAGE = 256
MAX_KEPT_BYTES = 8 << 20
BUNDLE = 256
WAIT_STEP_S = 0.001
MAX_WAIT_STEP_S = 0.016


def origin_of(reader: LogReader) -> str:
    """The origin of the log, as its checkpoint says."""
    return Checkpoint.parse(Note.parse(reader.head().note).text).origin


class BoundSeal(NamedTuple):
    """A seal, and how many of its predictions are bound to the deployment asked for."""

    seal_index: int
    predictions: int


class Lookup:
    """Statements, seals and request ids by what is asked for; every method takes the range of indexes to look in."""

    def __init__(self, reader: LogReader, store: IndexStore, hurry: Callable[[], None] = lambda: None) -> None:
        """`hurry` tells who writes the indexes that somebody waits for them."""
        self._reader = reader
        self._store = store
        self._hurry = hurry

    def position(self) -> Position:
        """How far the indexes are; entries from there on are not found yet."""
        return self._store.position()

    def searchable_size(self) -> int:
        """Entries that are both published and indexed."""
        return min(self._store.position().size, self._reader.head().size)

    def wait_for(self, size: int, timeout_s: float) -> bool:
        """Wait until `size` entries are indexed, at most `timeout_s`; whether they are."""
        until = time.monotonic() + timeout_s
        step_s = WAIT_STEP_S
        while self._store.position().size < size:
            if time.monotonic() >= until:
                return False
            self._hurry()
            time.sleep(step_s)
            step_s = min(2 * step_s, MAX_WAIT_STEP_S)
        return True

    def indexes(self, kind: Posting, subject: bytes, start: int, end: int) -> Iterator[int]:
        """Indexes in [start, end) that are posted for a subject, ascending."""
        return (index for index, _ in self._postings(kind, subject, start, end))

    def first(self, kind: Posting, subject: bytes, end: int) -> int | None:
        """The first index below `end` that is posted for a subject."""
        rows = self._store.postings(kind, subject, 0, end, 1)
        return rows[0][0] if rows else None

    def bound_seals(self, deployment_hash: bytes, start: int, end: int) -> Iterator[BoundSeal]:
        """Seals in [start, end) with predictions bound to a deployment, ascending."""
        return (BoundSeal(*row) for row in self._postings(Posting.BOUND, deployment_hash, start, end))

    def _postings(self, kind: Posting, subject: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
        while start < end:
            rows = self._store.postings(kind, subject, start, end, PAGE)
            yield from rows
            if len(rows) < PAGE:
                return
            start = rows[-1][0] + 1

    def with_request_id(self, request_id: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Predictions in [start, end) with this request id, by index, ascending: index and entry."""
        prefix = hashlib.sha256(request_id).digest()[:PREFIX_BYTES]
        tail = end - end % BUNDLE
        at = start
        while at < tail:
            hits = self._store.find_rows(prefix, at, tail, PAGE)
            entries = ((index, self._reader.entry(index)) for index in hits)
            yield from (hit for hit in entries if _has_request_id(hit[1], request_id))
            if len(hits) < PAGE:
                break
            at = hits[-1] + 1
        # The last bundle has a run when it is full; until then it is looked through.
        for first_index, _, packed in self._reader.packed_range(max(start, tail), end) if tail < end else ():
            if request_id in packed:
                for index, entry in enumerate(packed_format.iterate(packed), first_index):
                    if request_id in entry and _has_request_id(entry, request_id):
                        yield index, entry


class LogStatements:
    """The `StatementSource` of one walk over the log as it was when it had `size` entries. For one thread."""

    def __init__(self, reader: LogReader, lookup: Lookup, size: int, check: Callable[[], None] = lambda: None) -> None:
        """`check` is called before each entry is read; it raises to end the walk."""
        self._reader = reader
        self._lookup = lookup
        self._size = size
        self._check = check
        self._kept: dict[int, SealedEntry] = {}
        self._kept_bytes = 0
        self._names: dict[bytes, str] = {}

    def sealed_entry(self, index: int) -> SealedEntry:
        """Raises NotFoundError for an entry that no producer sealed."""
        if (kept := self._kept.get(index)) is not None:
            return kept
        self._check()
        entry = self._reader.entry(index)
        row, seal = self._reader.seal_of(index)
        if index >= row.seal_index:
            raise NotFoundError(f"entry {index} is a seal; only predictions and statements have a lineage")
        sealed = SealedEntry(index, entry, row.seal_index, seal)
        self._kept_bytes += len(entry) + len(seal.body_bytes)
        if self._kept_bytes <= MAX_KEPT_BYTES:
            self._kept[index] = sealed
        return sealed

    def statement_index(self, leaf_hash: bytes) -> int | None:
        return self._first(Posting.STATEMENT, leaf_hash)

    def artifact_index(self, digest: entry_pb2.Digest) -> int | None:
        return self._first(Posting.ARTIFACT, digest_key(digest))

    def generating_runs(self, digest: entry_pb2.Digest) -> Iterator[int]:
        return self._all(Posting.GENERATED, digest_key(digest))

    def attestations(self, digest: entry_pb2.Digest) -> Iterator[int]:
        return self._all(Posting.ATTESTED, digest_key(digest))

    def _first(self, kind: Posting, subject: bytes) -> int | None:
        index = self._lookup.first(kind, subject, self._size)
        return None if index is None else self._checked(index, kind, subject)

    def _all(self, kind: Posting, subject: bytes) -> Iterator[int]:
        return (self._checked(index, kind, subject) for index in self._lookup.indexes(kind, subject, 0, self._size))

    def _checked(self, index: int, kind: Posting, subject: bytes) -> int:
        """An index that the entry there bears out: what LMDB gives back may have been changed on the disk."""
        entry = self.sealed_entry(index).entry
        tally = Tally()
        tally.add(index, entry)
        if PostingRow(kind, subject, index) not in tally.postings:
            raise CorruptValueError(
                f"the indexes say {kind.name} of entry {index}, which the entry does not; have them made again",
                index=index,
            )
        return index

    def producer_name(self, public_key: bytes) -> str:
        """The name under which a key was registered."""
        if public_key not in self._names:
            row = self._reader.producer(public_key)
            if row is None:
                raise NotFoundError(f"no producer with the key {public_key.hex()} is registered")
            registered = parse_entry(self._reader.entry(row.registered_index)).producer_registered
            self._names[public_key] = entry_pb2.ProducerRegistration.FromString(registered.body).name
        return self._names[public_key]


def _has_request_id(entry: bytes, request_id: bytes) -> bool:
    parsed = entry_pb2.Entry.FromString(entry)
    return parsed.HasField("prediction") and parsed.prediction.request_id == request_id
