"""Ed25519 keys: RFC 8032 vectors, points of small order, and key files that must not be used."""

from __future__ import annotations

import copy
import json
import os
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage_ledger.errors import InvalidKeyError, LineageError, SmallOrderKeyError
from lineage_ledger.formats import keys
from lineage_ledger.formats.keys import SigningKey

VECTORS = Path(__file__).parents[1] / "vectors" / "ed25519"
RFC_8032 = json.loads((VECTORS / "rfc8032.json").read_text())
EDGE_CASES = json.loads((VECTORS / "edge_cases.json").read_text())
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
SEED = bytes.fromhex(RFC_8032[0]["seed"])
PUBLIC_KEY = bytes.fromhex(RFC_8032[0]["public_key"])
# The text of a key that somebody else's program made (see the vectors' README).
PETER = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"


@pytest.mark.parametrize("vector", RFC_8032, ids=lambda vector: vector["name"])
def test_rfc_8032(vector: dict[str, Any]) -> None:
    seed, public_key, message, signature = (
        bytes.fromhex(vector[name]) for name in ("seed", "public_key", "message", "signature")
    )
    key = SigningKey.from_seed(seed)
    assert (key.seed, key.public_key, key.sign(message)) == (seed, public_key, signature)
    assert keys.verify(public_key, message, signature)
    keys.check_public_key(public_key)
    assert not keys.verify(public_key, message + b"\0", signature)
    assert not keys.verify(PUBLIC_KEY[::-1], message, signature)


def test_every_altered_bit_of_a_signature_is_refused() -> None:
    message = b"message"
    signature = SigningKey(SEED).sign(message)
    for bit in range(512):
        altered = bytearray(signature)
        altered[bit // 8] ^= 1 << bit % 8
        assert not keys.verify(PUBLIC_KEY, message, bytes(altered))


def test_a_scalar_that_is_not_reduced_is_refused() -> None:
    signature = SigningKey(SEED).sign(b"message")
    scalar = int.from_bytes(signature[32:], "little")
    for multiple in range(1, 16):
        malleated = signature[:32] + (scalar + multiple * GROUP_ORDER).to_bytes(32, "little")
        assert not keys.verify(PUBLIC_KEY, b"message", malleated)


@pytest.mark.parametrize(("key_size", "signature_size"), [(0, 64), (31, 64), (33, 64), (32, 0), (32, 63), (32, 65)])
def test_wrong_lengths_do_not_verify(key_size: int, signature_size: int) -> None:
    signature = (SigningKey(SEED).sign(b"") + b"\0")[:signature_size]
    assert not keys.verify((PUBLIC_KEY + b"\0")[:key_size], b"", signature)


@pytest.mark.parametrize("vector", EDGE_CASES, ids=lambda vector: str(vector["number"]))
def test_edge_cases(vector: dict[str, Any]) -> None:
    flags = set(vector["flags"])
    public_key = bytes.fromhex(vector["public_key"])
    accepted = keys.verify(public_key, vector["message"].encode(), bytes.fromhex(vector["signature"]))
    if flags & {"low_order_A", "low_order_R", "non_canonical_A", "non_canonical_R", "low_order_residue"}:
        assert not accepted
    if not flags:
        assert accepted
    if "low_order_A" in flags:
        with pytest.raises(SmallOrderKeyError):
            keys.check_public_key(public_key)
    elif "low_order_component_A" in flags:
        with pytest.raises(InvalidKeyError):
            keys.check_public_key(public_key)
    else:
        keys.check_public_key(public_key)


def test_all_encodings_of_points_of_small_order_are_refused() -> None:
    small = {vector["public_key"] for vector in EDGE_CASES if "low_order_A" in vector["flags"]}
    assert len(small) == 14
    for public_key in small:
        with pytest.raises(SmallOrderKeyError):
            keys.check_public_key(bytes.fromhex(public_key))


@pytest.mark.parametrize(
    "public_key",
    [
        b"",
        PUBLIC_KEY[:-1],
        PUBLIC_KEY + b"\0",
        # Not canonical: y = p + 3, and y = 2^255 - 1, with either sign.
        (2**255 - 19 + 3).to_bytes(32, "little"),
        (2**256 - 19 + 3).to_bytes(32, "little"),
        (2**255 - 1).to_bytes(32, "little"),
        b"\xff" * 32,
        # No point of the curve has y = 2.
        (2).to_bytes(32, "little"),
    ],
)
def test_what_is_no_public_key_is_refused(public_key: bytes) -> None:
    with pytest.raises(InvalidKeyError):
        keys.check_public_key(public_key)


@given(st.binary(min_size=32, max_size=32))
@settings(max_examples=50, deadline=None)
def test_every_seed_gives_a_key_that_is_accepted(seed: bytes) -> None:
    key = SigningKey.from_seed(seed)
    keys.check_public_key(key.public_key)
    assert keys.verify(key.public_key, b"message", key.sign(b"message"))
    assert keys.parse_signing_key(keys.encode_signing_key("name", key))[1].seed == seed


def test_a_key_that_is_not_canonical_is_named_so() -> None:
    with pytest.raises(InvalidKeyError, match="not canonically encoded"):
        keys.check_public_key((2**255 - 19 + 3).to_bytes(32, "little"))


def test_generated_keys_differ() -> None:
    assert SigningKey.generate().seed != SigningKey.generate().seed


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_seed_has_32_bytes(size: int) -> None:
    with pytest.raises(InvalidKeyError):
        SigningKey.from_seed(bytes(size))


def test_a_key_does_not_show_itself() -> None:
    key = SigningKey(SEED)
    for shown in (repr(key), str(key), f"{key}"):
        assert SEED.hex() not in shown
        assert key.public_key.hex() in shown
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(key)


# Key text


def test_the_text_that_go_writes() -> None:
    name, key = keys.parse_signing_key(PETER)
    assert name == "PeterNeumann"
    assert keys.encode_signing_key(name, key) == PETER
    assert keys.key_id(name, keys.ED25519, key.public_key).hex() == "c74f20a3"


def test_every_part_and_every_altered_character_of_a_text_is_refused() -> None:
    refused = {PETER[start:end] for start in range(len(PETER)) for end in range(start + 1, len(PETER) + 1)} - {PETER}
    for place, character in enumerate(PETER):
        refused |= {PETER[:place] + chr(ord(character) + step) + PETER[place + 1 :] for step in (1, -1)}
    refused |= {PETER + "\n", " " + PETER, PETER + "=", PETER.lower(), PETER.replace("c74f20a3", "C74F20A3"), ""}
    for text in refused:
        with pytest.raises(InvalidKeyError) as caught:
            keys.parse_signing_key(text)
        assert_shows_nothing(caught.value, text)


def assert_shows_nothing(error: BaseException, text: str) -> None:
    """No run of the secret part is in the error, or in one that it came from."""
    shown = "".join(str(part) for part in traceback.TracebackException.from_exception(error).format_exception_only())
    secret = text.rpartition("+")[2]
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    assert all(secret[at : at + 8] not in shown for at in range(0, max(1, len(secret) - 7), 4) if len(secret) >= 8)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a b",
        "a+b",
        "a\nb",
        "a\tb",
        "a\x00b",
        "a\x1fb",
        "a\u00a0b",
        "a\u2003b",
        "a\u3000",
        "\u0085",
        "\ud800",
        "a" * 256,
    ],
)
def test_names_refused(name: str) -> None:
    with pytest.raises(InvalidKeyError):
        keys.check_name(name)
    with pytest.raises(InvalidKeyError):
        keys.encode_signing_key(name, SigningKey(SEED))


