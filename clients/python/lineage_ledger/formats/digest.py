"""Digests of content: their text, and the manifest that stands for a folder (proto/README.md, "Digests").

Pure; `lineage_ledger.files` reads files and folders.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from lineage_ledger.errors import MalformedError
from lineage_ledger.formats.strict_checks import DIGEST_BYTES
from lineage_ledger.v1 import entry_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_PATH_BYTES: Final = 1_024
SHA256_BYTES: Final = 32

_SAMPLED: Final = "sampled:"
_ALGORITHMS: Final = {
    "sha256": entry_pb2.DIGEST_ALGORITHM_SHA256,
    "sha512": entry_pb2.DIGEST_ALGORITHM_SHA512,
    "sha1": entry_pb2.DIGEST_ALGORITHM_SHA1,
    "md5": entry_pb2.DIGEST_ALGORITHM_MD5,
    "crc32": entry_pb2.DIGEST_ALGORITHM_CRC32,
}
_NAMES: Final = {number: name for name, number in _ALGORITHMS.items()}


class ManifestFile(NamedTuple):
    """One file of a manifest."""

    path: str
    """Relative to the folder, "/" between parts; 1 to 1,024 bytes of UTF-8."""
    sha256: bytes
    """SHA-256 of its content; 32 bytes."""
    size_bytes: int


def parse_digest(text: str) -> entry_pb2.Digest:
    """The digest that is written as `<algorithm>:<lower-case hex>`, such as "sha256:e3b0…".

    Algorithms are sha256, sha512, sha1, md5 and crc32; "sampled:" before it says that a part of the content was
    digested. Raises `MalformedError`.
    """
    name, colon, digits = text.removeprefix(_SAMPLED).partition(":")
    algorithm = _ALGORITHMS.get(name)
    if not colon or algorithm is None:
        raise MalformedError(f"{text[:160]!r} is not a digest; one is <{'|'.join(_ALGORITHMS)}>:<hex digits>")
    length = 2 * DIGEST_BYTES[algorithm]
    if len(digits) != length or not set(digits) <= set("0123456789abcdef"):
        raise MalformedError(f"{text[:160]!r} is not a digest; {name} has {length} lower-case hex digits")
    return entry_pb2.Digest(algorithm=algorithm, value=bytes.fromhex(digits), sampled=text.startswith(_SAMPLED))


def format_digest(digest: entry_pb2.Digest) -> str:
    """The one text of a digest, which `parse_digest` reads. Raises `MalformedError` for an unknown algorithm."""
    name = _NAMES.get(digest.algorithm)
    if name is None:
        raise MalformedError(f"digest algorithm {digest.algorithm} is unknown; known are {', '.join(_ALGORITHMS)}")
    return f"{_SAMPLED if digest.sampled else ''}{name}:{digest.value.hex()}"


def sha256_digest(value: bytes) -> entry_pb2.Digest:
    """The digest message of a SHA-256 `value` of 32 bytes. Raises `MalformedError` for another length."""
    if len(value) != SHA256_BYTES:
        raise MalformedError(f"a SHA-256 digest has {SHA256_BYTES} bytes, not {len(value)}")
    return entry_pb2.Digest(algorithm=entry_pb2.DIGEST_ALGORITHM_SHA256, value=value)


def manifest(files: Iterable[ManifestFile]) -> bytes:
    """What `sha256sum` prints for these files: a line `<64 hex digits>  <path>\\n` each, ascending by path bytes.

    The SHA-256 of these bytes is the folder's digest, so anybody can check it with `sha256sum` alone. Raises
    `MalformedError` for a path that the format does not allow, one that comes twice, or no file at all.
    """
    lines: dict[bytes, bytes] = {}
    for file in files:
        path = check_path(file.path)
        if path in lines:
            raise MalformedError(f"the path {file.path!r} comes twice; a folder holds a file once")
        if len(file.sha256) != SHA256_BYTES:
            raise MalformedError(f"the SHA-256 of {file.path!r} is {len(file.sha256)} bytes, not {SHA256_BYTES}")
        lines[path] = file.sha256.hex().encode() + b"  " + path + b"\n"
    if not lines:
        raise MalformedError("there is no file; a folder's digest needs at least one")
    return b"".join(line for _, line in sorted(lines.items()))


def manifest_digest(files: Iterable[ManifestFile]) -> entry_pb2.Digest:
    """The digest of a folder: SHA-256 of its manifest. Raises `MalformedError` as `manifest` does."""
    return sha256_digest(hashlib.sha256(manifest(files)).digest())


def check_path(path: str) -> bytes:
    """The bytes of a path as manifests and `File` take it. Raises `MalformedError`, saying why and what to do.

    `sha256sum` writes names with a newline, a carriage return or a backslash in another form, so they would read as
    two paths.
    """
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        raise MalformedError(f"the path {path!r} is not UTF-8; rename the file") from None
    if not 1 <= len(encoded) <= MAX_PATH_BYTES:
        raise MalformedError(f"the path {path[:80]!r} is {len(encoded)} bytes; it must be 1 to {MAX_PATH_BYTES:,}")
    for character in "\n\r\\\0":
        if character in path:
            raise MalformedError(f"the path {path!r} holds {character!r}; rename the file")
    if not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise MalformedError(f'the path {path!r} must be relative, without empty, "." or ".." parts')
    return encoded
