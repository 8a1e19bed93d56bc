"""Range proofs: the multiproof of leaves that follow each other, byte for byte, and everything altered is refused."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage_ledger.errors import ProofError
from lineage_ledger.formats import merkle
from tests.formats.test_merkle import LEAVES, MAX_SMALL, READER, SyntheticReader, altered_proofs, flipped, rfc_root

sizes_and_ranges = st.integers(1, MAX_SMALL).flatmap(
    lambda size: st.tuples(st.just(size), st.integers(0, size - 1)).flatmap(
        lambda found: st.tuples(st.just(found[0]), st.just(found[1]), st.integers(found[1] + 1, found[0]))
    )
)


def _joined(start: int, end: int) -> bytes:
    return b"".join(LEAVES[start:end])


def test_every_range_of_every_small_tree_has_the_multiproof_of_its_indexes() -> None:
    for size in range(1, 36):
        for start in range(size):
            for end in range(start + 1, size + 1):
                proof = merkle.range_proof(start, end, size, READER)
                assert proof == merkle.multiproof(range(start, end), size, READER)
                assert merkle.range_root(_joined(start, end), start, size, proof) == rfc_root(0, size)


@given(sizes_and_ranges)
def test_a_range_has_the_multiproof_of_its_indexes_and_leads_to_the_root(found: tuple[int, int, int]) -> None:
    size, start, end = found
    proof = merkle.range_proof(start, end, size, READER)
    assert proof == merkle.multiproof(range(start, end), size, READER)
    leaves = {index: LEAVES[index] for index in range(start, end)}
    root = merkle.range_root(_joined(start, end), start, size, proof)
    assert root == merkle.multiproof_root(leaves, size, proof) == rfc_root(0, size)


@given(sizes_and_ranges, st.data())
def test_altered_leaves_places_and_sizes_lead_elsewhere(found: tuple[int, int, int], data: st.DataObject) -> None:
    size, start, end = found
    proof, leaves, root = merkle.range_proof(start, end, size, READER), _joined(start, end), rfc_root(0, size)

    def leads(leaf_hashes: bytes, start: int, size: int) -> bool:
        try:
            return merkle.range_root(leaf_hashes, start, size, proof) == root
        except ProofError:
            return False

    bit = data.draw(st.integers(0, len(leaves) * 8 - 1))
    assert not leads(flipped(leaves, bit), start, size)
    elsewhere = data.draw(st.integers(0, MAX_SMALL).filter(lambda place: place != start))
    assert not leads(leaves, elsewhere, size)
    # A root does not bind the size: another one may lead to it only with the same shape on the right.
    if end == size:
        assert not leads(leaves, start, size + 1)
    for place in {0, end - start - 1}:
        shorter = leaves[: 32 * place] + leaves[32 * (place + 1) :]
        assert not leads(shorter, start, size)
    if end - start > 1:
        assert not leads(leaves[32:64] + leaves[:32] + leaves[64:], start, size)


@settings(max_examples=30)
@given(sizes_and_ranges)
def test_an_altered_proof_is_refused(found: tuple[int, int, int]) -> None:
    size, start, end = found
    proof, leaves, root = merkle.range_proof(start, end, size, READER), _joined(start, end), rfc_root(0, size)
    for altered in altered_proofs(proof):
        with contextlib.suppress(ProofError):
            assert merkle.range_root(leaves, start, size, altered) != root


@pytest.mark.parametrize(
    ("start", "end", "size"),
    [(0, 0, 1), (1, 1, 2), (2, 1, 3), (-1, 1, 3), (0, 4, 3), (3, 4, 3), (0, 1, 0), (0, 1, 2**63)],
)
def test_what_is_no_range_is_refused(start: int, end: int, size: int) -> None:
    with pytest.raises(ProofError):
        merkle.range_proof(start, end, size, READER)
    with pytest.raises(ProofError):
        merkle.range_root(bytes(32) * max(0, end - start), start, size, [])


@pytest.mark.parametrize("length", [1, 31, 33, 63])
def test_bytes_that_are_no_leaf_hashes_are_refused(length: int) -> None:
    with pytest.raises(ProofError, match="leaf hashes"):
        merkle.range_root(bytes(length), 0, 8, [])


@settings(max_examples=30, deadline=None)
@given(st.integers(1 << 20, 1 << 62), st.data())
def test_a_batch_in_a_huge_tree_is_checked_in_few_steps(size: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 4_097))
    start = data.draw(st.integers(0, size - count))
    reader = SyntheticReader(data.draw(st.integers(start, start + count - 1)))
    proof = merkle.range_proof(start, start + count, size, reader)
    assert len(proof) <= 2 * size.bit_length()
    leaves = b"".join(map(reader.leaf, range(start, start + count)))
    assert merkle.range_root(leaves, start, size, proof) == merkle.root_of(size, reader)


def test_more_leaves_take_no_more_python() -> None:
    """A million leaves in a moment: in Python their hashes alone would take a second."""
    count = 1 << 20
    reader = SyntheticReader(0)
    leaves = b"".join([reader.leaf(0), reader.leaf(1) * (count - 1)])
    before_s = time.process_time()
    proof = merkle.range_proof(0, count, 1 << 40, reader)
    assert time.process_time() - before_s < 0.05
    assert merkle.range_root(leaves, 0, 1 << 40, proof) == merkle.root_of(1 << 40, reader)
