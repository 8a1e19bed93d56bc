"""Where entries lie in packed bytes (u16be length ‖ entry, repeated)."""

from __future__ import annotations

from typing import Final

from lineage_ledger import kernel
from lineage_ledger.errors import MalformedError

_FAR: Final = 1 << 30
"""More than there are entries: only the first offset is wanted."""


def span(packed: bytes, start: int, end: int) -> tuple[int, int]:
    """Byte offsets of entry `start` and of entry `end` (not before `start`).

    Raises ValueError if there are not that many entries.
    """
    try:
        first, last = kernel.entry_offsets(packed, start, _FAR), kernel.entry_offsets(packed, end, _FAR)
    except MalformedError:
        return _span_before_damage(packed, start, end)
    if not last:
        raise ValueError(f"the packed bytes end before entry {end}")
    return first[0], last[0]


def _span_before_damage(packed: bytes, start: int, end: int) -> tuple[int, int]:
    """The same where what lies behind `end` may not split into entries."""
    offset, begin = 0, 0
    try:
        for place in range(end):
            if place == start:
                begin = offset
            offset += 2 + (packed[offset] << 8 | packed[offset + 1])
    except IndexError:
        offset = len(packed) + 1
    if offset > len(packed):
        raise ValueError(f"the packed bytes end before entry {end}")
    return (begin if start < end else offset), offset
