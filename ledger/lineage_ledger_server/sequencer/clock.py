"""The ledger's clock: wall time that never goes back and never leaps."""

from __future__ import annotations

import time
from typing import Final

from lineage_ledger_server.errors import NotWritableError

# On Linux the monotonic clock stands still while the machine sleeps, which is no leap; this one goes on.
_STEADY_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class LedgerClock:
    """Gives blocks their time.

    Wall time is held against a steady clock from block to block. A step back gives the last block's time again; so does
    a last block whose time is ahead of the wall clock. A leap of more than `max_leap_s` seconds beyond the last block's
    time and what has passed since stops sequencing until the wall clock is right again, for a time once signed cannot
    be taken back.
    """

    def __init__(self, last_time_unix_ns: int, max_leap_s: float = 3_600) -> None:
        self._last_time_unix_ns = last_time_unix_ns
        self._max_leap_ns = int(max_leap_s * 1e9)
        # How long a ledger that starts has stood still nobody knows: there its wall clock is taken at its word.
        self._reference_unix_ns = max(last_time_unix_ns, time.time_ns())
        self._reference_steady_ns = time.clock_gettime_ns(_STEADY_CLOCK)

    @property
    def standing_s(self) -> float:
        """Seconds since the last block by the wall clock; 0 if its time is ahead of that."""
        return max(0, time.time_ns() - self._last_time_unix_ns) / 1e9

    def now_unix_ns(self) -> int:
        """The next block's time. Raises `NotWritableError` after a leap."""
        wall = time.time_ns()
        steady = time.clock_gettime_ns(_STEADY_CLOCK)
        leap = (wall - self._reference_unix_ns) - (steady - self._reference_steady_ns)
        if leap > self._max_leap_ns:
            raise NotWritableError(
                f"the clock leapt {leap / 1e9:,.0f} s ahead; nothing is signed with a time like that. Set the "
                "clock right, or start the server again if the clock is right now",
                reason="READ_ONLY",
            )
        self._last_time_unix_ns = max(self._last_time_unix_ns, wall)
        self._reference_unix_ns, self._reference_steady_ns = self._last_time_unix_ns, steady
        return self._last_time_unix_ns
