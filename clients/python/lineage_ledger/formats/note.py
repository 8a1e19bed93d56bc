r"""Signed notes (C2SP signed-note v1.0.0): text, and who signed it.

    text ‖ "\n" ‖ lines "— " name " " base64(key id ‖ signature) "\n"

Two signature types: plain Ed25519 (0x01), and cosignature/v1 of witnesses (0x04, C2SP tlog-cosignature), which also
says when.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from lineage_ledger.errors import InvalidKeyError, MalformedError, SignatureError
from lineage_ledger.formats import keys
from lineage_ledger.formats.text import MAX_DECIMAL, decode_base64, encode_base64

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_SIGNATURES: Final = 64
MAX_NOTE_BYTES: Final = 1_000_000

_DASH: Final = "\N{EM DASH} "
_TIME_SIZE: Final = 8
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")


class SignatureType(IntEnum):
    """How a key signs; the byte before the public key in key ids and verifier keys."""

    ED25519 = keys.ED25519
    COSIGNATURE_V1 = 0x04


class Signature(NamedTuple):
    """One signature line. Nothing is known of it until `open_note` has verified it."""

    name: str
    key_id: bytes
    """4 bytes."""
    payload: bytes
    """What the key's type defines, at least 1 byte: 64 for Ed25519, 72 for cosignature/v1."""

    def encode(self) -> str:
        """The line, with its end. Raises `MalformedError` for what no note can carry."""
        if not keys.is_name(self.name) or len(self.key_id) != keys.KEY_ID_SIZE or not self.payload:
            raise MalformedError(f"{self.name[:80]!r} has no name or signature that a note can carry")
        return f"{_DASH}{self.name} {encode_base64(self.key_id + self.payload)}\n"

    @classmethod
    def parse(cls, line: str) -> Signature:
        """A line, without its end. Raises `MalformedError`."""
        name, separator, encoded = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not separator or not keys.is_name(name):
            raise MalformedError(f"{line[:80]!r} is not a signature line: it must read '— name base64'")
        value = decode_base64(encoded)
        if len(value) <= keys.KEY_ID_SIZE:
            raise MalformedError(f"the signature of {name[:80]!r} ends after its key id")
        return cls(name, value[: keys.KEY_ID_SIZE], value[keys.KEY_ID_SIZE :])


class Note(NamedTuple):
    """A text, which ends with a line end, and signatures over it."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """The note's bytes. Raises `MalformedError` for a text or name that no note can carry."""
        _check_text(self.text)
        if not 1 <= len(self.signatures) <= MAX_SIGNATURES:
            raise MalformedError(f"a note has 1 to {MAX_SIGNATURES} signatures, not {len(self.signatures)}")
        try:
            encoded = f"{self.text}\n{''.join(signature.encode() for signature in self.signatures)}".encode()
        except UnicodeEncodeError:
            raise MalformedError("the note is not valid Unicode") from None
        if len(encoded) > MAX_NOTE_BYTES:
            raise MalformedError(f"the note has {len(encoded)} bytes, more than {MAX_NOTE_BYTES}")
        return encoded

    @classmethod
    def parse(cls, note: bytes) -> Note:
        """Take a note apart and verify nothing. Raises `MalformedError`."""
        if len(note) > MAX_NOTE_BYTES:
            raise MalformedError(f"the note has {len(note)} bytes, more than {MAX_NOTE_BYTES}")
        try:
            decoded = note.decode()
        except UnicodeDecodeError as error:
            raise MalformedError(f"the note is not UTF-8 at byte {error.start}") from None
        # The text may hold empty lines itself: the last one separates.
        body, separator, block = decoded.rpartition("\n\n")
        if not separator or not block.endswith("\n"):
            raise MalformedError("the note has no signatures: text, an empty line and signature lines are needed")
        if block.count("\n") > MAX_SIGNATURES:
            raise MalformedError(f"the note has more than {MAX_SIGNATURES} signatures")
        text = body + "\n"
        _check_text(text)
        # Each line has one encoding, which is what it was parsed from; so the whole note has.
        return cls(text, tuple(Signature.parse(line) for line in block[:-1].split("\n")))

    def verified(self, verifiers: Iterable[Verifier]) -> Note:
        """The note with the signatures that `open_note` would leave. Raises as it does."""
        known: dict[tuple[str, bytes], Verifier] = {}
        for verifier in verifiers:
            if known.setdefault((verifier.name, verifier.key_id), verifier) != verifier:
                raise InvalidKeyError(
                    f"two verifier keys share the name {verifier.name} and the id {verifier.key_id.hex()}"
                )
        verified: dict[tuple[str, bytes], Signature] = {}
        for signature in self.signatures:
            identity = (signature.name, signature.key_id)
            if identity not in known:
                continue
            if not known[identity].verify(self.text, signature):
                raise SignatureError(
                    f"the signature of {signature.name}+{signature.key_id.hex()} does not check: "
                    "the note was changed, or somebody else signed it"
                )
            verified.setdefault(identity, signature)
        if not verified:
            wanted = ", ".join(f"{name}+{key_id.hex()}" for name, key_id in known) or "any: no verifier key was given"
            found = ", ".join(f"{one.name[:80]}+{one.key_id.hex()}" for one in self.signatures[:3])
            more = f" and {len(self.signatures) - 3} more" if len(self.signatures) > 3 else ""
            raise SignatureError(f"the note has no signature of {wanted}; those that it has say {found}{more}")
        return Note(self.text, tuple(verified.values()))


