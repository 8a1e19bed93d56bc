"""The batch kernel in Python, for a machine without a compiler; also what the C kernel is held against.

Predictions are matched by one bytes regex, many a call: a loop in Python over entries and their fields would cost
more than hashing them. The regex cannot tell whether the two lengths in front of an entry are right, nor where an
entry ends if what follows looks like one more optional field. So a match counts only if both lengths are those of
what it matched, and what does not match is left to the slow check of `_kernel_checks`, which has the last word.
"""

from __future__ import annotations

import operator
import re
import struct
from bisect import bisect_left
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from lineage_ledger._kernel_checks import (
    LENGTH_SIZE,
    MAX_BATCH_BYTES,
    MAX_BATCH_ENTRIES,
    MAX_PACKED_BYTES,
    PREDICTION_TAG,
    SEAL_TAG,
    Buffer,
    as_bytes,
    check_frame,
    check_kind,
    check_size,
    check_strict,
    check_strict_entry,
)
from lineage_ledger.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Sequence

HASH_SIZE = 32
TILE_WIDTH = 256
ROW_SIZE = 13
_REQUEST_HASH_SIZE = 10
_MAX_OFFSET = 1 << 24
_MAX_MERGED_ROWS = 1 << 24
_MAX_FOUND_ROWS = 1 << 20

_REQUEST_ID = b"|".join(rb"\x%02x.{%d}" % (size, size) for size in range(1, 65))
# Groups: frame (both lengths), entry, row, request id with its length, start time.
# The last branch swallows what is no prediction, so that matching stops there and does not search on.
_PREDICTION = re.compile(
    rb"(?s)"
    rb"(?=(..\x0a(?:[\x00-\x7f]|[\x80-\xff]\x01))).."
    rb"(\x0a(?:[\x00-\x7f]|[\x80-\xff]\x01)"
    rb"\x08([\x01-\x7f]|[\x80-\xff]\x01)"
    rb"(?:\x12(" + _REQUEST_ID + rb"))?"
    rb"\x1a\x20.{32}"
    rb"(?P<output>\x22\x20.{32})?"
    rb"\x29(?!\0{8})(.{8})"
    rb"(?:\x35(?!\0{4}).{4})?"
    rb"(?(output)(?:\x38[\x01-\x10])?|\x38[\x01-\x10]))"
    rb"|.+"
)
# A run of matches that turns out wrong is thrown away: bounding it bounds what hostile bytes can cost.
_RUN_BYTES = 1 << 16
_MAX_PREDICTION_SIZE = 156


def _frame(size: int) -> bytes:
    """The bytes before the first field of a prediction entry of `size` bytes: its length, tag and inner length."""
    # An inner length in two bytes that would fit into one (size 130) is never matched.
    varint = bytes([size - 2]) if size - 2 < 0x80 else bytes([(size - 3) & 0x7F | 0x80, (size - 3) >> 7])
    return size.to_bytes(LENGTH_SIZE, "big") + bytes([PREDICTION_TAG]) + varint


_FRAMES = [b"?"] * 2 + [_frame(size) for size in range(2, _MAX_PREDICTION_SIZE + 1)]


class _Parsed(NamedTuple):
    entries: list[bytes]
    rows: list[bytes]  # of predictions: the varint as encoded; of other entries: b""
    request_ids: list[bytes]  # with the length byte before each; b"" if absent
    starts: list[bytes]  # of predictions only
    others: list[tuple[int, int, int]]


__all__ = ["check_strict"]


def learn_strict(tables: bytes) -> None:
    """The tables are the C kernel's; this one asks the scanner that `_kernel_checks` has."""
    del tables


_Scanned: TypeAlias = tuple[int, bytes, tuple[int, ...], int, int, tuple[tuple[int, int, int], ...], bytes]


def scan(packed: Buffer) -> _Scanned:
    """See `lineage_ledger.kernel.scan`."""
    parsed = _parse(as_bytes(packed), MAX_BATCH_BYTES, MAX_BATCH_ENTRIES, strict=True)
    starts = struct.unpack(f"<{len(parsed.starts)}Q", b"".join(parsed.starts)) or (0,)
    counts = [0] * 256
    for row in set(parsed.rows) - {b""}:
        counts[row[0] if len(row) == 1 else row[0] & 0x7F | 0x80] = parsed.rows.count(row)
    greatest = max((row for row in range(256) if counts[row]), default=0)
    hashes = b"".join([sha256(b"\0" + entry).digest() for entry in parsed.entries])
    tags = bytes([parsed.entries[place][0] for place, _, _ in parsed.others])
    counted = tuple(counts[1 : greatest + 1])
    return len(parsed.entries), hashes, counted, min(starts), max(starts), tuple(parsed.others), tags


