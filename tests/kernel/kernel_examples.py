"""Entries, batches and the kernels there are, for the tests of the kernel; built without the code under test."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import sha256
from importlib import import_module
from itertools import product
from typing import Any

from hypothesis import strategies as st

from lineage_ledger.errors import MalformedBatchError, MalformedEntryError
from lineage_ledger.formats.strict_tables import TABLES
from lineage_ledger.v1 import entry_pb2 as pb
from tests.formats.entry_strategies import entries

TIME = 1_790_000_000_123_456_789

KERNELS: dict[str, Any] = {"python": import_module("lineage_ledger._kernel_python")}
with suppress(ImportError):  # there was no compiler when it was installed
    KERNELS["c"] = import_module("lineage_ledger._kernel")
    KERNELS["c"].learn_strict(TABLES)  # which `formats.strict` does too, if this is the kernel in use


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def framed(body: bytes, tag: int = 0x0A) -> bytes:
    """An entry: tag, length, body."""
    return bytes([tag]) + varint(len(body)) + body


def prediction(
    *,
    row: int = 1,
    request_id: bytes = b"",
    output: bool = True,
    start: int = TIME,
    duration: int = 0,
    status: int = 0,
) -> bytes:
    """A prediction's entry, well-formed if the values are; b"", False and 0 leave a field out."""
    body = b"\x08" + varint(row)
    body += b"\x12" + varint(len(request_id)) + request_id if request_id else b""
    body += b"\x1a\x20" + sha256(request_id).digest()
    body += b"\x22\x20" + sha256(request_id + b"output").digest() if output else b""
    body += b"\x29" + struct.pack("<Q", start)
    body += b"\x35" + struct.pack("<I", duration) if duration else b""
    body += b"\x38" + varint(status) if status else b""
    return framed(body)


def pack(entries: Iterable[bytes]) -> bytes:
    return b"".join(struct.pack(">H", len(entry)) + entry for entry in entries)


def is_strict_prediction(entry: bytes) -> bool:
    """What protobuf itself says, which writes fields in order and in their shortest form."""
    try:
        parsed = pb.Entry.FromString(entry)
    except Exception:  # noqa: BLE001  protobuf's DecodeError is another class in each of its implementations
        return False
    p = parsed.prediction
    return (
        parsed.WhichOneof("kind") == "prediction"
        and parsed.SerializeToString(deterministic=True) == entry
        and not _has_unknown_fields(entry)
        and 1 <= p.binding_row <= 255
        and len(p.request_id) <= 64
        and len(p.input_commitment) == 32
        and (len(p.output_commitment) == 32 or (not p.output_commitment and p.status_code > 0))
        and p.start_time_unix_ns > 0
        and p.status_code <= 16
    )


def _has_unknown_fields(entry: bytes) -> bool:
    parsed = pb.Entry.FromString(entry)
    size = len(parsed.SerializeToString())
    parsed.DiscardUnknownFields()
    return len(parsed.SerializeToString()) != size


def outcome(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a call returns, or all that the caller can see of its refusal."""
    try:
        return function(*arguments)
    except (MalformedBatchError, MalformedEntryError) as error:
        return type(error), str(error), getattr(error, "place", None), error.offset
    except Exception as error:  # noqa: BLE001  whatever it is, all kernels must raise it
        return type(error), str(error)


def optional(strategy: st.SearchStrategy[int]) -> st.SearchStrategy[int]:
    return st.just(0) | strategy


@st.composite
def predictions(draw: st.DrawFn) -> bytes:
    status = draw(optional(st.integers(1, 16)))
    return prediction(
        row=draw(st.integers(1, 3) | st.integers(1, 255)),
        request_id=draw(st.binary(max_size=64)),
        output=not status or draw(st.booleans()),
        start=draw(st.integers(1, 2**64 - 1)),
        duration=draw(optional(st.integers(1, 2**32 - 1))),
        status=status,
    )


def attestation(size: int, content: bytes = b"") -> bytes:
    """A statement of `size` bytes (200 to 33,000), of which most are the first ones of `content`."""
    subject = pb.Digest(algorithm=pb.DIGEST_ALGORITHM_SHA256, value=bytes(32))
    for left in range(40, 80):
        predicate = content[: size - left].ljust(size - left, b"\0")
        body = pb.AttestationBody(subject=subject, predicate_type="t", predicate=predicate, time_unix_ns=TIME)
        entry = pb.Entry(attestation=pb.Attestation(body=body.SerializeToString())).SerializeToString()
        if len(entry) == size:
            return entry
    raise ValueError(size)


def run(size: int) -> bytes:
    """A statement of `size` bytes (1,000 to 65,535), most of them in its parameters."""
    count, rest = divmod(size - 600, 3_000)
    lengths = [2_985] * count
    for last, command in product(range(max(1, rest), rest + 600), (500, 501, 502)):
        parameters = [pb.Attribute(name=f"{place:04}", value="v" * n) for place, n in enumerate([*lengths, last])]
        message = pb.Run(kind=pb.RUN_KIND_TRAINING, name="n", parameters=parameters, command="c" * command)
        entry = pb.Entry(run=message).SerializeToString()
        if len(entry) == size:
            return entry
    raise ValueError(size)


SMALL = pb.Entry(block=pb.Block(number=1, time_unix_ns=TIME, previous_block_hash=bytes(32))).SerializeToString()
"""An entry that is no prediction."""


def others() -> st.SearchStrategy[bytes]:
    """Entries of other kinds."""
    return entries.filter(lambda entry: entry[0] != 0x0A)


def statements() -> st.SearchStrategy[bytes]:
    """What has the tag of another kind, and is malformed most often."""
    return st.builds(lambda kind, rest: bytes([kind << 3 | 2]) + rest, st.integers(2, 15), st.binary(max_size=200))
