"""Signed notes: vectors of Go and C2SP, cosignatures, and everything that is no note or is not signed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage_ledger.errors import InvalidKeyError, LineageError, MalformedError, SignatureError, SmallOrderKeyError
from lineage_ledger.formats import keys, note
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Cosigner, Note, Signature, SignatureType, Signer, Verifier
from lineage_ledger.formats.text import encode_base64

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors/signed-note/notes.json").read_text())
PETER, ENOCH = VECTORS["signing"]
VERIFIER = Verifier.parse(PETER["vkey"])
NOTE = PETER["note"].encode()
LINE = PETER["note"].split("\n\n")[1]
SIGNER = Signer("example.com/log", SigningKey.from_seed(bytes(range(32))))
WITNESS = Cosigner("witness.example.com/w1", SigningKey.from_seed(bytes(range(1, 33))))
TEXT = "example.com/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"


# Published vectors


def test_signatures_are_those_of_go() -> None:
    name, key = keys.parse_signing_key(PETER["skey"])
    assert note.sign_note(PETER["text"], Signer(name, key)) == PETER["note"].encode()
    assert str(Signer(name, key).verifier) == PETER["vkey"]
    enoch = Signer("EnochRoot", SigningKey.from_seed(bytes.fromhex(ENOCH["seed"])))
    assert note.sign_note(ENOCH["text"], enoch) == ENOCH["note"].encode()
    assert str(enoch.verifier) == ENOCH["vkey"]


@pytest.mark.parametrize("vector", VECTORS["notes"], ids=lambda vector: vector["name"])
def test_published_notes(vector: dict[str, Any]) -> None:
    verifiers = [Verifier.parse(vkey) for vkey in vector["vkeys"]]
    if vector["opens"]:
        opened = note.open_note(vector["note"].encode(), verifiers)
        assert [signature.name for signature in opened.signatures] == vector["verified"]
        assert vector["note"].startswith(opened.text + "\n")
    else:
        with pytest.raises((MalformedError, SignatureError)):
            note.open_note(vector["note"].encode(), verifiers)


def test_published_cosignature_has_its_time() -> None:
    cosigned = VECTORS["cosigned"]
    log, witness = Note.parse(cosigned["note"].encode()).signatures
    assert (log.name, len(log.payload)) == (cosigned["origin"], 64)
    assert (witness.name, len(witness.payload)) == (cosigned["cosigner"], 72)
    assert note.cosignature_time(witness) == cosigned["time_unix_s"]


# Verifier keys


@pytest.mark.parametrize("vkey", VECTORS["refused_vkeys"])
def test_published_verifier_keys_to_refuse(vkey: str) -> None:
    with pytest.raises(InvalidKeyError):
        Verifier.parse(vkey)


def test_every_part_and_every_altered_character_of_a_verifier_key_is_refused() -> None:
    vkey = PETER["vkey"]
    refused = {vkey[start:end] for start in range(len(vkey)) for end in range(start + 1, len(vkey) + 1)} - {vkey}
    for place, character in enumerate(vkey):
        refused |= {vkey[:place] + chr(ord(character) + step) + vkey[place + 1 :] for step in (1, -1)}
    refused |= {"", vkey + "\n", " " + vkey, vkey + "=", vkey.replace("c74f20a3", "C74F20A3"), vkey + "+"}
    for text in refused:
        with pytest.raises(InvalidKeyError):
            Verifier.parse(text)


def with_key(public_key: bytes, signature_type: int = 1) -> str:
    """A verifier key whose id fits."""
    key_id = keys.key_id("name", signature_type, public_key).hex()
    return f"name+{key_id}+{encode_base64(bytes((signature_type,)) + public_key)}"


def test_base64_of_a_verifier_key_may_hold_a_plus() -> None:
    key = next(
        key for n in range(99) if "+" in with_key((key := SigningKey(bytes([n] * 32))).public_key).split("+", 2)[2]
    )
    assert Verifier.parse(with_key(key.public_key)).public_key == key.public_key


@pytest.mark.parametrize("signature_type", [0, 2, 3, 5, 6, 0xFF])
def test_other_types_are_refused(signature_type: int) -> None:
    with pytest.raises(InvalidKeyError, match="type"):
        Verifier.parse(with_key(SIGNER.key.public_key, signature_type))


@pytest.mark.parametrize("signature_type", list(SignatureType))
def test_a_verifier_key_of_small_order_is_refused(signature_type: int) -> None:
    with pytest.raises(SmallOrderKeyError):
        Verifier.parse(with_key(bytes(32), signature_type))


@pytest.mark.parametrize("public_key", [b"", bytes(31), SIGNER.key.public_key + b"\0"])
def test_a_verifier_key_of_another_length_is_refused(public_key: bytes) -> None:
    with pytest.raises(InvalidKeyError):
        Verifier.parse(with_key(public_key))


@pytest.mark.parametrize(
    "vkey", ["", "+", "++", "name++", "+00000000+AA==", "name+00000000+", "name+00000000+AA==", "\ud800+0+0"]
)
def test_what_is_no_verifier_key_is_refused(vkey: str) -> None:
    with pytest.raises(InvalidKeyError):
        Verifier.parse(vkey)


# Parsing

MALFORMED = {
    "empty": b"",
    "line end": b"\n",
    "two line ends": b"\n\n",
    "text without a line end before the signatures": b"text\n" + LINE.encode(),
    "no empty line": NOTE.replace(b"\n\n", b"\n"),
    "no text": LINE.encode(),
    "empty line after the signatures": NOTE + b"\n",
    "empty line in the signatures": NOTE + b"\n" + NOTE[-3:],
    "no last line end": NOTE[:-1],
    "carriage returns": NOTE.replace(b"\n", b"\r\n"),
    "tab": NOTE.replace(b"you think", b"you\tthink"),
    "zero byte": NOTE.replace(b"you think", b"you\0think"),
    "unit separator": NOTE.replace(b"you think", b"you\x1fthink"),
    "control character in a name": NOTE.replace(b"Neumann", b"Neu\x1fmann"),
    "not UTF-8": NOTE.replace(b"you think", b"you\xffthink"),
    "overlong UTF-8": NOTE.replace(b"you think", b"you\xc0\xa0think"),
    "surrogate": NOTE.replace(b"you think", b"you\xed\xa0\x80think"),
    "hyphen for the dash": NOTE.replace("—".encode(), b"-"),
    "en dash": NOTE.replace("—".encode(), "\N{EN DASH}".encode()),
    "no dash": NOTE.replace("— ".encode(), b""),
    "two spaces after the dash": NOTE.replace("— ".encode(), "—  ".encode()),
    "two spaces after the name": NOTE.replace(b"Neumann ", b"Neumann  "),
    "space after the signature": NOTE[:-1] + b" \n",
    "no name": NOTE.replace(b"PeterNeumann ", b""),
    "empty name": NOTE.replace(b"PeterNeumann", b""),
    "plus in a name": NOTE.replace(b"PeterNeumann", b"Peter+Neumann"),
    "no-break space in a name": NOTE.replace(b"PeterNeumann", "Peter\u00a0Neumann".encode()),
    "ideographic space in a name": NOTE.replace(b"PeterNeumann", "Peter\u3000Neumann".encode()),
    "no signature": NOTE[: NOTE.rindex(b" ")] + b"\n",
    "key id alone": NOTE[: NOTE.rindex(b" ")] + b" x08gow==\n",
    "three bytes": NOTE[: NOTE.rindex(b" ")] + b" x08g\n",
    "no padding": NOTE[:-2] + b"\n",
    "more padding": NOTE[:-1] + b"=\n",
    "bits left over in the base64": NOTE[:-3] + b"N=\n",
    "URL-safe base64": NOTE.replace(b"/", b"_"),
    "line end in the base64": NOTE[:-20] + b"\n" + NOTE[-20:],
    "byte order mark in a signature line": NOTE.replace("—".encode(), "\ufeff—".encode()),
    "65 signatures": NOTE + LINE.encode() * 64,
    "a million bytes": b"a" * 1_000_000 + NOTE,
}


@pytest.mark.parametrize("malformed", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_note_is_refused(malformed: bytes) -> None:
    assert malformed != NOTE
    with pytest.raises(MalformedError):
        Note.parse(malformed)
    with pytest.raises(MalformedError):
        note.open_note(malformed, [VERIFIER])


@pytest.mark.parametrize(
    "text", ["a\n\n", "\n", "\n\n\n", "a\n\n— not a signature\n", "a\n\n\n\nb\n", "Überschrift\n\x7f\n"]
)
def test_the_last_empty_line_separates(text: str) -> None:
    signed = note.sign_note(text, SIGNER)
    assert note.open_note(signed, [SIGNER.verifier]).text == text


@given(st.text(st.characters(min_codepoint=0x20, codec="utf-8") | st.just("\n"), max_size=60))
@settings(max_examples=100, deadline=None)
def test_notes_round_trip(text: str) -> None:
    signed = note.sign_note(text + "\n", SIGNER)
    opened = note.open_note(signed, [SIGNER.verifier])
    assert opened.text == text + "\n"
    assert opened.encode() == Note.parse(signed).encode() == signed


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_every_altered_note_is_refused(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(NOTE) - 1))
    kind = data.draw(st.sampled_from(["replace", "insert", "drop"]))
    byte = data.draw(st.binary(min_size=1, max_size=1))
    altered = NOTE[:place] + (b"" if kind == "drop" else byte) + NOTE[place + (kind != "insert") :]
    if altered != NOTE:
        with pytest.raises((MalformedError, SignatureError)):
            note.open_note(altered, [VERIFIER])


@pytest.mark.parametrize("text", ["", "a", "a\n\nb", "a\r\n", "\t\n", "\0\n", "\ud800\n"])
def test_texts_that_no_note_can_carry(text: str) -> None:
    with pytest.raises(MalformedError):
        note.sign_note(text, SIGNER)
    with pytest.raises(MalformedError):
        WITNESS.cosign(text, 1)


@pytest.mark.parametrize(
    "signature",
    [
        Signature("", bytes(4), bytes(64)),
        Signature("a b", bytes(4), bytes(64)),
        Signature("a+b", bytes(4), bytes(64)),
        Signature("a\nb", bytes(4), bytes(64)),
        Signature("\ud800", bytes(4), bytes(64)),
        Signature("a", bytes(3), bytes(64)),
        Signature("a", bytes(5), bytes(64)),
        Signature("a", bytes(4), b""),
    ],
)
def test_signatures_that_no_note_can_carry(signature: Signature) -> None:
    with pytest.raises(MalformedError):
        Note("text\n", (signature,)).encode()


def test_a_note_has_a_signature_and_is_bounded() -> None:
    with pytest.raises(MalformedError):
        note.sign_note("text\n")
    with pytest.raises(MalformedError):
        Note("text\n", (SIGNER.sign("text\n"),) * 65).encode()
    with pytest.raises(MalformedError):
        note.sign_note("a" * 1_000_000 + "\n", SIGNER)


# Opening


@pytest.mark.parametrize("count", [16, 63])
def test_many_signatures_of_unknown_keys_are_ignored(count: int) -> None:
    unknown = tuple(Signature(f"unknown{n}", bytes(4), bytes(1 + 300 * (n % 17))) for n in range(count))
    signed = Note(TEXT, (*unknown, SIGNER.sign(TEXT))).encode()
    assert note.open_note(signed, [SIGNER.verifier]).signatures == (SIGNER.sign(TEXT),)


def test_names_of_unknown_keys_do_not_flood_the_message() -> None:
    unknown = tuple(Signature("n" * 10_000, n.to_bytes(4), bytes(64)) for n in range(60))
    with pytest.raises(SignatureError, match=r"n\+00000000, n+\+00000001, n+\+00000002 and 57 more") as refused:
        note.open_note(Note(TEXT, unknown).encode(), [SIGNER.verifier])
    assert len(str(refused.value)) < 400


def test_a_signing_key_is_no_verifier_key_and_is_not_shown() -> None:
    secret = keys.encode_signing_key(SIGNER.name, SIGNER.key)
    assert secret.startswith("PRIVATE+KEY+")
    with pytest.raises(InvalidKeyError, match="this is a signing key") as refused:
        note.Verifier.parse(secret)
    assert secret[-20:] not in str(refused.value)


def test_a_known_name_or_a_known_id_alone_is_unknown() -> None:
    name, key_id, payload = SIGNER.sign(TEXT)
    others = (Signature(name, bytes(4), payload), Signature("other", key_id, payload))
    with pytest.raises(
        SignatureError, match=r"no signature of example\.com/log.* say example\.com/log\+00000000, other\+"
    ):
        note.open_note(Note(TEXT, others).encode(), [SIGNER.verifier])
    assert note.open_note(Note(TEXT, (*others, SIGNER.sign(TEXT))).encode(), [SIGNER.verifier]).signatures == (
        SIGNER.sign(TEXT),
    )


def test_a_wrong_signature_of_a_known_key_refuses_the_note_wherever_it_stands() -> None:
    right, other = SIGNER.sign(TEXT), SIGNER.sign("other\n")
    for signatures in [
        (other,),
        (other, right),
        (right, other),
        (right, right._replace(payload=right.payload + b"\0")),
    ]:
        with pytest.raises(SignatureError, match="does not check"):
            note.open_note(Note(TEXT, signatures).encode(), [SIGNER.verifier])


def test_a_note_without_a_known_key_is_refused() -> None:
    with pytest.raises(SignatureError):
        note.open_note(NOTE, [])
    with pytest.raises(SignatureError):
        note.open_note(NOTE, [SIGNER.verifier])


def test_one_signature_of_each_key_is_returned() -> None:
    signed = Note(
        TEXT, (SIGNER.sign(TEXT), WITNESS.cosign(TEXT, 1), SIGNER.sign(TEXT), WITNESS.cosign(TEXT, 2))
    ).encode()
    opened = note.open_note(signed, [WITNESS.verifier, SIGNER.verifier])
    assert opened.signatures == (SIGNER.sign(TEXT), WITNESS.cosign(TEXT, 1))


def test_two_keys_of_one_name_and_id_are_ambiguous(monkeypatch: pytest.MonkeyPatch) -> None:
    assert note.open_note(NOTE, [VERIFIER, VERIFIER]).text == PETER["text"]
    # Ids are 4 bytes: a collision is cheap to find, and cheaper to pretend.
    monkeypatch.setattr(keys, "key_id", lambda name, signature_type, public_key: bytes(4))
    with pytest.raises(InvalidKeyError, match="share"):
        note.open_note(NOTE, [VERIFIER, Verifier("PeterNeumann", SIGNER.key.public_key)])


# Cosignatures


def test_cosignature_signs_header_time_and_text() -> None:
    signature = WITNESS.cosign(TEXT, 1679315147)
    assert signature.payload[:8] == (1679315147).to_bytes(8, "big")
    message = b"cosignature/v1\ntime 1679315147\n" + TEXT.encode()
    assert keys.verify(WITNESS.key.public_key, message, signature.payload[8:])
    opened = note.open_note(Note(TEXT, (SIGNER.sign(TEXT), signature)).encode(), [WITNESS.verifier])
    assert note.cosignature_time(opened.signatures[0]) == 1679315147
    assert Verifier.parse(str(WITNESS.verifier)) == WITNESS.verifier


@pytest.mark.parametrize("time_unix_s", [-1, 2**63, 2**64])
def test_times_that_no_cosignature_can_carry(time_unix_s: int) -> None:
    with pytest.raises(MalformedError):
        WITNESS.cosign(TEXT, time_unix_s)


def test_altered_cosignatures_are_refused() -> None:
    signature = WITNESS.cosign(TEXT, 1)
    late = (2**63).to_bytes(8, "big")
    too_late = late + WITNESS.key.sign(b"cosignature/v1\ntime %d\n" % 2**63 + TEXT.encode())
    payloads = [
        too_late,
        (2).to_bytes(8, "big") + signature.payload[8:],
        signature.payload[8:],
        signature.payload[:-1],
        signature.payload + b"\0",
        signature.payload[:8],
        b"\0",
        bytes(8) + WITNESS.key.sign(TEXT.encode()),
        bytes(8) + WITNESS.key.sign(b"cosignature/v1\ntime 00\n" + TEXT.encode()),
    ]
    for payload in payloads:
        with pytest.raises(SignatureError):
            note.open_note(Note(TEXT, (signature._replace(payload=payload),)).encode(), [WITNESS.verifier])
    with pytest.raises(SignatureError):
        note.open_note(Note("other\n", (signature,)).encode(), [WITNESS.verifier])


def test_a_type_does_not_stand_for_another() -> None:
    plain = Signer(WITNESS.name, WITNESS.key)
    assert plain.verifier.key_id != WITNESS.verifier.key_id
    cosigned = Note(TEXT, (WITNESS.cosign(TEXT, 1),)).encode()
    for verifier, signed in ((plain.verifier, cosigned), (WITNESS.verifier, note.sign_note(TEXT, plain))):
        with pytest.raises(SignatureError):
            note.open_note(signed, [verifier])
    # Nor with the id of the other type.
    forged = plain.sign(TEXT)._replace(key_id=WITNESS.verifier.key_id)
    with pytest.raises(SignatureError):
        note.open_note(Note(TEXT, (forged,)).encode(), [WITNESS.verifier])


def test_all_errors_are_of_this_package() -> None:
    with pytest.raises(LineageError):
        Signer("a b", SIGNER.key).sign(TEXT)
    with pytest.raises(LineageError):
        Cosigner("", SIGNER.key).cosign(TEXT, 1)
