"""The bodies that a log and its witnesses exchange: one encoding each, all else refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage_ledger.errors import MalformedError, SignatureError
from lineage_ledger.formats import keys
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Cosigner, Note, Signer
from lineage_ledger.formats.witness_protocol import (
    MAX_PROOF_HASHES,
    MAX_REQUEST_BYTES,
    AddCheckpoint,
    encode_size,
    parse_size,
    read_cosignature,
)

# The example of tlog-witness.
EXAMPLE = """old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
\u2014 example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
""".encode()  # noqa: E501  (signature lines are that long)
HASH = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n"
TEXT = Checkpoint("example.com/log", 5, bytes(32)).encode()
WITNESS = Cosigner("w.example", keys.SigningKey.generate())


def test_example_of_the_specification() -> None:
    request = AddCheckpoint.parse(EXAMPLE)
    assert request.encode() == EXAMPLE
    assert (request.old_size, len(request.proof)) == (20_852_014, 4)
    checkpoint = Checkpoint.parse(Note.parse(request.checkpoint).text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20_852_163)
    assert len(Note.parse(request.checkpoint).signatures) == 2


@given(
    st.integers(0, 2**63 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=MAX_PROOF_HASHES),
    st.binary(max_size=200),
)
def test_what_is_encoded_is_read_back(old_size: int, proof: list[bytes], checkpoint: bytes) -> None:
    request = AddCheckpoint(old_size, tuple(proof), checkpoint)
    assert AddCheckpoint.parse(request.encode()) == request


@given(st.binary(max_size=300) | st.text("old 0123=\nAB", max_size=100).map(str.encode))
def test_what_is_read_is_the_one_encoding(body: bytes) -> None:
    try:
        request = AddCheckpoint.parse(body)
    except MalformedError:
        return
    assert request.encode() == body


@pytest.mark.parametrize(
    "body",
    [
        "",
        "old 5\n",
        "old 5",
        "\n\nold 5\n\n",
        "5\n\ncheckpoint\n",
        "old\n\nx\n",
        "old 05\n\nx\n",
        "old -1\n\nx\n",
        "old  5\n\nx\n",
        "old 5 \n\nx\n",
        "old 5\r\n\r\nx\n",
        "Old 5\n\nx\n",
        f"old {2**63}\n\nx\n",
        "old \u0665\n\nx\n",
        "old 5\nAAAA\n\nx\n",
        "old 5\n" + HASH.replace("=", "") + "\nx\n",
        "old 5\n" + HASH.replace("w=", "x=") + "\nx\n",
        "old 5\n" + HASH * (MAX_PROOF_HASHES + 1) + "\nx\n",
        "old 5\n\n" + "x" * MAX_REQUEST_BYTES,
        "old 5\n\n" + "x" * 16_385,
    ],
)
def test_a_request_that_is_none(body: str) -> None:
    with pytest.raises(MalformedError):
        AddCheckpoint.parse(body.encode())


def test_a_request_that_cannot_be_sent() -> None:
    with pytest.raises(MalformedError):
        AddCheckpoint(1, (bytes(32),) * 64, b"").encode()


@pytest.mark.parametrize("body", [b"", b"5", b"05\n", b"5\n\n", b" 5\n", b"-5\n", b"9223372036854775808\n", b"5" * 99])
def test_a_size_that_is_none(body: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_size(body)
    assert parse_size(encode_size(2**63 - 1)) == 2**63 - 1


def answer(*lines: str) -> bytes:
    return "".join(lines).encode()


def test_a_cosignature_is_read() -> None:
    good = WITNESS.cosign(TEXT, 7)
    other = Cosigner("other.example", keys.SigningKey.generate()).cosign("something else\n", 7)
    body = answer(other.encode(), good.encode())
    assert read_cosignature(body, TEXT, WITNESS.verifier) == good


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", MalformedError),
        (b"\n", MalformedError),
        (b"\xff\n", MalformedError),
        (b"garbage\n", MalformedError),
        (answer(WITNESS.cosign(TEXT, 7).encode())[:-1], MalformedError),
        (answer(WITNESS.cosign(TEXT, 7).encode(), "\n"), MalformedError),
        (answer(WITNESS.cosign(TEXT, 7).encode() * 65), MalformedError),
        (b"x" * 20_000 + b"\n", MalformedError),
        (answer(WITNESS.cosign(TEXT + "more\n", 7).encode()), SignatureError),
        (answer(Cosigner("w.example", keys.SigningKey.generate()).cosign(TEXT, 7).encode()), SignatureError),
        (answer(Signer("w.example", WITNESS.key).sign(TEXT).encode()), SignatureError),
        (answer(WITNESS.cosign(TEXT, 0).encode()), SignatureError),
        (answer(WITNESS.cosign(TEXT, 7).encode(), WITNESS.cosign("x\n", 7).encode()), SignatureError),
    ],
)
def test_an_answer_that_is_no_cosignature(body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_cosignature(body, TEXT, WITNESS.verifier)
