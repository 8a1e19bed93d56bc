"""Every write step of a group fails, before and after it took effect; then the ledger's promises are checked.

The steps are the LMDB commit and the head record's write. The ledger is the real one, in this process; only the step
itself is made to fail.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest

from lineage_ledger.formats import checkpoint, keys, note
from lineage_ledger_server import head as head_module
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.errors import DiskFullError, NotWritableError, ServerError, StoreError
from lineage_ledger_server.head import HeadRecord
from lineage_ledger_server.ledger import Ledger, open_ledger
from lineage_ledger_server.sequencer.check import check_batch
from lineage_ledger_server.sequencer.producers import check_admin_entry
from lineage_ledger_server.sequencer.sequencer import Status
from lineage_ledger_server.sequencer.submissions import Appended, Outcome
from lineage_ledger_server.store.log_store import LogStore
from tests.support.producer import Producer, registration
from tests.support.stored import entries

_ORIGIN = "example.com/ledger/faults"


class Watched:
    """A ledger, all that it acknowledged, and every head that it ever signed, by size."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.data_dir = DataDir(root)
        self.statuses: list[Status] = []
        self.signed: dict[int, bytes] = {}
        self.acknowledged: list[tuple[bytes, Appended]] = []
        sign = checkpoint.Checkpoint.sign

        def noted(tree: checkpoint.Checkpoint, signer: object) -> bytes:
            assert self.signed.setdefault(tree.size, tree.root) == tree.root, f"size {tree.size} signed twice"
            return sign(tree, signer)  # type: ignore[arg-type]  # passed on as it came

        monkeypatch.setattr(checkpoint.Checkpoint, "sign", noted)
        self.ledger = self._open()
        self.producer = Producer(_ORIGIN)
        _, admin_key = keys.read_signing_key(self.data_dir.admin_key)
        entry = registration(_ORIGIN, self.producer.key, admin_key)
        change = check_admin_entry(entry, "producer_registered", _ORIGIN, self.ledger.admin_public_keys)
        future: Future[Outcome] = Future()
        self.ledger.sequencer.submit(change, future.set_result)
        assert not isinstance(future.result(10), Exception)
        self.append(self.producer.batch())

    def _open(self) -> Ledger:
        return open_ledger(self.data_dir, origin=_ORIGIN, on_status=self.statuses.append)

    def submit(self, packed: bytes) -> Outcome:
        future: Future[Outcome] = Future()
        self.ledger.sequencer.submit(check_batch(packed, _ORIGIN), future.set_result)
        outcome = future.result(10)
        if isinstance(outcome, Appended):
            self.acknowledged.append((packed, outcome))
        return outcome

    def append(self, packed: bytes) -> Appended:
        outcome = self.submit(packed)
        assert isinstance(outcome, Appended), outcome
        return outcome

    def append_when_it_can(self, packed: bytes) -> Appended:
        """As an emitter does: again and again, unless it is told that it is of no use."""
        deadline = time.monotonic() + 5
        while True:
            outcome = self.submit(packed)
            if isinstance(outcome, Appended):
                return outcome
            assert isinstance(outcome, NotWritableError) and time.monotonic() < deadline, outcome
            time.sleep(0.05)

    def restart(self) -> None:
        self.ledger.close()
        self.ledger = self._open()

    def check(self) -> None:
        """What was acknowledged is on disk, once, where it was said to be, under the head record."""
        reader = self.ledger.reader
        stored, size = list(entries(reader)), reader.head().size
        for packed, outcome in self.acknowledged:
            assert outcome.head.size <= size
            ack = outcome.acknowledgement
            framed = b"".join(len(e).to_bytes(2, "big") + e for e in stored[ack.first_index : ack.seal_index + 1])
            assert framed == packed
        assert len(stored) == len(set(stored))


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    watched = Watched(tmp_path / "ledger", monkeypatch)
    yield watched
    watched.ledger.close()


