"""Rows of request ids: made, sorted and merged as the plain definition says; what is out of range is refused."""

from __future__ import annotations

import time
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
    for parts in ([entries], [entries[:3], entries[3:]], [[], *([entry] for entry in entries), []]):
        count, rows, others = kernel.request_id_rows(list(map(pack, parts)), 70_000)
        assert count == len(entries)
        assert rows_of(rows) == expected
        assert others == [(2, b"\x12\x00")]
    assert kernel.request_id_rows([], 0) == kernel.request_id_rows([b"", bytearray()], 0) == (0, b"", [])
    assert kernel.request_id_rows((pack([prediction()]),), 0) == (1, b"", [])


@pytest.mark.parametrize("count", [1, 15, 16, 17, 24, 25, 5000])
@pytest.mark.parametrize("different_ids", [1, 700, 10_000])
def test_many_rows(kernel: Any, count: int, different_ids: int) -> None:
    ids = [b"%d" % (number % different_ids) for number in range(count)]
    entries = [prediction(request_id=request_id) for request_id in ids]
    expected = sorted(row(request_id, 3 + place) for place, request_id in enumerate(ids))
    parts = [pack(entries[start : start + 300]) for start in range(0, count, 300)]
    assert rows_of(kernel.request_id_rows(parts, 3)[1]) == expected


@settings(deadline=None)
@given(st.lists(st.lists(predictions() | statements(), max_size=20), max_size=4), st.integers(0, 1 << 23))
def test_rows_agree(parts: list[list[bytes]], first_offset: int) -> None:
    count, rows, others = all_outcomes(lambda kernel: kernel.request_id_rows(list(map(pack, parts)), first_offset))
    entries = list(chain.from_iterable(parts))
    assert count == len(entries)
    assert rows_of(rows) == sorted(rows_of(rows))
    assert others == [(place, entry) for place, entry in enumerate(entries) if entry[0] != 0x0A]


def test_offset_at_the_end(kernel: Any) -> None:
    packed = pack([prediction(request_id=b"x")])
    assert kernel.request_id_rows([packed], (1 << 24) - 1)[1][-3:] == b"\xff\xff\xff"
    assert kernel.request_id_rows([], 1 << 24) == (0, b"", [])
    for first_offset in (1 << 24, -1, 1 << 63, 1 << 64, 1 << 200, -(1 << 200)):
        with pytest.raises(MalformedError, match=r"must lie in \[0, 16777216\)"):
            kernel.request_id_rows([packed], first_offset)
    with pytest.raises(MalformedError, match=r"must lie in \[0, 16777216\)"):
        kernel.request_id_rows([packed, b"", packed], (1 << 24) - 1)
    with pytest.raises(TypeError):
        kernel.request_id_rows([packed], 1.0)
    for wrong in (packed, [packed, "text"], 5):
        with pytest.raises(TypeError):
            kernel.request_id_rows(wrong, 0)


def test_rows_of_malformed_entries(kernel: Any) -> None:
    """Whichever part they are in; places are counted in that part."""
    good = pack([prediction(request_id=b"x")])
    with pytest.raises(MalformedEntryError, match="entry 1"):
        kernel.request_id_rows([good, pack([prediction(), prediction(request_id=bytes(65))]), good], 0)
    with pytest.raises(MalformedBatchError):
        kernel.request_id_rows([good, b"\x00"], 0)
    with pytest.raises(MalformedBatchError, match="at most 33554432"):
        kernel.request_id_rows([good, bytes((32 << 20) + 1)], 0)


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


def alike(random: Random, equal_bytes: int, count: int) -> list[bytes]:
    """Rows that begin with the same bytes, as somebody may choose request ids for."""
    start = random.randbytes(equal_bytes)
    return [start + random.randbytes(13 - equal_bytes) for _ in range(count)]


@pytest.mark.parametrize("equal_bytes", [0, 1, 2, 7, 9, 10, 12, 13])
def test_merge_of_rows_that_begin_alike(kernel: Any, equal_bytes: int) -> None:
    random = Random(equal_bytes)
    runs = [sorted(alike(random, equal_bytes, 700) + alike(random, 0, 30)) for _ in range(5)]
    assert rows_of(kernel.merge_rows(list(map(b"".join, runs)))) == sorted(chain.from_iterable(runs))


