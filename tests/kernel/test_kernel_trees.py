"""Roots: against RFC 6962's own recursion, for every small tree and some large ones."""

from __future__ import annotations

import itertools
from functools import cache
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage_ledger.errors import MalformedError
from tests.kernel.kernel_examples import KERNELS, outcome

HASHES = [sha256(number.to_bytes(4, "big")).digest() for number in range(3000)]


@cache
def naive_root(start: int, end: int) -> bytes:
    """Merkle tree hash of HASHES[start:end], as section 2.1 of the RFC writes it."""
    size = end - start
    if size == 0:
        return sha256(b"").digest()
    if size == 1:
        return HASHES[start]
    split = 1 << (size - 1).bit_length() - 1
    return sha256(b"\1" + naive_root(start, start + split) + naive_root(start + split, end)).digest()


@pytest.mark.parametrize("sizes", [range(301), range(500, 526), range(760, 780), range(1020, 1030), range(2990, 3001)])
def test_tree_root(kernel: Any, sizes: range) -> None:
    for size in sizes:
        assert kernel.tree_root(b"".join(HASHES[:size])) == naive_root(0, size), size


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 511, 512, 3000])
def test_tile_roots(kernel: Any, size: int) -> None:
    expected = b"".join(naive_root(start, start + 256) for start in range(0, size - 255, 256))
    assert kernel.tile_roots(b"".join(HASHES[:size])) == expected


def test_large_tree_from_tiles(kernel: Any) -> None:
    leaves = b"".join(HASHES) * 30
    full = len(leaves) // 8192 * 8192
    assert kernel.tree_root(kernel.tile_roots(leaves)) == kernel.tree_root(leaves[:full])


@pytest.mark.parametrize("function", ["tree_root", "tile_roots"])
@pytest.mark.parametrize("size", [1, 31, 33, 8191])
def test_not_hashes(kernel: Any, function: str, size: int) -> None:
    with pytest.raises(MalformedError, match=f"{size} bytes long, which is not a multiple of 32"):
        getattr(kernel, function)(bytes(size))


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(1, 400))
def test_all_agree(pattern: bytes, times: int) -> None:
    for function in ("tree_root", "tile_roots"):
        first, *others = (outcome(getattr(kernel, function), pattern * times) for kernel in KERNELS.values())
        assert all(other == first for other in others)


@given(sizes=st.lists(st.integers(1, 400), max_size=60), first=st.integers(0, 8), step=st.integers(1, 8))
def test_entry_offsets(sizes: list[int], first: int, step: int) -> None:
    packed = b"".join(size.to_bytes(2, "big") + bytes(size) for size in sizes)
    ends = [0, *itertools.accumulate(size + 2 for size in sizes)]
    for kernel in KERNELS.values():
        assert kernel.entry_offsets(packed, first, step) == ends[first::step]
        for cut in {1, 2, 3, len(packed) - 1} - {*ends}:
            if 0 < cut < len(packed):
                with pytest.raises(MalformedError, match="end inside entry"):
                    kernel.entry_offsets(packed[:cut], first, step)


@pytest.mark.parametrize(("first", "step"), [(-1, 1), (0, 0), (0, -1)])
def test_entry_offsets_of_nowhere(kernel: Any, first: int, step: int) -> None:
    with pytest.raises(MalformedError, match="at least"):
        kernel.entry_offsets(b"", first, step)
