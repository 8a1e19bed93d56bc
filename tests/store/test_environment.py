"""LMDB is opened as the store's promises need it, and grows without disturbing readers."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from multiprocessing.synchronize import Event
from pathlib import Path

import lmdb
import pytest

from lineage_ledger_server.errors import LockedError, StoreError
from lineage_ledger_server.store.environment import Environment, put_all
from lineage_ledger_server.store.lock import ExclusiveLock
from lineage_ledger_server.store.log_store import LogStore
from tests.store.log_builder import LogBuilder


def test_the_engine_does_not_depend_on_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMDB_DEFAULT_LIB_VERSION", "1")
    with closing(Environment(tmp_path / "log", tables=["a"])) as environment:
        assert environment._env.lib_version()[:2] == (0, 9)
        flags = environment._env.flags()
        assert (flags["sync"], flags["metasync"], flags["writemap"], flags["lock"]) == (True, True, False, True)
        assert environment._env.max_readers() > 126


def test_files_of_the_other_engine_are_refused(tmp_path: Path) -> None:
    lmdb.Environment(str(tmp_path), max_dbs=1, lib_version=1).close()
    with pytest.raises(StoreError, match="cannot open"):
        Environment(tmp_path, tables=["a"])


def test_appending_out_of_order_is_refused_and_undone(tmp_path: Path) -> None:
    with closing(Environment(tmp_path / "log", tables=["a"])) as environment:
        with pytest.raises(StoreError, match="1 of 2"), environment.write() as txn:
            put_all(txn, environment.table("a"), [(b"2", b""), (b"1", b"")], append=True)
        with environment.read() as reading:
            assert reading.get(b"2", db=environment.table("a")) is None


def test_an_error_inside_a_write_undoes_it(tmp_path: Path) -> None:
    with closing(Environment(tmp_path / "log", tables=["a"])) as environment:

        def put_and_fail() -> None:
            with environment.write() as txn:
                txn.put(b"k", b"v", db=environment.table("a"))
                raise KeyError

        with pytest.raises(KeyError):
            put_and_fail()
        with environment.read() as reading:
            assert reading.get(b"k", db=environment.table("a")) is None


def test_growing_waits_for_reads_and_readers_go_on(tmp_path: Path) -> None:
    log = LogBuilder()
    store = LogStore.open(tmp_path / "log", map_bytes=1 << 20)
    store.append(log.raw_group(100))
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            with store.snapshot() as snapshot:
                assert snapshot.bundle_bytes(0)[0][: 100 * 32] == b"".join(log.hashes[:100])

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        while store.map_bytes < 16 << 20:
            store.append(log.raw_group(8_000))
        stop.set()
        for reader in readers:
            reader.result(30)
    store.close()


def _follow(path: Path, last: int, ready: Event) -> None:
    store = LogStore.open(path, map_bytes=1 << 20, read_only=True)
    size = 0
    while size < last:
        with store.snapshot() as snapshot:
            size = snapshot.size
            snapshot.bundle_bytes((size - 1) // 256)
        ready.set()
    store.close()


def test_a_reading_process_sees_commits_and_follows_a_growing_map(tmp_path: Path) -> None:
    log = LogBuilder()
    store = LogStore.open(tmp_path / "log", map_bytes=1 << 20)
    store.append(log.raw_group(100))
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    reader = context.Process(target=_follow, args=(tmp_path / "log", 100 + 12 * 5_000, ready))
    reader.start()
    assert ready.wait(30)
    for _ in range(12):
        store.append(log.raw_group(5_000))
    assert store.map_bytes > 1 << 20
    reader.join(30)
    assert reader.exitcode == 0
    store.close()


def _die_reading(path: Path) -> None:
    store = LogStore.open(path, read_only=True)
    with store.snapshot():
        os._exit(9)


def test_slots_of_dead_readers_are_freed(tmp_path: Path) -> None:
    store = LogStore.open(tmp_path / "log")
    reader = multiprocessing.get_context("spawn").Process(target=_die_reading, args=(tmp_path / "log",))
    reader.start()
    reader.join(30)
    assert reader.exitcode == 9
    assert store.check_readers() == 1
    assert store.check_readers() == 0
    store.close()


def _hold(path: Path, held: Event, release: Event) -> None:
    lock = ExclusiveLock(path)
    held.set()
    release.wait(30)
    lock.release()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(tmp_path / "lock", held, release))
    holder.start()
    assert held.wait(30)
    with pytest.raises(LockedError, match=str(holder.pid)):
        ExclusiveLock(tmp_path / "lock")
    release.set()
    holder.join(30)
    ExclusiveLock(tmp_path / "lock").release()
