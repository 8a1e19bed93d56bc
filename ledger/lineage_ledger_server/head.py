"""The head record: the checkpoint that was last signed, in a file of its own outside LMDB.

A restored or changed log shows by it, the more so if it lies on other storage. The file has two slots of fixed size
that are written in turn, so a torn write leaves the other one:

    u64be sequence ‖ u32be length ‖ signed note ‖ SHA-256 of all that
"""

from __future__ import annotations

import errno
import hashlib
import os
import struct
import time
from pathlib import Path
from typing import NamedTuple

from lineage_ledger.errors import LineageError
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger_server.errors import CorruptValueError, DiskFullError, HeadMismatchError, StoreError

MAX_NOTE_BYTES = 8_000
# Slots share no page and no sector.
_SLOT_BYTES = 8192
_FILE_BYTES = 2 * _SLOT_BYTES
_PREFIX = struct.Struct(">QI")
_CHECKSUM_BYTES = 32
_READ_ATTEMPTS = 20
_READ_PAUSE_S = 0.005
# Not every system has it.
_sync_data = getattr(os, "fdatasync", os.fsync)


class Head(NamedTuple):
    """A published tree."""

    size: int
    root: bytes
    """32 bytes."""
    note: bytes
    """The signed checkpoint, verbatim; at most 8,000 bytes."""

    @classmethod
    def of_note(cls, note: bytes) -> Head:
        """The head that a checkpoint says; its signature is not looked at. Raises MalformedError."""
        checkpoint = Checkpoint.read(note)
        return cls(checkpoint.size, checkpoint.root, note)


class HeadRecord:
    """The head record at `path`: one process writes it, others may read it meanwhile.

    The writer makes the file if it is not there: mode 0600, full size, its folder synced. Raises StoreError
    if it cannot be opened, CorruptValueError if neither slot is whole.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._cached: tuple[bytes, Head | None] = (b"", None)
        try:
            if not read_only and not path.exists():
                _create(path)
            self._descriptor = os.open(path, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC)
        except OSError as error:
            raise _store_error(error, f"cannot open the head record {path}") from error
        try:
            self._sequence, self._written = self._newest()
        except BaseException:
            self.close()
            raise

    def read(self) -> Head | None:
        """The newest head on record; None if nothing was ever signed. Any thread may call it."""
        data, head = self._cached
        if data and self._bytes() == data:
            return head
        return self._newest()[1]

    def read_published(self) -> Head:
        """The newest head on record, where there must be one; raises StoreError if nothing was ever signed."""
        head = self.read()
        if head is None:
            raise StoreError(f"the head record {self.path} is empty: nothing was published yet")
        return head

    def write(self, head: Head) -> None:
        """Put a newer head on record, durably.

        Raises HeadMismatchError if it is smaller than the last one, or of the same size and different; StoreError if it
        cannot be written: the last one then stands.
        """
        if head != Head.of_note(head.note) or len(head.note) > MAX_NOTE_BYTES:
            raise StoreError("a head must be what its note says, and its note at most 8,000 bytes")
        last = self._written
        if last is not None and (head.size < last.size or (head.size == last.size and head.root != last.root)):
            raise HeadMismatchError(
                f"a head of size {head.size} does not follow the one on record, of size {last.size}; it was not written"
            )
        sequence = self._sequence + 1
        slot = _PREFIX.pack(sequence, len(head.note)) + head.note
        slot += hashlib.sha256(slot).digest()
        slot = slot.ljust(_SLOT_BYTES, b"\0")
        before = self._cached[0].ljust(_FILE_BYTES, b"\0")
        try:
            _write_whole(self._descriptor, slot, sequence % 2 * _SLOT_BYTES)
            _sync_data(self._descriptor)
        except OSError as error:
            raise _store_error(error, f"cannot write the head record {self.path}") from error
        self._sequence, self._written = sequence, head
        # What `read` should find now; finding anything else, it looks at what that is.
        self._cached = (before[:_SLOT_BYTES] + slot if sequence % 2 else slot + before[_SLOT_BYTES:], head)

    def _newest(self) -> tuple[int, Head | None]:
        """Sequence and head of the newest whole slot; (0, None) if nothing was ever written."""
        for attempt in range(_READ_ATTEMPTS):
            if attempt:
                time.sleep(_READ_PAUSE_S)
            data = self._bytes()
            slots = [parsed for parsed in (_parse(data[:_SLOT_BYTES]), _parse(data[_SLOT_BYTES:])) if parsed]
            if slots:
                sequence, head = max(slots, key=lambda slot: slot[0])
                self._cached = (data, head)
                return sequence, head
            if not any(data):
                return 0, None
            # Neither is whole: a writer was at work on both while we read, or the file is damaged.
        raise CorruptValueError(
            f"{self.path}, a record of heads, is damaged: neither of its slots is whole; restore it from a copy"
        )

    def _bytes(self) -> bytes:
        try:
            return os.pread(self._descriptor, _FILE_BYTES, 0)
        except OSError as error:
            raise _store_error(error, f"cannot read the head record {self.path}") from error

    def close(self) -> None:
        os.close(self._descriptor)


def _parse(slot: bytes) -> tuple[int, Head] | None:
    """Sequence and head of a slot; None unless it is whole."""
    if len(slot) < _SLOT_BYTES:
        return None
    sequence, length = _PREFIX.unpack_from(slot)
    end = _PREFIX.size + length
    if length > MAX_NOTE_BYTES or hashlib.sha256(slot[:end]).digest() != slot[end : end + _CHECKSUM_BYTES]:
        return None
    try:
        return sequence, Head.of_note(slot[_PREFIX.size : end])
    except LineageError:
        return None


def _create(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        # With its blocks there from the start, a full disk does not stop a head from being recorded.
        _write_whole(descriptor, bytes(_FILE_BYTES), 0)
        os.fsync(descriptor)
    except BaseException:
        path.unlink()
        raise
    finally:
        os.close(descriptor)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _write_whole(descriptor: int, data: bytes, offset: int) -> None:
    """Raises OSError for a write that is cut short, too, as on a disk that becomes full."""
    if os.pwrite(descriptor, data, offset) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _store_error(error: OSError, what: str) -> StoreError:
    full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    return (DiskFullError if full else StoreError)(f"{what}: {error.strerror}")
