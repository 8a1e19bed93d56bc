"""One entry of a packed batch at a time, slowly, saying what is wrong with it.

Both kernels decide fast whether a batch is well-formed and come here for an entry they refuse, so that what a caller
is told does not depend on whether a compiler was at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, NoReturn, TypeAlias

from lineage_ledger.errors import MalformedBatchError, MalformedEntryError

Buffer: TypeAlias = bytes | bytearray | memoryview

MAX_BATCH_ENTRIES = 16_385  # 16,384 and the seal
MAX_BATCH_BYTES = 4 << 20
MAX_PACKED_BYTES = 32 << 20  # of packed entries that are only split and hashed
LENGTH_SIZE = 2
PREDICTION_TAG = 0x0A
KIND_TAGS = frozenset(kind << 3 | 2 for kind in range(1, 16))


ENTRY = 0
"""Place of an entry among the messages of the strict encoding."""

_scan_strict: Callable[[int, bytes], None] | None = None


class Prediction(NamedTuple):
    """What the kernel needs to know of one prediction."""

    binding_row: int
    request_id: bytes  # b"" if absent
    start_time_unix_ns: int


class _Field(NamedTuple):
    number: int
    name: str
    wire_type: int
    least: int  # least and greatest length of bytes, or value of a number
    greatest: int


_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}

_FIELDS = {
    field.number << 3 | field.wire_type: field
    for field in (
        _Field(1, "binding_row", _VARINT, 1, 255),
        _Field(2, "request_id", _BYTES, 1, 64),
        _Field(3, "input_commitment", _BYTES, 32, 32),
        _Field(4, "output_commitment", _BYTES, 32, 32),
        _Field(5, "start_time_unix_ns", _FIXED64, 1, 2**64 - 1),
        _Field(6, "duration_us", _FIXED32, 1, 2**32 - 1),
        _Field(7, "status_code", _VARINT, 1, 16),
    )
}
_REQUIRED = ("binding_row", "input_commitment", "start_time_unix_ns")


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
        raise _malformed(place, 0, f"0x{entry[0]:02x} is not the tag of a kind of entry")


def check_prediction(entry: bytes, place: int) -> Prediction:
    """Check one entry with the tag of a prediction against the strict encoding; MalformedEntryError if it breaks it."""
    length, position = _varint(entry, 1, place, "the prediction's length")
    if length != len(entry) - position:
        raise _malformed(place, 1, f"the prediction claims {length} bytes, but {len(entry) - position} follow")
    values: dict[str, int] = {}  # of bytes: their length
    request_id = b""
    last = 0
    while position < len(entry):
        field = _FIELDS.get(entry[position])
        if field is None:
            raise _malformed(place, position, f"0x{entry[position]:02x} is not the tag of a field of a prediction")
        if field.number <= last:
            raise _malformed(place, position, f"prediction.{field.name} is repeated or out of order")
        values[field.name], position = _value(entry, position, place, field)
        last = field.number
        if field.name == "request_id":
            request_id = entry[position - values[field.name] : position]
    for name in _REQUIRED:
        if name not in values:
            raise _malformed(place, len(entry), f"prediction.{name} is missing")
    if "output_commitment" not in values and "status_code" not in values:
        raise _malformed(
            place, len(entry), "prediction.output_commitment is missing; only with a status_code it may be"
        )
    return Prediction(values["binding_row"], request_id, values["start_time_unix_ns"])


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
    if entry[0] == PREDICTION_TAG:
        check_prediction(entry, place)
    else:
        check_strict_entry(entry, place)
    # Fail closed: the caller's buffer changed meanwhile, or the two kernels differ.
    raise SystemError(f"the C kernel refused entry {place}, which is strictly encoded; the batch was not taken")


def _value(entry: bytes, tag_position: int, place: int, field: _Field) -> tuple[int, int]:
    """The field's value, or its length if it is bytes, and the position after it."""
    name = f"prediction.{field.name}"
    start = tag_position + 1
    if field.wire_type == _VARINT:
        value, end = _varint(entry, start, place, name)
    elif field.wire_type == _BYTES:
        value, start = _varint(entry, start, place, f"the length of {name}")
        end = start + value
    else:
        end = start + _FIXED_SIZES[field.wire_type]
        value = int.from_bytes(entry[start:end], "little")
    if end > len(entry):
        raise _malformed(place, tag_position, f"the entry ends inside {name}")
    if not field.least <= value <= field.greatest:
        what = "bytes long" if field.wire_type == _BYTES else "in value"
        message = f"{name} is {value} {what}; {field.least} to {field.greatest} is accepted"
        raise _malformed(place, tag_position, message)
    return value, end


def _varint(entry: bytes, position: int, place: int, name: str) -> tuple[int, int]:
    """A varint of at most 64 bits in its shortest form, and the position after it."""
    value = 0
    for size, byte in enumerate(entry[position : position + 10]):
        value |= (byte & 0x7F) << (7 * size)
        if byte < 0x80:
            if (size and not byte) or value >> 64:
                raise _malformed(place, position, f"{name} is not a varint in its shortest form")
            return value, position + size + 1
    raise _malformed(place, position, f"{name} is a varint without an end")


def _malformed(place: int, offset: int, message: str) -> MalformedEntryError:
    return MalformedEntryError(f"entry {place}: {message} (byte {offset} of the entry)", place=place, offset=offset)