class TestFind:
    """Rows by their first 10 bytes, against a look at all of them."""

    def expected(self, runs: list[list[bytes]], first_row: bytes, limit: int) -> list[tuple[int, int]]:
        hits = [
            (number, int.from_bytes(each[10:], "big"))
            for number, run in enumerate(runs)
            for each in run
            if each[:10] == first_row[:10] and (number or each >= first_row)
        ]
        return hits[:limit]

    def check(self, kernel: Any, runs: list[list[bytes]], first_row: bytes, limit: int = 1 << 20) -> None:
        found = kernel.find_rows(list(map(b"".join, runs)), first_row, limit)
        assert found == self.expected(runs, first_row, limit)

    @pytest.mark.parametrize("equal_bytes", [0, 1, 4, 7, 8, 9, 10, 13])
    @pytest.mark.parametrize("size", [1, 2, 3, 100, 1_000])
    def test_every_kind_of_run(self, kernel: Any, equal_bytes: int, size: int) -> None:
        """Hashes spread evenly, and ones that begin alike; each row and what lies beside it."""
        random = Random(equal_bytes * 10_000 + size)
        runs = [sorted(alike(random, equal_bytes, size)), [], sorted(alike(random, 0, size))]
        runs.append(sorted([*alike(random, equal_bytes, size), *random.choices(runs[0], k=5)]))
        wanted = random.choices(list(chain.from_iterable(runs)), k=15)
        for each in [*wanted, *(random.randbytes(13) for _ in range(5)), bytes(13), b"\xff" * 13]:
            number = int.from_bytes(each, "big")
            for nearby in (number - 1, number, number + 1, number >> 24 << 24):
                self.check(kernel, runs, (nearby % (1 << 104)).to_bytes(13, "big"))

    def test_many_hits(self, kernel: Any) -> None:
        """In several runs; from within the first run on, and only so many."""
        runs = [[row(b"same", offset) for offset in range(start, start + 300)] for start in (0, 300, 0)]
        runs.insert(1, sorted(row(b"%d" % number, number) for number in range(300)))
        for first in (0, 1, 299, 300):
            for limit in (0, 1, 2, 299, 300, 301, 600, 899, 900, 901):
                self.check(kernel, runs, row(b"same", first), limit)

    @settings(deadline=None, max_examples=200)
    @given(
        st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=50), max_size=4),
        st.integers(0, 3),
        st.integers(0, 10),
        st.integers(0, 60),
    )
    def test_agree(self, drawn: list[list[tuple[int, int]]], wanted: int, offset: int, limit: int) -> None:
        runs = [sorted(row(b"%d" % request_id, offset) for request_id, offset in run) for run in drawn]
        for kernel in KERNELS.values():
            self.check(kernel, runs, row(b"%d" % wanted, offset), limit)

    def test_unsorted_runs_mislead_nobody_further_than_a_miss(self, kernel: Any) -> None:
        """What decays on a disk: any answer will do that is of rows which begin as asked."""
        random = Random(1)
        for _ in range(300):
            run = alike(random, random.choice([0, 0, 1, 8, 10]), random.randrange(1, 400))
            wanted = random.choice([random.choice(run), random.randbytes(13)])
            hits = set(self.expected([run], wanted[:10] + bytes(3), 1 << 20))
            assert set(kernel.find_rows([b"".join(run)], wanted, 1 << 20)) <= hits

    def test_refuses(self, kernel: Any) -> None:
        with pytest.raises(MalformedError, match="run 1 is 14 bytes long, which is not a multiple of 13"):
            kernel.find_rows([bytes(13), bytes(14)], bytes(13), 1)
        for size in (0, 10, 12, 14):
            with pytest.raises(MalformedError, match=f"first_row is {size} bytes long, not 13"):
                kernel.find_rows([bytes(13)], bytes(size), 1)
        for limit in (-1, (1 << 20) + 1):
            with pytest.raises(MalformedError, match="it must be 0 to 1048576"):
                kernel.find_rows([bytes(13)], bytes(13), limit)
        for wrong in ([bytes(13), "text"], 5, [None]):
            with pytest.raises(TypeError):
                kernel.find_rows(wrong, bytes(13), 1)


def test_rows_that_begin_alike_cost_no_more_than_passes_over_them() -> None:
    """Sorting them by comparing neighbours would take hours."""
    if "c" not in KERNELS:
        pytest.skip("there is no C kernel here")
    random = Random(3)
    start = random.randbytes(9)
    rows = sorted(start + random.randbytes(4) for _ in range(1 << 19))
    halves = [b"".join(rows[::2]), b"".join(rows[1::2])]
    began_s = time.process_time()
    assert KERNELS["c"].merge_rows(halves) == b"".join(rows)
    assert time.process_time() - began_s < 2
