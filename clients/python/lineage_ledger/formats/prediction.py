"""Predictions: their ids and their entries (proto/README.md, "Predictions and their ids").

What `encode_prediction` accepts is what a server accepts, so nothing that was emitted is refused later.
"""

from __future__ import annotations

import re
import struct
from operator import index
from typing import TYPE_CHECKING, Final, NamedTuple, SupportsIndex

from lineage_ledger.errors import MalformedEntryError, MalformedError
from lineage_ledger.formats.packed import frame

if TYPE_CHECKING:
    from collections.abc import Callable

CHAIN_ID_BYTES: Final = 16
COMMITMENT_BYTES: Final = 32
INPUT_PREFIX_BYTES: Final = 4
MAX_REQUEST_ID_BYTES: Final = 64
MAX_BINDING_ROW: Final = 255
MAX_NUMBER: Final = (1 << 63) - 1
MAX_DURATION_US: Final = (1 << 32) - 1
MAX_STATUS_CODE: Final = 16

_ID_TEXT: Final = re.compile(r"([0-9a-f]{32})-(0|[1-9][0-9]{0,18})-([0-9a-f]{8})", re.ASCII)

# Tags with the length or value that always follows (entry.proto, `Prediction`).
_ENTRY: Final = b"\x0a"
_BINDING_ROW: Final = b"\x08"
_REQUEST_ID: Final = b"\x12"
_INPUT: Final = b"\x1a\x20"
_OUTPUT: Final = b"\x22\x20"
_START_TIME: Final = b"\x29"
_DURATION: Final = b"\x35"
_STATUS_CODE: Final = b"\x38"


class PredictionId(NamedTuple):
    """Where a prediction is: the entry of that number in that chain; and what its input commitment begins with.

    Its one text is `<32 hex digits>-<decimal number below 2^63>-<8 hex digits>`, lower case, without leading zeros.
    """

    chain_id: bytes
    """16 bytes."""
    number: int
    """Below 2^63."""
    input_prefix: bytes
    """First 4 bytes of the input commitment."""

    def __str__(self) -> str:
        return f"{self.chain_id.hex()}-{self.number}-{self.input_prefix.hex()}"

    @classmethod
    def parse(cls, text: str) -> PredictionId:
        """The id that is written so. Raises `MalformedError` for any other text, however close."""
        match = _ID_TEXT.fullmatch(text)
        if match is None:
            raise MalformedError(
                f"{text[:80]!r} is not a prediction id; one is <32 hex digits>-<decimal number>-<8 hex digits>, "
                "lower case, without leading zeros or spaces"
            )
        number = int(match[2])
        if number > MAX_NUMBER:
            raise MalformedError(f"{text!r} is not a prediction id; its number must be below 2^63")
        return cls(bytes.fromhex(match[1]), number, bytes.fromhex(match[3]))


def encode_prediction(
    *,
    binding_row: int,
    input_commitment: bytes,
    output_commitment: bytes,
    start_time_unix_ns: int,
    request_id: bytes = b"",
    duration_us: int = 0,
    status_code: int = 0,
) -> bytes:
    """A prediction's entry, strictly encoded; at most 156 bytes.

    `binding_row` is 1 to 255; commitments are 32 bytes, that of the output may be empty (absent) if `status_code`
    (1 to 16; 0: OK) says that it failed; `start_time_unix_ns` is 1 to 2^64 - 1; `request_id` at most 64 bytes, empty:
    absent; `duration_us` 0: not measured, above 2^32 - 1: written so. Raises `MalformedEntryError`.
    """
    row = _whole("binding_row", binding_row, 1, MAX_BINDING_ROW)
    status = _whole("status_code", status_code, 0, MAX_STATUS_CODE)
    start_time = _whole("start_time_unix_ns", start_time_unix_ns, 1, (1 << 64) - 1)
    duration = min(_whole("duration_us", duration_us, 0, (1 << 64) - 1), MAX_DURATION_US)
    request_id = _bytes("request_id", request_id, 0, MAX_REQUEST_ID_BYTES)
    input_commitment = _bytes("input_commitment", input_commitment, COMMITMENT_BYTES, COMMITMENT_BYTES)
    if output_commitment or not status:
        output_commitment = _bytes("output_commitment", output_commitment, COMMITMENT_BYTES, COMMITMENT_BYTES)
    parts = [_BINDING_ROW, _varint(row)]
    if request_id:
        parts += [_REQUEST_ID, bytes([len(request_id)]), request_id]
    parts += [_INPUT, input_commitment]
    if output_commitment:
        parts += [_OUTPUT, output_commitment]
    parts += [_START_TIME, start_time.to_bytes(8, "little")]
    if duration:
        parts += [_DURATION, duration.to_bytes(4, "little")]
    if status:
        parts += [_STATUS_CODE, bytes([status])]
    fields = b"".join(parts)
    return _ENTRY + _varint(len(fields)) + fields