Fault = Callable[[pytest.MonkeyPatch], None]


def _commit_fails(patch: pytest.MonkeyPatch) -> None:
    def commit(store: LogStore, prepared: object) -> None:
        raise DiskFullError("the disk is full while committing")

    patch.setattr(LogStore, "commit", commit)


def _commit_fails_inside(patch: pytest.MonkeyPatch) -> None:
    def put_rows(store: LogStore, txn: object, group: object) -> None:
        raise StoreError("LMDB failed in the middle of a transaction")

    patch.setattr(LogStore, "_put_rows", put_rows)


def _head_cannot_be_written(patch: pytest.MonkeyPatch) -> None:
    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    patch.setattr(os, "pwrite", pwrite)


def _head_is_cut_short(patch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    patch.setattr(os, "pwrite", lambda descriptor, data, offset: pwrite(descriptor, data[:100], offset))


def _head_is_written_but_not_synced(patch: pytest.MonkeyPatch) -> None:
    def sync(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    patch.setattr(head_module, "_sync_data", sync)


def _head_is_written_and_then_it_fails(patch: pytest.MonkeyPatch) -> None:
    write = HeadRecord.write

    def written(record: HeadRecord, head: head_module.Head) -> None:
        write(record, head)
        raise StoreError("the head record's disk went away after it was written")

    patch.setattr(HeadRecord, "write", written)


def _head_cannot_be_read(patch: pytest.MonkeyPatch) -> None:
    def pread(descriptor: int, count: int, offset: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    patch.setattr(os, "pread", pread)


_FAULTS = [
    _commit_fails,
    _commit_fails_inside,
    _head_cannot_be_written,
    _head_is_cut_short,
    _head_is_written_but_not_synced,
    _head_is_written_and_then_it_fails,
]


@contextmanager
def _failing(fault: Fault) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        fault(patch)
        yield


@pytest.mark.parametrize("restarted", [False, True], ids=["goes on", "restarted"])
@pytest.mark.parametrize("fault", _FAULTS)
def test_a_step_that_fails_costs_nothing_that_was_acknowledged(watched: Watched, fault: Fault, restarted: bool) -> None:
    watched.append(watched.producer.predictions(300))
    batch = watched.producer.predictions(40)
    with _failing(fault):
        for _ in range(3):  # sent again at once: it must not be answered from what is not published
            assert isinstance(watched.submit(batch), NotWritableError)
    if restarted:
        watched.restart()
    watched.append_when_it_can(batch)
    assert watched.ledger.sequencer.status.writable
    watched.append(watched.producer.predictions(3))
    watched.check()
    watched.restart()
    assert watched.append(batch).acknowledgement.duplicate
    watched.check()


def test_a_commit_that_failed_and_yet_is_there_needs_a_restart_and_says_so(watched: Watched) -> None:
    commit = LogStore.commit

    def persists(store: LogStore, prepared: object) -> None:
        edge = store._edge
        commit(store, prepared)  # type: ignore[arg-type]  # passed on as it came
        store._edge, store._in_doubt = edge, True
        raise StoreError("LMDB failed while syncing its meta page")

    batch = watched.producer.predictions(5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LogStore, "commit", persists)
        assert isinstance(watched.submit(batch), NotWritableError)
    assert isinstance(watched.submit(batch), NotWritableError)
    assert "restart" in watched.ledger.sequencer.status.message
    watched.check()
    watched.restart()
    assert watched.append(batch).acknowledgement.duplicate
    watched.append(watched.producer.predictions(2))
    watched.check()


def test_a_head_record_that_cannot_be_read_stops_writing_only_as_long(watched: Watched) -> None:
    batch = watched.producer.predictions(5)
    with _failing(_head_cannot_be_read):
        assert isinstance(watched.submit(batch), Exception)
    watched.append_when_it_can(batch)
    watched.check()


def test_a_head_that_somebody_else_wrote_is_not_signed_over(watched: Watched) -> None:
    """A copy of the folder, served elsewhere over the same head record."""
    other = HeadRecord(watched.data_dir.head)
    size, root = other.read_published().size + 7, bytes(32)
    signer = note.Signer(*keys.read_signing_key(watched.data_dir.ledger_key))
    foreign = checkpoint.Checkpoint(_ORIGIN, size, root).sign(signer)
    other.write(head_module.Head(size, root, foreign))
    other.close()
    heads = dict(watched.signed)
    for _ in range(3):
        assert isinstance(watched.submit(watched.producer.predictions(5)), Exception)
    assert watched.signed == heads
    assert HeadRecord(watched.data_dir.head, read_only=True).read_published().note == foreign


def test_refusals_and_repeats_do_not_make_a_ledger_writable_that_is_not(watched: Watched) -> None:
    opening = watched.acknowledged[0][0]
    stranger = Producer(_ORIGIN).batch()
    with _failing(_commit_fails):
        assert isinstance(watched.submit(watched.producer.predictions(1)), NotWritableError)
        watched.statuses.clear()
        until = time.monotonic() + 1.5
        while time.monotonic() < until:  # neither do they keep it from trying again
            for packed in (opening, stranger):
                watched.submit(packed)
            assert not watched.ledger.sequencer.status.writable
    assert watched.statuses == []
    deadline = time.monotonic() + 5
    while not watched.ledger.sequencer.status.writable:
        watched.submit(opening)
        assert time.monotonic() < deadline
    assert [status.writable for status in watched.statuses] == [True]


def test_a_defect_that_one_submission_brings_out_is_its_own_affair(watched: Watched) -> None:
    poison = watched.producer.predictions(7)
    others = [Producer(_ORIGIN, watched.producer.key) for _ in range(3)]
    work = [check_batch(packed, _ORIGIN) for packed in (*(other.batch() for other in others), poison)]
    commit = LogStore.commit

    def defect(store: LogStore, prepared: object) -> None:
        if any(row.count == 7 for row in prepared.group.batches):  # type: ignore[attr-defined]  # a PreparedGroup
            raise OverflowError("a defect")
        commit(store, prepared)  # type: ignore[arg-type]  # passed on as it came

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LogStore, "commit", defect)
        futures: list[Future[Outcome]] = [Future() for _ in work]
        together = threading.Event()  # holds the sequencer until all wait, so that they are one group
        watched.ledger.sequencer.submit(ServerError("first"), lambda _: together.wait())
        for piece, future in zip(work, futures, strict=True):
            watched.ledger.sequencer.submit(piece, future.set_result)
        together.set()
        outcomes = [future.result(10) for future in futures]
    assert [isinstance(outcome, Appended) for outcome in outcomes] == [True, True, True, False]
    watched.append_when_it_can(others[0].predictions(2))
    watched.check()


def test_whoever_cannot_be_told_keeps_nobody_waiting(watched: Watched) -> None:
    def fails(outcome: Outcome) -> None:
        raise RuntimeError("nobody there")

    watched.ledger.sequencer.submit(check_batch(watched.producer.predictions(1), _ORIGIN), fails)
    watched.append(watched.producer.predictions(1))
    watched.check()


def test_a_group_that_holds_no_batch_is_written_though_something_is_always_asked(tmp_path: Path) -> None:
    """An idle ledger's blocks show that it lives; refusals are no life."""
    ledger = open_ledger(DataDir(tmp_path / "l"), origin=_ORIGIN, block_interval_s=0.2)
    before, until = ledger.reader.head().size, time.monotonic() + 2
    stranger = check_batch(Producer(_ORIGIN).batch(), _ORIGIN)
    while ledger.reader.head().size < before + 2:
        future: Future[Outcome] = Future()
        ledger.sequencer.submit(stranger, future.set_result)
        assert isinstance(future.result(5), Exception)
        assert time.monotonic() < until
    ledger.close()
