"""Request ids: sorted runs over aligned ranges, each a function of the log's entries in that range and of nothing else.

A full bundle makes a run of level 0; sixteen complete runs side by side are merged into one of the next level, up to
2^20 indexes. So the runs that are there follow from the number of full bundles alone, however they came about.
"""

from __future__ import annotations

from collections.abc import Callable

from lineage_ledger import kernel
from lineage_ledger_server.store.index_store import MAX_RUN_LEVEL, RUN_RANGE_BITS, RunKey, run_width

FAN_IN = 16


class RunBuilder:
    """Collects the runs of one commit. `stored` gives the rows of a run of an earlier one."""

    def __init__(self, stored: Callable[[RunKey], bytes]) -> None:
        self._stored = stored
        self.runs: dict[RunKey, bytes] = {}
        self.merged: list[RunKey] = []
        """Stored runs that larger ones have taken the place of."""
        self.row_bytes = 0

    def add_bundle(self, first_index: int, pieces: list[tuple[int, bytes]]) -> None:
        """Take in a full bundle: its packed entries in pieces, each with the index of its first entry."""
        parts = [packed for _, packed in pieces]
        found = kernel.request_id_rows(parts, first_index & ((1 << RUN_RANGE_BITS) - 1))
        self._put(RunKey(first_index, 0), found.rows)
        end = first_index + run_width(0)
        for level in range(1, MAX_RUN_LEVEL + 1):
            if end % run_width(level):
                return
            self._merge(RunKey(end - run_width(level), level))

    def _merge(self, key: RunKey) -> None:
        width = run_width(key.level - 1)
        parts = []
        for place in range(FAN_IN):
            part = RunKey(key.first_index + place * width, key.level - 1)
            rows = self.runs.pop(part, None)
            if rows is None and (rows := self._stored(part)):
                self.merged.append(part)
            if rows:
                parts.append(rows)
        self._put(key, kernel.merge_rows(parts) if parts else b"")

    def _put(self, key: RunKey, rows: bytes) -> None:
        self.runs[key] = rows
        self.row_bytes += len(rows)
