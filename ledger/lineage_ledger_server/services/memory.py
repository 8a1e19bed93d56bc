"""What this process holds in memory, and how it gives back what it no longer uses.

glibc keeps what was freed for the next time, in each of its arenas: after a burst of large batches many times what is
in use. The kernel does not get it back until somebody asks.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_SLACK_BYTES = 64 * 1024 * 1024  # less is not worth the asking
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STATM = Path("/proc/self/statm")
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def resident_bytes() -> int:
    """Memory of this process, without what is mapped from files, such as the log; 0 where the system does not say."""
    try:
        fields = _STATM.read_text().split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * _PAGE_BYTES


class MemoryReturn:
    """Gives memory back; it takes tenths of a second for a gigabyte, in which other threads wait if they allocate."""

    def __init__(self) -> None:
        self._least_bytes = 0

    def give_back(self) -> int:
        """If much came since the last time. Returns the bytes given back."""
        before = resident_bytes()
        if _trim is None or before < self._least_bytes + _SLACK_BYTES:
            return 0
        _trim(0)
        self._least_bytes = resident_bytes()
        return max(0, before - self._least_bytes)
