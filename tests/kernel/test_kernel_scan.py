"""The strict scan: what it finds, what it refuses, and that all kernels and protobuf say the same."""

from __future__ import annotations

import struct
import threading
import time
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lineage_ledger.errors import MalformedBatchError, MalformedEntryError
from lineage_ledger.formats import strict
from tests.kernel.kernel_examples import (
    KERNELS,
    SMALL,
    TIME,
    attestation,
    framed,
    is_strict_prediction,
    others,
    outcome,
    pack,
    prediction,
    predictions,
    run,
    statements,
    varint,
)

MIB = 1 << 20
SHAPES = {
    "plain": prediction(),
    "full": prediction(request_id=bytes(range(16)), duration=1500, status=3),
    "long": prediction(row=200, request_id=bytes(64), duration=1, status=16),
    "failed": prediction(output=False, status=13),
    # Greatest inner length in one byte, least in two.
    "length 127": prediction(request_id=bytes(41), duration=7),
    "length 128": prediction(request_id=bytes(42), duration=7),
}


def all_outcomes(packed: bytes) -> Any:
    """What every kernel says of the packed bytes, which must be one thing."""
    first, *others = (outcome(kernel.scan, packed) for kernel in KERNELS.values())
    for other in others:
        assert other == first
    return first


def is_refusal(result: Any) -> bool:
    return isinstance(result[0], type)


def test_finds_everything(kernel: Any) -> None:
    entries = [
        prediction(row=2, start=TIME + 5),
        SMALL,
        prediction(row=200, start=TIME),
        prediction(row=2, start=TIME + 9, output=False, status=1),
        attestation(300),
    ]
    count, hashes, counts, earliest, latest, found, tags = kernel.scan(pack(entries))
    assert count == 5
    assert hashes == b"".join(sha256(b"\0" + entry).digest() for entry in entries)
    assert (len(counts), counts[1], counts[199], sum(counts)) == (200, 2, 1, 3)
    assert (earliest, latest) == (TIME, TIME + 9)
    offset = 2 + len(entries[0]) + 2
    assert found == ((1, offset, len(SMALL)), (4, len(pack(entries)) - 300, 300))
    assert tags == b"\x4a\x32"


def test_no_entries(kernel: Any) -> None:
    assert kernel.scan(b"") == (0, b"", (), 0, 0, (), b"")


@settings(deadline=None)
@given(st.lists(predictions() | others(), max_size=20))
def test_accepts_what_is_well_formed(entries: list[bytes]) -> None:
    count, hashes, counts, _, _, found, tags = all_outcomes(pack(entries))
    assert (count, sum(counts)) == (len(entries), len(entries) - len(found))
    assert hashes == b"".join(sha256(b"\0" + entry).digest() for entry in entries)
    assert [place for place, _, _ in found] == [place for place, entry in enumerate(entries) if entry[0] != 0x0A]
    assert tags == bytes(entries[place][0] for place, _, _ in found)
    for place, offset, length in found:
        assert pack(entries)[offset : offset + length] == entries[place]


@pytest.mark.parametrize("name", SHAPES)
def test_every_mutated_byte(name: str) -> None:
    """Accepted by none, or by all and by protobuf; and then the leaf hash differs."""
    valid = SHAPES[name]
    assert is_strict_prediction(valid)
    original = all_outcomes(pack([valid, valid]))
    for position in range(1, len(valid)):
        for value in set(range(256)) - {valid[position]}:
            mutated = valid[:position] + bytes([value]) + valid[position + 1 :]
            result = all_outcomes(pack([valid, mutated]))
            assert is_refusal(result) != is_strict_prediction(mutated), mutated.hex()
            if is_refusal(result):
                assert (result[0], result[2]) == (MalformedEntryError, 1)
            else:
                assert result[1] != original[1]


@pytest.mark.parametrize("name", SHAPES)
def test_every_truncation_and_extension(name: str) -> None:
    valid = SHAPES[name]
    for size in range(1, len(valid)):
        assert is_refusal(all_outcomes(pack([valid[:size]])))
        shorter = framed(valid[3 if valid[1] >= 0x80 else 2 :][:size])
        assert is_refusal(all_outcomes(pack([shorter]))) != is_strict_prediction(shorter)
        assert is_refusal(all_outcomes(pack([valid, valid])[: size + 2]))
    for byte in range(256):
        extended = valid + bytes([byte])
        assert is_refusal(all_outcomes(pack([extended])))
        assert is_refusal(all_outcomes(pack([extended, valid])))


