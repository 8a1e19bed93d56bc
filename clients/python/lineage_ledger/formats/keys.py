"""Ed25519 keys (RFC 8032): signing, verifying, which public keys are refused, and the file a signing key is kept in.

A signing key's text is that of Go's sumdb/note: `PRIVATE+KEY+name+hex8(key id)+base64(0x01 ‖ seed)`.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Final, NoReturn

from nacl import bindings
from nacl.exceptions import BadSignatureError

from lineage_ledger.errors import InvalidKeyError, MalformedError, SmallOrderKeyError
from lineage_ledger.formats import text

SEED_SIZE: Final = 32
PUBLIC_KEY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64
KEY_ID_SIZE: Final = 4
MAX_NAME_BYTES: Final = 255

ED25519: Final = 0x01
"""Signature type of C2SP signed-note."""

_PRIME: Final = 2**255 - 19
_SMALL_ORDER_Y: Final = frozenset(
    {
        0,  # order 4
        1,  # order 1, the neutral element
        _PRIME - 1,  # order 2
        int("05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826", 16),  # order 8
        int("7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7", 16),  # order 8
    }
)
_MAX_FILE_BYTES: Final = 1024
_NOT_IN_NAMES: Final = re.compile(r"[\s+\x00-\x1f]")


class SigningKey:
    """An Ed25519 signing key. Neither its `repr` nor any error shows it, and it is not picklable."""

    __slots__ = ("_expanded", "_public_key")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_SIZE:
            raise InvalidKeyError(f"an Ed25519 seed is {SEED_SIZE} bytes, not {len(seed)}")
        self._public_key, self._expanded = bindings.crypto_sign_seed_keypair(seed)

    @classmethod
    def generate(cls) -> SigningKey:
        """A new key from the operating system's random source."""
        return cls(os.urandom(SEED_SIZE))

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """The key of a 32-byte RFC 8032 seed. Raises `InvalidKeyError` for another length."""
        return cls(seed)

    @property
    def seed(self) -> bytes:
        """The secret 32 bytes that the key is made from."""
        return self._expanded[:SEED_SIZE]

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature of `message`."""
        return bindings.crypto_sign(message, self._expanded)[:SIGNATURE_SIZE]

    def __repr__(self) -> str:
        return f"SigningKey(public_key={self._public_key.hex()})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SigningKey is not pickled; keep it with write_signing_key")


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) is one of `message` by `public_key` (32 bytes).

    False, too, for wrong lengths, a scalar that is not reduced, and a key or a signature of small order.
    """
    if len(public_key) != PUBLIC_KEY_SIZE or len(signature) != SIGNATURE_SIZE:
        return False
    try:
        bindings.crypto_sign_open(signature + message, public_key)
    except BadSignatureError:
        return False
    return True


def check_public_key(public_key: bytes) -> None:
    """Refuse what is not the canonical encoding of a point in the group of prime order.

    Raises `SmallOrderKeyError` for the points of small order in any of their encodings, with which signatures hold
    for any message, and `InvalidKeyError` for everything else that no seed leads to.
    """
    if len(public_key) != PUBLIC_KEY_SIZE:
        raise InvalidKeyError(f"an Ed25519 public key is {PUBLIC_KEY_SIZE} bytes, not {len(public_key)}")
    y = int.from_bytes(public_key, "little") & (2**255 - 1)
    if y % _PRIME in _SMALL_ORDER_Y:
        raise SmallOrderKeyError(f"public key {public_key.hex()} is of small order: anybody can sign for it")
    if y >= _PRIME:
        raise InvalidKeyError(f"public key {public_key.hex()} is not canonically encoded")
    if not _is_valid_point(public_key):
        raise InvalidKeyError(f"public key {public_key.hex()} is not a point in the group of prime order")


@lru_cache(maxsize=1_024)
def _is_valid_point(public_key: bytes) -> bool:
    """Costs as much as a signature, and the same few keys are looked at again and again."""
    return bool(bindings.crypto_core_ed25519_is_valid_point(public_key))


def is_name(name: str) -> bool:
    """Whether signed-note allows `name` for a key: not empty, no Unicode space, no `+`, no control character."""
    return name != "" and _NOT_IN_NAMES.search(name) is None


