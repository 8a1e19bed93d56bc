"""Sealed batches on disk until they are acknowledged, so that a crash or a long outage loses none.

    SPOOL/<chain id, 32 hex>/lock                          held with flock while a process has the chain open
    SPOOL/<chain id, 32 hex>/<sequence, 20 digits>.batches records from that sequence on

A record is u32be length ‖ SHA-256 of the packed batch ‖ packed batch, synced before the batch is sent. A file goes when
all in it is acknowledged and a newer one was begun, so the last record of a chain is always there to say where the
chain stands. Many processes can share one folder: each has chains of its own, and a chain whose lock is free is an
orphan, which whoever comes next adopts.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lineage_ledger.emitter.errors import SpoolError
from lineage_ledger.emitter.sealer import SealedBatch, restore
from lineage_ledger.errors import MalformedError, SealError
from lineage_ledger.formats.seal import MAX_BATCH_BYTES

_LENGTH_BYTES = 4
_DIGEST_BYTES = 32
_HEADER_BYTES = _LENGTH_BYTES + _DIGEST_BYTES
_SUFFIX = ".batches"
_CHAIN_NAME = re.compile(r"[0-9a-f]{32}")
_FILE_BYTES = 8 * 1024 * 1024

_logger = logging.getLogger("lineage_ledger.emitter")


@dataclass(slots=True)
class _File:
    path: Path
    size: int
    last_sequence: int


class ChainSpool:
    """The spool of one chain, locked by this process. Safe to use from several threads."""

    def __init__(self, folder: Path, lock_descriptor: int) -> None:
        self._folder = folder
        self._lock_descriptor = lock_descriptor
        self._mutex = threading.Lock()
        self._files: list[_File] = []
        self._places: dict[int, tuple[_File, int, int]] = {}
        self._descriptor = -1
        self._acknowledged = -1

    @property
    def size_bytes(self) -> int:
        """Bytes on disk."""
        return sum(file.size for file in self._files)

    def append(self, batch: SealedBatch) -> None:
        """Write and sync one batch. Raises `SpoolError`; then nothing of the batch is in the spool."""
        packed = batch.packed
        if packed is None:
            raise SpoolError("the batch is in the spool already")
        with self._mutex:
            try:
                if self._descriptor < 0 or self._files[-1].size >= _FILE_BYTES:
                    self._begin_file(batch.sequence)
                self._write(self._files[-1], batch.sequence, packed)
            except OSError as error:
                raise SpoolError(f"cannot write to the spool {self._folder}: {error.strerror}") from error

    def read(self, sequence: int) -> bytes:
        """The packed batch again. Raises `SpoolError` if it is not as it was written."""
        with self._mutex:
            try:
                file, offset, length = self._places[sequence]
                with file.path.open("rb") as stored:
                    stored.seek(offset)
                    header = stored.read(_HEADER_BYTES)
                    packed = stored.read(length)
            except (KeyError, OSError) as error:
                raise SpoolError(f"batch {sequence} cannot be read from the spool {self._folder}: {error}") from error
        if hashlib.sha256(packed).digest() != header[_LENGTH_BYTES:]:
            raise SpoolError(
                f"batch {sequence} in the spool {self._folder} was changed or damaged since it was written"
            )
        return packed

    def acknowledge(self, sequence: int) -> None:
        """Drop what is not needed any more now that everything up to `sequence` is acknowledged."""
        with self._mutex:
            for old in range(self._acknowledged + 1, sequence + 1):
                self._places.pop(old, None)
            self._acknowledged = max(self._acknowledged, sequence)
            while len(self._files) > 1 and self._files[0].last_sequence <= sequence:
                self._files.pop(0).path.unlink(missing_ok=True)

    def close(self, *, remove: bool) -> None:
        """Let go of the lock; with `remove`, delete the chain's folder, which nobody needs any more."""
        with self._mutex:
            if remove:
                shutil.rmtree(self._folder, ignore_errors=True)
            if self._descriptor >= 0:
                os.close(self._descriptor)
            os.close(self._lock_descriptor)
            self._descriptor = self._lock_descriptor = -1

    def forget(self) -> None:
        """See `Spool.forget`; takes no lock, since a thread that is not in the child may hold it."""
        for descriptor in (self._descriptor, self._lock_descriptor):
            if descriptor >= 0:
                os.close(descriptor)

    def recover(self) -> Iterator[SealedBatch]:
        """The batches of an adopted chain, in order; a file that ends in a torn record is cut there."""
        for path in sorted(self._folder.glob("*" + _SUFFIX)):
            file = _File(path, 0, -1)
            with path.open("r+b") as stored:
                while (packed := _read_record(stored.read)) is not None:
                    try:
                        batch = restore(packed)
                    except (MalformedError, SealError) as error:
                        _logger.error(
                            "spool %s: a record is no sealed batch (%s); what follows is left out", path, error
                        )
                        break
                    self._places[batch.sequence] = (file, file.size, len(packed))
                    file.size += _HEADER_BYTES + len(packed)
                    file.last_sequence = batch.sequence
                    yield batch
                stored.truncate(file.size)
            self._files.append(file)

    def _begin_file(self, sequence: int) -> None:
        path = self._folder / f"{sequence:020d}{_SUFFIX}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = descriptor
        self._files.append(_File(path, 0, -1))
        _sync_folder(self._folder)

    def _write(self, file: _File, sequence: int, packed: bytes) -> None:
        record = b"".join((len(packed).to_bytes(_LENGTH_BYTES, "big"), hashlib.sha256(packed).digest(), packed))
        try:
            left = memoryview(record)
            while left:
                left = left[os.write(self._descriptor, left) :]
            os.fdatasync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, file.size)
            os.lseek(self._descriptor, file.size, os.SEEK_SET)
            raise
        self._places[sequence] = (file, file.size, len(packed))
        file.size += len(record)
        file.last_sequence = sequence


