"""A real ledger on disk: what is live in it is flipped bit by bit, taken away and added, and the audit names it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lineage_ledger.audit import Report
from lineage_ledger_server.audit.data_dir import audit_data_dir
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.store import rows
from tests.audit import stored_ledger
from tests.audit.stored_ledger import StoredLedger, Value

FLIPS = 200
CHECKSUMMED = ("batches", "directory", "chains", "chain_ids", "producers", "blocks")


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> StoredLedger:
    return stored_ledger.make(tmp_path_factory.mktemp("stored") / "ledger")


@pytest.fixture(scope="module")
def stored(ledger: StoredLedger) -> list[Value]:
    return stored_ledger.values(ledger)


def run(ledger: StoredLedger, *, with_index: bool = True, known: bytes | None = None) -> Report:
    report = audit_data_dir(ledger.data_dir, ledger.verifier, known, with_index=with_index)
    assert report.failures == []
    return report


def places(ledger: StoredLedger, *, with_index: bool = True) -> set[str]:
    return {finding.place for finding in run(ledger, with_index=with_index).findings}


@pytest.fixture
def changed(ledger: StoredLedger) -> Iterator[StoredLedger]:
    """The ledger, for tests that put back what they change; it must be right before and after."""
    assert places(ledger) == set()
    yield ledger
    assert places(ledger) == set()


def check_flip(ledger: StoredLedger, value: Value, bit: int) -> None:
    stored_ledger.write(ledger, value, stored_ledger.flipped(value.content, bit))
    try:
        found = places(ledger, with_index=value.folder == "index")
    finally:
        stored_ledger.write(ledger, value, value.content)
    assert found == {value.place(bit)}, f"bit {bit} of {value.kind} {value.key.hex()}"


def test_a_ledger_that_a_server_made_passes(ledger: StoredLedger, stored: list[Value]) -> None:
    report = run(ledger)
    assert report.exit_status == 0
    assert report.counts.entries == report.size > 3_000
    assert report.counts.conflicts == 1
    assert report.counts.lost > 0
    assert report.not_checked == [
        "truncation: cannot be checked without a checkpoint that somebody else kept (--checkpoint)"
    ]
    assert {value.kind for value in stored} == {
        *(f"log/{table}" for table in ("bundles", "tail", "tiles", "meta", *CHECKSUMMED)),
        *(f"index/{table}" for table in ("postings", "runs", "meta")),
        "head/slot",
    }


@pytest.mark.parametrize("seed", range(FLIPS))
def test_a_random_flipped_bit_is_named(ledger: StoredLedger, stored: list[Value], seed: int) -> None:
    """First one of the kinds of values, then one of that kind, so that small tables get their share."""
    choice = random.Random(seed)
    kind = choice.choice(sorted({value.kind for value in stored}))
    value = choice.choice([value for value in stored if value.kind == kind])
    check_flip(ledger, value, value.bit_of("any", choice))


@pytest.mark.parametrize("what", ["hashes", "entries"])
@pytest.mark.parametrize("table", ["bundles", "tail"])
def test_flipped_bits_in_hashes_and_entries_are_named(
    changed: StoredLedger, stored: list[Value], table: str, what: str
) -> None:
    choice = random.Random(what)
    for value in [value for value in stored if value.kind == f"log/{table}"]:
        check_flip(changed, value, value.bit_of(what, choice))


@pytest.mark.parametrize("kind", [f"log/{table}" for table in ("tail", "tiles", "meta", *CHECKSUMMED)])
def test_every_byte_of_the_first_value_of_a_small_kind_counts(
    changed: StoredLedger, stored: list[Value], kind: str
) -> None:
    value = next(value for value in stored if value.kind == kind)
    for at in range(min(len(value.content), 24)):
        check_flip(changed, value, 8 * at + at % 8)


@pytest.mark.parametrize("slot", [0, 1])
def test_every_part_of_a_slot_of_the_head_record_counts(changed: StoredLedger, stored: list[Value], slot: int) -> None:
    value = next(value for value in stored if value.folder == "head" and value.key == bytes([slot]))
    for at in (0, 7, 8, 11, 12, 40, 80, 100, len(value.content) - 1):
        check_flip(changed, value, 8 * at)


@pytest.mark.parametrize("table", [*CHECKSUMMED, "tiles"])
def test_a_row_that_was_taken_away_is_named(changed: StoredLedger, stored: list[Value], table: str) -> None:
    for value in [value for value in stored if value.kind == f"log/{table}"][::9]:
        stored_ledger.remove(changed, value)
        found = places(changed)
        stored_ledger.write(changed, value, value.content)
        assert found == {value.place(0)}


def test_a_bundle_that_was_taken_away_is_named(changed: StoredLedger, stored: list[Value]) -> None:
    value = [value for value in stored if value.kind == "log/bundles"][4]
    stored_ledger.remove(changed, value)
    found = places(changed)
    stored_ledger.write(changed, value, value.content)
    assert found == {"bundle 4"}


@pytest.mark.parametrize("table", CHECKSUMMED)
def test_a_row_that_was_added_is_named(changed: StoredLedger, stored: list[Value], table: str) -> None:
    """With a right checksum: only the entries tell that it does not belong there."""
    last = [value for value in stored if value.kind == f"log/{table}"][-1]
    key = (int.from_bytes(last.key, "big") + 1).to_bytes(len(last.key), "big")
    added = replace(last, key=key, content=rows.with_checksum(key, last.content[:-4])[1])
    stored_ledger.write(changed, added, added.content)
    found = places(changed)
    stored_ledger.remove(changed, added)
    assert found == {added.place(0)}


@pytest.mark.parametrize("table", CHECKSUMMED)
def test_a_row_that_was_changed_with_its_checksum_is_named(
    changed: StoredLedger, stored: list[Value], table: str
) -> None:
    for value in [value for value in stored if value.kind == f"log/{table}"][::9]:
        content = stored_ledger.flipped(value.content[:-4], 8 * (len(value.content) - 5))
        stored_ledger.write(changed, value, rows.with_checksum(value.key, content)[1])
        found = places(changed)
        stored_ledger.write(changed, value, value.content)
        assert found == {value.place(0)}


def test_a_head_record_that_went_back_leaves_unsigned_entries(changed: StoredLedger, stored: list[Value]) -> None:
    """As after a crash between commit and signing: the entries are there, and nothing speaks for them yet."""
    slots = [value for value in stored if value.folder == "head"]
    newest = max(slots, key=lambda value: value.content[:8])
    stored_ledger.write(changed, newest, bytes(len(newest.content)))
    report = run(changed)
    stored_ledger.write(changed, newest, newest.content)
    assert report.unsigned > 0
    assert {finding.place for finding in report.findings} == {f"head record slot {newest.key[0]}"}


def test_a_log_cut_back_to_an_older_state_is_seen_by_the_head_record(tmp_path: Path) -> None:
    old = stored_ledger.make(tmp_path / "ledger", batches=6)
    newest = run(old).size
    tail = [value for value in stored_ledger.values(old) if value.kind == "log/tail"]
    stored_ledger.remove(old, tail[-1])
    first = int.from_bytes(tail[-1].key, "big")
    report = run(old)
    assert newest > first
    assert ("truncated", first) in [(finding.kind, finding.index) for finding in report.findings]


def test_a_tile_that_is_too_long_and_one_too_many_are_named(changed: StoredLedger, stored: list[Value]) -> None:
    tile = next(value for value in stored if value.kind == "log/tiles")
    extra = replace(tile, key=(2 << 56).to_bytes(8, "big"))
    stored_ledger.write(changed, tile, tile.content + bytes(32))
    stored_ledger.write(changed, extra, bytes(32))
    found = places(changed)
    stored_ledger.write(changed, tile, tile.content)
    stored_ledger.remove(changed, extra)
    assert found == {tile.place(0), extra.place(0)}


def test_a_row_of_the_tail_that_was_taken_away_is_named(changed: StoredLedger, stored: list[Value]) -> None:
    tail = [value for value in stored if value.kind == "log/tail"]
    stored_ledger.remove(changed, tail[1])
    found = places(changed)
    stored_ledger.write(changed, tail[1], tail[1].content)
    number = int.from_bytes(tail[1].key, "big") // 256
    assert found == {f"row tail {int.from_bytes(tail[2].key, 'big')}", f"bundle {number}"}


def test_a_changed_row_is_named_beside_an_entry_that_cannot_be_read(changed: StoredLedger, stored: list[Value]) -> None:
    """What rows should be is not known any more; that this one was changed, its checksum says."""
    genesis = next(value for value in stored if value.kind == "log/bundles")
    row = next(value for value in stored if value.kind == "log/chains")
    bit = 8 * (8192 + 2 + 20)
    stored_ledger.write(changed, genesis, stored_ledger.flipped(genesis.content, bit))
    stored_ledger.write(changed, row, stored_ledger.flipped(row.content, 3))
    found = places(changed)
    stored_ledger.write(changed, genesis, genesis.content)
    stored_ledger.write(changed, row, row.content)
    assert found == {"entry 0", row.place(3)}


def test_slots_of_the_head_record_that_were_exchanged_or_repeated_are_named(
    changed: StoredLedger, stored: list[Value]
) -> None:
    record = changed.data_dir.head.read_bytes()
    first, second = record[: stored_ledger.SLOT_BYTES], record[stored_ledger.SLOT_BYTES :]
    both = {"head record slot 0", "head record slot 1"}
    for content, expected in (
        (second + first, both),
        (first + first, both),
        (record[:8000] + b"x" + record[8001:], both),
    ):
        changed.data_dir.head.write_bytes(content)
        found = places(changed)
        changed.data_dir.head.write_bytes(record)
        assert found
        assert found <= expected


def test_an_index_of_another_log_is_named(ledger: StoredLedger, tmp_path: Path) -> None:
    copy = ledger.copy(tmp_path / "copy")
    other = stored_ledger.make(tmp_path / "other", batches=3, seed=4)
    for name in ("data.mdb", "lock.mdb"):
        (copy.data_dir.index / name).write_bytes((other.data_dir.index / name).read_bytes())
    assert places(copy) == {"row index meta position"}


@pytest.mark.parametrize("missing", ["log", "head"])
def test_a_ledger_that_is_not_there_is_no_pass(ledger: StoredLedger, tmp_path: Path, missing: str) -> None:
    copy = ledger.copy(tmp_path / "copy")
    (copy.data_dir.root / missing).rename(tmp_path / "gone")
    report = audit_data_dir(copy.data_dir, copy.verifier)
    assert report.exit_status == 2
    assert report.failures


def test_a_file_of_garbage_is_no_pass(ledger: StoredLedger, tmp_path: Path) -> None:
    copy = ledger.copy(tmp_path / "copy")
    (copy.data_dir.log / "data.mdb").write_bytes(b"garbage" * 10_000)
    assert audit_data_dir(copy.data_dir, copy.verifier).exit_status == 2


def test_an_empty_folder_is_no_pass(ledger: StoredLedger, tmp_path: Path) -> None:
    assert audit_data_dir(DataDir(tmp_path), ledger.verifier).exit_status == 2