class PredictionPacker:
    """Packs predictions of one binding row for the serving path: `pack` costs a fraction of a microsecond.

    Everything that is the same from call to call is packed beforehand, for each length of request id; what remains
    is one `struct` call. It has no state that calls change, so any number of threads may use one.
    """

    __slots__ = ("binding_row", "pack")

    pack: Callable[[bytes, bytes, bytes, int, int, int], bytes]
    """pack(input_commitment, output_commitment, request_id, start_time_unix_ns, duration_us, status_code)

    The framed entry (u16be length ‖ entry): what `frame(encode_prediction(...))` returns, and refuses.
    """

    def __init__(self, binding_row: int) -> None:
        self.binding_row = _whole("binding_row", binding_row, 1, MAX_BINDING_ROW)
        self.pack = _packer(self.binding_row)


def _packer(row: int) -> Callable[[bytes, bytes, bytes, int, int, int], bytes]:
    # A closure: its names are read faster than attributes. Index: length of the request id.
    lengths = range(MAX_REQUEST_ID_BYTES + 1)
    measured = [_shape(row, length, "cI") for length in lengths]
    unmeasured = [_shape(row, length, "") for length in lengths]

    def pack(
        input_commitment: bytes,
        output_commitment: bytes,
        request_id: bytes,
        start_time_unix_ns: int,
        duration_us: int,
        status_code: int,
    ) -> bytes:
        # The usual case only: it succeeded, and all is as it should be. Whatever is not goes the long way, which
        # knows every shape and every complaint.
        try:
            if (
                status_code == 0
                and start_time_unix_ns > 0
                and len(input_commitment) == COMMITMENT_BYTES
                and len(output_commitment) == COMMITMENT_BYTES
            ):
                if 0 < duration_us <= MAX_DURATION_US:
                    pack_fields, prefix = measured[len(request_id)]
                    return pack_fields(
                        prefix, request_id, _INPUT, input_commitment, _OUTPUT, output_commitment,
                        _START_TIME, start_time_unix_ns, _DURATION, duration_us,
                    )  # fmt: skip
                if duration_us == 0:
                    pack_fields, prefix = unmeasured[len(request_id)]
                    return pack_fields(
                        prefix, request_id, _INPUT, input_commitment, _OUTPUT, output_commitment,
                        _START_TIME, start_time_unix_ns,
                    )  # fmt: skip
        except (IndexError, TypeError, struct.error):
            pass
        return frame(
            encode_prediction(
                binding_row=row,
                input_commitment=input_commitment,
                output_commitment=output_commitment,
                request_id=request_id,
                start_time_unix_ns=start_time_unix_ns,
                duration_us=duration_us,
                status_code=status_code,
            )
        )

    return pack


def _shape(row: int, request_id_bytes: int, duration: str) -> tuple[Callable[..., bytes], bytes]:
    """What packs a prediction that succeeded, and the bytes that always come before its request id."""
    head = _BINDING_ROW + _varint(row)
    if request_id_bytes:
        head += _REQUEST_ID + bytes([request_id_bytes])
    rest = f"{request_id_bytes}s2s32s2s32scQ{duration}"
    fields = len(head) + struct.calcsize(f"<{rest}")
    length = _varint(fields)
    prefix = (len(_ENTRY) + len(length) + fields).to_bytes(2, "big") + _ENTRY + length + head
    return struct.Struct(f"<{len(prefix)}s{rest}").pack, prefix


def _varint(value: int) -> bytes:
    """A minimal varint of a number below 2^14."""
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80, value >> 7])


def _whole(name: str, value: SupportsIndex, least: int, most: int) -> int:
    number = index(value) if hasattr(value, "__index__") else None
    if number is None or not least <= number <= most:
        raise MalformedEntryError(f"prediction.{name}: is {value!r}; it must be a whole number, {least} to {most}")
    return number


def _bytes(name: str, value: object, least: int, most: int) -> bytes:
    # What a subclass says of its length may be anything.
    content = bytes(memoryview(value)) if isinstance(value, bytes | bytearray) else None
    if content is None or not least <= len(content) <= most:
        found = f"{len(content)} bytes" if content is not None else f"a {type(value).__name__}"
        bounds = str(most) if least == most else f"at most {most}"
        raise MalformedEntryError(f"prediction.{name}: is {found}; it must be {bounds} bytes")
    return content
