"""What an emitter says of itself: counts, and a log that repeats nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

_REPEAT_S = 60.0

_logger = logging.getLogger("lineage_ledger.emitter")


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts since the emitter was made in this process; `emitted` = acknowledged + lost + pending."""

    emitted: int
    """Entries that got a number."""
    acknowledged: int
    lost: int
    """Numbers whose entries will not be in the ledger."""
    pending: int
    recovered: int
    """Entries of earlier processes that were found in the spool and acknowledged."""
    unacknowledged_bytes: int
    """Memory that sealed batches hold."""
    spool_bytes: int
    mismatches: int
    """Answers of a server that were refused: they contradict what was sent, or what the ledger signed before."""
    last_error: str | None


class Reporter:
    """Logs each kind of trouble at once and then at most once a minute, and tells the user's callback of each."""

    def __init__(self, on_error: Callable[[Exception], None] | None) -> None:
        self._on_error = on_error
        self._next_s: dict[str, float] = {}
        self.last_error: str | None = None

    def renewed(self) -> Reporter:
        """One for a forked child, which has seen no trouble yet."""
        return Reporter(self._on_error)

    def report(self, kind: str, error: Exception) -> None:
        """Never raises, whatever the callback does."""
        self.last_error = str(error)
        now_s = time.monotonic()
        if now_s >= self._next_s.get(kind, 0.0):
            self._next_s[kind] = now_s + _REPEAT_S
            _logger.error("%s: %s", kind, error)
        if self._on_error is not None:
            try:
                self._on_error(error)
            except Exception:
                _logger.exception("the emitter's on_error callback raised")
