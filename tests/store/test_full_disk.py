"""A full disk or a failing one stops writing, not reading; nothing is lost, and writing goes on when there is space.

Needs root, for a small file system is mounted that really fills. Without root the limit on file sizes stands in for it:
that is the same error from the same system calls, but not a real mount.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from lineage_ledger_server.errors import DiskFullError
from lineage_ledger_server.store.log_store import LogStore
from tests.store.log_builder import LogBuilder
from tests.store.test_log_store import assert_stored


@contextmanager
def _mounted(folder: Path) -> Iterator[Path | None]:
    """A file system of 8 MiB; None if this process may not mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)]
    try:
        if subprocess.run(command, capture_output=True, check=False).returncode:
            yield None
            return
    except FileNotFoundError:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def _limited(limit_bytes: int) -> Iterator[None]:
    """No file of this process grows beyond the limit: writing answers EFBIG."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def _append_until_full(store: LogStore, log: LogBuilder) -> None:
    """Commits until one is refused; `log` then has what the store has."""
    while True:
        state = (list(log.entries), list(log.hashes), list(log.blocks))
        group = log.raw_group(log.random.randint(1, 4_000))
        try:
            store.append(group)
        except DiskFullError:
            log.entries, log.hashes, log.blocks = state
            return


def test_a_full_file_system(tmp_path: Path) -> None:
    with _mounted(tmp_path / "mount") as mount:
        if mount is None:
            pytest.skip("mounting is not permitted here; test_a_limit_on_file_sizes stands in for it")
        ballast = mount / "ballast"
        ballast.write_bytes(bytes(4 << 20))
        log = LogBuilder()
        with closing(LogStore.open(mount / "log")) as store:
            store.append(log.raw_group(1_000))
            _append_until_full(store, log)
            assert_stored(store, log)
            _append_until_full(store, log)  # smaller groups may still fit
            assert_stored(store, log)
            ballast.unlink()
            store.append(log.raw_group(5_000))
            assert_stored(store, log)
            _append_until_full(store, log)
        with closing(LogStore.open(mount / "log")) as store:  # opens on a full file system
            assert_stored(store, log)


def test_a_limit_on_file_sizes(tmp_path: Path) -> None:
    log = LogBuilder()
    store = LogStore.open(tmp_path / "log")
    store.append(log.raw_group(1_000))
    with _limited(2 << 20):
        _append_until_full(store, log)
        assert_stored(store, log)
    store.append(log.raw_group(5_000))
    assert_stored(store, log)
    store.close()


def test_a_full_map_that_may_not_grow(tmp_path: Path) -> None:
    log = LogBuilder()
    store = LogStore.open(tmp_path / "log", map_bytes=1 << 20, max_map_bytes=1 << 20)
    _append_until_full(store, log)
    assert_stored(store, log)
    store.close()
    store = LogStore.open(tmp_path / "log", map_bytes=1 << 20)
    store.append(log.raw_group(50_000))
    assert store.map_bytes > 1 << 20
    assert_stored(store, log)
    store.close()


def test_an_environment_that_must_be_opened_anew(tmp_path: Path) -> None:
    """Writing the meta page fails, which makes LMDB refuse all further use of the environment."""
    log = LogBuilder()
    store = LogStore.open(tmp_path / "log")
    store.append(log.raw_group(700))
    state = (list(log.entries), list(log.hashes), list(log.blocks))
    group = log.raw_group(300)
    with _failing_meta_page(tmp_path / "log"), pytest.raises(DiskFullError):
        store.append(group)
    log.entries, log.hashes, log.blocks = state
    assert_stored(store, log)
    for _ in range(2):
        store.append(log.raw_group(300))
        assert_stored(store, log)
    store.close()


@contextmanager
def _failing_meta_page(folder: Path) -> Iterator[None]:
    """LMDB writes meta pages through a descriptor of its own, the one with O_DSYNC: for a while it is /dev/full."""
    data = folder.resolve() / "data.mdb"
    descriptors = [int(link.name) for link in sorted(Path("/proc/self/fd").iterdir()) if link.resolve() == data]
    [descriptor] = [number for number in descriptors if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_DSYNC]
    kept = os.dup(descriptor)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, descriptor)
    try:
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(full)
