"""One entry of a packed batch at a time, slowly, saying what is wrong with it.

Both kernels decide fast whether a batch is well-formed and come here for an entry they refuse, so that what a caller
is told does not depend on whether a compiler was at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeAlias

from lineage_ledger.errors import MalformedBatchError, MalformedEntryError

Buffer: TypeAlias = bytes | bytearray | memoryview

MAX_BATCH_ENTRIES = 16_385  # 16,384 and the seal
MAX_BATCH_BYTES = 4 << 20
MAX_PACKED_BYTES = 32 << 20  # of packed entries that are only split and hashed
LENGTH_SIZE = 2
PREDICTION_TAG = 0x0A
SEAL_TAG = 0x12
KIND_TAGS = frozenset(kind << 3 | 2 for kind in range(1, 16))


ENTRY = 0
"""Place of an entry among the messages of the strict encoding."""

_scan_strict: Callable[[int, bytes], None] | None = None


def as_bytes(buffer: Buffer) -> bytes:
    """The content of a contiguous buffer, which nobody can change any more."""
    if type(buffer) is bytes:
        return buffer
    view = memoryview(buffer)
    if not view.c_contiguous:
        raise BufferError("the kernel takes contiguous buffers only")
    return view.tobytes()


def check_size(packed: bytes, max_bytes: int) -> None:
    """Refuse packed bytes beyond `max_bytes`."""
    if len(packed) > max_bytes:
        message = f"the packed entries are {len(packed)} bytes long; at most {max_bytes} are taken at once"
        raise MalformedBatchError(message, offset=max_bytes)


def check_frame(packed: bytes, place: int, position: int, max_entries: int) -> int:
    """The length of the entry whose two length bytes are at `position`; MalformedBatchError if it does not fit."""
    left = len(packed) - position - LENGTH_SIZE
    length = int.from_bytes(packed[position : position + LENGTH_SIZE], "big")
    if place >= max_entries:
        message = f"there are more than {max_entries} entries; split them into several batches"
    elif left < 0:
        message = f"the packed bytes end inside the length of entry {place}"
    elif length == 0:
        message = f"entry {place} has the length 0; an entry is 1 to 65535 bytes"
    elif length > left:
        message = f"entry {place} claims {length} bytes, but only {left} are left"
    else:
        return length
    raise MalformedBatchError(f"{message} (byte {position} of the batch)", offset=position)


def check_kind(entry: bytes, place: int) -> None:
    """Refuse an entry whose first byte is not the tag of a kind."""
    if entry[0] not in KIND_TAGS:
        message = f"entry {place}: 0x{entry[0]:02x} is not the tag of a kind of entry (byte 0 of the entry)"
        raise MalformedEntryError(message, place=place, offset=0)


def learn_strict(scan_message: Callable[[int, bytes], None]) -> None:
    """Take the scanner of the strict encoding, which refuses a message of that place or returns."""
    global _scan_strict
    _scan_strict = scan_message


def check_strict(place: int, data: bytes) -> None:
    """See `lineage_ledger.kernel.check_strict`."""
    if _scan_strict is None:
        raise RuntimeError("the kernel does not know the strict encoding; import lineage_ledger.formats.strict first")
    _scan_strict(place, data)


def check_strict_entry(entry: bytes, place: int) -> None:
    """Check one entry of any kind, the one at `place` of its batch; MalformedEntryError if it is malformed."""
    try:
        check_strict(ENTRY, entry)
    except MalformedEntryError as error:
        raise MalformedEntryError(f"entry {place}: {error}", place=place, offset=error.offset) from None


def explain_strict(place: int, data: bytes) -> NoReturn:
    """Raise what is wrong with a message that the C kernel refused (called from C)."""
    check_strict(place, data)
    raise SystemError("the C kernel refused a message that is strictly encoded; it was not taken")


def explain(packed: Buffer, place: int, position: int, max_bytes: int, max_entries: int) -> NoReturn:
    """Raise what is wrong with the entry at `position`, for a kernel that refused it (called from C)."""
    content = as_bytes(packed)
    check_size(content, max_bytes)
    length = check_frame(content, place, position, max_entries)
    entry = content[position + LENGTH_SIZE : position + LENGTH_SIZE + length]
    check_kind(entry, place)
    check_strict_entry(entry, place)
    # Fail closed: the caller's buffer changed meanwhile, or the two kernels differ.
    raise SystemError(f"the C kernel refused entry {place}, which is strictly encoded; the batch was not taken")
