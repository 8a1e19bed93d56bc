"""Commitments and their keys."""

from __future__ import annotations

import array
import json
from pathlib import Path
from typing import Any

import pytest

from lineage_ledger.errors import LineageError
from lineage_ledger.formats.commitment import CommitmentError, commit, commit_many, derive_key, opens

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/commitments/commitments.json").read_text())
KEY = bytes(range(16))


@pytest.mark.parametrize("vector", VECTORS["accepted"])
def test_vectors(vector: dict[str, Any]) -> None:
    value, commitment = bytes.fromhex(vector["value"]), bytes.fromhex(vector["commitment"])
    key = derive_key(bytes.fromhex(vector["period_key"]), bytes.fromhex(vector["counter"]), vector["role"])
    assert key.hex() == vector["key"]
    assert commit(value, key) == commitment
    assert opens(commitment, value, key)
    assert not opens(commitment, value + b"\0", key)
    assert not opens(commitment, value, key[:-1] + bytes([key[-1] ^ 1]))
    assert not opens(commitment[:-1], value, key)


def test_rfc_4231_case_6() -> None:
    """A key longer than a block (RFC 4231, 4.7)."""
    wanted = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
    assert commit(b"Test Using Larger Than Block-Size Key - Hash Key First", b"\xaa" * 131).hex() == wanted


def test_any_contiguous_buffer() -> None:
    value = b"0123456789abcdef"
    for buffer in (bytearray(value), memoryview(value), array.array("d", value), memoryview(value).cast("I", (2, 2))):
        assert commit(buffer, KEY) == commit(value, KEY)


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["name"])
def test_weak_keys(vector: dict[str, Any]) -> None:
    with pytest.raises(LineageError, match="at least 16"):
        commit(bytes.fromhex(vector["value"]), bytes.fromhex(vector["key"]))
    with pytest.raises(LineageError, match="at least 16"):
        opens(bytes(32), b"", bytes.fromhex(vector["key"]))
    with pytest.raises(LineageError, match="at least 16"):
        derive_key(bytes.fromhex(vector["key"]), b"1", "input")


@pytest.mark.parametrize(("counter", "role"), [(b"", "input"), (b"1", ""), (b"1", "in\nput")])
def test_what_would_be_ambiguous(counter: bytes, role: str) -> None:
    with pytest.raises(LineageError):
        derive_key(KEY, counter, role)


def test_roles_and_counters_give_other_keys() -> None:
    keys = {derive_key(KEY, counter, role) for counter in (b"1", b"2", b"\n1") for role in ("input", "output")}
    assert len(keys) == 6


def test_many_are_as_one_by_one() -> None:
    values = [b"%d" % place * place for place in range(50)]
    counters = [place.to_bytes(8, "big") for place in range(50)]
    wanted = b"".join(commit(value, derive_key(KEY, counter, "input")) for value, counter in zip(values, counters))
    assert commit_many(values, KEY, counters, "input") == wanted
    assert commit_many(tuple(values), KEY, b"".join(counters), "input") == wanted
    assert commit_many([], KEY, b"", "input") == b""


def test_the_rows_of_an_array_are_values() -> None:
    rows = memoryview(bytes(range(24))).cast("B", (4, 6))
    values = [bytes(rows)[at : at + 6] for at in range(0, 24, 6)]
    assert commit_many(rows, KEY, b"1234", "output") == commit_many(values, KEY, [b"1", b"2", b"3", b"4"], "output")
    assert commit_many(rows, KEY, b"1234", "output") != commit_many(rows, KEY, b"1234", "input")
    doubles = array.array("d", [1.0, 2.0])
    assert commit_many(doubles, KEY, b"12", "input")[:32] == commit(
        doubles.tobytes()[:8], derive_key(KEY, b"1", "input")
    )


@pytest.mark.parametrize(
    ("values", "key", "counters", "role", "message"),
    [
        ([b"v"], b"short", [b"1"], "input", "at least 16"),
        ([b"v"], KEY, [b"1"], "", "role"),
        ([b"v"], KEY, [b"1"], "in\nput", "role"),
        ([b"v", b"w"], KEY, [b"1", b""], "input", "counter is empty"),
        ([b"v", b"w"], KEY, b"", "input", "counter is empty"),
        ([b"v", b"w"], KEY, [b"1"], "input", "2 values need as many counters"),
        ([b"v", b"w"], KEY, b"123", "input", "2 values need as many counters"),
        (b"flat", KEY, b"1234", "input", "do not say how many"),
    ],
)
def test_many_that_do_not_fit_together(values: Any, key: bytes, counters: Any, role: str, message: str) -> None:
    with pytest.raises(CommitmentError, match=message):
        commit_many(values, key, counters, role)


def test_an_array_with_gaps_is_refused() -> None:
    with pytest.raises(BufferError):
        commit_many(memoryview(bytearray(range(24))).cast("B", (4, 6))[::2], KEY, b"12", "input")
