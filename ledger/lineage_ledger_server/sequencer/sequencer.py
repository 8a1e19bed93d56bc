"""The sequencer: the one thread that writes. It gives out indexes, commits groups, signs checkpoints, answers.

How a group becomes true, and what a crash leaves at each point:

1. its entries, tiles and rows are one LMDB transaction, synced: a crash before leaves nothing of it;
2. the checkpoint over it is signed and its head record synced: a crash before leaves LMDB ahead of the head record, and
   the next start goes on from LMDB; nobody was answered yet, so emitters send again and are told their ranges;
3. the head is published to readers and each submission is answered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from lineage_ledger.errors import LineageError
from lineage_ledger.formats import checkpoint, note
from lineage_ledger.v1 import append_pb2
from lineage_ledger_server.errors import DiskFullError, NotWritableError, ServerError
from lineage_ledger_server.head import Head, HeadRecord
from lineage_ledger_server.reading.log_reader import LogReader
from lineage_ledger_server.sequencer.check import CheckedBatch
from lineage_ledger_server.sequencer.clock import LedgerClock
from lineage_ledger_server.sequencer.group import Group
from lineage_ledger_server.sequencer.signing import KeyChange, LedgerSigner
from lineage_ledger_server.sequencer.state import State
from lineage_ledger_server.sequencer.submissions import Appended, Changed, Outcome, Submission, SubmissionQueue, Work
from lineage_ledger_server.store.log_store import LogStore

_log = structlog.get_logger(__name__)

_RETRY_S = 1.0  # how often a ledger that cannot write tries again, whatever else it is asked meanwhile


class Position(NamedTuple):
    """The newest block in the store."""

    block_number: int
    block_hash: bytes


class Status(NamedTuple):
    """Whether the ledger takes batches, and if not, why: a reason for programs, the cause for whoever runs it."""

    writable: bool
    reason: str = ""
    message: str = ""


def ignore_status(status: Status) -> None:
    """For whoever does not want to be told."""


def ignore_head(head: Head) -> None:
    """As `ignore_status`."""


class Sequencer:
    """Owns writing to `store` and `head_record`. Start it, `submit` to it from any thread, stop it.

    `block_interval_s`: an idle ledger writes a block this often, and at once if it stood still for longer.
    `max_group_bytes` bounds one commit, `max_waiting_bytes` what may wait for the next ones. `on_head` is told each
    head that was signed; it must not block.
    """

    def __init__(
        self,
        *,
        store: LogStore,
        head_record: HeadRecord,
        reader: LogReader,
        signer: LedgerSigner,
        position: Position,
        clock: LedgerClock,
        block_interval_s: float = 60.0,
        max_group_bytes: int = 32 * 1024 * 1024,
        max_waiting_bytes: int = 256 * 1024 * 1024,
        on_status: Callable[[Status], object] = ignore_status,
        on_head: Callable[[Head], object] = ignore_head,
    ) -> None:
        self._store = store
        self._head_record = head_record
        self._signer = signer
        self._position = position
        self._clock = clock
        self._block_interval_s = block_interval_s
        self._max_group_bytes = max_group_bytes
        self._on_status = on_status
        self._on_head = on_head
        self._state = State(store, reader)
        self._queue = SubmissionQueue(max_waiting_bytes)
        self._head = reader.head()
        self._status = Status(writable=True)
        self._write_due_s = time.monotonic() + max(0.0, block_interval_s - clock.standing_s)
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

    def submit(self, work: Work, done: Callable[[Outcome], object]) -> None:
        """Queue work; `done` gets its outcome. Blocks while too much waits; raises `NotWritableError` when stopping."""
        self._queue.put(Submission(work, done))

    def stop(self) -> None:
        """Take nothing more, commit and answer what waits, end the thread."""
        self._queue.close()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._queue.finished:
            submissions = self._queue.take(self._max_group_bytes, max(0.0, self._write_due_s - time.monotonic()))
            if self._queue.finished and not submissions:
                break
            for submission, outcome in zip(submissions, self._settle(submissions), strict=True):
                try:
                    submission.done(outcome)
                except Exception as error:  # noqa: BLE001  # one that cannot be told must not keep the others waiting
                    _log.error("an outcome was not taken", exc_info=error)

    def _settle(self, submissions: list[Submission]) -> list[Outcome]:
        """Commit; whatever fails, everyone who waits gets an outcome."""
        try:
            return self._commit(submissions)
        except Exception as error:  # noqa: BLE001  # as said
            self._state.discard()
            if len(submissions) > 1 and not isinstance(error, LineageError):
                # A defect that one of them brings out must not be the others' harm.
                _log.error("a group failed unexpectedly; its submissions are tried one by one", exc_info=error)
                return [outcome for submission in submissions for outcome in self._settle([submission])]
            self._write_due_s = time.monotonic() + _RETRY_S
            refusal = _refusal(error)
            cause = str(error) if isinstance(error, LineageError) else f"unexpected {type(error).__name__}"
            self._set_status(Status(False, refusal.reason, cause), error)
            return [s.work if isinstance(s.work, Exception) else refusal for s in submissions]

    def _commit(self, submissions: list[Submission]) -> list[Outcome]:
        """One group: decide, write, sign, publish. Writes an empty one if nothing was written for too long."""
        self._publish()  # what an earlier round wrote and could not sign
        group = Group(self._state, self._store.size, self._position.block_number + 1, self._signer.keys)
        decided = [_decide(group, submission.work) for submission in submissions]
        if not group.empty or time.monotonic() >= self._write_due_s:
            write, block_hash = group.finish(self._clock.now_unix_ns(), self._position.block_hash)
            self._store.append(write)
            self._state.keep()
            self._position = Position(write.block_number, block_hash)
            if group.key_change is not None:
                self._signer.changed(*group.key_change)
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

        The record is read back first: it must still hold what this process signed last, else somebody else signs too;
        or what is signed now, if it was written before and the disk did not say that it keeps it.
        """
        if self._store.size == self._head.size:
            return
        head = sign_head(self._store, self._signer.signer)
        recorded = self._head_record.read()
        if recorded is None or recorded[:2] not in (self._head[:2], head[:2]):
            raise ServerError("the head record changed under this process; something else writes this ledger. Stop it")
        self._head_record.write(head)
        self._head = head
        self._on_head(head)
        self._write_due_s = time.monotonic() + self._block_interval_s
        self._set_status(Status(writable=True))
        if not self._signer.settled:
            self._settle_keys()

    def _settle_keys(self) -> None:
        """The key files get their names; if they cannot, the ledger signs on, and tries again with the next block."""
        try:
            self._signer.settle()
        except Exception as error:  # noqa: BLE001  # the change is made and published; nobody must be told otherwise
            _log.error("the new key's file could not be given its name; the next block tries again", cause=str(error))

    def _set_status(self, status: Status, error: Exception | None = None) -> None:
        changed = status[:2] != self._status[:2]
        self._status = status
        if not changed:
            return
        if status.writable:
            _log.info("ledger takes batches again")
        elif isinstance(error, LineageError):
            _log.error("ledger is read-only", reason=status.reason, cause=status.message)
        else:
            _log.error("ledger is read-only after an unexpected error", exc_info=error)
        try:
            self._on_status(status)
        except Exception as failure:  # noqa: BLE001  # who listens must not stop the ledger
            _log.error("telling the ledger's status failed", exc_info=failure)


def sign_head(store: LogStore, signer: note.Signer) -> Head:
    """The signed checkpoint of the store's tree; the signer's name is the origin."""
    root = store.root()
    return Head(store.size, root, checkpoint.Checkpoint(signer.name, store.size, root).sign(signer))


def _decide(group: Group, work: Work) -> append_pb2.Acknowledgement | int | Exception:
    if isinstance(work, Exception):
        return work
    try:
        if isinstance(work, CheckedBatch):
            return group.add_batch(work)
        return group.add_key_change(work) if isinstance(work, KeyChange) else group.add_change(work)
    except LineageError as error:
        return error


def _refusal(error: Exception) -> NotWritableError:
    """What everyone in a group that failed is told."""
    if isinstance(error, NotWritableError):
        return error
    if isinstance(error, DiskFullError):
        return NotWritableError(
            "the ledger's disk is full: nothing was acknowledged. Free space; writing goes on by itself, send again",
            reason="DISK_FULL",
        )
    return NotWritableError(
        "the ledger cannot write; its log says why. Nothing was acknowledged, send again", reason="READ_ONLY"
    )
