"""Merkle trees: published vectors, every small proof, random ones to 2^40, and everything altered is refused."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage_ledger.errors import ProofError
from lineage_ledger.formats import merkle

if TYPE_CHECKING:
    from collections.abc import Sequence

VECTORS = Path(__file__).parents[1] / "vectors" / "rfc6962"
TREE = json.loads((VECTORS / "tree.json").read_text())
MAX_SMALL = 300
OTHER = hashlib.sha256(b"other").digest()


class MemoryReader:
    """All perfect subtrees over a list of leaf hashes; it counts how often it is asked."""

    def __init__(self, leaf_hashes: Sequence[bytes]) -> None:
        self.levels = [list(leaf_hashes)]
        while len(self.levels[-1]) > 1:
            below = self.levels[-1]
            pairs = zip(below[::2], below[1::2], strict=False)
            self.levels.append([hashlib.sha256(b"\x01" + left + right).digest() for left, right in pairs])
        self.calls = 0

    def read_hashes(self, coordinates: Sequence[tuple[int, int]]) -> list[bytes]:
        self.calls += 1
        return [self.levels[level][n] for level, n in coordinates]


class SyntheticReader:
    """A huge tree whose leaves are all alike but one."""

    def __init__(self, special: int) -> None:
        self.special = special
        self.alike = [merkle.leaf_hash(b"alike")]
        for _ in range(63):
            self.alike.append(merkle.node_hash(self.alike[-1], self.alike[-1]))
        self.on_the_way = [merkle.leaf_hash(b"special")]
        for level in range(63):
            pair = (self.on_the_way[-1], self.alike[level])
            self.on_the_way.append(merkle.node_hash(*(reversed(pair) if special >> level & 1 else pair)))

    def read_hashes(self, coordinates: Sequence[tuple[int, int]]) -> list[bytes]:
        return [(self.on_the_way if n == self.special >> level else self.alike)[level] for level, n in coordinates]

    def leaf(self, index: int) -> bytes:
        return (self.on_the_way if index == self.special else self.alike)[0]


LEAVES = [merkle.leaf_hash(b"leaf %d" % i) for i in range(MAX_SMALL)]
READER = MemoryReader(LEAVES)


@cache
def rfc_root(start: int, end: int) -> bytes:
    """MTH(D[start:end]), word for word from RFC 6962, 2.1."""
    if end - start == 1:
        return LEAVES[start]
    k = 1
    while k * 2 < end - start:
        k *= 2
    return hashlib.sha256(b"\x01" + rfc_root(start, start + k) + rfc_root(start + k, end)).digest()


def rfc_path(index: int, start: int, end: int) -> list[bytes]:
    """PATH(m, D[n]), word for word from RFC 6962, 2.1.1."""
    if end - start == 1:
        return []
    k = 1
    while k * 2 < end - start:
        k *= 2
    if index < k:
        return [*rfc_path(index, start, start + k), rfc_root(start + k, end)]
    return [*rfc_path(index - k, start + k, end), rfc_root(start, start + k)]


def rfc_subproof(old: int, start: int, end: int, complete: bool) -> list[bytes]:
    """SUBPROOF(m, D[n], b), word for word from RFC 6962, 2.1.2."""
    if old == end - start:
        return [] if complete else [rfc_root(start, end)]
    k = 1
    while k * 2 < end - start:
        k *= 2
    if old <= k:
        return [*rfc_subproof(old, start, start + k, complete), rfc_root(start + k, end)]
    return [*rfc_subproof(old - k, start + k, end, False), rfc_root(start, start + k)]


def flipped(value: bytes, bit: int = 0) -> bytes:
    changed = bytearray(value)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def altered_proofs(proof: list[bytes]) -> list[list[bytes]]:
    """A proof with each hash altered, dropped, doubled or too short, and with one more at either end."""
    altered = [[OTHER, *proof], [*proof, OTHER]]
    for place, value in enumerate(proof):
        before, after = proof[:place], proof[place + 1 :]
        altered += [
            [*before, flipped(value, place % 256), *after],
            [*before, *after],
            [*before, value, value, *after],
            [*before, value[:-1], *after],
            [*before, value + b"\0", *after],
        ]
    if len(proof) > 1:
        altered.append(proof[::-1])
    return altered


# Published vectors


def test_the_tree_of_certificate_transparency() -> None:
    leaves = [bytes.fromhex(leaf) for leaf in TREE["leaves"]]
    reader = MemoryReader([merkle.leaf_hash(leaf) for leaf in leaves])
    assert [[node.hex() for node in level] for level in reader.levels] == TREE["hashes_by_level"]
    assert [merkle.root_of(size, reader).hex() for size in range(9)] == TREE["roots_by_size"]
    frontier = merkle.Frontier()
    for size, leaf in enumerate(leaves, 1):
        frontier.append_roots(merkle.leaf_hash(leaf))
        assert frontier.root().hex() == TREE["roots_by_size"][size]


def vectors(name: str) -> list[Any]:
    return [pytest.param(vector, id=vector["name"]) for vector in json.loads((VECTORS / name).read_text())]


@pytest.mark.parametrize("vector", vectors("inclusion.json"))
def test_inclusion_vectors(vector: dict[str, Any]) -> None:
    leaf_hash, root, *proof = map(bytes.fromhex, (vector["leaf_hash"], vector["root"], *vector["proof"]))
    if vector["valid"]:
        merkle.verify_inclusion(leaf_hash, vector["index"], vector["size"], proof, root)
    else:
        with pytest.raises(ProofError):
            merkle.verify_inclusion(leaf_hash, vector["index"], vector["size"], proof, root)


@pytest.mark.parametrize("vector", vectors("consistency.json"))
def test_consistency_vectors(vector: dict[str, Any]) -> None:
    old_root, new_root, *proof = map(bytes.fromhex, (vector["old_root"], vector["new_root"], *vector["proof"]))
    if vector["valid"]:
        merkle.verify_consistency(vector["old_size"], old_root, vector["new_size"], new_root, proof)
    else:
        with pytest.raises(ProofError):
            merkle.verify_consistency(vector["old_size"], old_root, vector["new_size"], new_root, proof)


# All small trees


def test_roots_of_all_sizes_to_300() -> None:
    for size in range(1, MAX_SMALL + 1):
        assert merkle.root_of(size, READER) == rfc_root(0, size)
    assert merkle.root_of(0, READER) == merkle.EMPTY_ROOT == hashlib.sha256().digest()


def test_inclusion_of_all_indexes_in_all_sizes_to_300() -> None:
    for size in range(1, MAX_SMALL + 1):
        root = rfc_root(0, size)
        for index in range(size):
            proof = merkle.inclusion_proof(index, size, READER)
            merkle.verify_inclusion(LEAVES[index], index, size, proof, root)
            if index % 7 == size % 7:
                assert proof == rfc_path(index, 0, size)


@pytest.mark.parametrize("new_sizes", [range(1, 131), (199, 200, 255, 256, 257, 299, 300)], ids=["to-130", "to-300"])
def test_consistency_of_all_pairs(new_sizes: Sequence[int]) -> None:
    for new_size in new_sizes:
        for old_size in range(1, new_size + 1):
            proof = merkle.consistency_proof(old_size, new_size, READER)
            assert proof == rfc_subproof(old_size, 0, new_size, True)
            merkle.verify_consistency(old_size, rfc_root(0, old_size), new_size, rfc_root(0, new_size), proof)


def test_a_proof_is_read_in_one_call() -> None:
    reader = MemoryReader(LEAVES)
    merkle.inclusion_proof(17, 299, reader)
    merkle.consistency_proof(17, 299, reader)
    merkle.multiproof([1, 50, 298], 299, reader)
    assert reader.calls == 3


# Altered proofs


@given(st.integers(1, MAX_SMALL), st.data())
@settings(max_examples=60, deadline=None)
def test_altered_inclusion_is_refused(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaf, root, proof = LEAVES[index], rfc_root(0, size), merkle.inclusion_proof(index, size, READER)
    refused: list[tuple[bytes, int, int, list[bytes], bytes]] = [
        *((leaf, index, size, altered, root) for altered in altered_proofs(proof)),
        *((leaf, other, size, proof, root) for other in range(size) if other != index),
        (flipped(leaf), index, size, proof, root),
        (leaf, index, size, proof, flipped(root, 255)),
        (leaf, -1, size, proof, root),
        (leaf, size, size, proof, root),
        (leaf, index, index, proof, root),
        (leaf, index, 2**63, proof, root),
        (leaf[:-1], index, size, proof, root),
        (leaf, index, size, proof, root[:-1]),
    ]
    for arguments in refused:
        with pytest.raises(ProofError):
            merkle.verify_inclusion(*arguments)


@given(st.integers(1, MAX_SMALL), st.data())
@settings(max_examples=60, deadline=None)
def test_altered_consistency_is_refused(new_size: int, data: st.DataObject) -> None:
    old_size = data.draw(st.integers(1, new_size))
    old_root, new_root = rfc_root(0, old_size), rfc_root(0, new_size)
    proof = merkle.consistency_proof(old_size, new_size, READER)
    refused: list[tuple[int, bytes, int, bytes, list[bytes]]] = [
        *((old_size, old_root, new_size, new_root, altered) for altered in altered_proofs(proof)),
        *((other, old_root, new_size, new_root, proof) for other in range(new_size + 2) if other != old_size),
        (old_size, flipped(old_root), new_size, new_root, proof),
        (old_size, old_root, new_size, flipped(new_root), proof),
        (old_size, old_root, old_size - 1, new_root, proof),
        (-1, old_root, new_size, new_root, proof),
        (old_size, old_root, 2**63, new_root, proof),
        (old_size, old_root[1:], new_size, new_root, proof),
        (old_size, old_root, new_size, b"", proof),
    ]
    for arguments in refused:
        with pytest.raises(ProofError):
            merkle.verify_consistency(*arguments)


def turns(index: int, size: int) -> list[bool]:
    """Whether each split on the way from the root to a leaf is left to the right."""
    start, end, taken = 0, size, []
    while end - start > 1:
        k = 1
        while k * 2 < end - start:
            k *= 2
        taken.append(index >= start + k)
        start, end = (start + k, end) if taken[-1] else (start, start + k)
    return taken


def test_a_proof_in_another_size_is_refused_unless_the_way_is_the_same() -> None:
    # A root does not bind its size, so RFC 9162 accepts those few; a checkpoint signs size and root together.
    for size in range(1, 40):
        for index in range(size):
            arguments = (merkle.inclusion_proof(index, size, READER), rfc_root(0, size))
            for other in range(40):
                if index < other and turns(index, other) == turns(index, size):
                    merkle.verify_inclusion(LEAVES[index], index, other, *arguments)
                else:
                    with pytest.raises(ProofError):
                        merkle.verify_inclusion(LEAVES[index], index, other, *arguments)


def test_a_size_of_zero_proves_nothing() -> None:
    with pytest.raises(ProofError):
        merkle.verify_consistency(0, merkle.EMPTY_ROOT, 5, rfc_root(0, 5), [])
    with pytest.raises(ProofError):
        merkle.verify_consistency(0, merkle.EMPTY_ROOT, 0, merkle.EMPTY_ROOT, [])
    with pytest.raises(ProofError):
        merkle.verify_inclusion(LEAVES[0], 0, 0, [], merkle.EMPTY_ROOT)


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (0, 0), (0, 2**63), (2**63, 2**63 - 1)])
def test_no_proof_of_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ProofError):
        merkle.inclusion_proof(index, size, READER)
    with pytest.raises(ProofError):
        merkle.multiproof([index], size, READER)


@pytest.mark.parametrize(("old_size", "new_size"), [(0, 5), (-1, 5), (6, 5), (1, 2**63), (0, 0)])
def test_no_consistency_of_impossible_sizes(old_size: int, new_size: int) -> None:
    with pytest.raises(ProofError):
        merkle.consistency_proof(old_size, new_size, READER)


class BrokenReader:
    """Answers with what it was told to, whatever it is asked."""

    def __init__(self, answer: list[bytes]) -> None:
        self.answer = answer

    def read_hashes(self, coordinates: Sequence[tuple[int, int]]) -> list[bytes]:
        return self.answer


@pytest.mark.parametrize("answer", [[], [OTHER], [OTHER] * 4, [OTHER, OTHER, OTHER[:31]]])
def test_a_reader_that_answers_wrongly_is_noticed(answer: list[bytes]) -> None:
    with pytest.raises(ProofError):
        merkle.inclusion_proof(3, 8, BrokenReader(answer))


# Huge trees

SIZES = st.integers(1, 2**40) | st.sampled_from([2**40, 2**40 - 1, 2**39 + 1, 2**63 - 1, 2**62])


@given(SIZES, st.data())
@settings(max_examples=150, deadline=None)
def test_inclusion_in_huge_trees(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    reader = SyntheticReader(index)
    root = merkle.root_of(size, reader)
    proof = merkle.inclusion_proof(index, size, reader)
    assert len(proof) <= 63
    merkle.verify_inclusion(reader.leaf(index), index, size, proof, root)
    assert merkle.multiproof_root({index: reader.leaf(index)}, size, merkle.multiproof([index], size, reader)) == root
    other = data.draw(st.integers(0, 2**63))
    if other != index:
        with pytest.raises(ProofError):
            merkle.verify_inclusion(reader.leaf(index), other, size, proof, root)
    for altered in altered_proofs(proof)[:12]:
        with pytest.raises(ProofError):
            merkle.verify_inclusion(reader.leaf(index), index, size, altered, root)


@given(SIZES, st.data())
@settings(max_examples=150, deadline=None)
def test_consistency_of_huge_trees(new_size: int, data: st.DataObject) -> None:
    old_size = data.draw(st.integers(1, new_size))
    reader = SyntheticReader(data.draw(st.integers(0, old_size - 1)))
    old_root, new_root = merkle.root_of(old_size, reader), merkle.root_of(new_size, reader)
    proof = merkle.consistency_proof(old_size, new_size, reader)
    merkle.verify_consistency(old_size, old_root, new_size, new_root, proof)
    # A log that changed an old leaf has no such proof.
    if old_size > 1:
        changed = SyntheticReader(data.draw(st.integers(0, old_size - 1).filter(lambda i: i != reader.special)))
        proof = merkle.consistency_proof(old_size, new_size, changed)
        with pytest.raises(ProofError):
            merkle.verify_consistency(old_size, old_root, new_size, merkle.root_of(new_size, changed), proof)


# Multiproofs


def reference_multiproof(indexes: Sequence[int], start: int, end: int) -> list[bytes]:
    """As the format specification words it."""
    if not any(start <= index < end for index in indexes):
        return [rfc_root(start, end)]
    if end - start == 1:
        return []
    k = 1
    while k * 2 < end - start:
        k *= 2
    return reference_multiproof(indexes, start, start + k) + reference_multiproof(indexes, start + k, end)


@given(st.integers(1, MAX_SMALL), st.data())
@settings(max_examples=150, deadline=None)
def test_multiproofs(size: int, data: st.DataObject) -> None:
    indexes = sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=min(size, 20))))
    proof = merkle.multiproof(indexes, size, READER)
    assert proof == reference_multiproof(indexes, 0, size)
    leaves = {index: LEAVES[index] for index in indexes}
    root = rfc_root(0, size)
    assert merkle.multiproof_root(leaves, size, proof) == root
    assert merkle.multiproof_root(dict(reversed(leaves.items())), size, proof) == root
    for changed in indexes:
        assert merkle.multiproof_root(leaves | {changed: flipped(LEAVES[changed])}, size, proof) != root
    for altered in altered_proofs(proof):
        try:
            assert merkle.multiproof_root(leaves, size, altered) != root or altered == proof
        except ProofError:
            continue


def test_multiproof_of_all_leaves_is_empty() -> None:
    for size in range(1, 70):
        assert merkle.multiproof(range(size), size, READER) == []
        assert merkle.multiproof_root(dict(enumerate(LEAVES[:size])), size, []) == rfc_root(0, size)


@given(st.integers(2**30, 2**40), st.data())
@settings(max_examples=40, deadline=None)
def test_multiproof_in_huge_trees(size: int, data: st.DataObject) -> None:
    indexes = sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=12)))
    reader = SyntheticReader(indexes[0])
    proof = merkle.multiproof(indexes, size, reader)
    assert len(proof) <= 40 * len(indexes)
    leaves = {index: reader.leaf(index) for index in indexes}
    root = merkle.root_of(size, reader)
    assert merkle.multiproof_root(leaves, size, proof) == root
    with pytest.raises(ProofError):
        merkle.multiproof_root(leaves, size, proof[:-1])
    with pytest.raises(ProofError):
        merkle.multiproof_root(leaves, size, [*proof, OTHER])
    assert merkle.multiproof_root({**leaves, indexes[0]: OTHER}, size, proof) != root


@pytest.mark.parametrize("indexes", [[], [3, 3], [4, 3], [0, 1, 1], [-1, 2], [2, 8], [8]])
def test_multiproof_refuses_indexes(indexes: list[int]) -> None:
    with pytest.raises(ProofError):
        merkle.multiproof(indexes, 8, READER)


@pytest.mark.parametrize(
    ("leaves", "size", "proof"),
    [
        ({}, 8, [OTHER]),
        ({8: OTHER}, 8, [OTHER] * 3),
        ({-1: OTHER}, 8, [OTHER] * 3),
        ({0: OTHER}, 8, [OTHER] * 2),
        ({0: OTHER}, 8, [OTHER] * 4),
        ({0: OTHER}, 8, []),
        ({0: OTHER[1:]}, 8, [OTHER] * 3),
        ({0: OTHER}, 8, [OTHER, OTHER, OTHER + b"\0"]),
        ({0: OTHER}, 0, []),
        ({0: OTHER}, 2**63, [OTHER] * 63),
    ],
)
def test_multiproof_root_refuses(leaves: dict[int, bytes], size: int, proof: list[bytes]) -> None:
    with pytest.raises(ProofError):
        merkle.multiproof_root(leaves, size, proof)


# The right edge


def test_frontier_at_all_sizes_to_300() -> None:
    frontier = merkle.Frontier()
    assert frontier.root() == merkle.EMPTY_ROOT
    for size in range(1, MAX_SMALL + 1):
        frontier.append_roots(LEAVES[size - 1])
        assert (frontier.size, frontier.root()) == (size, rfc_root(0, size))
        assert merkle.Frontier.read(size, READER).hashes == frontier.hashes
        assert merkle.Frontier(size, frontier.hashes).root() == frontier.root()


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 5)), max_size=20))
@settings(max_examples=100, deadline=None)
def test_frontier_grows_by_subtrees(steps: list[tuple[int, int]]) -> None:
    frontier = merkle.Frontier()
    for level, count in steps:
        start, end = frontier.size >> level, (frontier.size >> level) + count
        if frontier.size % (1 << level) or end << level > MAX_SMALL:
            continue
        frontier.append_roots(b"".join(READER.levels[level][start:end]), level)
        assert frontier.root() == merkle.root_of(frontier.size, READER)


@pytest.mark.parametrize(
    ("size", "roots", "level"),
    [
        (1, OTHER, 1),
        (6, OTHER, 2),
        (0, OTHER[1:], 0),
        (0, OTHER + b"\0", 0),
        (0, OTHER, 63),
        (2**62, OTHER, 62),
        (0, OTHER, -1),
    ],
)
def test_frontier_refuses_what_cannot_follow(size: int, roots: bytes, level: int) -> None:
    frontier = merkle.Frontier(size, [OTHER] * size.bit_count())
    with pytest.raises(ProofError):
        frontier.append_roots(roots, level)
    assert (frontier.size, frontier.hashes) == (size, (OTHER,) * size.bit_count())


@pytest.mark.parametrize(
    ("size", "hashes"), [(0, [OTHER]), (3, [OTHER]), (4, []), (1, [OTHER[1:]]), (-1, []), (2**63, [OTHER])]
)
def test_frontier_refuses_hashes_that_do_not_fit(size: int, hashes: list[bytes]) -> None:
    with pytest.raises(ProofError):
        merkle.Frontier(size, hashes)


def test_a_copied_frontier_grows_by_itself() -> None:
    frontier = merkle.Frontier()
    frontier.append_roots(b"".join(LEAVES[:5]))
    copied = frontier.copy()
    copied.append_roots(LEAVES[5])
    assert (frontier.root(), copied.root()) == (rfc_root(0, 5), rfc_root(0, 6))
