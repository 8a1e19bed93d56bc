"""One call for a batch: what the scan finds, and the root of the body, as the seal at the end is to say it."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage_ledger import kernel as chosen_kernel
from lineage_ledger.errors import MalformedBatchError, MalformedEntryError
from tests.kernel.kernel_examples import KERNELS, outcome, pack, prediction, predictions

VECTORS = Path(__file__).parents[1] / "vectors/entries"
SEAL, ARTIFACT = (
    bytes.fromhex(json.loads((VECTORS / f"{kind}.json").read_text())["accepted"][0]["entry"])
    for kind in ("seal", "artifact")
)
PREDICTION = prediction(request_id=b"x" * 16)


def root(entries: list[bytes]) -> bytes:
    """Section 2.1 of RFC 6962, word by word."""
    if len(entries) < 2:
        return sha256(b"".join(b"\0" + entry for entry in entries)).digest()
    split = 1 << (len(entries) - 1).bit_length() - 1
    return sha256(b"\1" + root(entries[:split]) + root(entries[split:])).digest()


BODIES = {
    "nothing": [],
    "one prediction": [PREDICTION],
    "many": [prediction(request_id=b"%d" % number) for number in range(700)],
    "statements": [ARTIFACT, PREDICTION, ARTIFACT],
    "a seal within": [SEAL, PREDICTION],
}


@pytest.mark.parametrize("name", BODIES)
def test_root_of_the_body(kernel: Any, name: str) -> None:
    body = BODIES[name]
    for batch in (body, [*body, SEAL]):
        scanned, body_root = kernel.scan_batch(pack(batch))
        assert scanned == kernel.scan(pack(batch))
        assert body_root == root(body)


def test_of_two_seals_one_is_left_out(kernel: Any) -> None:
    assert kernel.scan_batch(pack([PREDICTION, SEAL, SEAL]))[1] == root([PREDICTION, SEAL])


def test_a_prediction_that_begins_like_a_seal_inside(kernel: Any) -> None:
    """The tag is looked for where the last entry begins, not among its bytes."""
    last = prediction(request_id=SEAL[:60])
    assert kernel.scan_batch(pack([PREDICTION, last]))[1] == root([PREDICTION, last])


@settings(deadline=None)
@given(st.lists(predictions() | st.sampled_from([SEAL, ARTIFACT]), max_size=20), st.data())
def test_all_agree(entries: list[bytes], data: st.DataObject) -> None:
    packed = bytearray(pack(entries))
    for _ in range(data.draw(st.integers(0, 2)) if packed else 0):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    first, *others = (outcome(kernel.scan_batch, bytes(packed)) for kernel in KERNELS.values())
    assert all(other == first for other in others)


@pytest.mark.parametrize(
    "wrong", [b"\0", pack([PREDICTION])[:-1], pack([SEAL])[:-1], pack([b"\x12\x00"]), bytes(5 << 20)]
)
def test_refuses_what_the_scan_refuses(kernel: Any, wrong: bytes) -> None:
    assert outcome(kernel.scan_batch, wrong) == outcome(kernel.scan, wrong)
    with pytest.raises((MalformedBatchError, MalformedEntryError)):
        kernel.scan_batch(wrong)


def test_named_results() -> None:
    scanned, body_root = chosen_kernel.scan_batch(pack([PREDICTION, SEAL]))
    assert (scanned.count, body_root) == (2, root([PREDICTION]))
