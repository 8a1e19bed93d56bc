"""Readers get what is under the published head, proven; and nothing else."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from lineage_ledger.formats import merkle, packed
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger_server.errors import (
    CorruptValueError,
    HeadMismatchError,
    IndexOutOfRangeError,
    NotFoundError,
    PredictionLostError,
)
from lineage_ledger_server.head import Head, HeadRecord
from lineage_ledger_server.reading.log_reader import LogReader
from lineage_ledger_server.store.log_store import LogStore
from tests.store.log_builder import BLOCK_INTERVAL_NS, FIRST_BLOCK_TIME_NS, LogBuilder, naive_root


class Ledger:
    """A log with a head that is published when the test says so."""

    def __init__(self, path: Path) -> None:
        self.log = LogBuilder()
        self.store = LogStore.open(path)
        self.store.append(self.log.genesis_group())
        self.published = self.log.head()
        self.reader = LogReader(self.store, lambda: self.published)

    def append(self, counts: list[int], *, lost: bool = False, new_chain: bool = False, publish: bool = True) -> None:
        self.store.append(self.log.group(counts, lost=lost, new_chain=new_chain))
        if publish:
            self.published = self.log.head()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "log")
    yield ledger
    ledger.store.close()


def test_entries_hashes_and_ranges_while_the_log_grows(ledger: Ledger) -> None:
    for counts in ([3], [200, 70], [0], [1_500], [5]):
        ledger.append(counts)
        size = ledger.published.size
        for index in {0, 1, size // 2, size - 2, size - 1, 255, 256} & set(range(size)):
            assert ledger.reader.entry(index) == ledger.log.entries[index]
            assert ledger.reader.leaf_hash(index) == ledger.log.hashes[index]
        for start, end in ((0, size), (0, 0), (size, size), (size // 3, size - 1), (250, 260), (256, 512)):
            if start <= end <= size:
                got = list(ledger.reader.packed_range(start, end))
                assert [entry for _, _, data in got for entry in packed.split(data)] == ledger.log.entries[start:end]
                assert [first for first, _, _ in got] == [
                    start + sum(c for _, c, _ in got[:n]) for n in range(len(got))
                ]


def test_proofs(ledger: Ledger) -> None:
    ledger.append([700, 10])
    hashes, size = ledger.log.hashes, ledger.log.size
    for tree_size in (1, 2, 255, 256, 257, 513, size - 1, size):
        root = naive_root(hashes[:tree_size])
        assert ledger.reader.root(tree_size) == root
        for index in {0, 1, tree_size // 2, tree_size - 1} & set(range(tree_size)):
            proof = ledger.reader.inclusion_proof(index, tree_size)
            merkle.verify_inclusion(hashes[index], index, tree_size, proof, root)
        for old in {1, tree_size // 2, tree_size - 1, tree_size} & set(range(1, tree_size + 1)):
            proof = ledger.reader.consistency_proof(old, tree_size)
            merkle.verify_consistency(old, naive_root(hashes[:old]), tree_size, root, proof)
        indexes = sorted({0, tree_size // 3, tree_size - 1})
        leaves = {index: hashes[index] for index in indexes}
        proof = ledger.reader.multiproof(indexes, tree_size)
        assert merkle.multiproof_root(leaves, tree_size, proof) == root


def test_nothing_beyond_the_head(ledger: Ledger) -> None:
    ledger.append([100])
    size = ledger.published.size
    ledger.append([300], new_chain=True, publish=False)
    reader = ledger.reader
    for call in (
        lambda: reader.entry(size),
        lambda: reader.entry(-1),
        lambda: reader.leaf_hash(size),
        lambda: reader.packed_range(0, size + 1),
        lambda: reader.packed_range(3, 2),
        lambda: reader.root(size + 1),
        lambda: reader.tile(0, 1),
        lambda: reader.tile(1, 0),
        lambda: reader.inclusion_proof(0, size + 1),
        lambda: reader.inclusion_proof(size, size),
        lambda: reader.consistency_proof(1, size + 1),
        lambda: reader.consistency_proof(0, size),
        lambda: reader.multiproof([0], size + 1),
        lambda: reader.multiproof([size], size),
        lambda: reader.seal_of(size),
    ):
        with pytest.raises(IndexOutOfRangeError) as caught:
            call()
        assert caught.value.metadata["size"] == str(size)
    unpublished = ledger.log.batches[-1]
    with pytest.raises(NotFoundError):
        reader.locate(unpublished.ids[5])
    with pytest.raises(NotFoundError):
        reader.block(len(ledger.log.blocks))
    newest_chain = ledger.log.batches[2].chain_id
    assert reader.chain(newest_chain) is None
    assert reader.entry(size - 1) == ledger.log.entries[size - 1]
    ledger.published = ledger.log.head()
    assert reader.chain(newest_chain) == ledger.log.chains[newest_chain].row
    assert reader.locate(unpublished.ids[5]).index == unpublished.first_index + 5


def test_every_prediction_is_located_by_its_id(ledger: Ledger) -> None:
    for group in range(8):
        ledger.append([20, 0, 1, 7], lost=group % 2 == 1, new_chain=group in (2, 5))
    for batch in ledger.log.batches:
        for place, prediction_id in enumerate(batch.ids):
            located = ledger.reader.locate(prediction_id)
            assert located.index == batch.first_index + place
            assert located.entry == ledger.log.entries[located.index]
            assert located.seal_index == batch.seal_index
        for first, count in batch.lost:
            for number in range(first, first + count):
                with pytest.raises(PredictionLostError) as caught:
                    ledger.reader.locate(PredictionId(batch.chain_id, number, b"1234"))
                assert caught.value.seal_index == batch.seal_index


def test_ids_that_are_not_on_record(ledger: Ledger) -> None:
    ledger.append([5])
    known = ledger.log.batches[-1].ids[-1]
    for changed in (
        known._replace(number=known.number + 1),
        known._replace(number=(1 << 63) - 1),
        known._replace(chain_id=b"?" * 16),
        known._replace(input_prefix=bytes(4)),
        known._replace(input_prefix=b""),
    ):
        with pytest.raises(NotFoundError):
            ledger.reader.locate(changed)


def test_the_batch_of_every_index(ledger: Ledger) -> None:
    ledger.append([3, 0, 40])
    ledger.append([300], new_chain=True)
    in_batches = set()
    for batch in ledger.log.batches:
        for index in range(batch.first_index, batch.seal_index + 1):
            row, parsed = ledger.reader.seal_of(index)
            assert (row.seal_index, parsed.body.chain_id) == (batch.seal_index, batch.chain_id)
            in_batches.add(index)
    for index in set(range(ledger.log.size)) - in_batches:
        with pytest.raises(NotFoundError, match="the ledger's own"):
            ledger.reader.seal_of(index)


def test_chains_stand_where_the_head_is(ledger: Ledger) -> None:
    ledger.append([3])
    chain_id = ledger.log.batches[0].chain_id
    row = ledger.log.chains[chain_id].row
    for _ in range(5):
        ledger.append([3], publish=False)
    assert ledger.reader.chain(chain_id) == row
    ledger.published = ledger.log.head()
    assert ledger.reader.chain(chain_id) == ledger.log.chains[chain_id].row != row


def test_producers(ledger: Ledger) -> None:
    key = ledger.log.producer_key.public_key
    row = ledger.reader.producer(key)
    assert row is not None
    assert row.registered_index == 1
    assert ledger.reader.producer(b"?" * 32) is None
    assert ledger.reader.producers(b"", 5) == [(key, row)]
    assert ledger.reader.producers(key, 5) == []


def test_blocks_by_number_and_time(ledger: Ledger) -> None:
    for count in (5, 300, 0, 7):
        ledger.append([count])
    ends = [index + 1 for index in ledger.log.blocks]
    for number, index in enumerate(ledger.log.blocks, 1):
        found, block = ledger.reader.block(number)
        assert (found, block.number) == (index, number)
    with pytest.raises(NotFoundError):
        ledger.reader.block(0)

    def time_of(number: float) -> int:
        return FIRST_BLOCK_TIME_NS + int(number * BLOCK_INTERVAL_NS)

    between = ledger.reader.blocks_between
    assert between(0, 0) == (0, ends[-1])
    assert between(time_of(2), time_of(4)) == (ends[0], ends[2])
    assert between(time_of(1.5), time_of(3.5)) == (ends[0], ends[2])
    assert between(time_of(2), 0) == (ends[0], ends[-1])
    assert between(0, time_of(2)) == (0, ends[0])
    assert between(time_of(9), 0) == (ends[-1], ends[-1])
    assert between(time_of(3), time_of(2)) == (ends[1], ends[1])
    assert between(0, 1) == (0, 0)


def test_a_head_that_is_not_over_the_tree_before_is_refused(ledger: Ledger) -> None:
    ledger.append([300])
    good = ledger.published
    assert ledger.reader.entry(5) == ledger.log.entries[5]
    other = LogBuilder(99)
    other.raw_group(good.size)
    for bad in (other.head(), Head(good.size - 1, b"x" * 32, b"")):
        ledger.published = bad
        with pytest.raises((HeadMismatchError, CorruptValueError)):
            ledger.reader.entry(5)
    ledger.published = good
    assert ledger.reader.entry(5) == ledger.log.entries[5]


@pytest.mark.parametrize("fork_at", [1, 255, 256, 299])
@pytest.mark.parametrize("growth", [0, 5, 212, 900])
def test_a_fork_is_refused_wherever_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fork_at: int, growth: int
) -> None:
    honest, forked = LogBuilder(), LogBuilder()
    stores = [LogStore.open(tmp_path / name) for name in ("honest", "forked")]
    for log, store in zip((honest, forked), stores, strict=True):
        store.append(log.raw_group(fork_at))
    forked.random.seed(7)
    stores[0].append(honest.raw_group(300 - fork_at))
    stores[1].append(forked.raw_group(300 - fork_at))
    published = honest.head()
    reader = LogReader(stores[0], lambda: published)
    for index in range(300):  # all that can be known of the tree before
        reader.range_proof(index, index + 1, 300)
    if growth:
        stores[1].append(forked.raw_group(growth))
    monkeypatch.setattr(stores[0], "snapshot", stores[1].snapshot)
    published = forked.head()
    with pytest.raises(HeadMismatchError):
        reader.root(1)
    for store in stores:
        store.close()


def test_a_fork_that_ends_in_the_same_entries_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest, forked = LogBuilder(), LogBuilder(7)
    stores = [LogStore.open(tmp_path / name) for name in ("honest", "forked")]
    stores[0].append(honest.raw_group(44))
    stores[1].append(forked.raw_group(256))
    forked.random.seed(honest.seed)
    stores[1].append(forked.raw_group(44))
    assert forked.entries[256:] == honest.entries
    published = honest.head()
    reader = LogReader(stores[0], lambda: published)
    assert reader.root(44) == published.root
    monkeypatch.setattr(stores[0], "snapshot", stores[1].snapshot)
    published = forked.head()
    with pytest.raises(HeadMismatchError):
        reader.root(1)
    for store in stores:
        store.close()


def test_proofs_do_not_depend_on_what_was_asked_before(ledger: Ledger) -> None:
    sizes = [1, ledger.published.size]
    for counts in ([3], [1], [200], [60], [0], [700, 10], [2], [1, 1]):
        ledger.append(counts)
        size, hashes = ledger.published.size, ledger.log.hashes
        tree, root = ledger.reader.tree(), naive_root(hashes)
        assert tree.head == ledger.published
        for old in sizes:
            for _ in range(3):  # it is remembered, and whoever got it may do with it what he likes
                proof = tree.consistency_proof(old, size)
                merkle.verify_consistency(old, naive_root(hashes[:old]), size, root, proof)
                proof.clear()
            proof = tree.consistency_proof(1, old)  # between two trees of before
            merkle.verify_consistency(1, hashes[0], old, naive_root(hashes[:old]), proof)
            proof = tree.range_proof(old - 1, size, size)
            assert merkle.range_root(b"".join(hashes[old - 1 : size]), old - 1, size, proof) == root
            proof = tree.range_proof(old // 2, old, size)
            assert merkle.range_root(b"".join(hashes[old // 2 : old]), old // 2, size, proof) == root
        sizes.append(size)


def test_over_a_head_record(tmp_path: Path) -> None:
    log = LogBuilder()
    store = LogStore.open(tmp_path / "log")
    store.append(log.raw_group(300))
    record = HeadRecord(tmp_path / "head")
    record.write(log.head())
    reader = LogReader(store, HeadRecord(tmp_path / "head", read_only=True))
    assert reader.head() == log.head()
    assert reader.entry(299) == log.entries[299]
    store.close()


def _follow(folder: Path, last: int, ready: Event) -> None:
    store = LogStore.open(folder / "log", read_only=True)
    reader = LogReader(store, HeadRecord(folder / "head", read_only=True))
    size = 0
    while size < last:
        head = reader.head()
        if head.size > size:
            size = head.size
            entry = reader.entry(size - 1)
            merkle.verify_inclusion(
                merkle.leaf_hash(entry), size - 1, size, reader.inclusion_proof(size - 1, size), head.root
            )
            assert sum(count for _, count, _ in reader.packed_range(0, size)) == size
        ready.set()


def test_in_another_process_while_the_log_grows(tmp_path: Path) -> None:
    log = LogBuilder()
    store = LogStore.open(tmp_path / "log")
    record = HeadRecord(tmp_path / "head")
    groups = [1, 200, 60, 1_000, 255, 1, 3_000, 10, 700, 2]
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    reader = context.Process(target=_follow, args=(tmp_path, sum(groups), ready))
    for number, count in enumerate(groups):
        store.append(log.raw_group(count))
        record.write(log.head())
        if number == 0:
            reader.start()
            assert ready.wait(30)
    reader.join(30)
    assert reader.exitcode == 0
    store.close()
