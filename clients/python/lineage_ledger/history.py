"""What one party has seen a ledger sign, and whether all of it is one history.

The newest checkpoint that was verified is remembered; a later one takes its place only once a consistency proof
(RFC 9162, 2.1.4) leads from the one to the other, whoever else verified others meanwhile. So all that was ever
remembered lies on one line, and a ledger that shows two lines is caught when it is asked to join them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from lineage_ledger.errors import (
    CheckpointFileError,
    ForkError,
    HistoryError,
    LineageError,
    OtherKeyError,
    OtherOriginError,
    ProofError,
    RollbackError,
    StaleError,
    VerificationError,
)
from lineage_ledger.formats import merkle, strict
from lineage_ledger.formats.checkpoint import Checkpoint, CheckpointKeys
from lineage_ledger.formats.ledger_keys import LedgerKeys

MAX_BLOCK_AGE_S: Final = 180.0
"""A view is stale when its newest block is older: an idle ledger writes a block each minute."""
MAX_UNLINKED: Final = 1_024
"""Checkpoints that wait to be joined with the newest; whoever cannot ask for proofs keeps the first ones."""
_S: Final = 1_000_000_000


class SignedCheckpoint(NamedTuple):
    """A checkpoint and the signed note that says it, which was verified."""

    note: bytes
    checkpoint: Checkpoint

    @property
    def size(self) -> int:
        """Entries."""
        return self.checkpoint.size


class Unlinked(NamedTuple):
    """Two verified checkpoints of which nobody has shown yet that they are of one history; `older` is smaller."""

    older: SignedCheckpoint
    newer: SignedCheckpoint


class Memory(Protocol):
    """Keeps a history beyond the life of a process: `lineage_ledger.checkpoint_file.CheckpointFile`."""

    def locked(self) -> AbstractContextManager[None]:
        """Nobody else reads and writes within."""

    def read(self) -> bytes | None:
        """The signed note that is remembered, if there is one. Raises `CheckpointFileError`, `ForkError`."""

    def write(self, signed: bytes) -> None:
        """Remember this one instead. Raises `CheckpointFileError`."""

    def refuse(self, error: HistoryError) -> None:
        """Keep the evidence; after a `ForkError`, `read` raises until somebody has looked. Does not raise."""


class History:
    """The checkpoints of one ledger, as one party has seen them. Any thread may use it.

    Who asks a ledger takes `newest` before the question, gives it to `accept` with the answer and the proof that leads
    from the one to the other, and then proves what is `unlinked`, if anything is.
    """

    def __init__(self, keys: CheckpointKeys, memory: Memory | None = None) -> None:
        """Raises `CheckpointFileError` if the memory cannot be believed, `ForkError` if it holds a fork.

        A remembered checkpoint that another key of the ledger signed is looked at when it is first needed: until then
        `keys` may be replaced by those that followed.
        """
        self.keys = keys
        self._memory = memory
        self._lock = threading.RLock()
        self._newest: SignedCheckpoint | None = None
        self._unlinked: list[SignedCheckpoint] = []
        with self._held(), suppress(OtherKeyError):
            self._refresh()

    @property
    def newest(self) -> SignedCheckpoint | None:
        """The largest checkpoint that is linked to all remembered before it. Raises as the constructor."""
        with self._lock:
            return self._refresh()

    def open(self, signed: bytes) -> SignedCheckpoint:
        """The checkpoint, once its origin and signature were checked.

        Raises `MalformedError`, `OtherOriginError`, `OtherKeyError` or `SignatureError`.
        """
        origin = Checkpoint.read(signed).origin
        if origin != self.keys.name:
            newest = self._newest
            raise self._refused(
                OtherOriginError(
                    f"a checkpoint of {origin!r} was given for the ledger {self.keys.name!r}: this is another ledger, "
                    "or one that was made anew; is the address right?",
                    evidence=(*([newest.note] if newest else []), signed),
                )
            )
        return SignedCheckpoint(signed, Checkpoint.open(signed, self.keys))

    def accept(self, signed: bytes, known: SignedCheckpoint | None, proof: Sequence[bytes]) -> SignedCheckpoint:
        """Take an answer's checkpoint, held against `known`, which is `newest` as it was when the question was asked.

        `proof` leads from `known` to it (RFC 6962, 2.1.2); empty if they have one size, or nothing was known. If
        another checkpoint was remembered since, this one is `unlinked` from it.

        Raises what `open` and `check_pinned` raise; `RollbackError` if it is smaller than `known`; `ForkError` if it is
        not of its history; `CheckpointFileError` if it cannot be remembered.
        """
        opened = self.open(signed)
        self.check_pinned(opened)
        if known is not None:
            self.check(known, opened, proof)
        with self._held():
            newest = self._refresh()
            if known is not None:
                self._unlinked = [each for each in self._unlinked if each.checkpoint != known.checkpoint]
            if newest is None or (known is not None and newest.checkpoint == known.checkpoint):
                self._remember(opened)
            else:
                self._leave_unlinked(newest, opened)
        return opened

    def check_pinned(self, signed: SignedCheckpoint) -> None:
        """Whether a tree that is shown now is one that the pinned key signed, or a later one. Raises `RollbackError`.

        A thief of a key from before could sign smaller ones.
        """
        index = self.keys.pinned_index if isinstance(self.keys, LedgerKeys) else 0
        if index and signed.size <= index:
            raise self._refused(
                RollbackError(
                    f"{self.keys.name} answered with a tree of {signed.size:,} entries, signed before the key that was "
                    f"pinned, which it says is in force from index {index:,} on: it was put back from an old copy, or "
                    "somebody else has an earlier key of it",
                    evidence=(signed.note,),
                )
            )

    @property
    def unlinked(self) -> Unlinked | None:
        """Two verified checkpoints that a proof must join yet, by `link`. Raises `ForkError`: none can."""
        with self._lock:
            newest = self._refresh()
            other = None if newest is None else self._first_unlinked(newest)
            if newest is None or other is None:
                return None
            return Unlinked(*sorted((newest, other), key=lambda each: each.size))

    def link(self, pair: Unlinked, proof: Sequence[bytes]) -> None:
        """Join what was `unlinked` with the proof that leads from the older to the newer. Raises `ForkError`."""
        self.check(pair.older, pair.newer, proof)
        with self._held():
            newest = self._refresh()
            if newest is not None and newest.checkpoint in (pair.older.checkpoint, pair.newer.checkpoint):
                both = (pair.older.checkpoint, pair.newer.checkpoint)
                self._unlinked = [each for each in self._unlinked if each.checkpoint not in both]
                self._remember(pair.newer)

    def check(self, older: SignedCheckpoint, newer: SignedCheckpoint, proof: Sequence[bytes]) -> None:
        """Whether `newer`, which was told later, goes on from `older`. Raises `RollbackError` or `ForkError`."""
        if newer.size < older.size:
            raise self._refused(
                RollbackError(
                    f"{self.keys.name} answered with a tree of {newer.size:,} entries after it had signed one of "
                    f"{older.size:,}: it was put back from an old copy, unless this server is behind another one of it",
                    evidence=(older.note, newer.note),
                )
            )
        if self._is_same(older, newer) or older.size == 0:
            return
        try:
            merkle.verify_consistency(
                older.size, older.checkpoint.root, newer.size, newer.checkpoint.root, tuple(proof)
            )
        except ProofError as error:
            raise self._refused(
                ForkError(
                    f"{self.keys.name} signed a tree of {newer.size:,} entries that does not go on from the one of "
                    f"{older.size:,} that it signed before: its history was changed, or it shows different ones "
                    f"({error})",
                    evidence=(older.note, newer.note),
                    proof=tuple(proof),
                )
            ) from error

    def unproven(self, older: SignedCheckpoint, newer: SignedCheckpoint, reason: str) -> HistoryError:
        """The error of a ledger that was asked for the proof between the two, and has none."""
        return self._refused(
            ForkError(
                f"{self.keys.name} cannot prove that its tree of {newer.size:,} entries goes on from the one of "
                f"{older.size:,} that it signed before ({reason})",
                evidence=(older.note, newer.note),
                is_shown=False,
            )
        )

    def check_age(
        self, signed: SignedCheckpoint, time_unix_ns: int, now_unix_ns: int, max_age_s: float = MAX_BLOCK_AGE_S
    ) -> None:
        """Whether a tree's newest block, proven to be of `time_unix_ns`, is not too old.

        Raises `StaleError`, also for a block that is further ahead of this machine's clock than that.
        """
        age_s = (now_unix_ns - time_unix_ns) / _S
        if abs(age_s) <= max_age_s:
            return
        when = _utc(time_unix_ns)
        if age_s > 0:
            message = (
                f"the newest block of {self.keys.name} is of {when}, {age_s:,.0f} s ago, and {max_age_s:,.0f} s are "
                "allowed: the ledger writes no more, or an old state of it is shown; or this machine's clock is ahead"
            )
        else:
            message = (
                f"the newest block of {self.keys.name} is of {when}, {-age_s:,.0f} s ahead of this machine's clock: "
                "one of the two clocks is wrong"
            )
        raise self._refused(StaleError(message, evidence=(signed.note,)))

    def _is_same(self, one: SignedCheckpoint, other: SignedCheckpoint) -> bool:
        """Whether two verified checkpoints are of one tree. Raises `ForkError` for two trees of one size."""
        if one.size != other.size:
            return False
        if one.checkpoint.root != other.checkpoint.root:
            raise self._refused(
                ForkError(
                    f"{self.keys.name} signed two different trees of the same size, {one.size:,} entries: it shows "
                    "different histories, or was put back from an old copy and went on",
                    evidence=(one.note, other.note),
                )
            )
        return True

    # -- the memory ------------------------------------------------------------------------------------------

    @contextmanager
    def _held(self) -> Iterator[None]:
        with self._lock, self._memory.locked() if self._memory is not None else nullcontext():
            yield

    def _refresh(self) -> SignedCheckpoint | None:
        """What others remembered in the same place was verified; that it is of one history with this is still to show.

        They linked it to what they found there, which may be older than what this party knows.
        """
        signed = self._memory.read() if self._memory is not None else None
        if signed is not None and (self._newest is None or signed != self._newest.note):
            found, newest = SignedCheckpoint(signed, self._remembered(signed)), self._newest
            if newest is None or found.size > newest.size:
                self._newest = found
            if newest is not None:
                self._leave_unlinked(*sorted((newest, found), key=lambda each: -each.size))
        return self._newest

    def _first_unlinked(self, newest: SignedCheckpoint) -> SignedCheckpoint | None:
        while self._unlinked and self._is_same(newest, self._unlinked[0]):
            self._unlinked.pop(0)
        return self._unlinked[0] if self._unlinked else None

    def _leave_unlinked(self, newest: SignedCheckpoint, other: SignedCheckpoint) -> None:
        if not self._is_same(newest, other) and other not in self._unlinked and len(self._unlinked) < MAX_UNLINKED:
            self._unlinked.append(other)

    def _remembered(self, signed: bytes) -> Checkpoint:
        try:
            return Checkpoint.open(signed, self.keys)
        except OtherKeyError:
            raise
        except LineageError as error:
            raise CheckpointFileError(
                f"{self._memory} holds no checkpoint of {self.keys.name}: it was changed or damaged, or is another "
                "ledger's. Put back what it was, or name another file; deleting it forgets what was seen of the "
                f"ledger ({error})"
            ) from error

    def _remember(self, opened: SignedCheckpoint) -> None:
        """Whoever reads the memory next is to hold the ledger to all that was seen, so it is all linked by then."""
        newest = opened if self._newest is None or opened.size > self._newest.size else self._newest
        if self._memory is not None and self._first_unlinked(newest) is None and self._memory.read() != newest.note:
            self._memory.write(newest.note)
        self._newest = newest

    def _refused(self, error: HistoryError) -> HistoryError:
        if self._memory is not None:
            self._memory.refuse(error)
        return error


def block_time(entry: bytes) -> int:
    """When a block was written, nanoseconds since the Unix epoch. Raises `MalformedError`, `VerificationError`."""
    parsed = strict.parse_entry(entry)
    if parsed.WhichOneof("kind") == "genesis":
        return parsed.genesis.time_unix_ns
    if parsed.WhichOneof("kind") != "block":
        raise VerificationError(f"a tree ends with a block, and this one with a {parsed.WhichOneof('kind')}")
    return parsed.block.time_unix_ns


def _utc(time_unix_ns: int) -> str:
    try:
        return datetime.fromtimestamp(time_unix_ns // _S, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{time_unix_ns} ns"
