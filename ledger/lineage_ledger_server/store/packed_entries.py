"""Where entries begin in packed bytes (u16be length ‖ entry, repeated), and what they hash to."""

from __future__ import annotations

from lineage_ledger import kernel
from lineage_ledger.formats import merkle
from lineage_ledger.formats import packed as packed_format

# Of what the kernel hashes in one call. A bundle of 256 entries can be twice that.
_KERNEL_BYTES = 8 << 20


def entry_offsets(packed: bytes, first: int, step: int) -> list[int]:
    """Byte offsets of the entries `first`, `first + step`, …; the end of the bytes counts as one more entry's offset.

    Raises ValueError if the bytes end inside an entry.
    """
    offsets = []
    place, offset, end = 0, 0, len(packed)
    wanted = first
    try:
        while True:
            if place == wanted:
                offsets.append(offset)
                wanted += step
            if offset == end:
                return offsets
            offset += 2 + (packed[offset] << 8 | packed[offset + 1])
            place += 1
    except IndexError:
        raise ValueError(f"the packed bytes end inside entry {place - 1}") from None


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


def leaf_hashes_of(packed: bytes) -> bytes:
    """Leaf hashes of packed entries, 32 bytes each. Raises MalformedBatchError if they do not split."""
    if len(packed) <= _KERNEL_BYTES:
        return kernel.leaf_hashes(packed)
    return b"".join(map(merkle.leaf_hash, packed_format.iterate(packed)))
