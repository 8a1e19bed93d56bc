"""The sequencer: the one thread that writes. It gives out indexes, commits groups, signs checkpoints, answers.

How a group becomes true, and what a crash leaves at each point:

1. its entries, tiles and rows are one LMDB transaction, synced: a crash before leaves nothing of it;
2. the checkpoint over it is signed and its head record synced: a crash before leaves LMDB ahead of the head record, and
   the next start goes on from LMDB; nobody was answered yet, so emitters send again and are told their ranges;
3. the head is published to readers and each submission is answered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

import structlog

from lineage_ledger.errors import LineageError
from lineage_ledger.formats import checkpoint, note
from lineage_ledger.v1 import append_pb2
from lineage_ledger_server.errors import DiskFullError, NotWritableError, ServerError
from lineage_ledger_server.head import Head, HeadRecord
from lineage_ledger_server.log_reader import LogReader
from lineage_ledger_server.sequencer.check import CheckedBatch
from lineage_ledger_server.sequencer.clock import LedgerClock
from lineage_ledger_server.sequencer.group import Group
from lineage_ledger_server.sequencer.producers import AdminChange
from lineage_ledger_server.sequencer.state import State
from lineage_ledger_server.sequencer.submissions import Appended, Changed, Outcome, Submission, SubmissionQueue
from lineage_ledger_server.store.log_store import LogStore

_log = structlog.get_logger(__name__)

_RETRY_S = 1.0  # how often a ledger that cannot write tries again by itself


class Position(NamedTuple):
    """The newest block in the store."""

    block_number: int
    block_hash: bytes


class Status(NamedTuple):
    """Whether the ledger takes batches, and if not, why: a reason for programs and a text for people."""

    writable: bool
    reason: str = ""
    message: str = ""


def ignore_status(status: Status) -> None:
    """For whoever does not want to be told."""


class Sequencer:
    """Owns writing to `store` and `head_record`. Start it, `submit` to it from any thread, stop it.

    `block_interval_s`: an idle ledger writes a block this often. `max_group_bytes` bounds one commit,
    `max_waiting_bytes` what may wait for the next ones.
    """

    def __init__(
        self,
        *,
        store: LogStore,
        head_record: HeadRecord,
        reader: LogReader,
        signer: note.Signer,
        position: Position,
        clock: LedgerClock,
        block_interval_s: float = 60.0,
        max_group_bytes: int = 32 * 1024 * 1024,
        max_waiting_bytes: int = 256 * 1024 * 1024,
        on_status: Callable[[Status], object] = ignore_status,
    ) -> None:
        self._store = store
        self._head_record = head_record
        self._signer = signer
        self._position = position
        self._clock = clock
        self._block_interval_s = block_interval_s
        self._max_group_bytes = max_group_bytes
        self._on_status = on_status
        self._state = State(store, reader)
        self._queue = SubmissionQueue(max_waiting_bytes)
        self._head = reader.head()
        self._status = Status(writable=True)
        self._thread = threading.Thread(target=self._run, name="sequencer", daemon=True)

    @property
    def status(self) -> Status:
        """May be read from any thread."""
        return self._status

    @property
    def waiting_bytes(self) -> int:
        """Bytes of submissions that wait for a group."""
        return self._queue.waiting_bytes

    def start(self) -> None:
        self._thread.start()

    def submit(self, work: CheckedBatch | AdminChange | Exception, done: Callable[[Outcome], None]) -> None:
        """Queue work; `done` gets its outcome. Blocks while too much waits; raises `NotWritableError` when stopping."""
        self._queue.put(Submission(work, done))

    def stop(self) -> None:
        """Take nothing more, commit and answer what waits, end the thread."""
        self._queue.close()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._queue.finished:
            timeout_s = self._block_interval_s if self._status.writable else _RETRY_S
            submissions = self._queue.take(self._max_group_bytes, timeout_s)
            if self._queue.finished and not submissions:
                break
            outcomes: list[Outcome]
            try:
                outcomes = self._commit(submissions)
                self._set_status(Status(writable=True))
            except Exception as error:  # noqa: BLE001  # whatever failed, everyone who waits is answered
                self._state.discard()
                refusal = _refusal(error)
                self._set_status(Status(False, refusal.reason, str(refusal)), error)
                outcomes = [s.work if isinstance(s.work, Exception) else refusal for s in submissions]
            for submission, outcome in zip(submissions, outcomes, strict=True):
                submission.done(outcome)

    def _commit(self, submissions: list[Submission]) -> list[Outcome]:
        """One group: decide, write, sign, publish."""
        self._publish()  # what an earlier round wrote and could not sign
        group = Group(self._state, self._store.size, self._position.block_number + 1)
        decided = [_decide(group, submission.work) for submission in submissions]
        if not group.empty or not submissions:
            write, block_hash = group.finish(self._clock.now_unix_ns(), self._position.block_hash)
            self._store.append(write)
            self._state.keep()
            self._position = Position(write.block_number, block_hash)
            self._publish()
        head = self._head
        return [
            outcome if isinstance(outcome, Exception)
            else Changed(outcome, head) if isinstance(outcome, int)
            else Appended(outcome, head)
            for outcome in decided
        ]  # fmt: skip

    def _publish(self) -> None:
        """Sign the store's tree and put it into the head record, unless that is done.

        The record is read back first: it must still hold what this process signed last, else somebody else signs too.
        """
        if self._store.size == self._head.size:
            return
        recorded = self._head_record.read()
        if recorded is None or (recorded.size, recorded.root) != (self._head.size, self._head.root):
            raise ServerError("the head record changed under this process; something else writes this ledger. Stop it")
        self._head = sign_head(self._store, self._signer)
        self._head_record.write(self._head)

    def _set_status(self, status: Status, error: Exception | None = None) -> None:
        if status == self._status:
            return
        self._status = status
        if status.writable:
            _log.info("ledger takes batches again")
        elif isinstance(error, LineageError):
            _log.error("ledger is read-only", reason=status.reason, message=status.message)
        else:
            _log.error("ledger is read-only after an unexpected error", exc_info=error)
        self._on_status(status)


def sign_head(store: LogStore, signer: note.Signer) -> Head:
    """The signed checkpoint of the store's tree; the signer's name is the origin."""
    root = store.root()
    return Head(store.size, root, checkpoint.Checkpoint(signer.name, store.size, root).sign(signer))


def _decide(
    group: Group, work: CheckedBatch | AdminChange | Exception
) -> append_pb2.Acknowledgement | int | Exception:
    if isinstance(work, Exception):
        return work
    try:
        return group.add_batch(work) if isinstance(work, CheckedBatch) else group.add_change(work)
    except LineageError as error:
        return error


def _refusal(error: Exception) -> NotWritableError:
    """What everyone in a group that failed is told."""
    if isinstance(error, NotWritableError):
        return error
    if isinstance(error, DiskFullError):
        return NotWritableError(
            "the ledger's disk is full: nothing was taken. Free space; writing goes on by itself, send again then",
            reason="DISK_FULL",
        )
    return NotWritableError(
        "the ledger cannot write; its log says why. Nothing was taken, send again", reason="READ_ONLY"
    )
