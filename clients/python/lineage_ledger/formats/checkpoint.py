r"""Checkpoints (C2SP tlog-checkpoint v1.0.0): a signed note that says which tree a log is.

    origin ‖ "\n" ‖ size ‖ "\n" ‖ base64(root) ‖ "\n"

There are no extension lines: nobody audits them, and some witnesses refuse them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lineage_ledger.errors import MalformedError, OtherKeyError, SignatureError
from lineage_ledger.formats import note
from lineage_ledger.formats.merkle import EMPTY_ROOT, HASH_SIZE, MAX_SIZE
from lineage_ledger.formats.text import decode_base64, encode_base64, parse_decimal


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
        if not self.origin or any(character < " " for character in self.origin):
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
        parsed = note.Note.parse(signed)
        checkpoint = cls.parse(parsed.text)
        verifier = keys.verifier_at(checkpoint.size)
        own = [signature.key_id for signature in parsed.signatures if signature.name == verifier.name]
        if own and verifier.key_id not in own:
            raise OtherKeyError(
                f"the checkpoint over {checkpoint.size} entries is signed by {verifier.name}+{own[0].hex()}, and the "
                f"key for that size is {verifier.name}+{verifier.key_id.hex()}, as far as is known here: the ledger's "
                "key was changed in between, and then give the other one; or somebody else signed this",
                size=checkpoint.size,
            )
        note.open_note(signed, (verifier,))
        checkpoint._check_name(verifier.name)
        return checkpoint

    def _check_name(self, name: str) -> None:
        if name != self.origin:
            raise SignatureError(f"the checkpoint is of {self.origin!r}, the key of {name!r}; they must be the same")
