"""A log is held against the head record before anything is signed over it."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from lineage_ledger_server.errors import CorruptValueError, HeadMismatchError
from lineage_ledger_server.head import Head
from lineage_ledger_server.store.log_store import LogStore
from lineage_ledger_server.store.reconcile import Standing, reconcile
from tests.store.log_builder import LogBuilder


def grow(path: Path, log: LogBuilder, *counts: int) -> None:
    store = LogStore.open(path)
    for count in counts:
        store.append(log.raw_group(count))
    store.close()


def standing(path: Path, head: Head | None) -> Standing:
    store = LogStore.open(path)
    try:
        return reconcile(head, store)
    finally:
        store.close()


def flip(path: Path, wanted: bytes) -> None:
    """Flip a bit of `wanted` wherever the data file has it."""
    data = (path / "data.mdb").read_bytes()
    assert wanted in data
    (path / "data.mdb").write_bytes(data.replace(wanted, bytes([wanted[0] ^ 4]) + wanted[1:]))


def test_nothing_at_all(tmp_path: Path) -> None:
    assert standing(tmp_path / "log", None) is Standing.EMPTY


def test_only_the_first_block_may_be_without_a_head(tmp_path: Path) -> None:
    log = LogBuilder()
    grow(tmp_path / "log", log, 3)
    assert standing(tmp_path / "log", None) is Standing.AHEAD
    grow(tmp_path / "log", log, 3)
    with pytest.raises(HeadMismatchError, match="no head record"):
        standing(tmp_path / "log", None)


@pytest.mark.parametrize("first", [1, 255, 256, 700, 65_536])
@pytest.mark.parametrize("then", [1, 300])
def test_current_ahead_and_behind(tmp_path: Path, first: int, then: int) -> None:
    log = LogBuilder()
    grow(tmp_path / "log", log, first)
    old = log.head()
    assert standing(tmp_path / "log", old) is Standing.CURRENT
    shutil.copytree(tmp_path / "log", tmp_path / "copy")
    grow(tmp_path / "log", log, then)
    assert standing(tmp_path / "log", log.head()) is Standing.CURRENT
    assert standing(tmp_path / "log", old) is Standing.AHEAD
    with pytest.raises(HeadMismatchError, match="an old copy"):
        standing(tmp_path / "copy", log.head())


def test_another_log_of_the_same_size(tmp_path: Path) -> None:
    log, other = LogBuilder(1), LogBuilder(2)
    grow(tmp_path / "log", log, 300)
    grow(tmp_path / "other", other, 300)
    with pytest.raises(HeadMismatchError, match="was signed"):
        standing(tmp_path / "log", other.head())
    grow(tmp_path / "log", log, 5)
    with pytest.raises(HeadMismatchError, match="was signed"):
        standing(tmp_path / "log", other.head())


def test_a_changed_right_edge(tmp_path: Path) -> None:
    log = LogBuilder()
    grow(tmp_path / "log", log, 3 * 256 + 7)
    with closing(LogStore.open(tmp_path / "log")) as store, store.snapshot() as snapshot:
        tile = snapshot.tile_hashes(1, 0, 3)
    flip(tmp_path / "log", tile)
    with pytest.raises(HeadMismatchError, match="was signed"):
        standing(tmp_path / "log", log.head())


def test_a_changed_entry_beyond_the_head(tmp_path: Path) -> None:
    log = LogBuilder()
    grow(tmp_path / "log", log, 300)
    head = log.head()
    grow(tmp_path / "log", log, 900)
    flip(tmp_path / "log", log.entries[700])
    with pytest.raises(CorruptValueError):
        standing(tmp_path / "log", head)
