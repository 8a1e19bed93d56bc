"""A data directory as an audit reads it: as stored, at one moment, with nothing of the ordinary reading code between.

The store may be written meanwhile; no lock is taken.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lineage_ledger import kernel
from lineage_ledger.audit import Finding
from lineage_ledger.audit.report import MAX_FINDINGS
from lineage_ledger.errors import LineageError, MalformedError
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Note
from lineage_ledger_server.errors import CorruptValueError, StoreError
from lineage_ledger_server.store import rows
from lineage_ledger_server.store.log_store import TABLES
from lineage_ledger_server.store.raw_tables import MAX_VALUE_BYTES, RawEnvironment, RawTables
from lineage_ledger_server.store.rows import HASH_SIZE, TILE_BYTES, WIDTH

_SLOT_BYTES = 8192
_FILE_BYTES = 2 * _SLOT_BYTES
_SLOT_PREFIX_BYTES = 12
_CHECKSUM_BYTES = 32
_MAX_NOTE_BYTES = 8_000
_READ_ATTEMPTS = 20
_READ_PAUSE_S = 0.005
_TAIL_COUNT_BYTES = 2
_KEY_BYTES = 8
# Bundles that may be missing besides as many as are there.
_MISSING_ALLOWED = 1_024


class Slot(NamedTuple):
    """One slot of a record of checkpoints."""

    record: str
    number: int
    sequence: int
    note: bytes

    @property
    def name(self) -> str:
        """What findings call it."""
        return f"{self.record} slot {self.number}"

    @property
    def size(self) -> int:
        """Entries of its checkpoint; 0 if that cannot be read."""
        try:
            return Checkpoint.parse(Note.parse(self.note).text).size
        except LineageError:
            return 0


def read_record(path: Path, record: str) -> tuple[list[Slot], list[Finding]]:
    """The slots that are whole of a file in the form of the head record, the newest first, and what is wrong with it.

    `record` is what findings call it.

    Raises StoreError if the file cannot be read.
    """
    slots: list[Slot] = []
    findings: list[Finding] = []
    for attempt in range(_READ_ATTEMPTS):
        # A slot that is not whole may be one that is being written: look again.
        if attempt:
            time.sleep(_READ_PAUSE_S)
        try:
            with path.open("rb") as file:
                data = file.read(_FILE_BYTES + 1)
        except OSError as error:
            raise StoreError(f"cannot read the {record} {path}: {error.strerror}") from error
        slots, findings = _parse_record(data, record)
        if not findings:
            break
    return slots, findings


def _parse_record(data: bytes, record: str) -> tuple[list[Slot], list[Finding]]:
    slots: list[Slot] = []
    findings = []
    kind = record.replace(" ", "_")
    for number in (0, 1):
        content = data[number * _SLOT_BYTES : (number + 1) * _SLOT_BYTES]
        problem, slot = _parse_slot(record, number, content)
        if slot is not None:
            slots.append(slot)
        if problem:
            findings.append(Finding(kind, f"{record} slot {number}", problem, "as it was written"))
    if len(data) > _FILE_BYTES:
        findings.append(Finding(kind, record, "has bytes behind its slots", f"{_FILE_BYTES} bytes"))
    slots.sort(key=lambda slot: -slot.sequence)
    if len(slots) == 1 and not findings and slots[0].sequence != 1:
        other = 1 - slots[0].number
        findings.append(Finding(kind, f"{record} slot {other}", "is empty", "the checkpoint before the newest"))
    if len(slots) == 2 and slots[0].sequence != slots[1].sequence + 1:
        found = f"has sequence {slots[1].sequence}"
        findings.append(Finding(kind, slots[1].name, found, str(slots[0].sequence - 1)))
    if len(slots) == 2 and slots[0].size < slots[1].size:
        found = f"is over {slots[0].size} entries, the {slots[1].name} before it over {slots[1].size}"
        findings.append(Finding("checkpoint", slots[0].name, found, "a checkpoint that goes on from the one before it"))
    return slots, findings


def _parse_slot(record: str, number: int, content: bytes) -> tuple[str, Slot | None]:
    """What is wrong with a slot, and the slot if it can be used; neither for one that was never written."""
    if len(content) == _SLOT_BYTES and not any(content):
        return "", None
    sequence = int.from_bytes(content[:8], "big")
    length = int.from_bytes(content[8:_SLOT_PREFIX_BYTES], "big")
    end = _SLOT_PREFIX_BYTES + length
    checksum = content[end : end + _CHECKSUM_BYTES]
    if length > _MAX_NOTE_BYTES or hashlib.sha256(content[:end]).digest() != checksum:
        return "its checksum does not hold", None
    slot = Slot(record, number, sequence, content[_SLOT_PREFIX_BYTES:end])
    if sequence % 2 != number:
        return f"holds the checkpoint of sequence {sequence}, which belongs into the other slot", slot
    return ("" if not any(content[end + _CHECKSUM_BYTES :]) else "has bytes behind its checksum"), slot


class DataDirSource:
    """The `LogSource` over a log's tables; `findings` says what is wrong with the frame of what it gives.

    With `path`, the folder of the log's environment, other processes can read its bundles too.
    """

    has_tiles = True

    def __init__(self, tables: RawTables, slots: Sequence[Slot], path: Path | None = None) -> None:
        self._tables = tables
        self.reopen = partial(_FullBundles, path) if path is not None else None
        self.checkpoints = [(slot.name, slot.note) for slot in slots]
        self.findings: list[Finding] = []
        self._missing_allowed = tables.count("bundles") + _MISSING_ALLOWED
        self._bundles = self._count_bundles()
        self._tail_hashes, self._tail_packed = b"", b""
        self._tail_missing = False
        self.size = self._read_tail(self._tail_rows())

    def _count_bundles(self) -> int:
        """How many bundles there are, or should be: missing ones count, if they are not more than are there."""
        end = 0
        for key, _ in self._tables.lengths("bundles"):
            number = rows.number_of(key) if len(key) == _KEY_BYTES else None
            if number is not None and self._is_near(number, end):
                self._missing_allowed -= number - end
                end = number + 1
            else:
                self._extra_row("bundles", key)
        return end

    def _is_near(self, number: int, end: int) -> bool:
        """Whether a bundle with this number may be there, where `end` are before it: one row must not add many."""
        return end <= number <= end + self._missing_allowed

    def _extra_row(self, table: str, key: bytes) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding("row", f"row {table} {key.hex()}", "is there", "no such row"))

    def _tail_rows(self) -> list[tuple[int, bytes]]:
        """The rows of the tail, as far as a tail can be long; missing bundles before it count as bundles."""
        tail: list[tuple[int, bytes]] = []
        held_bytes = 0
        for key, value in self._tables.rows("tail"):
            first_index = rows.number_of(key) if len(key) == _KEY_BYTES else None
            if first_index is not None and not tail and self._is_near(first_index // WIDTH, self._bundles):
                self._bundles = first_index // WIDTH
            is_near = first_index is not None and first_index // WIDTH <= self._bundles
            held_bytes += len(value)
            if first_index is None or not is_near or held_bytes > MAX_VALUE_BYTES:
                self._extra_row("tail", key)
                continue
            tail.append((first_index, value))
        return tail

    def _read_tail(self, tail: Sequence[tuple[int, bytes]]) -> int:
        """Join the rows of the tail; returns the index behind them."""
        expected = self._bundles * WIDTH
        for place, (first_index, value) in enumerate(tail):
            following = tail[place + 1][0] if place + 1 < len(tail) else None
            count = self._tail_count(first_index, value, following)
            if first_index != expected:
                found = f"begins at index {first_index}"
                self.findings.append(Finding("row", f"row tail {first_index}", found, str(expected), index=expected))
                self._tail_missing = True
            if not count:
                self._extra_row("tail", rows.number_key(first_index))
            split = _TAIL_COUNT_BYTES + HASH_SIZE * count
            self._tail_hashes += value[_TAIL_COUNT_BYTES:split]
            self._tail_packed += value[split:]
            expected = first_index + count
        return expected

    def _tail_count(self, first_index: int, value: bytes, following: int | None) -> int:
        """How many entries a row of the tail holds, also if the count that it begins with was changed."""
        said = int.from_bytes(value[:_TAIL_COUNT_BYTES], "big")
        count = said
        if not _holds(value, said, exactly=False):
            # With other damage than that of the count, the next row says where this one ends.
            otherwise = said if following is None else following - first_index
            count = next((number for number in range(1, WIDTH) if _holds(value, number, exactly=True)), otherwise)
        if count != said:
            finding = Finding("row", f"row tail {first_index}", f"counts {said} entries", str(count), index=first_index)
            self.findings.append(finding)
        return count

    def bundle(self, number: int) -> tuple[bytes, bytes]:
        """See `LogSource.bundle`."""
        if number == self._bundles:
            if self._tail_missing:
                raise CorruptValueError("rows of the tail are missing", index=number * WIDTH)
            return self._tail_hashes, self._tail_packed
        value = self._tables.get("bundles", rows.number_key(number))
        if value is None:
            raise CorruptValueError(f"bundle {number} is missing", index=number * WIDTH)
        return value[:TILE_BYTES], value[TILE_BYTES:]

    def tile_hashes(self, level: int, number: int, width: int) -> bytes:
        """See `LogSource.tile_hashes`."""
        value = self._tables.get("tiles", rows.tile_key(level, number))
        if value is None:
            raise CorruptValueError("is missing", tile=(level, number))
        return value[: width * HASH_SIZE]


class _FullBundles:
    """The full bundles of a log that another process audits."""

    def __init__(self, path: Path) -> None:
        self._environment = RawEnvironment(path, TABLES)

    def bundle(self, number: int) -> tuple[bytes, bytes]:
        """See `BundleSource.bundle`."""
        with self._environment.tables() as tables:
            value = tables.get("bundles", rows.number_key(number))
        if value is None:
            raise CorruptValueError(f"bundle {number} is missing", index=number * WIDTH)
        return value[:TILE_BYTES], value[TILE_BYTES:]


def _holds(value: bytes, count: int, *, exactly: bool) -> bool:
    """Whether a row of the tail splits into `count` hashes and as many entries; `exactly`: with these hashes."""
    split = _TAIL_COUNT_BYTES + HASH_SIZE * count
    try:
        hashes = kernel.leaf_hashes(value[split:])
    except MalformedError:
        return False
    stored = value[_TAIL_COUNT_BYTES:split]
    return hashes == stored if exactly else len(hashes) == len(stored)
