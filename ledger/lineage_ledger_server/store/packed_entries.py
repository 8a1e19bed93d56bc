"""Where entries lie in packed bytes (u16be length ‖ entry, repeated)."""

from __future__ import annotations


def span(packed: bytes, start: int, end: int) -> tuple[int, int]:
    """Byte offsets of entry `start` and of entry `end` (not before `start`).

    Raises ValueError if there are not that many entries.
    """
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
