"""What is stored is what was appended, whatever the sizes of the groups, and after every reopening."""

from __future__ import annotations

import random
import shutil
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from lineage_ledger import kernel
from lineage_ledger.formats import packed
from lineage_ledger.formats.tiles import tiles_of
from lineage_ledger_server.errors import CorruptValueError, IndexOutOfRangeError, StoreError
from lineage_ledger_server.store.log_store import LogStore
from lineage_ledger_server.store.packed_entries import span
from lineage_ledger_server.store.right_edge import RightEdge
from lineage_ledger_server.store.rows import BatchRow, ChainRow
from tests.store.log_builder import LogBuilder, leaf, naive_root


def assert_stored(store: LogStore, log: LogBuilder) -> None:
    """Every bundle and every tile, full and partial, is what the naive tree says."""
    assert (store.size, store.root()) == (log.size, log.root())
    with store.snapshot() as snapshot:
        assert snapshot.size == log.size
        for number in range((log.size + 255) // 256):
            hashes, entries = snapshot.bundle_bytes(number)
            assert packed.split(entries) == log.entries[256 * number : 256 * (number + 1)]
            assert hashes == b"".join(log.hashes[256 * number : 256 * (number + 1)])
        for level, number, width in tiles_of(log.size):
            span_ = 256**level
            expected = [
                naive_root(log.hashes[n * span_ : (n + 1) * span_]) for n in range(number * 256, number * 256 + width)
            ]
            assert snapshot.tile_hashes(level, number, width) == b"".join(expected)


@pytest.mark.parametrize("seed", range(3))
def test_random_groups_reopened_after_every_commit(tmp_path: Path, seed: int) -> None:
    sizes = random.Random(seed)
    log = LogBuilder(seed)
    for _ in range(12):
        store = LogStore.open(tmp_path / "log")
        store.append(log.raw_group(sizes.choice([1, 2, 255, 256, 257, sizes.randint(1, 3000)])))
        assert_stored(store, log)
        store.close()
    store = LogStore.open(tmp_path / "log")
    assert_stored(store, log)
    store.close()


def test_one_entry_commits_across_bundles_and_a_level_1_tile(tmp_path: Path) -> None:
    log = LogBuilder()
    store = LogStore.open(tmp_path / "log")
    store.append(log.raw_group(65_536 - 300))
    for _ in range(600):
        store.append(log.raw_group(1))
    assert_stored(store, log)
    store.close()
    store = LogStore.open(tmp_path / "log")
    assert_stored(store, log)
    store.close()


def test_root_is_known_before_the_commit(tmp_path: Path) -> None:
    log = LogBuilder()
    store = LogStore.open(tmp_path / "log")
    prepared = store.prepare(log.raw_group(700))
    assert (prepared.size, prepared.root) == (700, log.root())
    assert store.size == 0
    store.commit(prepared)
    assert_stored(store, log)
    with pytest.raises(StoreError, match="prepared on another state"):
        store.commit(prepared)
    store.close()


def test_groups_that_do_not_fit_are_refused_and_change_nothing(tmp_path: Path) -> None:
    log = LogBuilder()
    store = LogStore.open(tmp_path / "log")
    store.append(log.raw_group(300))
    state = (list(log.entries), list(log.hashes), list(log.blocks))
    group = log.raw_group(300)
    for bad in (
        replace(group, first_index=299),
        replace(group, first_index=301),
        replace(group, leaf_hashes=group.leaf_hashes[:-1]),
        replace(group, leaf_hashes=b""),
        replace(group, packed=group.packed[: len(group.packed) // 4]),
        replace(group, block_number=1),  # not above the blocks in the table
        replace(group, batches=[BatchRow(310, 0, 0, 0, 1), BatchRow(305, 0, 1, 1, 1)]),
    ):
        with pytest.raises(StoreError):
            store.append(bad)
    log.entries, log.hashes, log.blocks = state
    assert_stored(store, log)
    store.append(log.raw_group(300))
    assert_stored(store, log)
    store.close()


def test_rows_of_batches_chains_producers_and_blocks(tmp_path: Path) -> None:
    log = LogBuilder()
    store = LogStore.open(tmp_path / "log")
    for group in [log.genesis_group(), log.group([3, 0, 500]), log.group([40, 7], new_chain=True), log.group([])]:
        store.append(group)
    with store.snapshot() as snapshot:
        for chain_id, chain in log.chains.items():
            assert snapshot.chain(chain_id) == chain.row
            assert snapshot.chain_id(chain.row.ordinal) == chain_id
        assert [chain_id for chain_id, _ in snapshot.chains_from(0, 10)] == list(log.chains)
        assert snapshot.chain(b"?" * 16) is None
        for batch in log.batches:
            row = snapshot.batch_at(batch.seal_index)
            assert row is not None
            assert snapshot.seal_index_of(row.chain_ordinal, row.batch_sequence) == batch.seal_index
            for index in range(batch.first_index, batch.seal_index + 1):
                assert snapshot.batch_covering(index) == row
        for block in [0, *log.blocks]:
            assert snapshot.batch_covering(block) is None
        assert [row.seal_index for row in snapshot.batches_from(0, 100)] == [b.seal_index for b in log.batches]
        assert len(snapshot.batches_from(0, 2)) == 2
        assert snapshot.counts() == (2, 1, len(log.batches))
        assert snapshot.last_block() == (4, log.size - 1)
        assert [snapshot.block_index(number) for number in range(6)] == [None, *log.blocks, None]
        [(key, producer)] = snapshot.producers(b"", 10)
        assert key == log.producer_key.public_key
        assert producer.registered_index == 1
        assert snapshot.producers(key, 10) == []
    store.close()


def test_an_ordinal_belongs_to_one_chain(tmp_path: Path) -> None:
    log = LogBuilder()
    store = LogStore.open(tmp_path / "log")
    store.append(replace(log.raw_group(1), chains={b"a" * 16: ChainRow(0, 0, 0)}))
    with pytest.raises(StoreError, match="another chain"):
        store.append(replace(log.raw_group(1), chains={b"b" * 16: ChainRow(0, 1, 1)}))
    assert store.size == 1
    store.close()


def test_beyond_the_log(tmp_path: Path) -> None:
    log = LogBuilder()
    store = LogStore.open(tmp_path / "log")
    store.append(log.raw_group(600))
    with store.snapshot() as snapshot:
        for bundle in (-1, 3):
            with pytest.raises(IndexOutOfRangeError):
                snapshot.bundle_bytes(bundle)
        for tile in ((0, 2, 89), (1, 0, 3), (2, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)):
            with pytest.raises(IndexOutOfRangeError):
                snapshot.tile_hashes(*tile)
    store.close()


def test_read_only(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot open"):
        LogStore.open(tmp_path / "log", read_only=True)
    log = LogBuilder()
    store = LogStore.open(tmp_path / "log")
    store.append(log.raw_group(300))
    store.close()
    store = LogStore.open(tmp_path / "log", read_only=True)
    with store.snapshot() as snapshot:
        assert snapshot.size == 300
    with pytest.raises(StoreError, match="read only"):
        store.append(log.raw_group(1))
    store.close()


def test_an_environment_of_another_format_is_refused(tmp_path: Path) -> None:
    import lmdb

    env = lmdb.Environment(str(tmp_path), max_dbs=10, lib_version=0)
    with env.begin(write=True) as txn:
        txn.put(b"format", b"something else", db=env.open_db(b"meta", txn=txn))
    env.close()
    with pytest.raises(StoreError, match="another version"):
        LogStore.open(tmp_path)


def test_a_damaged_tail_is_not_opened_for_writing(tmp_path: Path) -> None:
    log = LogBuilder()
    store = LogStore.open(tmp_path / "log")
    store.append(log.raw_group(20))
    store.close()
    data = (tmp_path / "log" / "data.mdb").read_bytes()
    assert data.count(log.entries[7]) >= 1
    flipped = bytes([log.entries[7][0] ^ 1]) + log.entries[7][1:]
    (tmp_path / "log" / "data.mdb").write_bytes(data.replace(log.entries[7], flipped))
    with pytest.raises(CorruptValueError):
        LogStore.open(tmp_path / "log")


def test_large_entries_fill_a_bundle_beyond_what_the_kernel_takes_at_once() -> None:
    entries = [bytes([n]) * 65_535 for n in range(256)]
    growth = RightEdge().grown(packed.pack(entries), b"".join(map(leaf, entries)))
    [bundle] = growth.bundles
    assert kernel.leaf_hashes(bundle.packed) == bundle.leaf_hashes
    assert growth.edge.root() == naive_root([leaf(entry) for entry in entries])


def test_offsets_of_packed_entries() -> None:
    entries = [b"a", b"bb" * 300, b"", b"dddd"]
    data = b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
    offsets = [0, 3, 605, 607, 613]
    assert kernel.entry_offsets(data, 0, 1) == offsets
    assert kernel.entry_offsets(data, 1, 2) == offsets[1::2]
    assert kernel.entry_offsets(data, 9, 1) == []
    assert span(data, 1, 3) == (3, 607)
    assert span(data, 4, 4) == (613, 613)
    for cut in (1, 4, 600, 612):
        with pytest.raises(ValueError, match="end"):
            kernel.entry_offsets(data[:cut], 0, 1)
        with pytest.raises(ValueError, match="end"):
            span(data[:cut], 0, 4)
    with pytest.raises(ValueError, match="before entry 5"):
        span(data, 0, 5)


@pytest.mark.long
def test_opening_ten_million_entries_reads_the_right_edge_only(tmp_path: Path) -> None:
    count = 1 << 14
    entries = (104).to_bytes(2, "big") + b"e" * 104
    group = LogBuilder().raw_group(1)
    group = replace(group, packed=entries * count, leaf_hashes=leaf(entries[2:]) * count)
    with closing(LogStore.open(tmp_path / "log")) as store:
        while store.size < 10_000_000:
            block_number = store.size // count + 1
            store.append(replace(group, first_index=store.size, block_number=block_number))
        size, root = store.size, store.root()
    start = time.perf_counter()
    with closing(LogStore.open(tmp_path / "log")) as store:
        assert time.perf_counter() - start < 0.1
        assert (store.size, store.root()) == (size, root)
    shutil.rmtree(tmp_path / "log")
