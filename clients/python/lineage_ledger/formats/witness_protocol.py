r"""What a log and its witnesses say to each other (C2SP tlog-witness v1.0.0, add-checkpoint).

request     "old " size "\n" ‖ base64(hash) "\n", at most 63 times ‖ "\n" ‖ signed checkpoint
response    signature lines of the witness; on a conflict its own size "\n"
"""

from __future__ import annotations

from typing import Final, NamedTuple

from lineage_ledger.errors import MalformedError, SignatureError
from lineage_ledger.formats.merkle import HASH_SIZE
from lineage_ledger.formats.note import Signature, Verifier, cosignature_time
from lineage_ledger.formats.text import decode_base64, encode_base64, parse_decimal

PATH: Final = "/add-checkpoint"
"""Below a witness' submission prefix; a POST."""
REQUEST_TYPE: Final = "text/plain; charset=utf-8"
SIZE_TYPE: Final = "text/x.tlog.size"
"""Content type of the answer 409, by which a log learns where the witness stands."""
MAX_PROOF_HASHES: Final = 63
MAX_CHECKPOINT_BYTES: Final = 16 * 1024
MAX_REQUEST_BYTES: Final = 24 + MAX_PROOF_HASHES * 45 + 1 + MAX_CHECKPOINT_BYTES
MAX_RESPONSE_BYTES: Final = 16 * 1024
_MAX_LINES: Final = 64


class AddCheckpoint(NamedTuple):
    """A request for a cosignature."""

    old_size: int
    """Of the tree that the witness cosigned last, as far as the log knows; 0: none."""
    proof: tuple[bytes, ...]
    """RFC 6962, 2.1.2, from `old_size` to the checkpoint's size; 32 bytes each."""
    checkpoint: bytes
    """Signed note."""

    def encode(self) -> bytes:
        """The body. Raises `MalformedError` for more than a request may have."""
        if len(self.proof) > MAX_PROOF_HASHES or len(self.checkpoint) > MAX_CHECKPOINT_BYTES:
            raise MalformedError(
                f"a request has at most {MAX_PROOF_HASHES} hashes and a checkpoint of {MAX_CHECKPOINT_BYTES:,} bytes"
            )
        lines = [f"old {self.old_size}", *map(encode_base64, self.proof), "", ""]
        return "\n".join(lines).encode("ascii") + self.checkpoint

    @classmethod
    def parse(cls, body: bytes) -> AddCheckpoint:
        """The request in a body; the checkpoint is not looked at. Raises `MalformedError`."""
        if len(body) > MAX_REQUEST_BYTES:
            raise MalformedError(f"the request has {len(body):,} bytes, more than {MAX_REQUEST_BYTES:,}")
        head, separator, checkpoint = body.partition(b"\n\n")
        if not separator or len(checkpoint) > MAX_CHECKPOINT_BYTES:
            raise MalformedError("the request has no empty line before its checkpoint, or too much behind it")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise MalformedError(f"the request has a byte that is not ASCII: {error}") from None
        if not lines[0].startswith("old "):
            raise MalformedError(f"{lines[0][:80]!r} is not the line 'old SIZE' with which a request begins")
        if len(lines) - 1 > MAX_PROOF_HASHES:
            raise MalformedError(f"{len(lines) - 1} lines of proof; there are at most {MAX_PROOF_HASHES}")
        hashes = tuple(decode_base64(line) for line in lines[1:])
        for number, value in enumerate(hashes, 2):
            if len(value) != HASH_SIZE:
                raise MalformedError(f"line {number} has a hash of {len(value)} bytes; {HASH_SIZE} are needed")
        return cls(parse_decimal(lines[0].removeprefix("old ")), hashes, checkpoint)


def encode_size(size: int) -> bytes:
    """Body of the answer 409: the size of the tree that the witness cosigned last."""
    return f"{size}\n".encode("ascii")


def parse_size(body: bytes) -> int:
    """The size in the body of an answer 409. Raises `MalformedError`."""
    if len(body) > 20 or not body.endswith(b"\n"):
        raise MalformedError("a witness answers a conflict with its size, a decimal number, and a line end")
    return parse_decimal(body[:-1].decode("ascii", "replace"))


def read_cosignature(body: bytes, text: str, witness: Verifier) -> Signature:
    """The cosignature of `witness` over a checkpoint's text, out of the body of an answer 200; verified.

    Lines of other keys are passed over. Raises `MalformedError`, or `SignatureError` if the witness' own line is
    missing, wrong, or without a time.
    """
    if len(body) > MAX_RESPONSE_BYTES:
        raise MalformedError(f"the answer has {len(body):,} bytes, more than {MAX_RESPONSE_BYTES:,}")
    try:
        lines = body.decode().split("\n")
    except UnicodeDecodeError as error:
        raise MalformedError(f"the answer is not UTF-8 at byte {error.start}") from None
    if lines.pop() or not 1 <= len(lines) <= _MAX_LINES:
        raise MalformedError(f"the answer must be 1 to {_MAX_LINES} signature lines")
    identity = (witness.name, witness.key_id)
    found = [one for one in map(Signature.parse, lines) if (one.name, one.key_id) == identity]
    if not found:
        raise SignatureError(f"the answer has no line of {witness.name}+{witness.key_id.hex()}; is it that witness?")
    for signature in found:
        if not cosignature_time(signature) or not witness.verify(text, signature):
            raise SignatureError(f"the cosignature of {witness.name} does not check: it is over something else")
    return found[0]
