"""One flipped bit in any stored value: readers get the truth or an error, never anything else."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import lmdb
import pytest

from lineage_ledger.errors import CorruptError
from lineage_ledger.formats import packed
from lineage_ledger_server.errors import CorruptValueError, ServerError
from lineage_ledger_server.head import Head
from lineage_ledger_server.reading.log_reader import LogReader
from lineage_ledger_server.store.log_store import TABLES, LogStore
from lineage_ledger_server.store.rows import number_key, tile_key
from tests.store.log_builder import LogBuilder

Damage = Callable[[str, bytes, int], None]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LogBuilder]:
    """A log with full bundles, a level 1 tile, a tail, two chains, losses, a producer."""
    path = tmp_path_factory.mktemp("damage") / "log"
    log = LogBuilder(3)
    with closing(LogStore.open(path)) as store:
        store.append(log.genesis_group())
        for counts in ([300, 5], [250], [0, 200], [9], [4, 3]):
            store.append(log.group(counts, lost=True, new_chain=len(counts) == 2))
    return path, log


@pytest.fixture
def damage(stored: tuple[Path, LogBuilder]) -> Iterator[Damage]:
    """Flips a bit of a stored value in place; all is put back afterwards."""
    path, _ = stored
    undo: list[tuple[str, bytes, bytes]] = []

    def put(table: str, key: bytes, value: bytes) -> bytes:
        env = lmdb.Environment(str(path), max_dbs=len(TABLES), map_size=1 << 30, lib_version=0)
        try:
            with env.begin(write=True) as txn:
                before = txn.replace(key, value, db=env.open_db(table.encode(), txn=txn))
            assert before is not None
            return before
        finally:
            env.close()

    def flip(table: str, key: bytes, bit: int) -> None:
        before = put(table, key, b"")
        undo.append((table, key, before))
        changed = bytearray(before)
        changed[bit // 8] ^= 1 << bit % 8
        put(table, key, bytes(changed))

    yield flip
    for table, key, value in reversed(undo):
        put(table, key, value)


def rows_of(path: Path) -> list[tuple[str, bytes, bytes]]:
    """Every row of every table but `meta`."""
    env = lmdb.Environment(str(path), max_dbs=len(TABLES), map_size=1 << 30, lib_version=0)
    try:
        found = []
        for table in TABLES:
            if table != "meta":
                db = env.open_db(table.encode())
                with env.begin() as txn:
                    found += [(table, key, value) for key, value in txn.cursor(db)]
        return found
    finally:
        env.close()


def read_all(path: Path, log: LogBuilder, head: Head) -> list[ServerError | CorruptError]:
    """Ask every kind of question, hold each answer against the truth, return the errors."""
    errors: list[ServerError | CorruptError] = []
    with closing(LogStore.open(path, read_only=True)) as store:
        reader = LogReader(store, lambda: head)

        def ask(truth: object, question: Callable[..., object], *arguments: object) -> None:
            try:
                answer = question(*arguments)
            except (ServerError, CorruptError) as error:
                errors.append(error)
            else:
                assert answer == truth

        for index in range(0, log.size, 7):
            ask(log.entries[index], reader.entry, index)
            ask(log.hashes[index], reader.leaf_hash, index)
        ask(packed.pack(log.entries), lambda: b"".join(data for _, _, data in reader.packed_range(0, log.size)))
        for batch in log.batches:
            for place in range(0, len(batch.ids), 50):
                ask(batch.first_index + place, lambda i: reader.locate(i).index, batch.ids[place])
            ask(batch.seal_index, lambda index: reader.seal_of(index)[0].seal_index, batch.seal_index)
            ask(log.chains[batch.chain_id].row, reader.chain, batch.chain_id)
        ask([1], lambda: [row.registered_index for _, row in reader.producers(b"", 9)])
        for number, index in enumerate(log.blocks, 1):
            ask(index, lambda number: reader.block(number)[0], number)
        ask((0, log.size), reader.blocks_between, 0, 0)
    return errors


def test_undamaged(stored: tuple[Path, LogBuilder]) -> None:
    path, log = stored
    assert read_all(path, log, log.head()) == []
    assert {table for table, _, _ in rows_of(path)} == set(TABLES) - {"meta"}


@pytest.mark.parametrize("table", [table for table in TABLES if table != "meta"])
def test_flipped_bits_of_each_kind_of_value(stored: tuple[Path, LogBuilder], damage: Damage, table: str) -> None:
    path, log = stored
    head = log.head()
    choose = random.Random(table)
    rows = [(key, value) for name, key, value in rows_of(path) if name == table]
    for _ in range(4):
        key, value = choose.choice(rows)
        damage(table, key, choose.randrange(8 * len(value)))
        for error in read_all(path, log, head):
            assert isinstance(error, CorruptError), error


def test_every_bit_of_the_count_of_a_tail_row(stored: tuple[Path, LogBuilder], damage: Damage) -> None:
    path, log = stored
    head = log.head()
    keys = [key for table, key, _ in rows_of(path) if table == "tail"]
    for bit in range(16):
        damage("tail", keys[bit % len(keys)], bit)
        errors = read_all(path, log, head)
        assert errors
        assert all(isinstance(error, CorruptError) for error in errors)
        with pytest.raises(CorruptError):
            LogStore.open(path).close()
        damage("tail", keys[bit % len(keys)], bit)


def test_a_damaged_entry_is_named(stored: tuple[Path, LogBuilder], damage: Damage) -> None:
    path, log = stored
    place = 100
    offset = 8192 + sum(2 + len(entry) for entry in log.entries[256 : 256 + place]) + 2
    damage("bundles", number_key(1), 8 * (offset + 5))
    with closing(LogStore.open(path, read_only=True)) as store:
        reader = LogReader(store, log.head)
        for read in (lambda: reader.entry(356), lambda: list(reader.packed_range(300, 400))):
            with pytest.raises(CorruptValueError) as caught:
                read()
            assert caught.value.metadata == {"index": "356"}
        assert reader.entry(355) == log.entries[355]


def test_a_damaged_tile_is_named(stored: tuple[Path, LogBuilder], damage: Damage) -> None:
    path, log = stored
    damage("bundles", number_key(1), 77)
    with closing(LogStore.open(path, read_only=True)) as store, pytest.raises(CorruptValueError) as caught:
        LogReader(store, log.head).entry(300)
    assert caught.value.metadata == {"tile": "0/1"}


def test_a_damaged_right_edge_is_named(stored: tuple[Path, LogBuilder], damage: Damage) -> None:
    path, log = stored
    damage("tiles", tile_key(1, 0), 300)
    with closing(LogStore.open(path, read_only=True)) as store, pytest.raises(CorruptValueError) as caught:
        LogReader(store, log.head).entry(300)
    assert caught.value.metadata == {"tile": "1/0"}
