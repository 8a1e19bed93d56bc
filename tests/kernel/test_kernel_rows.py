"""Rows of request ids: made, sorted and merged as the plain definition says; what is out of range is refused."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from itertools import chain
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage_ledger.errors import MalformedBatchError, MalformedEntryError, MalformedError
from tests.kernel.kernel_examples import KERNELS, outcome, pack, prediction, predictions, statements


def row(request_id: bytes, offset: int) -> bytes:
    return sha256(request_id).digest()[:10] + offset.to_bytes(3, "big")


def rows_of(data: bytes) -> list[bytes]:
    return [data[start : start + 13] for start in range(0, len(data), 13)]


def all_outcomes(call: Callable[[Any], Any]) -> Any:
    first, *others = (outcome(call, kernel) for kernel in KERNELS.values())
    assert all(other == first for other in others)
    return first


def test_rows(kernel: Any) -> None:
    ids = [b"", b"a", b"b" * 64, b"", b"a", b"c" * 55, b"d" * 56]
    entries = [prediction(row=1 + 40 * place, request_id=request_id) for place, request_id in enumerate(ids)]
    entries.insert(2, b"\x12\x00")
    places = {0: b"", 1: b"a", 3: b"b" * 64, 5: b"a", 6: b"c" * 55, 7: b"d" * 56}
    expected = sorted(row(request_id, 70_000 + place) for place, request_id in places.items() if request_id)
    assert rows_of(kernel.request_id_rows(pack(entries), 70_000)) == expected
    assert kernel.request_id_rows(b"", 0) == b""
    assert kernel.request_id_rows(pack([prediction()]), 0) == b""


@pytest.mark.parametrize("count", [1, 15, 16, 17, 5000])
def test_many_rows(kernel: Any, count: int) -> None:
    ids = [b"%d" % (number % 700) for number in range(count)]
    packed = pack(prediction(request_id=request_id) for request_id in ids)
    expected = sorted(row(request_id, 3 + place) for place, request_id in enumerate(ids))
    assert rows_of(kernel.request_id_rows(packed, 3)) == expected


@settings(deadline=None)
@given(st.lists(predictions() | statements(), max_size=40), st.integers(0, 1 << 23))
def test_rows_agree(entries: list[bytes], first_offset: int) -> None:
    rows = all_outcomes(lambda kernel: kernel.request_id_rows(pack(entries), first_offset))
    assert rows_of(rows) == sorted(rows_of(rows))


def test_offset_at_the_end(kernel: Any) -> None:
    packed = pack([prediction(request_id=b"x")])
    assert kernel.request_id_rows(packed, (1 << 24) - 1)[-3:] == b"\xff\xff\xff"
    for first_offset in (1 << 24, -1, 1 << 63, 1 << 64, 1 << 200, -(1 << 200)):
        with pytest.raises(MalformedError, match=r"must lie in \[0, 16777216\)"):
            kernel.request_id_rows(packed, first_offset)
    with pytest.raises(TypeError):
        kernel.request_id_rows(packed, 1.0)


def test_rows_of_malformed_entries(kernel: Any) -> None:
    with pytest.raises(MalformedEntryError):
        kernel.request_id_rows(pack([prediction(request_id=bytes(65))]), 0)
    with pytest.raises(MalformedBatchError):
        kernel.request_id_rows(b"\x00", 0)
    with pytest.raises(MalformedBatchError, match="at most 33554432"):
        kernel.request_id_rows(bytes((32 << 20) + 1), 0)


RUNS = st.lists(st.lists(st.binary(min_size=13, max_size=13), max_size=30).map(sorted), max_size=9)


@settings(deadline=None)
@given(RUNS)
def test_merge(runs: list[list[bytes]]) -> None:
    merged = all_outcomes(lambda kernel: kernel.merge_rows([b"".join(run) for run in runs]))
    assert rows_of(merged) == sorted(chain.from_iterable(runs))


def test_merge_many(kernel: Any) -> None:
    random = Random(7)
    runs = [sorted(random.randbytes(13) for _ in range(random.randrange(200))) for _ in range(100)]
    assert rows_of(kernel.merge_rows(tuple(map(b"".join, runs)))) == sorted(chain.from_iterable(runs))
    assert kernel.merge_rows([]) == kernel.merge_rows([b"", bytearray()]) == b""


def test_merge_refuses(kernel: Any) -> None:
    low, high = bytes(13), bytes(12) + b"\x01"
    with pytest.raises(MalformedError, match="run 1 is not sorted"):
        kernel.merge_rows([low + high, high + low])
    with pytest.raises(MalformedError, match="run 0 is 14 bytes long, which is not a multiple of 13"):
        kernel.merge_rows([low + b"\0", high + low])
    with pytest.raises(MalformedError, match="more than 16777216 rows"):
        kernel.merge_rows([bytes(13 << 20)] * 17)
    for wrong in ([low, "text"], b"bytes", 5, [None]):
        with pytest.raises(TypeError):
            kernel.merge_rows(wrong)