@dataclass(frozen=True, slots=True)
class Verifier:
    """A name and public key that signatures are checked with; its text is the verifier key (vkey).

    Raises `InvalidKeyError` for a name or key that cannot be used.
    """

    name: str
    public_key: bytes
    type: SignatureType = SignatureType.ED25519

    def __post_init__(self) -> None:
        keys.check_name(self.name)
        keys.check_public_key(self.public_key)

    @property
    def key_id(self) -> bytes:
        """4 bytes."""
        return keys.key_id(self.name, self.type, self.public_key)

    def __str__(self) -> str:
        """The verifier key: `name+hex8(key id)+base64(type ‖ public key)`."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes((self.type,)) + self.public_key)}"

    def verifier_at(self, size: int) -> Verifier:  # noqa: ARG002  (one key alone signs at every size)
        """This one: a pinned key by itself is taken to sign checkpoints of any size (`CheckpointKeys`)."""
        return self

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """The verifier whose text is `vkey`. Raises `InvalidKeyError`."""
        if vkey.startswith("PRIVATE+KEY+"):
            raise InvalidKeyError("this is a signing key, which stays where it is; its verifier key is wanted here")
        parts = vkey.split("+", 2)
        if len(parts) != 3:
            raise InvalidKeyError(f"{vkey[:80]!r} is not a verifier key: it must read name+key id+base64")
        try:
            material = decode_base64(parts[2])
        except MalformedError as error:
            raise InvalidKeyError(f"the verifier key of {parts[0][:80]!r} is not one: {error}") from error
        if not material or material[0] not in tuple(SignatureType):
            raise InvalidKeyError(
                f"the verifier key of {parts[0][:80]!r} is of a type that is not supported; "
                "1 (Ed25519) and 4 (cosignature/v1) are"
            )
        verifier = cls(parts[0], material[1:], SignatureType(material[0]))
        if str(verifier) != vkey:
            raise InvalidKeyError(
                f"the verifier key of {parts[0][:80]!r} contradicts itself: its key id must be {verifier.key_id.hex()}"
            )
        return verifier

    def verify(self, text: str, signature: Signature) -> bool:
        """Whether `signature` is by this key over `text`."""
        if (signature.name, signature.key_id) != (self.name, self.key_id):
            return False
        if self.type is SignatureType.ED25519:
            return keys.verify(self.public_key, text.encode(), signature.payload)
        if len(signature.payload) != _TIME_SIZE + keys.SIGNATURE_SIZE:
            return False
        time_unix_s = cosignature_time(signature)
        if time_unix_s > MAX_DECIMAL:
            return False
        return keys.verify(self.public_key, _cosigned_message(text, time_unix_s), signature.payload[_TIME_SIZE:])


@dataclass(frozen=True, slots=True)
class Signer:
    """A name and signing key that sign notes with plain Ed25519."""

    name: str
    key: keys.SigningKey

    @property
    def verifier(self) -> Verifier:
        """What others check this signer's signatures with."""
        return Verifier(self.name, self.key.public_key)

    def sign(self, text: str) -> Signature:
        """Sign a note's text. Raises `MalformedError` for a text that no note can carry."""
        return Signature(self.name, self.verifier.key_id, self.key.sign(_check_text(text)))


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A witness: signs that a checkpoint's tree was, at a time, the largest consistent one it had seen.

    The signed message does not hold the name, so one key serves one cosigner only.
    """

    name: str
    key: keys.SigningKey

    @property
    def verifier(self) -> Verifier:
        """What others check this cosigner's signatures with."""
        return Verifier(self.name, self.key.public_key, SignatureType.COSIGNATURE_V1)

    def cosign(self, text: str, time_unix_s: int) -> Signature:
        """Sign a checkpoint's text at a time in seconds since the Unix epoch, below 2^63. Raises `MalformedError`."""
        if not 0 <= time_unix_s <= MAX_DECIMAL:
            raise MalformedError(f"{time_unix_s} is not a time that a cosignature can carry")
        _check_text(text)
        signature = self.key.sign(_cosigned_message(text, time_unix_s))
        return Signature(self.name, self.verifier.key_id, time_unix_s.to_bytes(_TIME_SIZE, "big") + signature)


def cosignature_time(signature: Signature) -> int:
    """When a verified cosignature/v1 was made; seconds since the Unix epoch."""
    return int.from_bytes(signature.payload[:_TIME_SIZE], "big")


def sign_note(text: str, *signers: Signer) -> bytes:
    """The note of `text` (which ends with a line end) with one signature of each signer. Raises `MalformedError`."""
    return Note(text, tuple(signer.sign(text) for signer in signers)).encode()


def open_note(note: bytes, verifiers: Iterable[Verifier]) -> Note:
    """Parse a note and verify every signature of a known key, which is a known pair of name and key id.

    The note returned holds only verified signatures, the first one of each key; those of unknown keys are ignored.
    Raises `MalformedError`; `SignatureError` if a signature of a known key is wrong or there is none; and
    `InvalidKeyError` if two different verifiers share their name and key id.
    """
    return Note.parse(note).verified(verifiers)


def _check_text(text: str) -> bytes:
    """The bytes that signatures of `text` are over."""
    if not text.endswith("\n"):
        raise MalformedError("a note's text ends with a line end")
    if _CONTROL.search(text) is not None:
        raise MalformedError("a note has no control characters but line ends")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise MalformedError("a note's text is valid Unicode") from None


def _cosigned_message(text: str, time_unix_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_unix_s}\n{text}".encode()
