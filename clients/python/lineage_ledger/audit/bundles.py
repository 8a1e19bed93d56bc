"""A stored bundle taken apart, also a damaged one: as much of it is read as can be told apart.

Packed entries have their lengths between them, so one flipped bit in a length would garble all that follows. The
stored leaf hashes say where reading is in step again.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from lineage_ledger.formats.merkle import HASH_SIZE, leaf_hash
from lineage_ledger.formats.packed import LENGTH_BYTES
from lineage_ledger.formats.strict_rules import MAX_ENTRY_BYTES

# Searches for a length in one bundle: for decay a few are enough, and bytes made to need many must not stop an audit.
_MAX_SEARCHES = 8


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


def read(packed: bytes, width: int, stored: bytes | None) -> Bundle:
    """Read `width` entries one by one, back in step by the `stored` leaf hashes (32 bytes each) where they help."""
    entries: list[bytes | None] = []
    hashes: list[bytes] = []
    wrong: list[WrongLength] = []
    at = searches = 0
    for place in range(width):
        expected = stored[place * HASH_SIZE : (place + 1) * HASH_SIZE] if stored is not None else None
        said = int.from_bytes(packed[at : at + LENGTH_BYTES], "big")
        start = at + LENGTH_BYTES
        length = said
        if not _ends_well(packed, start + said, place, width, stored) or said == 0:
            fits = 0 < said <= len(packed) - start
            length = said if fits else 0
            in_step = fits and leaf_hash(packed[start : start + said]) == expected
            if not in_step and expected is not None and searches < _MAX_SEARCHES:
                searches += 1
                length = _length_of(packed, start, expected) or length
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


def _length_of(packed: bytes, start: int, expected: bytes) -> int:
    """The length with which the bytes at `start` have the `expected` hash; 0: there is none."""
    state = hashlib.sha256(b"\x00")
    for length in range(1, min(MAX_ENTRY_BYTES, len(packed) - start) + 1):
        state.update(packed[start + length - 1 : start + length])
        if state.copy().digest() == expected:
            return length
    return 0
