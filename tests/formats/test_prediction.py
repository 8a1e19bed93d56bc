"""Predictions: ids have one text, and whatever is packed is what a server accepts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage_ledger.errors import LineageError, MalformedEntryError, MalformedError
from lineage_ledger.formats.packed import frame
from lineage_ledger.formats.prediction import PredictionId, PredictionPacker, encode_prediction
from lineage_ledger.formats.strict import check_entry, parse_entry
from lineage_ledger.v1 import entry_pb2 as pb

VECTORS = Path(__file__).parents[1] / "vectors"
IDS = json.loads((VECTORS / "prediction-ids/prediction-ids.json").read_text())
ENTRIES = json.loads((VECTORS / "entries/prediction.json").read_text())["accepted"]
COMMITMENT = b"\xaa" * 32
GOOD: dict[str, Any] = {
    "binding_row": 1,
    "input_commitment": COMMITMENT,
    "output_commitment": COMMITMENT,
    "start_time_unix_ns": 1,
    "request_id": b"id",
    "duration_us": 1,
    "status_code": 0,
}


def pack(fields: dict[str, Any]) -> bytes:
    packer = PredictionPacker(fields["binding_row"])
    return packer.pack(
        fields["input_commitment"],
        fields["output_commitment"],
        fields["request_id"],
        fields["start_time_unix_ns"],
        fields["duration_us"],
        fields["status_code"],
    )


@pytest.mark.parametrize("vector", IDS["accepted"], ids=lambda vector: str(vector["number"]))
def test_ids(vector: dict[str, Any]) -> None:
    prediction_id = PredictionId(
        bytes.fromhex(vector["chain_id"]), vector["number"], bytes.fromhex(vector["input_prefix"])
    )
    assert str(prediction_id) == vector["text"]
    assert PredictionId.parse(vector["text"]) == prediction_id


@pytest.mark.parametrize("vector", IDS["refused"], ids=lambda vector: ascii(vector["text"])[:60])
def test_texts_that_are_no_id(vector: dict[str, Any]) -> None:
    with pytest.raises(MalformedError, match="is not a prediction id"):
        PredictionId.parse(vector["text"])


@given(text=st.from_regex(r"[0-9a-fA-F]{31,33}-[0-9]{0,20}-[0-9a-fA-F]{7,9}\n?", fullmatch=True))
def test_an_id_has_one_text(text: str) -> None:
    try:
        parsed = PredictionId.parse(text)
    except MalformedError:
        return
    assert str(parsed) == text
    assert (len(parsed.chain_id), len(parsed.input_prefix)) == (16, 4)
    assert 0 <= parsed.number < 2**63


@pytest.mark.parametrize("vector", ENTRIES, ids=lambda vector: vector["name"])
def test_entries_of_the_vectors(vector: dict[str, Any]) -> None:
    fields = {
        name: bytes.fromhex(value) if isinstance(value, str) else value for name, value in vector["fields"].items()
    }
    fields = {"output_commitment": b"", "request_id": b"", "duration_us": 0, "status_code": 0} | fields
    assert encode_prediction(**fields).hex() == vector["entry"]
    assert pack(fields) == frame(bytes.fromhex(vector["entry"]))


@given(
    row=st.integers(1, 255),
    request_id=st.binary(max_size=64),
    output=st.just(b"\xbb" * 32) | st.just(b""),
    start=st.integers(1, 2**64 - 1),
    duration=st.integers(0, 2**34),
    status=st.integers(0, 16),
)
@settings(max_examples=500, deadline=None)
def test_what_is_packed_is_accepted_and_what_protobuf_writes(
    row: int, request_id: bytes, output: bytes, start: int, duration: int, status: int
) -> None:
    output = output if status else b"\xbb" * 32
    fields = {
        "binding_row": row,
        "request_id": request_id,
        "input_commitment": COMMITMENT,
        "output_commitment": output,
        "start_time_unix_ns": start,
        "duration_us": duration,
        "status_code": status,
    }
    entry = encode_prediction(**fields)  # type: ignore[arg-type]  # The names go with the types above.
    assert check_entry(entry) == 1
    assert pack(fields) == frame(entry)
    wanted = pb.Prediction(**fields | {"duration_us": min(duration, 2**32 - 1)})  # type: ignore[arg-type]  # As above.
    assert parse_entry(entry).prediction == wanted
    assert pb.Entry(prediction=wanted).SerializeToString() == entry


BAD = [
    *[("binding_row", value) for value in (0, -1, 256, 1.0, None, "1")],
    *[("request_id", value) for value in (b"r" * 65, None, "id", [1])],
    *[("input_commitment", value) for value in (b"", b"i" * 31, b"i" * 33, None, "i" * 32, memoryview(b"i" * 32))],
    *[("output_commitment", value) for value in (b"", b"o" * 31, b"o" * 33, None, "o" * 32)],
    *[("start_time_unix_ns", value) for value in (0, -1, 2**64, 1.5, None, "1")],
    *[("duration_us", value) for value in (-1, 0.5, None, "1")],
    *[("status_code", value) for value in (-1, 17, 1.5, None, "1")],
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=lambda value: repr(value).split(" at 0x")[0][:30])
def test_what_is_refused_is_refused_the_long_and_the_short_way(name: str, value: object) -> None:
    for make in (lambda fields: encode_prediction(**fields), pack):
        with pytest.raises(MalformedEntryError, match=f"^prediction.{name}: is ") as refusal:
            make(GOOD | {name: value})
        assert isinstance(refusal.value, LineageError)


def test_a_failed_prediction_may_have_no_output_but_not_half_of_one() -> None:
    check_entry(encode_prediction(**GOOD | {"output_commitment": b"", "status_code": 14}))
    with pytest.raises(MalformedEntryError, match="output_commitment"):
        pack(GOOD | {"output_commitment": b"half", "status_code": 14})