def scan_batch(packed: Buffer) -> tuple[_Scanned, bytes]:
    """See `lineage_ledger.kernel.scan_batch`."""
    scanned = scan(packed)
    count, hashes, *_, others, tags = scanned
    is_sealed = bool(others) and others[-1][0] == count - 1 and tags[-1] == SEAL_TAG
    return scanned, tree_root(hashes[: (count - is_sealed) * HASH_SIZE])


def leaf_hashes(packed: Buffer) -> bytes:
    """See `lineage_ledger.kernel.leaf_hashes`."""
    content = as_bytes(packed)
    check_size(content, MAX_PACKED_BYTES)
    hashes: list[bytes] = []
    position = 0
    while position < len(content):
        start = position + LENGTH_SIZE
        position = start + check_frame(content, len(hashes), position, MAX_PACKED_BYTES)
        hashes.append(sha256(b"\0" + content[start:position]).digest())
    return b"".join(hashes)


def entry_offsets(packed: Buffer, first: int, step: int) -> list[int]:
    """See `lineage_ledger.kernel.entry_offsets`."""
    if first < 0 or step < 1:
        raise MalformedError("first must be at least 0 and step at least 1")
    content = as_bytes(packed)
    offsets = []
    place, offset, wanted, end = 0, 0, first, len(content)
    while True:
        if place == wanted:
            offsets.append(offset)
            wanted += step
        if offset == end:
            return offsets
        if offset + 2 <= end:
            offset += 2 + (content[offset] << 8 | content[offset + 1])
        else:
            offset = end + 1
        if offset > end:
            raise MalformedError(f"the packed bytes end inside entry {place}")
        place += 1


def tree_root(leaf_hashes: Buffer) -> bytes:
    """See `lineage_ledger.kernel.tree_root`."""
    return _root(_split_hashes(leaf_hashes))


def tile_roots(leaf_hashes: Buffer) -> bytes:
    """See `lineage_ledger.kernel.tile_roots`."""
    hashes = _split_hashes(leaf_hashes)
    full = len(hashes) - len(hashes) % TILE_WIDTH
    return b"".join([_root(hashes[start : start + TILE_WIDTH]) for start in range(0, full, TILE_WIDTH)])


def request_id_rows(parts: Sequence[Buffer], first_offset: int) -> tuple[int, bytes, list[tuple[int, bytes]]]:
    """See `lineage_ledger.kernel.request_id_rows`."""
    at = first = operator.index(first_offset)
    _check_offsets(first, 0)
    contents = [as_bytes(part) for part in parts]
    for content in contents:
        check_size(content, MAX_PACKED_BYTES)
    rows: list[bytes] = []
    others: list[tuple[int, bytes]] = []
    for content in contents:
        parsed = _parse(content, MAX_PACKED_BYTES, MAX_PACKED_BYTES, strict=False)
        _check_offsets(at, len(parsed.entries))
        rows += [
            sha256(request_id[1:]).digest()[:_REQUEST_HASH_SIZE] + offset.to_bytes(3, "big")
            for offset, request_id in enumerate(parsed.request_ids, at)
            if request_id
        ]
        others += [(at - first + place, parsed.entries[place]) for place, _, _ in parsed.others]
        at += len(parsed.entries)
    return at - first, b"".join(sorted(rows)), others


def _check_offsets(first: int, count: int) -> None:
    if first < 0 or first + count > _MAX_OFFSET:
        raise MalformedError(f"first_offset and the offsets of all entries must lie in [0, {_MAX_OFFSET})")


def merge_rows(runs: Sequence[Buffer]) -> bytes:
    """See `lineage_ledger.kernel.merge_rows`."""
    contents = [as_bytes(run) for run in runs]
    if sum(map(len, contents)) > _MAX_MERGED_ROWS * ROW_SIZE:
        raise MalformedError(f"more than {_MAX_MERGED_ROWS} rows to merge; merge fewer runs at once")
    merged = []
    for number, content in enumerate(contents):
        if len(content) % ROW_SIZE:
            raise MalformedError(f"run {number} is {len(content)} bytes long, which is not a multiple of {ROW_SIZE}")
        rows = [content[start : start + ROW_SIZE] for start in range(0, len(content), ROW_SIZE)]
        if not all(map(operator.le, rows, rows[1:])):
            raise MalformedError(f"run {number} is not sorted")
        merged += rows
    merged.sort()  # finds the sorted runs and merges them
    return b"".join(merged)


