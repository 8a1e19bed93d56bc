"""Request-id runs: which ones there are follows from the number of bundles, and they find what they hold."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage_ledger import kernel
from lineage_ledger.formats import packed
from lineage_ledger.formats.prediction import encode_prediction
from lineage_ledger_server.index.runs import RunBuilder
from lineage_ledger_server.store.index_store import EMPTY, IndexStore, IndexWrite
from lineage_ledger_server.store.run_rows import RunKey, parts_of, range_offset, run_width, runs_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

LEVELS = (0, 1, 2, 3)


def bundle(*request_ids: bytes) -> bytes:
    """Predictions with these request ids; fewer than 256 are enough, a run is over a range of indexes."""
    return packed.pack(
        encode_prediction(
            binding_row=1,
            input_commitment=bytes(32),
            output_commitment=bytes(32),
            start_time_unix_ns=1,
            request_id=request_id,
        )
        for request_id in request_ids
    )


def add_bundle(builder: RunBuilder, number: int, *parts: bytes) -> None:
    first_index = number * 256
    builder.add(RunKey(first_index, 0), kernel.request_id_rows(parts, range_offset(first_index)).rows)


def prefix(request_id: bytes) -> bytes:
    return hashlib.sha256(request_id).digest()[:10]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[IndexStore]:
    opened = IndexStore.open(tmp_path / "index", origin="example.com/runs")
    yield opened
    opened.close()


def all_rows(bundles: range) -> Iterator[bytes]:
    for number in bundles:
        yield prefix(b"all") + (number * 256).to_bytes(3, "big")
        yield prefix(b"%d" % number) + (number * 256 + 1).to_bytes(3, "big")


def expected_runs(bundles: int) -> list[RunKey]:
    """The fewest aligned runs over that many bundles."""
    runs, at = [], 0
    for level in reversed(LEVELS):
        while at + run_width(level) <= bundles * 256:
            runs.append(RunKey(at, level))
            at += run_width(level)
    return runs


def stored_runs(store: IndexStore) -> list[RunKey]:
    """Each once; its parts follow each other."""
    keys = [key for table, key, _ in store.dump() if table == "runs"]
    return list(dict.fromkeys(RunKey(int.from_bytes(key[:8], "big"), key[8]) for key in keys))


@pytest.mark.parametrize("bundles_a_commit", [7, 1_000, 5_000])
def test_levels_up_to_two_to_the_twenty(bundles_a_commit: int, store: IndexStore) -> None:
    """4,400 bundles: one run of 2^20 indexes and what follows it; a hit in each bundle, and one id in all of them."""
    bundles = 4_400
    numbers = range(bundles)
    position = EMPTY
    for start in numbers[::bundles_a_commit]:
        builder = RunBuilder(store.run)
        stop = min(start + bundles_a_commit, bundles)
        for number in range(start, stop):
            add_bundle(builder, number, bundle(b"all", b"%d" % number))
        after = position._replace(size=stop * 256)
        store.commit(IndexWrite(position, after, [], builder.runs, builder.merged))
        position = after
    assert stored_runs(store) == expected_runs(bundles) == list(runs_of(bundles * 256))
    assert b"".join(map(store.run, expected_runs(bundles)[:1])) == b"".join(sorted(all_rows(range(4_096))))
    size = bundles * 256
    for number in (0, 15, 16, 4_095, 4_096, 4_097, bundles - 1):
        assert store.find_rows(prefix(b"%d" % number), 0, size, 10) == [number * 256 + 1]
        assert store.find_rows(prefix(b"%d" % number), number * 256 + 1, number * 256 + 2, 10) == [number * 256 + 1]
        assert store.find_rows(prefix(b"%d" % number), number * 256 + 2, size, 10) == []
        assert store.find_rows(prefix(b"%d" % number), 0, number * 256 + 1, 10) == []
    everywhere = [number * 256 for number in numbers]
    assert store.find_rows(prefix(b"all"), 0, size, 10**6) == everywhere
    assert store.find_rows(prefix(b"all"), 5_000, 1_200_000, 10**6) == [i for i in everywhere if 5_000 <= i < 1_200_000]
    assert store.find_rows(prefix(b"all"), 1_000_000, size, 3) == [i for i in everywhere if i >= 1_000_000][:3]
    assert store.find_rows(prefix(b"none"), 0, size, 10) == []


def test_no_request_ids_cost_nothing(store: IndexStore) -> None:
    builder = RunBuilder(store.run)
    for number in range(300):
        add_bundle(builder, number, bundle(b"", b""))
    store.commit(IndexWrite(EMPTY, EMPTY._replace(size=300 * 256), [], builder.runs, builder.merged))
    assert stored_runs(store) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from([b"", b"a", b"b", b"c"]), max_size=6), min_size=1, max_size=40), st.data())
def test_hits_of_any_ids(bundles: list[list[bytes]], data: st.DataObject) -> None:
    builder = RunBuilder(lambda key: b"")
    for number, request_ids in enumerate(bundles):
        add_bundle(builder, number, bundle(*request_ids[:3]), bundle(*request_ids[3:]))
    wanted = data.draw(st.sampled_from([b"a", b"b", b"z"]))
    found = sorted(
        (key.first_index >> 20 << 20) + int.from_bytes(rows[at + 10 : at + 13], "big")
        for key, rows in builder.runs.items()
        for at in range(0, len(rows), 13)
        if rows[at : at + 10] == prefix(wanted)
    )
    assert found == [
        number * 256 + place
        for number, request_ids in enumerate(bundles)
        for place, request_id in enumerate(request_ids)
        if request_id == wanted
    ]
    for rows in builder.runs.values():
        assert [rows[at : at + 13] for at in range(0, len(rows), 13)] == sorted(
            rows[at : at + 13] for at in range(0, len(rows), 13)
        )


@given(st.integers(0, 3 << 20), st.integers(0, 3 << 20))
def test_which_runs_there_are(size: int, start: int) -> None:
    """Those of the full bundles, end to end, from the one that reaches beyond `start`."""
    runs = list(runs_of(size))
    assert [key.first_index for key in runs] == [0, *(key.first_index + run_width(key.level) for key in runs)][:-1] or (
        not runs and size < 256
    )
    assert sum(run_width(key.level) for key in runs) == size - size % 256
    assert all(key.first_index % run_width(key.level) == 0 for key in runs)
    assert [key.level for key in runs] == sorted((key.level for key in runs), reverse=True)
    assert list(runs_of(size, start)) == [key for key in runs if key.first_index + run_width(key.level) > start]


@pytest.mark.parametrize(("level", "parts"), [(0, 1), (1, 1), (2, 16), (3, 256)])
@pytest.mark.parametrize("rows", [0, 1, 5, 3_000])
@pytest.mark.parametrize("first_bytes", [range(256), range(16), range(240, 256), [7]])
def test_parts_of_a_run(level: int, parts: int, rows: int, first_bytes: Sequence[int]) -> None:
    rng = random.Random(rows)
    run = sorted(bytes([rng.choice(first_bytes)]) + rng.randbytes(12) for _ in range(rows))
    stored = list(parts_of(RunKey(1 << 20, level), b"".join(run)))
    assert b"".join(part for _, part in stored) == b"".join(run)
    for key, part in stored:
        assert key[:9] == (1 << 20).to_bytes(8, "big") + bytes([level])
        assert {part[at] * parts // 256 for at in range(0, len(part), 13)} == {key[9]}
    assert [key for key, _ in stored] == sorted({key for key, _ in stored})