FIELDS = st.sampled_from(
    [
        *(b"\x08" + value for value in (b"\x00", b"\x01", b"\x7f", b"\xff\x01", b"\x80\x02", b"\x81\x00", b"\xff")),
        *(b"\x12" + varint(size) + bytes(size) for size in (0, 1, 2, 63, 64, 65, 127, 128)),
        b"\x12\x81\x00\x00",
        *(b"\x1a" + varint(size) + bytes(size) for size in (0, 31, 32, 33)),
        *(b"\x22" + varint(size) + bytes(size) for size in (0, 31, 32, 33)),
        *(b"\x29" + struct.pack("<Q", value) for value in (0, 1, TIME, 2**64 - 1)),
        *(b"\x35" + struct.pack("<I", value) for value in (0, 1, 2**32 - 1)),
        *(b"\x38" + value for value in (b"\x00", b"\x01", b"\x10", b"\x11", b"\x81\x00", b"\x80\x80\x80\x80\x10")),
        b"\x40\x01",
        b"\x0b\x0c",
    ]
)
ROW, INPUT, OUTPUT, START = b"\x08\x01", b"\x1a\x20" + bytes(32), b"\x22\x20" + bytes(32), b"\x29" + b"\x01" * 8


@settings(deadline=None)
@given(st.lists(FIELDS | st.sampled_from([ROW, INPUT, OUTPUT, START]), max_size=9), st.booleans())
@example([ROW, INPUT, START], False)
@example([ROW, INPUT, OUTPUT, START, START], False)
@example([INPUT, ROW, OUTPUT, START], False)
def test_fields_put_together_at_random(fields: list[bytes], ordered: bool) -> None:
    if ordered:
        fields = sorted(fields, key=lambda field: field[0])
    entry = framed(b"".join(fields))
    refused = is_refusal(all_outcomes(pack([entry])))
    assert refused != is_strict_prediction(entry)
    assert refused != (outcome(strict.check_entry, entry) == 1)


@settings(deadline=None)
@given(st.lists(predictions() | others() | statements(), min_size=1, max_size=6), st.data())
def test_bytes_changed_anywhere(entries: list[bytes], data: st.DataObject) -> None:
    packed = bytearray(pack(entries))
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(packed)))
    all_outcomes(bytes(packed))
    all_outcomes(bytes(packed[:cut]))
    all_outcomes(bytes(packed[cut:]))


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes(packed: bytes) -> None:
    all_outcomes(packed)