def find_rows(runs: Sequence[Buffer], first_row: bytes, limit: int) -> list[tuple[int, int]]:
    """See `lineage_ledger.kernel.find_rows`."""
    if len(first_row) != ROW_SIZE:
        raise MalformedError(f"first_row is {len(first_row)} bytes long, not {ROW_SIZE}")
    if not 0 <= limit <= _MAX_FOUND_ROWS:
        raise MalformedError(f"limit is {limit}; it must be 0 to {_MAX_FOUND_ROWS}")
    views = [memoryview(run) for run in runs]
    for number, view in enumerate(views):
        if len(view) % ROW_SIZE:
            raise MalformedError(f"run {number} is {len(view)} bytes long, which is not a multiple of {ROW_SIZE}")
    found: list[tuple[int, int]] = []
    prefix, wanted = first_row[:_REQUEST_HASH_SIZE], first_row
    for number, view in enumerate(views):
        row_at = _RowAt(view)
        places = range(len(view) // ROW_SIZE)
        for place in places[bisect_left(places, wanted, key=row_at) :]:
            row = row_at(place)
            if row[:_REQUEST_HASH_SIZE] != prefix:
                break
            if len(found) == limit:
                return found
            found.append((number, int.from_bytes(row[_REQUEST_HASH_SIZE:], "big")))
        wanted = prefix + bytes(ROW_SIZE - _REQUEST_HASH_SIZE)
    return found


class _RowAt:
    """Row by place, for `bisect`: a run is not copied for the few rows that are looked at."""

    def __init__(self, rows: memoryview) -> None:
        self._rows = rows

    def __call__(self, place: int) -> bytes:
        return bytes(self._rows[place * ROW_SIZE : (place + 1) * ROW_SIZE])


def uses_sha_instructions() -> bool:
    """What `hashlib` goes by is not known here."""
    return False


def _parse(packed: bytes, max_bytes: int, max_entries: int, *, strict: bool) -> _Parsed:
    """Parse packed entries; those that are no predictions are looked into only if `strict`."""
    check_size(packed, max_bytes)
    parsed = _Parsed([], [], [], [], [])
    position = 0
    while position < len(packed):
        position += _parse_predictions(packed, position, parsed)
        if len(parsed.entries) > max_entries:
            position = sum(map(len, parsed.entries[:max_entries])) + LENGTH_SIZE * max_entries
            check_frame(packed, max_entries, position, max_entries)
        if position < len(packed):
            position += _parse_one(packed, position, parsed, max_entries, strict=strict)
    return parsed


def _parse_predictions(packed: bytes, position: int, parsed: _Parsed) -> int:
    """Parse the plain predictions from `position` on, a run of them at most; the number of bytes they take."""
    run = _PREDICTION.findall(packed, position, position + _RUN_BYTES)
    frames, entries, rows, request_ids, _, starts = zip(*run, strict=True)
    expected = [_FRAMES[size] for size in map(len, entries)]
    count = len(run)
    if list(frames) != expected:
        count = next(place for place, frame in enumerate(frames) if frame != expected[place])
        entries, rows, request_ids, starts = entries[:count], rows[:count], request_ids[:count], starts[:count]
    parsed.entries.extend(entries)
    parsed.rows.extend(rows)
    parsed.request_ids.extend(request_ids)
    parsed.starts.extend(starts)
    return sum(map(len, entries)) + LENGTH_SIZE * count


def _parse_one(packed: bytes, position: int, parsed: _Parsed, max_entries: int, *, strict: bool) -> int:
    """Parse the one entry at `position`, of whatever kind; the number of bytes it takes."""
    place = len(parsed.entries)
    length = check_frame(packed, place, position, max_entries)
    start = position + LENGTH_SIZE
    entry = packed[start : start + length]
    check_kind(entry, place)
    row = request_id = b""
    if strict or entry[0] == PREDICTION_TAG:
        check_strict_entry(entry, place)
    if entry[0] == PREDICTION_TAG:
        match = _PREDICTION.fullmatch(packed, position, start + length)
        if match is None or match[2] is None:
            raise SystemError(f"entry {place} is strictly encoded, but not as the regex of predictions has it")
        row, request_id = match[3], match[4] or b""
        parsed.starts.append(match[6])
    else:
        parsed.others.append((place, start, length))
    parsed.entries.append(entry)
    parsed.rows.append(row)
    parsed.request_ids.append(request_id)
    return LENGTH_SIZE + length


def _split_hashes(leaf_hashes: Buffer) -> list[bytes]:
    content = as_bytes(leaf_hashes)
    if len(content) % HASH_SIZE:
        raise MalformedError(f"the leaf hashes are {len(content)} bytes long, which is not a multiple of {HASH_SIZE}")
    return [content[start : start + HASH_SIZE] for start in range(0, len(content), HASH_SIZE)]


def _root(hashes: list[bytes]) -> bytes:
    """Level by level. The odd node at the end goes up unchanged, which gives the splits of RFC 6962, section 2.1."""
    if not hashes:
        return sha256().digest()
    while len(hashes) > 1:
        pairs = zip(hashes[::2], hashes[1::2], strict=False)
        parents = [sha256(b"\1" + left + right).digest() for left, right in pairs]
        if len(hashes) % 2:
            parents.append(hashes[-1])
        hashes = parents
    return hashes[0]