class Spool:
    """A folder of chains' spools, bounded by `max_bytes` for those that this process has open."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._open: dict[bytes, ChainSpool] = {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SpoolError(f"cannot make the spool {folder}: {error.strerror}") from error

    @property
    def size_bytes(self) -> int:
        """Bytes on disk, of the chains that this process has open."""
        return sum(chain.size_bytes for chain in list(self._open.values()))

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes are within the bound."""
        return self.size_bytes + size <= self._max_bytes

    def begin(self, chain_id: bytes) -> ChainSpool:
        """The spool of a new chain. Raises `SpoolError`."""
        path = self._folder / chain_id.hex()
        try:
            path.mkdir(mode=0o700)
            chain = self._lock(path)
            _sync_folder(self._folder)
        except OSError as error:
            raise SpoolError(f"cannot begin a chain in the spool {self._folder}: {error.strerror}") from error
        if chain is None:
            raise SpoolError(f"the new chain's spool {path} was taken by another process")
        self._open[chain_id] = chain
        return chain

    def adopt(self) -> Iterator[tuple[ChainSpool, list[SealedBatch]]]:
        """Take every chain that no process has open, with its batches; chains without any are removed."""
        for path in sorted(self._folder.iterdir()):
            if not _CHAIN_NAME.fullmatch(path.name) or not path.is_dir():
                continue
            try:
                chain = self._lock(path)
                if chain is None:
                    continue
                batches = [batch for batch in chain.recover() if batch.chain_id.hex() == path.name]
            except OSError as error:
                _logger.error("spool %s cannot be read and is left as it is: %s", path, error)
                continue
            if not batches:
                chain.close(remove=True)
                continue
            self._open[batches[-1].chain_id] = chain
            yield chain, batches

    def acknowledge(self, batch: SealedBatch) -> None:
        """`batch` is in the ledger."""
        chain = self._open.get(batch.chain_id)
        if chain is not None:
            chain.acknowledge(batch.sequence)

    def read(self, batch: SealedBatch) -> bytes:
        """The bytes of a batch that are no longer in memory. Raises `SpoolError`."""
        chain = self._open.get(batch.chain_id)
        if chain is None:
            raise SpoolError(f"chain {batch.chain_id.hex()} has no spool")
        return chain.read(batch.sequence)

    def end(self, chain_id: bytes) -> None:
        """Nothing of the chain is needed any more."""
        chain = self._open.pop(chain_id, None)
        if chain is not None:
            chain.close(remove=True)

    def close(self) -> None:
        """Let go of all chains and leave on disk what is there."""
        while self._open:
            self._open.popitem()[1].close(remove=False)

    def forget(self) -> None:
        """In a forked child: drop the descriptors that it inherited; the parent keeps its chains and their locks."""
        while self._open:
            self._open.popitem()[1].forget()

    def _lock(self, path: Path) -> ChainSpool | None:
        """The chain's spool, locked; None if another process has it, or removed it meanwhile."""
        try:
            descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not (path / "lock").exists():
                raise BlockingIOError
        except BlockingIOError:
            os.close(descriptor)
            return None
        return ChainSpool(path, descriptor)


def _read_record(read: Callable[[int], bytes]) -> bytes | None:
    """The next record's packed batch; None at the end, or where a record is torn or damaged."""
    header = read(_HEADER_BYTES)
    length = int.from_bytes(header[:_LENGTH_BYTES], "big")
    if len(header) < _HEADER_BYTES or not 0 < length <= MAX_BATCH_BYTES:
        return None
    packed = read(length)
    if hashlib.sha256(packed).digest() != header[_LENGTH_BYTES:]:
        return None
    return packed


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
