"""C2SP tlog-proof v1: a text file that proves one entry, of any kind, offline.

    c2sp.org/tlog-proof@v1
    index <decimal>
    <base64 sibling hash>           one a line, leaf to root
                                    (empty line)
    <checkpoint: the signed note, verbatim>

The line `extra` that others may put before `index` is refused: nothing proves what it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lineage_ledger.errors import MalformedError
from lineage_ledger.formats import merkle
from lineage_ledger.formats.checkpoint import Checkpoint, CheckpointKeys
from lineage_ledger.formats.text import decode_base64, encode_base64, parse_decimal
from lineage_ledger.formats.witness_policy import WitnessPolicy

HEADER: Final = "c2sp.org/tlog-proof@v1"
MAX_PROOF_BYTES: Final = 16 * 1024
"""A checkpoint of at most 8,000 bytes and 63 hashes take less."""


@dataclass(frozen=True, slots=True)
class TlogProof:
    """What a tlog-proof says; nothing of it is checked but its form."""

    index: int
    hashes: tuple[bytes, ...]
    """Sibling hashes from leaf to root; 32 bytes each."""
    checkpoint: bytes
    """Signed note."""

    def encode(self) -> bytes:
        """The file's bytes."""
        lines = [HEADER, f"index {self.index}", *map(encode_base64, self.hashes)]
        return "\n".join(lines).encode("ascii") + b"\n\n" + self.checkpoint

    @classmethod
    def parse(cls, data: bytes) -> TlogProof:
        """Read a tlog-proof. Raises `MalformedError` for anything but the one encoding of what it says."""
        if len(data) > MAX_PROOF_BYTES:
            raise MalformedError(f"a tlog-proof has at most {MAX_PROOF_BYTES:,} bytes here, this has {len(data):,}")
        head, separator, checkpoint = data.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise MalformedError(f"the tlog-proof has a byte that is not ASCII: {error}") from None
        if not separator or lines.pop(0) != HEADER:
            raise MalformedError(f"the file is cut off or does not begin with the line {HEADER!r}; it is no tlog-proof")
        if lines and lines[0].startswith("extra "):
            raise MalformedError("the tlog-proof has a line 'extra', which nothing proves; take it out")
        if not lines or not lines[0].startswith("index "):
            raise MalformedError("the tlog-proof has no line 'index'")
        index = parse_decimal(lines.pop(0).removeprefix("index "))
        return cls(index, tuple(map(decode_base64, lines)), checkpoint)

    def verify(self, entry: bytes, keys: CheckpointKeys, policy: WitnessPolicy | None = None) -> Checkpoint:
        """Check that `entry` is at this index of the log whose keys these are; returns the checkpoint it is under.

        With a policy, the checkpoint must have the cosignatures of a quorum, too. Raises `MalformedError`,
        `SignatureError`, `ProofError` or `QuorumError`.
        """
        checkpoint = Checkpoint.open(self.checkpoint, keys)
        if policy is not None:
            policy.check(self.checkpoint, keys.verifier_at(checkpoint.size))
        merkle.verify_inclusion(merkle.leaf_hash(entry), self.index, checkpoint.size, self.hashes, checkpoint.root)
        return checkpoint