@pytest.mark.parametrize("size", [0x3501, 0x3520, 0x3801, 0x3810])
def test_length_that_looks_like_a_field(kernel: Any, size: int) -> None:
    """The length of the next entry, read as one more field of this one, is a duration or a status."""
    statement = attestation(size, pack([prediction()] * (size // 84 + 1)))
    entries = [prediction(), statement] * 3 + [prediction(duration=5), statement, prediction()]
    count, hashes, *_, found, _ = kernel.scan(pack(entries))
    assert (count, len(found)) == (9, 4)
    assert hashes == b"".join(sha256(b"\0" + entry).digest() for entry in entries)


REFUSED_ENTRIES = {
    "0x00 is not the tag of a kind": (b"\x00", 0),
    "0x02 is not the tag of a kind": (b"\x02\x00", 0),
    "0x82 is not the tag of a kind": (b"\x82\x01\x00", 0),
    "0x08 is not the tag of a kind": (b"\x08\x01", 0),
    "entry: begins with 0x3a, which is no kind": (b"\x3a\x01", 0),
    "entry: says 45 bytes follow, 44 do": (SMALL[:-1], 1),
    "block.previous_block_hash: is 31 bytes; it must be 32": (b"\x4a\x2c" + SMALL[2:-33] + b"\x1f" + bytes(31), 15),
    "seal.body: is empty": (b"\x12\x02\x0a\x00", 4),
    "entry: has a varint without an end": (b"\x0a", 1),
    "entry: has a varint of 2 bytes for 82; it must be minimal": (b"\x0a\xd2\x00" + prediction()[2:], 1),
    "entry: says 83 bytes follow, 79 do": (b"\x0a\x53" + prediction()[2:], 1),
    "binding_row: is missing": (framed(prediction()[4:]), 2),
    "binding_row: is 0, the default": (prediction(row=0), 3),
    "binding_row: is 256; it must be 1 to 255": (prediction(row=256), 3),
    "request_id: is 65 bytes; it must be 1 to 64": (prediction(request_id=bytes(65)), 7),
    "output_commitment: is missing": (prediction(output=False), 2),
    "start_time_unix_ns: is 0, the default": (prediction(start=0), 73),
    "status_code: is 17; it must be 1 to 16": (prediction(status=17), 82),
    "prediction: has an unknown field 8": (framed(prediction()[2:] + b"\x40\x01"), 81),
    "start_time_unix_ns: comes twice": (framed(prediction()[2:] + prediction()[-9:]), 81),
    "duration_us: is 4 bytes, 1 are left": (framed(prediction()[2:] + b"\x35\x01"), 82),
}


@pytest.mark.parametrize("reason", REFUSED_ENTRIES)
def test_refused_entry(kernel: Any, reason: str) -> None:
    entry, offset = REFUSED_ENTRIES[reason]
    with pytest.raises(MalformedEntryError) as caught:
        kernel.scan(pack([prediction(), SMALL, entry, prediction()]))
    assert (caught.value.place, caught.value.offset) == (2, offset)
    assert reason in str(caught.value)
    assert "entry 2:" in str(caught.value)


VALID = pack([prediction()])
REFUSED_BATCHES = {
    "end inside the length of entry 1": (VALID + b"\x00", len(VALID)),
    "claims 5 bytes, but only 4 are left": (VALID + b"\x00\x05\x12\x00\x00\x00", len(VALID)),
    "entry 1 has the length 0": (VALID + b"\x00\x00" + VALID, len(VALID)),
    "entry 0 has the length 0": (b"\x00\x00", 0),
    "more than 16385 entries": (pack([prediction()]) * 16_386, len(VALID) * 16_385),
    "at most 4194304": (pack([b"\x12" + bytes(65_534)]) * 64, 4 * MIB),
}


@pytest.mark.parametrize("reason", REFUSED_BATCHES)
def test_refused_batch(kernel: Any, reason: str) -> None:
    packed, offset = REFUSED_BATCHES[reason]
    with pytest.raises(MalformedBatchError, match=reason) as caught:
        kernel.scan(packed)
    assert caught.value.offset == offset


@pytest.mark.parametrize("entry", [prediction(request_id=b"x" * 16), SMALL])
def test_greatest_batch(kernel: Any, entry: bytes) -> None:
    assert kernel.scan(pack([entry]) * 16_385)[0] == 16_385
    with pytest.raises(MalformedBatchError, match="more than 16385 entries") as caught:
        kernel.scan(pack([entry]) * 16_390 + b"\x00")
    assert caught.value.offset == len(pack([entry])) * 16_385


def test_greatest_entry(kernel: Any) -> None:
    entry = run(65_535)
    assert kernel.scan(pack([entry, entry]))[1] == sha256(b"\0" + entry).digest() * 2


def test_hashes_of_all_lengths(kernel: Any) -> None:
    for size in [*range(1, 200), 1000, 4095]:
        entries = [bytes([0x12]) * length for length in (size, size + 1, 1, size + 64, 3)]
        assert kernel.leaf_hashes(pack(entries)) == b"".join(sha256(b"\0" + entry).digest() for entry in entries), size


def test_leaf_hashes_looks_into_nothing(kernel: Any) -> None:
    entries = [b"\x00", b"\xff" * 300, prediction(row=0)]
    assert kernel.leaf_hashes(pack(entries)) == b"".join(sha256(b"\0" + entry).digest() for entry in entries)
    assert kernel.leaf_hashes(b"") == b""
    many = pack([b"\x00"]) * 100_000
    assert len(kernel.leaf_hashes(many)) == 3_200_000


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_leaf_hashes_agree(packed: bytes) -> None:
    first, *others = (outcome(kernel.leaf_hashes, packed) for kernel in KERNELS.values())
    assert all(other == first for other in others)
    assert not isinstance(first, tuple) or first[0] is MalformedBatchError


def test_leaf_hashes_is_bounded(kernel: Any) -> None:
    with pytest.raises(MalformedBatchError, match="at most 33554432"):
        kernel.leaf_hashes(bytes(32 * MIB + 1))


def test_any_contiguous_buffer(kernel: Any) -> None:
    packed = VALID * 3
    expected = kernel.scan(packed)
    for buffer in (bytearray(packed), memoryview(packed), memoryview(b"x" + packed)[1:]):
        assert kernel.scan(buffer) == expected
    with pytest.raises(BufferError):
        kernel.scan(memoryview(packed)[::2])
    for wrong in ("text", 5, None, [1, 2]):
        with pytest.raises(TypeError):
            kernel.scan(wrong)
    with pytest.raises(MalformedEntryError):
        kernel.scan(bytearray(VALID + pack([b"\x0a\x00"])))


def test_buffer_changed_meanwhile(kernel: Any) -> None:
    """A scan sees the batch as it was, or a refusable mixture; it reads no byte outside and does not crash."""
    packed = bytearray(pack([prediction(request_id=bytes(16))]) * 2000)
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            for position in range(0, len(packed), 106):
                packed[position] ^= 0xFF
                packed[position + 1] ^= 0xFF

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(20):
            outcome(kernel.scan, packed)
    finally:
        stop.set()
        thread.join()


def test_hostile_bytes_do_not_make_it_slow(kernel: Any) -> None:
    """Lookalikes inside large statements are matched in vain at most once each run, not once each entry."""
    lookalikes = pack([prediction()]) * 200
    entries = [prediction(), attestation(0x3801, lookalikes)] * 250
    packed = pack(entries)
    begin = time.thread_time()
    assert kernel.scan(packed)[0] == 500
    assert time.thread_time() - begin < 1


def test_shapes_are_as_named() -> None:
    assert [len(SHAPES[name]) for name in ("length 127", "length 128")] == [129, 131]
