"""Rows that nobody wrote: the audit names each one, and none makes it break off, go on for ever or take much memory."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import pytest

from lineage_ledger.audit import Report
from lineage_ledger_server.audit.data_dir import audit_data_dir
from lineage_ledger_server.errors import CorruptValueError, StoreError
from lineage_ledger_server.head import HeadRecord
from lineage_ledger_server.reading.log_reader import LogReader
from lineage_ledger_server.store import rows
from lineage_ledger_server.store.index_store import EMPTY, IndexStore
from lineage_ledger_server.store.index_store import TABLES as INDEX_TABLES
from lineage_ledger_server.store.log_store import TABLES as LOG_TABLES
from lineage_ledger_server.store.log_store import LogStore
from tests.audit.stored_ledger import SLOT_BYTES, StoredLedger, make

Edit = Callable[[Any, dict[str, Any]], object]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> StoredLedger:
    return make(tmp_path_factory.mktemp("hostile") / "ledger", batches=12, most=80)


def audited(ledger: StoredLedger) -> Report:
    return audit_data_dir(ledger.data_dir, ledger.verifier)


def changed(ledger: StoredLedger, root: Path, edit: Edit, *, index: bool = False) -> StoredLedger:
    """A copy of which the tables of the log, or of the indexes, went through `edit` in one transaction."""
    copy = ledger.copy(root)
    path, names = (copy.data_dir.index, INDEX_TABLES) if index else (copy.data_dir.log, LOG_TABLES)
    env = lmdb.Environment(str(path), max_dbs=20, map_size=1 << 30, lib_version=0)
    tables = {name: env.open_db(name.encode()) for name in names}
    with env.begin(write=True) as txn:
        edit(txn, tables)
        if "other" in tables:
            txn.put(b"key", b"value", db=env.open_db(b"other", txn=txn))
    env.close()
    return copy


def put(table: str, key: bytes, value: bytes = b"") -> Edit:
    return lambda txn, tables: txn.put(key, value, db=tables[table])


def directory_row(txn: Any, tables: dict[str, Any], length: int) -> None:
    """One more row of the directory, of which the key is as much of a batch's row as `length` says."""
    cursor = txn.cursor(tables["directory"])
    cursor.last()
    value = cursor.value()
    txn.put(txn.get(value[:8], db=tables["batches"])[:length], value, db=tables["directory"])


