"""Ed25519, signed notes, checkpoints, verifier keys and tlog-proof receipts."""

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from nacl.bindings import crypto_core_ed25519_is_valid_point
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

from tests.second_verifier import merkle

ED25519, MOST_SIGNATURES = 0x01, 100
DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


class NoteError(ValueError):
    """A note, a key or a receipt that does not hold."""


def signature_holds(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """RFC 8032 without cofactor; keys and points of small order and other encodings are refused (libsodium's rule)."""
    try:
        VerifyKey(public_key).verify(message, signature)
    except (CryptoError, ValueError):
        return False
    return True


def key_is_sound(public_key: bytes) -> bool:
    """A canonical point of the prime-order group: what a registered or pinned key must be."""
    return len(public_key) == 32 and crypto_core_ed25519_is_valid_point(public_key)


def base64_bytes(text: str) -> bytes:
    try:
        data = b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise NoteError("not base64") from None
    if b64encode(data).decode() != text:
        raise NoteError("base64 that is not canonical")
    return data


@dataclass(frozen=True)
class VerifierKey:
    name: str
    key_id: bytes
    public_key: bytes


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(character.isspace() for character in name)


def vkey_of(name: str, public_key: bytes) -> VerifierKey:
    """The ledger's verifier key that has this public key."""
    data = bytes([ED25519]) + public_key
    return VerifierKey(name, sha256(name.encode() + b"\n" + data).digest()[:4], public_key)


def parse_vkey(text: str) -> VerifierKey:
    name, _, rest = text.partition("+")
    digits, _, encoded = rest.partition("+")
    data = base64_bytes(encoded)
    key_id = sha256(name.encode() + b"\n" + data).digest()[:4]
    if not _is_name(name) or len(data) != 33 or data[0] != ED25519 or digits != key_id.hex():
        raise NoteError("not a verifier key of type Ed25519")
    if not key_is_sound(data[1:]):
        raise NoteError("a public key of small order or not canonical")
    return VerifierKey(name, key_id, data[1:])


def open_note(note: bytes, keys: Sequence[VerifierKey]) -> tuple[str, list[str]]:
    """The text and the names of the keys that signed it; at least one known key has, and none wrongly."""
    try:
        whole = note.decode()
    except UnicodeDecodeError:
        raise NoteError("not UTF-8") from None
    if any(character < " " and character != "\n" for character in whole):
        raise NoteError("a control character")
    text, separator, signatures = whole.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise NoteError("no text, no signatures or no line end")
    text += "\n"
    lines = signatures[:-1].split("\n")
    if len(lines) > MOST_SIGNATURES:
        raise NoteError("too many signatures")
    verified: list[str] = []
    for line in lines:
        match = re.fullmatch("— ([^ ]+) ([^ ]+)", line)
        if match is None or not _is_name(match[1]):
            raise NoteError("a line that is no signature")
        data = base64_bytes(match[2])
        if len(data) < 5:
            raise NoteError("a signature that is too short")
        for key in keys:
            if (key.name, key.key_id) == (match[1], data[:4]):
                if not signature_holds(key.public_key, text.encode(), data[4:]):
                    raise NoteError(f"a wrong signature of {key.name}")
                if key.name not in verified:
                    verified.append(key.name)
    if not verified:
        raise NoteError("no known key signed it")
    return text, verified


@dataclass(frozen=True)
class Checkpoint:
    origin: str
    size: int
    root: bytes


def parse_checkpoint_text(text: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0] or not DECIMAL.fullmatch(lines[1]):
        raise NoteError("not a checkpoint")
    root = base64_bytes(lines[2])
    if len(root) != 32:
        raise NoteError("a root that is not 32 bytes long")
    return Checkpoint(lines[0], int(lines[1]), root)


def open_checkpoint(note: bytes, key: VerifierKey) -> Checkpoint:
    checkpoint = parse_checkpoint_text(open_note(note, [key])[0])
    if checkpoint.origin != key.name:
        raise NoteError("a checkpoint of another origin")
    return checkpoint


def open_checkpoint_by_size(note: bytes, key_at: Callable[[int], VerifierKey]) -> Checkpoint:
    """A checkpoint that is signed by the key in force at its size."""
    said = parse_checkpoint_text(note.decode(errors="replace").rpartition("\n\n")[0] + "\n")
    return open_checkpoint(note, key_at(said.size))


def verify_tlog_proof(receipt: bytes, entry: bytes, key: VerifierKey) -> tuple[int, Checkpoint]:
    """The entry's index and the checkpoint under which the receipt proves it."""
    head, separator, note = receipt.partition(b"\n\n")
    try:
        first, second, *hashes = head.decode("ascii").split("\n")
    except ValueError:
        raise NoteError("not a tlog-proof") from None
    index = second.removeprefix("index ")
    if first != "c2sp.org/tlog-proof@v1" or not separator or index == second or not DECIMAL.fullmatch(index):
        raise NoteError("not a tlog-proof")
    checkpoint = open_checkpoint(note, key)
    proof = [base64_bytes(line) for line in hashes]
    if not merkle.verify_inclusion(int(index), checkpoint.size, merkle.leaf_hash(entry), proof, checkpoint.root):
        raise NoteError("the entry is not proved")
    return int(index), checkpoint
