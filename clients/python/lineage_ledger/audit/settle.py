"""Which of two disagreeing hashes is the right one: the one that leads to the hash above, and so to the signed root."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

from lineage_ledger.formats.merkle import HASH_SIZE

# Mixtures that are tried are 2 to the power of this.
_MAX_MIXED = 8


def differing(computed: bytes, stored: bytes) -> list[int]:
    """Places at which two lists of hashes of the same length differ."""
    if computed == stored:
        return []
    return [
        at // HASH_SIZE
        for at in range(0, len(computed), HASH_SIZE)
        if computed[at : at + HASH_SIZE] != stored[at : at + HASH_SIZE]
    ]


def mixed(computed: bytes, stored: bytes, places: frozenset[int]) -> bytes:
    """`computed`, with the hashes of `stored` at `places`."""
    if not places:
        return computed
    hashes = bytearray(computed)
    for place in places:
        at = place * HASH_SIZE
        hashes[at : at + HASH_SIZE] = stored[at : at + HASH_SIZE]
    return bytes(hashes)


def settle(
    computed: bytes, stored: bytes, root_of: Callable[[bytes], bytes], expected: bytes | None
) -> frozenset[int] | None:
    """The places at which the stored hash is right and the computed one is not, so that `root_of` gives `expected`.

    None if no mixture does. With more than eight differences only all of the one or all of the other are tried.
    """
    if expected is None:
        return None
    places = differing(computed, stored)
    sizes = range(len(places) + 1) if len(places) <= _MAX_MIXED else (0, len(places))
    for size in sizes:
        for choice in combinations(places, size):
            if root_of(mixed(computed, stored, frozenset(choice))) == expected:
                return frozenset(choice)
    return None
