r"""Checkpoints (C2SP tlog-checkpoint v1.0.0): a signed note that says which tree a log is.

    origin ‖ "\n" ‖ size ‖ "\n" ‖ base64(root) ‖ "\n"

There are no extension lines: nobody audits them, and some witnesses refuse them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from lineage_ledger.errors import MalformedError, OtherKeyError, SignatureError
from lineage_ledger.formats import note
from lineage_ledger.formats.merkle import EMPTY_ROOT, HASH_SIZE, MAX_SIZE
from lineage_ledger.formats.text import decode_base64, encode_base64, parse_decimal

_CONTROL: Final = re.compile(r"[\x00-\x1f]")
_REMEMBERED: Final = 64
_MAX_REMEMBERED_BYTES: Final = 8_192
"""Checkpoints are smaller, with the cosignatures of a dozen witnesses."""


class CheckpointKeys(Protocol):
    """Who signs a log's checkpoints: one pinned `Verifier`, or `LedgerKeys` that followed each other."""

    @property
    def name(self) -> str:
        """The log's origin."""

    def verifier_at(self, size: int) -> note.Verifier:
        """The key that a checkpoint of `size` entries must be signed by."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tree of the log `origin` when it had `size` entries. Raises `MalformedError` for impossible values."""

    origin: str
    size: int
    """Entries; 0 to 2^63 - 1."""
    root: bytes
    """32 bytes."""

    def __post_init__(self) -> None:
        if not self.origin or _CONTROL.search(self.origin) is not None:
            raise MalformedError("a checkpoint's origin is one line that is not empty")
        if not 0 <= self.size <= MAX_SIZE:
            raise MalformedError(f"{self.size} is not the size of a tree")
        if len(self.root) != HASH_SIZE:
            raise MalformedError(f"a checkpoint's root has {HASH_SIZE} bytes, not {len(self.root)}")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise MalformedError("a checkpoint of size 0 must have the root of the empty tree")

    def encode(self) -> str:
        """The note's text, which is what signatures cover."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """The checkpoint whose text is `text`; no signature is looked at. Raises `MalformedError`."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise MalformedError("a checkpoint has three lines, origin, size and root; extension lines are refused")
        return cls(lines[0], parse_decimal(lines[1]), decode_base64(lines[2]))

    def sign(self, signer: note.Signer) -> bytes:
        """The signed note. Raises `SignatureError` if the signer is not called like the origin."""
        self._check_name(signer.name)
        return note.sign_note(self.encode(), signer)

    @classmethod
    def open(cls, signed: bytes, keys: CheckpointKeys) -> Checkpoint:
        """The checkpoint in a note that the log itself signed, checked with the log's key, or its keys by its size.

        Raises `MalformedError`; `OtherKeyError` if it is signed by another key of the log's name; `SignatureError` if
        the log's signature is absent or wrong, or the checkpoint is of another origin than the key.
        """
        checkpoint = cls.read(signed)
        _check_signed(signed, keys.verifier_at(checkpoint.size))
        return checkpoint

    @classmethod
    def read(cls, signed: bytes) -> Checkpoint:
        """The checkpoint that a signed note says; no signature is looked at. Raises `MalformedError`."""
        return _read(signed)[1]

    def _check_name(self, name: str) -> None:
        if name != self.origin:
            raise SignatureError(f"the checkpoint is of {self.origin!r}, the key of {name!r}; they must be the same")


# One checkpoint comes over many streams, and in many answers: what was found of these very bytes is remembered. What
# was refused is not.


def _read(signed: bytes) -> tuple[note.Note, Checkpoint]:
    return _read_once(signed) if len(signed) <= _MAX_REMEMBERED_BYTES else _read_once.__wrapped__(signed)


@lru_cache(_REMEMBERED)
def _read_once(signed: bytes) -> tuple[note.Note, Checkpoint]:
    parsed = note.Note.parse(signed)
    return parsed, Checkpoint.parse(parsed.text)


def _check_signed(signed: bytes, verifier: note.Verifier) -> None:
    if len(signed) <= _MAX_REMEMBERED_BYTES:
        _check_signed_once(signed, verifier)
    else:
        _check_signed_once.__wrapped__(signed, verifier)


@lru_cache(_REMEMBERED)
def _check_signed_once(signed: bytes, verifier: note.Verifier) -> None:
    """Raises as `Checkpoint.open`."""
    parsed, checkpoint = _read(signed)
    own = [signature.key_id for signature in parsed.signatures if signature.name == verifier.name]
    if own and verifier.key_id not in own:
        raise OtherKeyError(
            f"the checkpoint over {checkpoint.size} entries is signed by {verifier.name}+{own[0].hex()}, and the "
            f"key for that size is {verifier.name}+{verifier.key_id.hex()}, as far as is known here: the ledger's "
            "key was changed in between, and then give the other one; or somebody else signed this",
            size=checkpoint.size,
        )
    parsed.verified((verifier,))
    checkpoint._check_name(verifier.name)
