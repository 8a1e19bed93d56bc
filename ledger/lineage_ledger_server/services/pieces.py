"""Packed entries in pieces that are small enough to scan, or to send, at once."""

from __future__ import annotations

from collections.abc import Iterator

from lineage_ledger.formats import packed as packed_format


def split_pieces(first_index: int, packed: bytes, max_bytes: int) -> Iterator[tuple[int, bytes]]:
    """`packed` in order, in as few pieces as end with an entry and have at most `max_bytes`.

    Each comes with the index of its first entry. `max_bytes` must be more than a framed entry can have (65,537).
    """
    start, index = 0, first_index
    if len(packed) > max_bytes:
        for place, (offset, length) in enumerate(packed_format.spans(packed)):
            framed = offset - packed_format.LENGTH_BYTES
            if offset + length - start > max_bytes:
                yield index, packed[start:framed]
                start, index = framed, first_index + place
    if start < len(packed):
        yield index, packed[start:]
