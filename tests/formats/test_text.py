"""Base64 and decimals: whatever parses is what encoding gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage_ledger.errors import MalformedError
from lineage_ledger.formats import text


@given(st.binary(max_size=100))
def test_base64_round_trips(value: bytes) -> None:
    assert text.decode_base64(text.encode_base64(value)) == value


@pytest.mark.parametrize(
    "encoded",
    [
        "A",
        "AA",
        "AAA",
        "AA=",
        "A===",
        "====",
        "AB==",
        "AAB=",
        "AA==AA==",
        "AAAA=",
        "A-__",
        "AA==\n",
        " AA==",
        "A A=",
        "ÄÄ==",
    ],
)
def test_base64_refused(encoded: str) -> None:
    with pytest.raises(MalformedError) as caught:
        text.decode_base64(encoded)
    assert encoded not in str(caught.value)


@given(st.text("AQgw048/+=-_ \n", max_size=12))
def test_base64_has_one_encoding(encoded: str) -> None:
    try:
        value = text.decode_base64(encoded)
    except MalformedError:
        return
    assert text.encode_base64(value) == encoded


@given(st.integers(0, text.MAX_DECIMAL))
def test_decimals_round_trip(number: int) -> None:
    assert text.parse_decimal(str(number)) == number


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "00",
        "01",
        "-0",
        "+1",
        " 1",
        "1 ",
        "1\n",
        "1_0",
        "1.0",
        "0x1",
        "\u0661",
        "1\u0661",
        "²",
        str(2**63),
        "9" * 19,
        "9" * 100_000,
    ],
)
def test_decimals_refused(encoded: str) -> None:
    with pytest.raises(MalformedError):
        text.parse_decimal(encoded)