@pytest.mark.parametrize("name", ["a", "example.com/ledger/prod", "Zürich", "a" * 255, "a-b_c~d:8080/é"])
def test_names_accepted(name: str) -> None:
    keys.check_name(name)


# Key files


def written(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_key_file_is_private_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "ledger.key"
    before = os.umask(0)
    try:
        keys.write_signing_key(path, "PeterNeumann", keys.parse_signing_key(PETER)[1])
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o7777 == 0o600
    assert path.read_text() == PETER + "\n"
    name, key = keys.read_signing_key(path)
    assert keys.encode_signing_key(name, key) == PETER


def test_a_key_file_of_another_program_may_lack_the_line_end(tmp_path: Path) -> None:
    assert keys.read_signing_key(written(tmp_path / "key", PETER.encode()))[0] == "PeterNeumann"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o620, 0o602, 0o610, 0o601, 0o666, 0o777])
def test_a_key_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "key", PETER.encode() + b"\n", mode)
    with pytest.raises(InvalidKeyError, match=f"mode {mode:04o}.*chmod 600") as caught:
        keys.read_signing_key(path)
    assert_shows_nothing(caught.value, PETER)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        PETER.encode() + b"\n\n",
        PETER.encode() + b"\r\n",
        b"\n" + PETER.encode(),
        PETER.encode() + b"\n" + PETER.encode() + b"\n",
        b"\xff" + PETER.encode(),
        PETER.encode()[:-1] + b"\xff",
        PETER.encode() * 100,
        b"-----BEGIN OPENSSH PRIVATE KEY-----\n",
    ],
)
def test_what_is_no_key_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path / "key", content)
    with pytest.raises(InvalidKeyError, match=str(path)) as caught:
        keys.read_signing_key(path)
    assert_shows_nothing(caught.value, PETER)


def test_a_key_file_is_never_replaced(tmp_path: Path) -> None:
    path = written(tmp_path / "key", b"something")
    dangling = tmp_path / "link"
    dangling.symlink_to(tmp_path / "elsewhere")
    for existing in (path, dangling, tmp_path):
        with pytest.raises(InvalidKeyError):
            keys.write_signing_key(existing, "name", SigningKey(SEED))
    assert path.read_bytes() == b"something"
    assert not (tmp_path / "elsewhere").exists()


def test_paths_that_are_no_file_are_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path in (tmp_path / "absent", tmp_path, pipe, tmp_path / "absent" / "key"):
        with pytest.raises(LineageError):
            keys.read_signing_key(path)
    with pytest.raises(InvalidKeyError):
        keys.write_signing_key(tmp_path / "absent" / "key", "name", SigningKey(SEED))


def test_a_bad_name_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidKeyError):
        keys.write_signing_key(tmp_path / "key", "a b", SigningKey(SEED))
    assert not (tmp_path / "key").exists()


def test_a_key_that_cannot_be_written_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InvalidKeyError, match="No space left"):
        keys.write_signing_key(tmp_path / "key", "name", SigningKey(SEED))
    assert not (tmp_path / "key").exists()
