"""The ledger's clock: wall time that never goes back and never leaps."""

from __future__ import annotations

import time

from lineage_ledger_server.errors import NotWritableError


class LedgerClock:
    """Gives blocks their time.

    Wall time is held against the monotonic clock from block to block: a step back gives the last block's time again, a
    leap ahead of more than `max_leap_s` seconds stops sequencing until the wall clock is right again, for a time once
    signed cannot be taken back.
    """

    def __init__(self, last_time_unix_ns: int, max_leap_s: float = 3_600) -> None:
        self._last_time_unix_ns = last_time_unix_ns
        self._max_leap_ns = int(max_leap_s * 1e9)
        self._anchor_wall_ns = time.time_ns()
        self._anchor_monotonic_ns = time.monotonic_ns()

    def now_unix_ns(self) -> int:
        """The next block's time. Raises `NotWritableError` after a leap."""
        wall = time.time_ns()
        monotonic = time.monotonic_ns()
        leap = (wall - self._anchor_wall_ns) - (monotonic - self._anchor_monotonic_ns)
        if leap > self._max_leap_ns:
            raise NotWritableError(
                f"the clock leapt {leap / 1e9:,.0f} s ahead; nothing is signed with a time like that. Set the "
                "clock right, or start the server again if the clock is right now",
                reason="READ_ONLY",
            )
        if leap < 0:  # a step back, or slewing: follow it, so that the way forward again is no leap
            self._anchor_wall_ns, self._anchor_monotonic_ns = wall, monotonic
        self._last_time_unix_ns = max(self._last_time_unix_ns, wall)
        return self._last_time_unix_ns
