"""Merkle trees of RFC 6962, section 2: hashes, roots, proofs and their verification.

A tree of n > 1 leaves is split at the largest power of two smaller than n. Whoever makes a proof first plans which
subtrees it needs, reads the hashes of all of them in one call of a `HashReader`, and combines; no tree is held here.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from lineage_ledger import kernel
from lineage_ledger.errors import ProofError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
MAX_SIZE: Final = 2**63 - 1
"""Most leaves of a tree."""


class HashReader(Protocol):
    """Where the hashes of perfect subtrees come from."""

    def read_hashes(self, coordinates: Sequence[tuple[int, int]]) -> list[bytes]:
        """For each (level, n) the root of leaves [n << level, (n + 1) << level), 32 bytes, in the same order."""


class _Range(NamedTuple):
    """Leaves [start, end) that are a subtree of some RFC 6962 tree."""

    start: int
    end: int

    def split(self) -> int:
        """Where its right half starts; it has at least two leaves."""
        return self.start + (1 << ((self.end - self.start - 1).bit_length() - 1))

    def perfect_subtrees(self) -> list[tuple[int, int]]:
        """Coordinates of the perfect subtrees it consists of, from left (the largest) to right."""
        coordinates = []
        start = self.start
        while start < self.end:
            level = (self.end - start).bit_length() - 1
            coordinates.append((level, start >> level))
            start += 1 << level
        return coordinates


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 ‖ entry); 32 bytes."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right); 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(size: int, reader: HashReader) -> bytes:
    """The root of the first `size` leaves. Raises `ProofError` for an impossible size."""
    _check_size(size)
    return _read_roots([_Range(0, size)], reader)[0] if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, reader: HashReader) -> list[bytes]:
    """Sibling hashes from the leaf at `index` to the root of the first `size` leaves (RFC 6962, 2.1.1).

    Raises `ProofError` if there is no such leaf.
    """
    return _read_roots(_inclusion_ranges(index, size), reader)


def consistency_proof(old_size: int, new_size: int, reader: HashReader) -> list[bytes]:
    """That the first `old_size` leaves are the start of the first `new_size` (RFC 6962, 2.1.2).

    Raises `ProofError` unless 1 <= old_size <= new_size.
    """
    return _read_roots(_consistency_ranges(old_size, new_size), reader)


def multiproof(indexes: Sequence[int], size: int, reader: HashReader) -> list[bytes]:
    """One proof for the leaves at all `indexes`, strictly ascending, in the tree of the first `size` leaves.

    From the root, left before right: a subtree with no wanted leaf gives its root, a wanted leaf nothing, every other
    subtree is split. Raises `ProofError` for indexes or a size that do not fit.
    """
    _check_indexes(indexes, size)
    return _read_roots(_unwanted_ranges(indexes, size), reader)


def range_proof(start: int, end: int, size: int, reader: HashReader) -> list[bytes]:
    """The multiproof of all leaves [start, end) in the tree of the first `size` leaves, in O(log size) steps.

    Raises `ProofError` unless 0 <= start < end <= size.
    """
    _check_range(start, end, size)
    # What is left of the range, and right of it, is in subtrees as `start` and `end` are in powers of two; only the
    # last one may be cut off by the tree's own end.
    coordinates = []
    place = start
    while place:
        level = (place & -place).bit_length() - 1
        coordinates.append((level, (place >> level) - 1))
        place &= place - 1
    coordinates.reverse()
    place = end
    while place + (place & -place) <= size:
        level = (place & -place).bit_length() - 1
        coordinates.append((level, place >> level))
        place += 1 << level
    whole = len(coordinates)
    if place < size:
        coordinates += _Range(place, size).perfect_subtrees()
    hashes = _read_hashes(coordinates, reader)
    if whole < len(hashes):
        hashes[whole:] = [_fold(hashes[whole:])]
    return hashes


def verify_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf with this hash is at `index` in the tree of `size` leaves with `root` (RFC 9162, 2.1.3.2).

    A root does not bind its size: take both from one checkpoint. Raises `ProofError` if it is not shown.
    """
    _check_hashes("inclusion proof", proof, len(_inclusion_ranges(index, size)))
    _check_hashes("leaf hash and root", (leaf_hash, root), 2)
    place, last = index, size - 1
    found = leaf_hash
    for sibling in proof:
        if place & 1 or place == last:
            found = node_hash(sibling, found)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            found = node_hash(found, sibling)
        place >>= 1
        last >>= 1
    if last != 0 or found != root:
        raise ProofError(f"the inclusion proof of index {index} does not lead to the root of the tree of size {size}")


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree with `old_root` is the start of the one with `new_root` (RFC 9162, 2.1.4.2).

    Raises `ProofError` if it is not shown; for an old size of 0, too, because that shows nothing.
    """
    _check_hashes("consistency proof", proof, len(_consistency_ranges(old_size, new_size)))
    _check_hashes("old and new root", (old_root, new_root), 2)
    if old_size == new_size:
        if old_root != new_root:
            raise ProofError(f"two trees of the same size {old_size} have different roots")
        return
    # A perfect old tree is a subtree of the new one, whose hash the verifier has already.
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    place, last = old_size - 1, new_size - 1
    while place & 1:
        place >>= 1
        last >>= 1
    found_old = found_new = path[0]
    for sibling in path[1:]:
        if place & 1 or place == last:
            found_old = node_hash(sibling, found_old)
            found_new = node_hash(sibling, found_new)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            found_new = node_hash(found_new, sibling)
        place >>= 1
        last >>= 1
    if last != 0 or found_old != old_root or found_new != new_root:
        raise ProofError(f"the tree of size {old_size} is not shown to be the start of the tree of size {new_size}")


def multiproof_root(leaves: Mapping[int, bytes], size: int, proof: Sequence[bytes]) -> bytes:
    """The root of the tree of `size` leaves that a multiproof leads to from `leaves`, hashes by index.

    Raises `ProofError` if the proof is not of exactly the hashes that these indexes need. Compare the root with one
    that is trusted: until then nothing is shown.
    """
    indexes = sorted(leaves)
    _check_indexes(indexes, size)
    _check_hashes("leaf hashes", tuple(leaves.values()), len(leaves))
    _check_hashes("multiproof", proof, len(_unwanted_ranges(indexes, size)))
    remaining = iter(proof)

    def walk(wanted: Sequence[int], subtree: _Range) -> bytes:
        if not wanted:
            return next(remaining)
        if subtree.end - subtree.start == 1:
            return leaves[subtree.start]
        split = subtree.split()
        cut = bisect_left(wanted, split)
        left = walk(wanted[:cut], _Range(subtree.start, split))
        return node_hash(left, walk(wanted[cut:], _Range(split, subtree.end)))

    return walk(indexes, _Range(0, size))


def range_root(leaf_hashes: bytes, start: int, size: int, proof: Sequence[bytes]) -> bytes:
    """As `multiproof_root`, for the leaves from `start` on, their hashes (32 bytes each) one after the other.

    Takes O(log size) steps: the kernel hashes what lies in one subtree at once. Raises `ProofError`.
    """
    count, rest = divmod(len(leaf_hashes), HASH_SIZE)
    if rest:
        raise ProofError(f"{len(leaf_hashes)} bytes are no leaf hashes of {HASH_SIZE} bytes each")
    end = start + count
    _check_range(start, end, size)
    _check_hashes("range proof", proof, _range_proof_size(start, end, size))
    remaining = iter(proof)

    def walk(subtree: _Range) -> bytes:
        if subtree.end <= start or end <= subtree.start:
            return next(remaining)
        if start <= subtree.start and subtree.end <= end:
            return kernel.tree_root(
                leaf_hashes[(subtree.start - start) * HASH_SIZE : (subtree.end - start) * HASH_SIZE]
            )
        split = subtree.split()
        left = walk(_Range(subtree.start, split))
        return node_hash(left, walk(_Range(split, subtree.end)))

    return walk(_Range(0, size))


class Frontier:
    """The right edge of a growing tree: its size and the roots of the perfect subtrees it consists of.

    `hashes` are those roots, one for each set bit of `size`, from the largest subtree to the smallest. Raises
    `ProofError` if they do not fit the size.
    """

    __slots__ = ("_hashes", "_size")

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        _check_size(size)
        _check_hashes(f"right edge of a tree of size {size}", hashes, size.bit_count())
        self._size = size
        self._hashes = list(hashes)

    @classmethod
    def read(cls, size: int, reader: HashReader) -> Frontier:
        """The right edge of the tree of the first `size` leaves."""
        _check_size(size)
        return cls(size, reader.read_hashes(_Range(0, size).perfect_subtrees()))

    @property
    def size(self) -> int:
        """Leaves."""
        return self._size

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """Roots of the perfect subtrees, from the largest to the smallest."""
        return tuple(self._hashes)

    def append_roots(self, roots: bytes, level: int = 0) -> None:
        """Grow by perfect subtrees of 2^level leaves each, given as their roots, 32 bytes each, in order.

        At level 0 the roots are leaf hashes. Raises `ProofError` if the size is no multiple of 2^level, so that such
        subtrees cannot follow.
        """
        count, rest = divmod(len(roots), HASH_SIZE)
        if rest or level < 0 or self._size & ((1 << level) - 1):
            raise ProofError(
                f"{len(roots)} bytes of roots at level {level} cannot follow {self._size} leaves: "
                f"each is {HASH_SIZE} bytes and starts at a multiple of 2^{level}"
            )
        _check_size(self._size + (count << level))
        hashes = self._hashes
        for place in range(0, len(roots), HASH_SIZE):
            root = roots[place : place + HASH_SIZE]
            # Each trailing set bit is a subtree as large as what the root has grown to.
            carry = self._size >> level
            while carry & 1:
                root = node_hash(hashes.pop(), root)
                carry >>= 1
            hashes.append(root)
            self._size += 1 << level

    def root(self) -> bytes:
        """The tree's root."""
        return _fold(self._hashes) if self._hashes else EMPTY_ROOT

    def copy(self) -> Frontier:
        """A frontier that grows by itself."""
        return Frontier(self._size, self._hashes)


