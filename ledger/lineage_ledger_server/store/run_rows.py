"""The table `runs` of the indexes: runs of request ids, each cut into parts by the first bits of the hashes.

| key | value |
|---|---|
| u64 first index ‖ u8 level ‖ u8 part | sorted rows: SHA-256(request id)[:10] ‖ u24 offset in its 2^20 range |

A run of level j covers 256·16^j indexes from a multiple of that. One of level 2 is cut into 16 parts, one of level 3
into 256, the others into one; a part without rows is not stored. So a lookup reads some 4,096 rows of a run and not a
million: py-lmdb touches each page of a value that it is asked for. Which runs there are follows from how much is
indexed, so nothing has to be searched for them.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from lineage_ledger import kernel
from lineage_ledger.errors import MalformedError
from lineage_ledger_server.errors import CorruptValueError

if TYPE_CHECKING:
    from lmdb import _Database

    from lineage_ledger_server.store.environment import ReadTransaction, WriteTransaction

ROW_BYTES = 13
PREFIX_BYTES = 10
RUN_RANGE_BITS = 20
MAX_RUN_LEVEL = 3

_PART_BITS = (0, 0, 4, 8)
_KEY = struct.Struct(">QBB")


class RunKey(NamedTuple):
    """Covers the indexes [first_index, first_index + 256·16^level)."""

    first_index: int
    level: int


def run_width(level: int) -> int:
    """Indexes that a run of this level covers."""
    return 256 << 4 * level


def range_offset(index: int) -> int:
    """What rows say instead of an index: how far it is into its range of 2^20."""
    return index & ((1 << RUN_RANGE_BITS) - 1)


def runs_of(size: int, start: int = 0) -> Iterator[RunKey]:
    """The runs that there are when `size` entries are indexed, those that reach beyond `start`, ascending.

    They are the fewest aligned ones over the full bundles.
    """
    at = start - range_offset(start)  # no run crosses a boundary of 2^20
    for level in range(MAX_RUN_LEVEL, -1, -1):
        width = run_width(level)
        while at + width <= size:
            if at + width > start:
                yield RunKey(at, level)
            at += width


def parts_of(key: RunKey, rows: bytes) -> Iterator[tuple[bytes, bytes]]:
    """What is stored of a run: key and value of each part that has rows."""
    bits = _PART_BITS[key.level]
    count = len(rows) // ROW_BYTES
    starts = [0]
    for part in range(1, 1 << bits):
        first_byte = part << 8 - bits
        starts.append(bisect_left(range(count), first_byte, lo=starts[-1], key=lambda place: rows[place * ROW_BYTES]))
    for part, (start, end) in enumerate(pairwise([*starts, count])):
        if start < end:
            yield _KEY.pack(*key, part), rows[start * ROW_BYTES : end * ROW_BYTES]


def delete_run(txn: WriteTransaction, table: _Database, key: RunKey) -> None:
    """Whether it has rows or not."""
    for part in range(1 << _PART_BITS[key.level]):
        txn.delete(_KEY.pack(*key, part), db=table)


def rows_of(txn: ReadTransaction, table: _Database, key: RunKey) -> bytes:
    """A run's rows, of all its parts; empty if it has none, or is not there."""
    return b"".join(txn.get(_KEY.pack(*key, part), b"", db=table) for part in range(1 << _PART_BITS[key.level]))


def find_rows(
    txn: ReadTransaction, table: _Database, prefix: bytes, start: int, end: int, size: int, limit: int
) -> list[int]:
    """At most `limit` indexes in [start, end), ascending, whose rows begin with `prefix` (10 bytes).

    `size` entries are indexed. Raises CorruptValueError for rows that are none.
    """
    bases: list[int] = []
    runs: list[memoryview] = []
    for key in runs_of(size, start):
        if key.first_index >= end:
            break
        rows = txn.get(_KEY.pack(*key, prefix[0] >> 8 - _PART_BITS[key.level]), db=table)
        if rows is not None:
            bases.append(key.first_index - range_offset(key.first_index))
            runs.append(rows)
    if not runs:
        return []
    first_row = prefix + max(start - bases[0], 0).to_bytes(3, "big")
    try:
        hits = kernel.find_rows(runs, first_row, limit)
    except MalformedError as error:
        raise CorruptValueError(f"the indexes are damaged: {error}; have them made again") from error
    found = [bases[run] + offset for run, offset in hits]
    if any(index <= before for before, index in pairwise([start - 1, *found])):
        raise CorruptValueError("the indexes are damaged: rows are out of order; have them made again")
    return [index for index in found if index < end]
