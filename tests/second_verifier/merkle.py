"""RFC 6962 hashes and roots, inclusion and consistency proofs, and the multiproofs of proto/README.md."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


class Tree:
    """The roots of the perfect subtrees that the leaves so far fall into, the largest first."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        size = self.size
        while size & 1:
            leaf = node_hash(self._peaks.pop(), leaf)
            size >>= 1
        self._peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        if not self._peaks:
            return EMPTY_ROOT
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root


def root_of(leaves: Sequence[bytes]) -> bytes:
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """RFC 9162, 2.1.3.2."""
    if not 0 <= index < size or any(len(node) != 32 for node in (leaf, root, *proof)):
        return False
    first, last, hashed = index, size - 1, leaf
    for node in proof:
        if last == 0:
            return False
        if first & 1 or first == last:
            hashed = node_hash(node, hashed)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            hashed = node_hash(hashed, node)
        first, last = first >> 1, last >> 1
    return last == 0 and hashed == root


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """RFC 9162, 2.1.4.2; nothing is proved about the empty tree."""
    if not 0 < old_size <= new_size or any(len(node) != 32 for node in (old_root, new_root, *proof)):
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    first, last = old_size - 1, new_size - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    old = new = path[0]
    for node in path[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            old, new = node_hash(node, old), node_hash(node, new)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            new = node_hash(new, node)
        first, last = first >> 1, last >> 1
    return last == 0 and old == old_root and new == new_root


def multiproof_root(leaves: Mapping[int, bytes], size: int, proof: Sequence[bytes]) -> bytes:
    """The root that the proof and the wanted leaves give; ValueError if the proof has not the length of the walk."""
    wanted = sorted(leaves)
    if not wanted or wanted[0] < 0 or wanted[-1] >= size or any(len(node) != 32 for node in proof):
        raise ValueError("no wanted leaf, one outside the tree, or a hash that is not 32 bytes long")
    rest = iter(proof)
    root = _walk(0, size, wanted, leaves, rest)
    if next(rest, None) is not None:
        raise ValueError("the proof is too long")
    return root


def _walk(start: int, end: int, wanted: Sequence[int], leaves: Mapping[int, bytes], rest: Iterator[bytes]) -> bytes:
    place = bisect_left(wanted, start)
    if place == len(wanted) or wanted[place] >= end:
        node = next(rest, None)
        if node is None:
            raise ValueError("the proof is too short")
        return node
    if end - start == 1:
        return leaves[start]
    middle = start + (1 << (end - start - 1).bit_length() - 1)
    left = _walk(start, middle, wanted, leaves, rest)
    return node_hash(left, _walk(middle, end, wanted, leaves, rest))
