"""Checkpoints: one encoding, the log's own signature under its own name, no extension lines."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage_ledger.errors import MalformedError, SignatureError
from lineage_ledger.formats import note
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.merkle import EMPTY_ROOT
from lineage_ledger.formats.note import Cosigner, Note, Signer, Verifier
from lineage_ledger.formats.text import encode_base64

ORIGIN = "example.com/ledger/prod"
SIGNER = Signer(ORIGIN, SigningKey.from_seed(bytes(range(32))))
ROOT = hashlib.sha256(b"root").digest()
ROOT_TEXT = "SBNJTRN+FjG7owHVrKtue7eqdM4RhdRWVl71HXN2d7I="
EMPTY_TEXT = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
COSIGNED = json.loads((Path(__file__).parents[1] / "vectors/signed-note/notes.json").read_text())["cosigned"]


def test_the_published_checkpoint() -> None:
    text = Note.parse(COSIGNED["note"].encode()).text
    checkpoint = Checkpoint.parse(text)
    assert (checkpoint.origin, checkpoint.size) == (COSIGNED["origin"], COSIGNED["size"])
    assert checkpoint.encode() == text


def test_bytes_of_a_checkpoint() -> None:
    assert encode_base64(ROOT) == ROOT_TEXT
    checkpoint = Checkpoint(ORIGIN, 70_000, ROOT)
    assert checkpoint.encode() == f"{ORIGIN}\n70000\n{ROOT_TEXT}\n"
    signed = checkpoint.sign(SIGNER)
    assert signed.startswith(checkpoint.encode().encode() + "\n— example.com/ledger/prod ".encode())
    assert Checkpoint.open(signed, SIGNER.verifier) == checkpoint


@given(st.integers(1, 2**63 - 1), st.binary(min_size=32, max_size=32))
@settings(max_examples=50, deadline=None)
def test_checkpoints_round_trip(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(ORIGIN, size, root)
    assert Checkpoint.parse(checkpoint.encode()) == checkpoint
    assert Checkpoint.open(checkpoint.sign(SIGNER), SIGNER.verifier) == checkpoint


def test_the_empty_tree() -> None:
    assert Checkpoint.parse(f"{ORIGIN}\n0\n{EMPTY_TEXT}\n") == Checkpoint(ORIGIN, 0, EMPTY_ROOT)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "\n\n\n",
        f"{ORIGIN}\n1\n{ROOT_TEXT}",
        f"{ORIGIN}\n1\n{ROOT_TEXT}\n\n",
        f"{ORIGIN}\n1\n{ROOT_TEXT}\nextension\n",
        f"{ORIGIN}\n1\n\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n1\n",
        f"\n1\n{ROOT_TEXT}\n",
        f"a\tb\n1\n{ROOT_TEXT}\n",
        f"{ORIGIN}\r\n1\r\n{ROOT_TEXT}\r\n",
        f"{ORIGIN}\n\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n01\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n00\n{EMPTY_TEXT}\n",
        f"{ORIGIN}\n-1\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n+1\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n 1\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n1 \n{ROOT_TEXT}\n",
        f"{ORIGIN}\n1_0\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n1.0\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n1e3\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n0x1\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n\u0661\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n²\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n{2**63}\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n{10**19}\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n{'9' * 10_000}\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n1\n\n",
        f"{ORIGIN}\n1\n{ROOT_TEXT[:-1]}\n",
        f"{ORIGIN}\n1\n{ROOT_TEXT}=\n",
        f"{ORIGIN}\n1\n{ROOT_TEXT} \n",
        f"{ORIGIN}\n1\n{ROOT_TEXT[:-2]}h=\n",
        f"{ORIGIN}\n1\n{ROOT_TEXT.replace('+', '-').replace('/', '_')}\n",
        f"{ORIGIN}\n1\n{ROOT_TEXT[4:]}\n",
        f"{ORIGIN}\n1\nAAAA{ROOT_TEXT}\n",
        f"{ORIGIN}\n1\n{ROOT.hex()}\n",
        f"{ORIGIN}\n0\n{ROOT_TEXT}\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        Checkpoint.parse(text)
    if text.endswith("\n") and "\r" not in text and "\t" not in text:
        # Properly signed, and refused all the same.
        with pytest.raises(MalformedError):
            Checkpoint.open(note.sign_note(text, SIGNER), SIGNER.verifier)


@pytest.mark.parametrize(
    ("origin", "size", "root"),
    [
        ("", 1, ROOT),
        ("a\nb", 1, ROOT),
        ("a\x00", 1, ROOT),
        (ORIGIN, -1, ROOT),
        (ORIGIN, 2**63, ROOT),
        (ORIGIN, 1, ROOT[1:]),
        (ORIGIN, 1, ROOT + b"\0"),
        (ORIGIN, 0, ROOT),
    ],
)
def test_impossible_checkpoints_cannot_be_made(origin: str, size: int, root: bytes) -> None:
    with pytest.raises(MalformedError):
        Checkpoint(origin, size, root)


def test_only_the_log_s_own_key_signs_and_opens() -> None:
    checkpoint = Checkpoint(ORIGIN, 5, ROOT)
    stranger = Signer("example.com/ledger/test", SIGNER.key)
    with pytest.raises(SignatureError, match="same"):
        checkpoint.sign(stranger)
    signed = note.sign_note(checkpoint.encode(), stranger)
    for verifier in (stranger.verifier, SIGNER.verifier, Verifier(ORIGIN, SigningKey.generate().public_key)):
        with pytest.raises(SignatureError):
            Checkpoint.open(signed, verifier)


def test_a_witness_alone_does_not_open_it() -> None:
    checkpoint = Checkpoint(ORIGIN, 5, ROOT)
    witness = Cosigner("witness.example.com/w1", SigningKey.from_seed(bytes(32)))
    cosignature = witness.cosign(checkpoint.encode(), 1_700_000_000)
    with pytest.raises(SignatureError):
        Checkpoint.open(Note(checkpoint.encode(), (cosignature,)).encode(), SIGNER.verifier)
    both = Note(checkpoint.encode(), (SIGNER.sign(checkpoint.encode()), cosignature)).encode()
    assert Checkpoint.open(both, SIGNER.verifier) == checkpoint
    with pytest.raises(SignatureError):
        Checkpoint.open(both, witness.verifier)


def test_every_altered_bit_is_refused() -> None:
    signed = Checkpoint(ORIGIN, 5, ROOT).sign(SIGNER)
    for bit in range(8 * len(signed)):
        altered = bytearray(signed)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises((MalformedError, SignatureError)):
            Checkpoint.open(bytes(altered), SIGNER.verifier)


def test_what_was_opened_once_is_checked_again_with_every_other_key() -> None:
    checkpoint = Checkpoint(ORIGIN, 7, ROOT)
    signed = checkpoint.sign(SIGNER)
    other = Signer(ORIGIN, SigningKey.from_seed(b"o" * 32))
    for _ in range(2):
        assert Checkpoint.open(signed, SIGNER.verifier) == checkpoint
        with pytest.raises(SignatureError):
            Checkpoint.open(signed, other.verifier)
        with pytest.raises(SignatureError):
            Checkpoint.open(signed, Signer("example.com/ledger/other", SIGNER.key).verifier)
        with pytest.raises(SignatureError):
            Checkpoint.open(signed, Verifier(ORIGIN, SIGNER.key.public_key, note.SignatureType.COSIGNATURE_V1))


def test_what_was_refused_once_is_refused_again() -> None:
    signed = bytearray(Checkpoint(ORIGIN, 7, ROOT).sign(SIGNER))
    forged = Checkpoint(ORIGIN, 8, ROOT).encode().encode() + bytes(signed[signed.index(b"\n\n") + 1 :])
    for _ in range(3):
        with pytest.raises(SignatureError):
            Checkpoint.open(forged, SIGNER.verifier)
        assert Checkpoint.open(bytes(signed), SIGNER.verifier).size == 7


def test_large_checkpoints_open_too() -> None:
    cosigners = [
        Cosigner(f"example.com/witness/{'w' * 200}{n}", SigningKey.from_seed(bytes([n]) * 32)) for n in range(60)
    ]
    checkpoint = Checkpoint(ORIGIN, 7, ROOT)
    text = checkpoint.encode()
    signed = Note(text, (SIGNER.sign(text), *(cosigner.cosign(text, 1) for cosigner in cosigners))).encode()
    assert len(signed) > 8_192
    assert Checkpoint.open(signed, SIGNER.verifier) == checkpoint
    with pytest.raises(SignatureError):
        Checkpoint.open(signed.replace(b"\n7\n", b"\n8\n", 1), SIGNER.verifier)