def _inclusion_ranges(index: int, size: int) -> list[_Range]:
    """The subtrees beside the way from a leaf to the root, in that order."""
    _check_size(size)
    if not 0 <= index < size:
        raise ProofError(f"index {index} is not in a tree of size {size}")
    ranges = []
    subtree = _Range(0, size)
    while subtree.end - subtree.start > 1:
        split = subtree.split()
        left, right = _Range(subtree.start, split), _Range(split, subtree.end)
        subtree, sibling = (left, right) if index < split else (right, left)
        ranges.append(sibling)
    return ranges[::-1]


def _consistency_ranges(old_size: int, new_size: int) -> list[_Range]:
    """PROOF(m, D[n]) of RFC 6962, 2.1.2, as subtrees."""
    _check_size(new_size)
    if not 1 <= old_size <= new_size:
        raise ProofError(f"no consistency proof leads from a tree of size {old_size} to one of size {new_size}")
    ranges = []
    subtree = _Range(0, new_size)
    while old_size < subtree.end:
        split = subtree.split()
        left, right = _Range(subtree.start, split), _Range(split, subtree.end)
        subtree, sibling = (left, right) if old_size <= split else (right, left)
        ranges.append(sibling)
    if subtree.start:
        ranges.append(subtree)
    return ranges[::-1]


