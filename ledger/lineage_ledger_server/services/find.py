"""Finding predictions: all criteria hold, oldest first, a page at a time, never more work than a page may cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lineage_ledger.formats import packed as packed_format
from lineage_ledger.trace import SealedEntry
from lineage_ledger.v1 import entry_pb2
from lineage_ledger_server.errors import NotFoundError
from lineage_ledger_server.store.index_store import Posting

if TYPE_CHECKING:
    from lineage_ledger_server.index.lookup import Lookup
    from lineage_ledger_server.reading.log_reader import LogReader

MAX_SCANNED = 65_536
"""Entries and batches looked at for one page; then it is given out as it is, with a token to go on."""
ASK_EVERY = 256


@dataclass(frozen=True, slots=True)
class Criteria:
    """What must hold; an empty value, or a time of 0, asks for nothing."""

    request_id: bytes
    from_time_unix_ns: int
    until_time_unix_ns: int
    public_key: bytes
    deployment_hash: bytes


@dataclass(frozen=True, slots=True)
class Page:
    predictions: list[SealedEntry]
    next_index: int | None
    """Where the next page begins to look; None: everything was looked at."""
    searched_size: int
    """Entries up to here are in the answer, as far as pages have come."""


class PredictionSearch:
    """Searches the log with the help of its indexes. Thread-safe; `find` is one page."""

    def __init__(self, reader: LogReader, lookup: Lookup) -> None:
        self._reader = reader
        self._lookup = lookup

    def find(self, criteria: Criteria, start: int, size: int, may_go_on: Callable[[], bool]) -> Page:
        """At most `size` predictions from index `start` on. `may_go_on` is asked now and then; a no ends the page."""
        searched_size = end = self._searchable_size()
        if criteria.from_time_unix_ns or criteria.until_time_unix_ns:
            first, until = self._reader.blocks_between(criteria.from_time_unix_ns, criteria.until_time_unix_ns)
            start, end = max(start, first), min(end, until)
        found: list[SealedEntry] = []
        budget = _Budget(may_go_on)
        for first_index, candidates in self._candidates(criteria, start, end):
            if not budget.spend():
                return Page(found, first_index, searched_size)
            for candidate in candidates:
                index = candidate if isinstance(candidate, int) else candidate.index
                if len(found) == size or not budget.spend():
                    return Page(found, index, searched_size)
                if not isinstance(candidate, int) and _matches(candidate, criteria):
                    found.append(candidate)
        return Page(found, None, searched_size)

    def _searchable_size(self) -> int:
        """Entries that are published and indexed, and whose batch is too: the indexes may be within one."""
        size = self._lookup.searchable_size()
        if 0 < size < self._reader.head().size:
            try:
                row, _ = self._reader.seal_of(size - 1)
            except NotFoundError:
                return size
            if row.seal_index >= size:
                return row.seal_index - row.count
        return size

    def _candidates(
        self, criteria: Criteria, start: int, end: int
    ) -> Iterator[tuple[int, Iterable[SealedEntry | int]]]:
        """All predictions in [start, end) that match, ascending, and as few others as can be: some at a time, with the
        index to go on at if they are not looked at any more."""
        if criteria.request_id:
            for index, entry in self._lookup.with_request_id(criteria.request_id, start, end):
                row, seal = self._reader.seal_of(index)
                yield index, (SealedEntry(index, entry, row.seal_index, seal),)
            return
        for first, last in self._ranges(criteria, start, end):
            yield first, self._predictions(first, last)

    def _ranges(self, criteria: Criteria, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Ranges within [start, end) to look through, ascending."""
        seals: Iterator[int]
        if criteria.deployment_hash:
            seals = (row.seal_index for row in self._lookup.bound_seals(criteria.deployment_hash, start, end))
        elif criteria.public_key:
            seals = self._lookup.indexes(Posting.SEALED, criteria.public_key, start, end)
        else:
            yield start, end
            return
        for seal_index in seals:
            row, _ = self._reader.seal_of(seal_index)
            yield max(start, seal_index - row.count), seal_index

    def _predictions(self, start: int, end: int) -> Iterator[SealedEntry | int]:
        """Each prediction in [start, end) with its seal, and the bare index of every other entry."""
        seal_index, seal = -1, None
        for first_index, _, packed in self._reader.packed_range(start, end):
            for index, entry in enumerate(packed_format.iterate(packed), first_index):
                if entry[0] >> 3 != entry_pb2.Entry.PREDICTION_FIELD_NUMBER:
                    yield index
                    continue
                if seal is None or index > seal_index:
                    row, seal = self._reader.seal_of(index)
                    seal_index = row.seal_index
                yield SealedEntry(index, entry, seal_index, seal)


class _Budget:
    """What one page may still cost, in entries and batches looked at."""

    def __init__(self, may_go_on: Callable[[], bool]) -> None:
        self._left = MAX_SCANNED
        self._may_go_on = may_go_on

    def spend(self) -> bool:
        """Whether one more may be looked at. Never a no at once, so every page gets on."""
        self._left -= 1
        return self._left >= 0 and (self._left % ASK_EVERY != 0 or self._may_go_on())


def _matches(candidate: SealedEntry, criteria: Criteria) -> bool:
    """The request id, key and deployment; the time is in the range that was looked through."""
    if criteria.public_key and candidate.seal.body.public_key != criteria.public_key:
        return False
    prediction = entry_pb2.Entry.FromString(candidate.entry).prediction
    if criteria.request_id and prediction.request_id != criteria.request_id:
        return False
    return not criteria.deployment_hash or candidate.deployment_hash(prediction) == criteria.deployment_hash
