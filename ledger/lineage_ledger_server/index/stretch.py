"""What the next stretch of the log adds to the indexes, read in pieces that are large and bounded in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lineage_ledger import kernel
from lineage_ledger_server.index.rows import Tally
from lineage_ledger_server.index.runs import RunBuilder
from lineage_ledger_server.store.index_store import IndexWrite, Position
from lineage_ledger_server.store.run_rows import RUN_RANGE_BITS, RunKey, range_offset, run_width

if TYPE_CHECKING:
    from collections.abc import Callable

    from lineage_ledger_server.reading.log_reader import LogReader

BUNDLE: Final = 256
READ_LEVEL: Final = 2
"""The widest run that is made in one call; what it is made of is read in a transaction, which is to be short."""
MAX_READ_BYTES: Final = 32 << 20
"""Of packed entries for one call: entries that are no predictions are copied."""
# What one commit may hold: enough that its sync is nothing beside it, little enough that memory stays small.
MAX_COMMIT_ENTRIES: Final = 1 << RUN_RANGE_BITS
MAX_COMMIT_POSTINGS: Final = 1 << 17
MAX_TOTAL: Final = (1 << 64) - 1


class Stretch:
    """From the position `before` on, of the log up to `size`: as much as fits into one commit."""

    def __init__(self, reader: LogReader, stored: Callable[[RunKey], bytes], before: Position, size: int) -> None:
        """`stored` gives the rows of a run that is stored already."""
        self._reader = reader
        self._before = before
        self._size = size
        self._tally = Tally()
        self.builder = RunBuilder(stored)

    def read(self, is_stopped: Callable[[], bool] = lambda: False) -> IndexWrite:
        """Raises CorruptValueError for a log that is not what its root says, as far as that is looked at."""
        before = self._before
        # The bundle that the position lies in is read again whole: its run is made when it is full.
        start = before.size - before.size % BUNDLE
        last = self._size - self._size % BUNDLE
        # Up to where a run of the highest level is complete, so that its rows are written once and not level by level.
        boundary = ((start >> RUN_RANGE_BITS) + 1) << RUN_RANGE_BITS
        at = self._read_bundles(
            start, min(last, boundary, start + MAX_COMMIT_ENTRIES + -MAX_COMMIT_ENTRIES % BUNDLE), is_stopped
        )
        if at == last and at - before.size < MAX_COMMIT_ENTRIES and not is_stopped():
            for first_index, count, packed in self._reader.packed_range(at, self._size):
                self._add(first_index, kernel.request_id_rows([packed], 0).others)
                at = first_index + count
        tally = self._tally
        after = Position(
            at,
            self._reader.root(at),
            before.predictions + tally.predictions,
            min(before.lost + tally.lost, MAX_TOTAL),  # three seals can declare more lost than 64 bits count
            before.statements + tally.statements,
        )
        return IndexWrite(before, after, tally.postings, self.builder.runs, self.builder.merged)

    def _read_bundles(self, at: int, end: int, is_stopped: Callable[[], bool]) -> int:
        """Read the full bundles in [at, end), as few runs as there can be; where it ended, not before the first."""
        most = READ_LEVEL
        while at < end:
            level = next(level for level in range(most, -1, -1) if is_run(at, level, end))
            found = self._reader.request_id_rows(
                at, at + run_width(level), range_offset(at), MAX_READ_BYTES if level else None
            )
            if found is None:
                most = level - 1
                continue
            self.builder.add(RunKey(at, level), found.rows)
            self._add(at, found.others)
            at += run_width(level)
            if is_stopped() or len(self._tally.postings) >= MAX_COMMIT_POSTINGS:
                break
        return at

    def _add(self, first_index: int, others: list[tuple[int, bytes]]) -> None:
        for place, entry in others:
            if first_index + place >= self._before.size:
                self._tally.add(first_index + place, entry)


def is_run(start: int, level: int, end: int) -> bool:
    """Whether a run of this level may begin at `start`, and ends within `end`."""
    return start % run_width(level) == 0 and start + run_width(level) <= end