def _unwanted_ranges(indexes: Sequence[int], size: int) -> list[_Range]:
    """The largest subtrees that hold none of the (ascending) indexes, from left to right; at most 63 deep."""
    found: list[_Range] = []

    def walk(first: int, last: int, start: int, end: int) -> None:
        """Look at the leaves [start, end); indexes[first:last] are in there."""
        if first == last:
            found.append(_Range(start, end))
        elif last - first < end - start:
            split = start + (1 << ((end - start - 1).bit_length() - 1))
            cut = bisect_left(indexes, split, first, last)
            walk(first, cut, start, split)
            walk(cut, last, split, end)

    walk(0, len(indexes), 0, size)
    return found


def _range_proof_size(start: int, end: int, size: int) -> int:
    """Hashes of a range proof."""
    right = 0
    while end < size:
        end += end & -end
        right += 1
    return start.bit_count() + right


def _read_roots(ranges: Sequence[_Range], reader: HashReader) -> list[bytes]:
    """The root of each range, all read in one call."""
    plans = [subtree.perfect_subtrees() for subtree in ranges]
    coordinates = [coordinate for plan in plans for coordinate in plan]
    hashes = iter(_read_hashes(coordinates, reader))
    return [_fold([next(hashes) for _ in plan]) for plan in plans]


def _read_hashes(coordinates: Sequence[tuple[int, int]], reader: HashReader) -> list[bytes]:
    answer = reader.read_hashes(coordinates) if coordinates else []
    _check_hashes("the hash reader's answer", answer, len(coordinates))
    return answer


def _fold(hashes: Sequence[bytes]) -> bytes:
    """The root over perfect subtrees that become smaller from left to right."""
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


def _check_size(size: int) -> None:
    if not 0 <= size <= MAX_SIZE:
        raise ProofError(f"{size} is not the size of a tree")


def _check_indexes(indexes: Sequence[int], size: int) -> None:
    _check_size(size)
    if not indexes:
        raise ProofError("a multiproof is of at least one leaf")
    if any(index >= following for index, following in pairwise(indexes)):
        raise ProofError("the indexes of a multiproof must be strictly ascending")
    if indexes[0] < 0 or indexes[-1] >= size:
        raise ProofError(f"indexes {indexes[0]} to {indexes[-1]} are not in a tree of size {size}")


def _check_range(start: int, end: int, size: int) -> None:
    _check_size(size)
    if not 0 <= start < end <= size:
        raise ProofError(f"[{start}, {end}) is no range of at least one leaf in a tree of size {size}")


def _check_hashes(what: str, hashes: Sequence[bytes], count: int) -> None:
    if len(hashes) != count:
        raise ProofError(f"{what}: {len(hashes)} hashes, where exactly {count} are needed")
    for value in hashes:
        if len(value) != HASH_SIZE:
            raise ProofError(f"{what}: a hash of {len(value)} bytes, where {HASH_SIZE} are needed")
