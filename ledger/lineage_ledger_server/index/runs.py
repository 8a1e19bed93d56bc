"""Request ids: sorted runs over aligned ranges, each a function of the log's entries in that range and of nothing else.

A full bundle makes a run of level 0; sixteen complete runs side by side are merged into one of the next level, up to
2^20 indexes. So the runs that are there follow from the number of full bundles alone, however they came about: where
there are many bundles to read, a run of a higher level is made of them directly.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from lineage_ledger import kernel
from lineage_ledger_server.store.run_rows import MAX_RUN_LEVEL, ROW_BYTES, RunKey, run_width

FAN_IN = 16


class RunBuilder:
    """Collects the runs of one commit. `stored` gives the rows of a run of an earlier one."""

    def __init__(self, stored: Callable[[RunKey], bytes]) -> None:
        self._stored = stored
        self.runs: dict[RunKey, bytes] = {}
        self.merged: list[RunKey] = []
        """Stored runs that larger ones have taken the place of."""
        self.merged_rows = 0
        self.merge_seconds = 0.0

    def add(self, key: RunKey, rows: bytes) -> None:
        """Take in the rows of a run, which follows the one before, and merge what is complete with it."""
        self.runs[key] = rows
        end = key.first_index + run_width(key.level)
        for level in range(key.level + 1, MAX_RUN_LEVEL + 1):
            if end % run_width(level):
                return
            self._merge(RunKey(end - run_width(level), level))

    def _merge(self, key: RunKey) -> None:
        start_s = time.perf_counter()
        width = run_width(key.level - 1)
        parts = []
        for place in range(FAN_IN):
            part = RunKey(key.first_index + place * width, key.level - 1)
            rows = self.runs.pop(part, None)
            if rows is None and (rows := self._stored(part)):
                self.merged.append(part)
            if rows:
                parts.append(rows)
        self.runs[key] = kernel.merge_rows(parts) if parts else b""
        self.merged_rows += len(self.runs[key]) // ROW_BYTES
        self.merge_seconds += time.perf_counter() - start_s