EDITS: dict[str, tuple[Edit, str]] = {
    "bundle far away": (put("bundles", rows.number_key(1 << 50)), "row bundles 0004000000000000"),
    "bundle behind what 63 bits count": (put("bundles", rows.number_key(1 << 63)), "row bundles 8000000000000000"),
    "bundle of a short key": (put("bundles", b"a", b"x"), "row bundles 61"),
    "tail far away": (
        put("tail", rows.number_key(1 << 60), b"\0\1" + bytes(32) + b"\0\1x"),
        "row tail 1000000000000000",
    ),
    "tail of a short key": (put("tail", b"zz", b"x"), "row tail 7a7a"),
    "tile of a short key": (put("tiles", b"z"), "row tiles 7a"),
    "tile without hashes": (put("tiles", rows.tile_key(3, 7)), "tile level 3 number 7"),
    "directory, short key": (lambda txn, tables: directory_row(txn, tables, 4), "row directory"),
    "directory, long key": (lambda txn, tables: directory_row(txn, tables, 20), "row directory"),
    "chain of a very long row": (put("chains", b"x" * 16, bytes(40 << 20)), "row chains " + "78" * 16),
    "another table": (lambda txn, tables: tables.update(other=None), "table 6f74686572"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", EDITS)
def test_a_row_that_nobody_wrote_is_named(name: str, ledger: StoredLedger, tmp_path: Path) -> None:
    edit, place = EDITS[name]
    report = audited(changed(ledger, tmp_path / "copy", edit))
    assert report.exit_status == 1 and report.finding_count == 1, report
    assert report.findings[0].place.startswith(place)
    assert len(str(report.findings[0])) < 1_000


@pytest.mark.parametrize("key", [b"zz", rows.number_key(1 << 20)], ids=["key", "value"])
def test_a_reader_refuses_a_tail_that_is_none(key: bytes, ledger: StoredLedger, tmp_path: Path) -> None:
    copy = changed(ledger, tmp_path / "copy", put("tail", key))
    store = LogStore.open(copy.data_dir.log, read_only=True)
    record = HeadRecord(copy.data_dir.head, read_only=True)
    with pytest.raises(CorruptValueError):
        LogReader(store, record).entry(0)
    record.close()
    store.close()


def test_indexes_without_a_usable_position_are_made_anew(ledger: StoredLedger, tmp_path: Path) -> None:
    copy = changed(ledger, tmp_path / "copy", put("meta", b"position", b"short"), index=True)
    with pytest.raises(StoreError, match="position"):
        IndexStore.open(copy.data_dir.index, origin=ledger.verifier.name, read_only=True)
    store = IndexStore.open(copy.data_dir.index, origin=ledger.verifier.name)
    assert store.position() == EMPTY
    store.close()


@pytest.mark.parametrize(
    "rows",
    [
        b"",
        bytes(14),
        bytes(13) + bytes(13),  # the same index twice
        bytes(12) + b"\2" + bytes(12) + b"\1",
        bytes(10) + b"\xff" * 3,  # far beyond the run
    ],
)
def test_a_run_of_no_rows_is_refused(rows: bytes, ledger: StoredLedger, tmp_path: Path) -> None:
    copy = changed(ledger, tmp_path / "copy", put("runs", bytes(10), rows), index=True)
    store = IndexStore.open(copy.data_dir.index, origin=ledger.verifier.name)
    assert store.position().size >= 256
    if len(rows) % 13 == 0 and len(rows) < 14:
        assert store.find_rows(bytes(10), 0, 256, 10) == []
    else:
        with pytest.raises(CorruptValueError):
            store.find_rows(bytes(10), 0, 256, 10)
    store.close()


@pytest.mark.timeout(20)
def test_bundles_behind_the_last_one_do_not_make_it_long(ledger: StoredLedger, tmp_path: Path) -> None:
    """Each a little farther away than the one before, and no tail that says where the log ends."""

    def stairs(txn: Any, tables: dict[str, Any]) -> None:
        txn.drop(tables["tail"], delete=False)
        for power in range(3, 60):
            txn.put(rows.number_key(1 << power), b"", db=tables["bundles"])

    report = audited(changed(ledger, tmp_path / "copy", stairs))
    assert report.exit_status == 1 and not report.failures


def test_an_empty_row_of_the_tail_is_named(ledger: StoredLedger, tmp_path: Path) -> None:
    size = audited(ledger).size
    report = audited(changed(ledger, tmp_path / "copy", put("tail", rows.number_key(size))))
    assert [each.place for each in report.findings] == [f"row tail {rows.number_key(size).hex()}"]


def test_another_table_beside_the_indexes_is_named(ledger: StoredLedger, tmp_path: Path) -> None:
    report = audited(changed(ledger, tmp_path / "copy", lambda txn, tables: tables.update(other=None), index=True))
    assert [each.place for each in report.findings] == ["table index 6f74686572"]


def test_bytes_behind_the_head_record_are_named(ledger: StoredLedger, tmp_path: Path) -> None:
    copy = ledger.copy(tmp_path / "copy")
    copy.data_dir.head.write_bytes(copy.data_dir.head.read_bytes() + b"x")
    assert [each.kind for each in audited(copy).findings] == ["head_record"]


def test_an_old_checkpoint_put_back_as_the_newest_is_named(ledger: StoredLedger, tmp_path: Path) -> None:
    """It is signed and of this history, so that only what was in its place before tells."""
    copy = ledger.copy(tmp_path / "copy")
    record = bytearray(copy.data_dir.head.read_bytes())
    sequences = [int.from_bytes(record[at : at + 8], "big") for at in (0, SLOT_BYTES)]
    older = sequences.index(min(sequences)) * SLOT_BYTES
    length = int.from_bytes(record[older + 8 : older + 12], "big")
    slot = struct.pack(">QI", max(sequences) + 1, length) + record[older + 12 : older + 12 + length]
    record[older : older + SLOT_BYTES] = (slot + hashlib.sha256(slot).digest()).ljust(SLOT_BYTES, b"\0")
    copy.data_dir.head.write_bytes(record)
    report = audit_data_dir(copy.data_dir, copy.verifier, with_index=False)
    assert [each.kind for each in report.findings] == ["checkpoint"]
