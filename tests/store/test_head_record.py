"""The head record survives torn writes, is read while it is written, and never goes back."""

from __future__ import annotations

import multiprocessing
import os
import stat
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from lineage_ledger.errors import CorruptError
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Signer
from lineage_ledger_server.errors import HeadMismatchError, StoreError
from lineage_ledger_server.head import Head, HeadRecord

SIGNER = Signer("example.com/ledger/test", SigningKey.from_seed(b"L" * 32))
SLOT_BYTES = 8192


def head_of(size: int, root: bytes = b"r" * 32) -> Head:
    return Head.of_note(Checkpoint(SIGNER.name, size, root).sign(SIGNER))


def written(path: Path, *sizes: int) -> HeadRecord:
    record = HeadRecord(path)
    for size in sizes:
        record.write(head_of(size))
    return record


def test_round_trip_and_reopening(tmp_path: Path) -> None:
    record = written(tmp_path / "head")
    assert record.read() is None
    with pytest.raises(StoreError, match="nothing was published"):
        record.read_published()
    for size in (3, 4, 5):
        record.write(head_of(size))
        assert record.read() == record.read_published() == head_of(size)
    record.close()
    assert HeadRecord(tmp_path / "head").read() == head_of(5)
    info = (tmp_path / "head").stat()
    assert (stat.S_IMODE(info.st_mode), info.st_size) == (0o600, 2 * SLOT_BYTES)
    assert info.st_blocks * 512 >= info.st_size  # reserved: a full disk cannot stop it


def test_never_goes_back(tmp_path: Path) -> None:
    record = written(tmp_path / "head", 10)
    for head in (head_of(9), head_of(10, b"x" * 32)):
        with pytest.raises(HeadMismatchError):
            record.write(head)
    record.write(head_of(10))  # the same tree, signed again
    with pytest.raises(StoreError, match="what its note says"):
        record.write(head_of(12)._replace(size=13))
    assert record.read() == head_of(10)
    record.close()
    with pytest.raises(HeadMismatchError):
        HeadRecord(tmp_path / "head").write(head_of(9))


@pytest.mark.parametrize("torn_at", [0, 1, 11, 12, 50, 150, 200])
def test_a_torn_write_leaves_the_head_before(tmp_path: Path, torn_at: int) -> None:
    path = tmp_path / "head"
    written(path, 10, 20).close()
    before = path.read_bytes()
    written(path, 30).close()
    after = path.read_bytes()
    # Slots are written in turn, so 30 went over 10; only its first bytes reached the disk.
    start = 0 if before[:SLOT_BYTES] != after[:SLOT_BYTES] else SLOT_BYTES
    torn = bytearray(before)
    torn[start : start + torn_at] = after[start : start + torn_at]
    path.write_bytes(torn)
    record = HeadRecord(path)
    assert record.read() == head_of(20)
    record.write(head_of(31))
    assert record.read() == head_of(31)
    record.close()
    assert HeadRecord(path).read() == head_of(31)


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "head"
    written(path, 10, 20).close()
    whole = path.read_bytes()
    newest = whole.index(head_of(20).note) - 12
    for offset in range(newest, newest + 12 + len(head_of(20).note) + 32):
        flipped = bytearray(whole)
        flipped[offset] ^= 1 << offset % 8
        path.write_bytes(flipped)
        assert HeadRecord(path, read_only=True).read() == head_of(10)


def test_damage_to_both_slots_is_an_error_not_a_new_ledger(tmp_path: Path) -> None:
    path = tmp_path / "head"
    written(path, 10, 20).close()
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    data[SLOT_BYTES + 20] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptError, match="neither of its slots"):
        HeadRecord(path)


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\1" * 100])
def test_a_file_that_is_cut(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "head"
    path.write_bytes(content)
    if any(content):
        with pytest.raises(CorruptError):
            HeadRecord(path)
    else:  # a creation that was interrupted
        assert written(path, 5).read() == head_of(5)


def test_missing_for_a_reader(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot open"):
        HeadRecord(tmp_path / "head", read_only=True)


def _read_until(path: Path, last: int, ready: Event) -> None:
    record = HeadRecord(path, read_only=True)
    ready.set()
    size = 0
    while size < last:
        head = record.read_published()
        if head.size < size or head != head_of(head.size):
            os._exit(1)
        size = head.size


def test_another_process_reads_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "head"
    record = written(path, 1)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    reader = context.Process(target=_read_until, args=(path, 300, ready))
    reader.start()
    assert ready.wait(30)
    for size in range(2, 301):
        record.write(head_of(size))
    reader.join(30)
    assert reader.exitcode == 0


@pytest.mark.parametrize("place", [0, 11, 40, SLOT_BYTES - 1])
def test_the_writer_notices_what_others_write(tmp_path: Path, place: int) -> None:
    record = written(tmp_path / "head", 3, 4)
    written(tmp_path / "other", 3, 5).close()
    assert record.read() == head_of(4)
    slot = 0  # of the second head
    with (tmp_path / "head").open("r+b", buffering=0) as file:
        file.seek(slot + place)
        byte = file.read(1)
        file.seek(slot + place)
        file.write(bytes((byte[0] ^ 1,)))
    # Behind the checksum nothing is said; before it, the slot is whole no longer.
    assert record.read() == (head_of(4) if place == SLOT_BYTES - 1 else head_of(3))
    (tmp_path / "head").write_bytes((tmp_path / "other").read_bytes())
    assert record.read() == head_of(5)