def check_name(name: str) -> None:
    """Raises `InvalidKeyError` unless a key may be called `name`; at most 255 bytes of UTF-8."""
    shown = ascii(name[:64])
    if not is_name(name):
        raise InvalidKeyError(
            f"{shown} cannot name a key: a name is not empty and has no space, control character or +"
        )
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidKeyError(f"{shown} cannot name a key: it is not valid Unicode") from None
    if size > MAX_NAME_BYTES:
        raise InvalidKeyError(f"{shown}… cannot name a key: it has {size} bytes, more than {MAX_NAME_BYTES}")


def key_id(name: str, signature_type: int, public_key: bytes) -> bytes:
    """The 4 bytes that stand for a key in a note: SHA-256(name ‖ 0x0A ‖ type ‖ public key)[:4]."""
    return hashlib.sha256(name.encode() + bytes((0x0A, signature_type)) + public_key).digest()[:KEY_ID_SIZE]


def encode_signing_key(name: str, key: SigningKey) -> str:
    """The secret text of a signing key, without a line end. Raises `InvalidKeyError` for a bad name."""
    check_name(name)
    identifier = key_id(name, ED25519, key.public_key)
    return f"PRIVATE+KEY+{name}+{identifier.hex()}+{text.encode_base64(bytes((ED25519,)) + key.seed)}"


def parse_signing_key(secret: str) -> tuple[str, SigningKey]:
    """The name and key whose text is `secret`. Raises `InvalidKeyError`, which shows nothing of it."""
    parts = secret.split("+", 4)
    if len(parts) != 5:
        raise InvalidKeyError("not a signing key: it must read PRIVATE+KEY+name+key id+base64")
    name = parts[2]
    try:
        material = text.decode_base64(parts[4])
    except MalformedError:
        raise InvalidKeyError("not a signing key: its last part is not base64") from None
    if len(material) != 1 + SEED_SIZE or material[0] != ED25519:
        raise InvalidKeyError("not a signing key: only Ed25519 keys (type 1, a seed of 32 bytes) are supported")
    key = SigningKey(material[1:])
    if encode_signing_key(name, key) != secret:
        raise InvalidKeyError("not a signing key: its parts contradict each other; the key id must be of name and key")
    return name, key


def write_signing_key(path: str | os.PathLike[str], name: str, key: SigningKey) -> None:
    """Write a new key file, mode 0600, synced. Raises `InvalidKeyError` if `path` exists or cannot be written."""
    write_secret(path, encode_signing_key(name, key))


def read_signing_key(path: str | os.PathLike[str]) -> tuple[str, SigningKey]:
    """The name and key in a key file: one line, its end optional.

    Raises `InvalidKeyError` if the file cannot be read, others than its owner may read or write it, or it is not a
    signing key.
    """
    secret = read_secret(path)
    try:
        return parse_signing_key(secret)
    except InvalidKeyError as error:
        raise InvalidKeyError(f"key file {os.fspath(path)}: {error}") from None


def write_secret(path: str | os.PathLike[str], secret: str) -> None:
    """Write a new file of one secret line, mode 0600, synced; it is there whole or not at all.

    Raises `InvalidKeyError` if `path` exists or cannot be written.
    """
    target = Path(path)
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secret.encode() + b"\n")
                file.flush()
                os.fsync(descriptor)
            os.link(name, target)  # unlike a renaming, replaces nothing
        finally:
            Path(name).unlink()
        _sync_directory(target.parent)
    except OSError as error:
        raise InvalidKeyError(f"cannot write key file {target}: {error.strerror}") from error


def _sync_directory(path: Path) -> None:
    """A file that was made is still there after a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_secret(path: str | os.PathLike[str]) -> str:
    """The line in a key file, without its end.

    Raises `InvalidKeyError` if the file cannot be read, is no text, or others than its owner may read or write it.
    """
    shown = os.fspath(path)
    try:
        # Non-blocking, so that a pipe in place of the file does not hang the caller.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            content = file.read(_MAX_FILE_BYTES + 1) if stat.S_ISREG(mode) else b""
    except OSError as error:
        raise InvalidKeyError(f"cannot read key file {shown}: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise InvalidKeyError(f"key file {shown} is not a regular file")
    if mode & 0o077:
        raise InvalidKeyError(
            f"key file {shown} has mode {stat.S_IMODE(mode):04o}, so that others may use the key: run chmod 600 on it"
        )
    try:
        return content.removesuffix(b"\n").decode()
    except UnicodeDecodeError:
        raise InvalidKeyError(f"key file {shown}: not a key: it is not text") from None
