"""A stored bundle taken apart, also a damaged one: as much of it is read as can be told apart.

Packed entries have their lengths between them, so one flipped bit in a length would garble all that follows. The
stored leaf hashes say where reading is in step again.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from lineage_ledger import kernel
from lineage_ledger.errors import MalformedError
from lineage_ledger.formats.merkle import HASH_SIZE, leaf_hash
from lineage_ledger.formats.packed import LENGTH_BYTES
from lineage_ledger.formats.strict_rules import MAX_ENTRY_BYTES


class WrongLength(NamedTuple):
    """The length before the entry at `place` is not that of the entry."""

    place: int
    found: int
    expected: int


class Bundle(NamedTuple):
    """Entries and their hashes."""

    entries: list[bytes | None]
    """None where the bytes cannot be told apart."""
    hashes: bytes
    """32 bytes an entry; for one that cannot be read the stored hash."""
    wrong_lengths: list[WrongLength]
    unread_from: int | None = None
    """The first place that cannot be read; None if all can."""
    trailing_bytes: int = 0
    """Bytes behind the last entry."""


def leaf_hashes(packed: bytes) -> bytes | None:
    """Hashes of the packed entries, fast; None if they do not split, or are more than the kernel takes at once."""
    try:
        return kernel.leaf_hashes(packed)
    except MalformedError:
        return None


def read(packed: bytes, width: int, stored: bytes | None) -> Bundle:
    """Read `width` entries one by one, back in step by the `stored` leaf hashes (32 bytes each) where they help."""
    entries: list[bytes | None] = []
    hashes: list[bytes] = []
    wrong: list[WrongLength] = []
    at = 0
    for place in range(width):
        expected = stored[place * HASH_SIZE : (place + 1) * HASH_SIZE] if stored is not None else None
        said = int.from_bytes(packed[at : at + LENGTH_BYTES], "big")
        start = at + LENGTH_BYTES
        length = said
        if not _ends_well(packed, start + said, place, width, stored) or said == 0:
            length = _length_of(packed, start, said, expected)
        if length == 0:
            left = width - place
            rest = stored[place * HASH_SIZE :] if stored is not None else bytes(left * HASH_SIZE)
            return Bundle([*entries, *[None] * left], b"".join([*hashes, rest]), wrong, place)
        if length != said:
            wrong.append(WrongLength(place, said, length))
        entry = packed[start : start + length]
        entries.append(entry)
        hashes.append(leaf_hash(entry))
        at = start + length
    return Bundle(entries, b"".join(hashes), wrong, trailing_bytes=len(packed) - at)


def _ends_well(packed: bytes, end: int, place: int, width: int, stored: bytes | None) -> bool:
    """Whether an entry may end at `end`: the bytes end there too, or the next entry has its stored hash."""
    if place + 1 == width:
        return end == len(packed)
    length = int.from_bytes(packed[end : end + LENGTH_BYTES], "big")
    following = packed[end + LENGTH_BYTES : end + LENGTH_BYTES + length]
    if stored is None or len(following) != length or length == 0:
        return stored is None and end < len(packed)
    return leaf_hash(following) == stored[(place + 1) * HASH_SIZE : (place + 2) * HASH_SIZE]


def _length_of(packed: bytes, start: int, said: int, expected: bytes | None) -> int:
    """The length with which the bytes at `start` have the `expected` hash, else the one `said` if it fits; 0: none."""
    fits = 0 < said <= len(packed) - start
    if expected is None or (fits and leaf_hash(packed[start : start + said]) == expected):
        return said if fits else 0
    state = hashlib.sha256(b"\x00")
    for length in range(1, min(MAX_ENTRY_BYTES, len(packed) - start) + 1):
        state.update(packed[start + length - 1 : start + length])
        if state.copy().digest() == expected:
            return length
    return said if fits else 0
