"""A batch by itself: everything that can be decided without knowing the ledger, on the stream's own thread.

The heavy part is two calls into the kernel, which let go of the interpreter's lock, so that batches are checked while
the sequencer waits for the disk.
"""

from __future__ import annotations

from dataclasses import dataclass

from lineage_ledger import kernel
from lineage_ledger.errors import SealError
from lineage_ledger.formats import merkle, seal, statement
from lineage_ledger.v1 import entry_pb2
from lineage_ledger_server.errors import LimitError

_ATTESTATION_TAG = 0x32
_UNSIGNED_TAGS = b"\x1a\x22\x2a"
"""First bytes of artifacts, runs and deployments, of which nothing but the encoding is to be checked."""


@dataclass(frozen=True, slots=True)
class CheckedBatch:
    """A batch that agrees with its own seal."""

    packed: bytes
    """All entries, the seal last, each with its u16be length before it."""
    leaf_hashes: bytes
    """32 bytes an entry."""
    count: int
    """Entries, the seal counted."""
    seal: seal.ParsedSeal
    seal_entry: bytes


def check_batch(packed: bytes, origin: str) -> CheckedBatch:
    """Split, scan and hash a packed batch, and hold it against its seal.

    Raises `LimitError`, `MalformedBatchError`, `MalformedEntryError`, or `SealError` with the reason to answer.
    """
    if len(packed) > seal.MAX_BATCH_BYTES:
        raise LimitError(
            f"the batch has {len(packed):,} bytes, at most {seal.MAX_BATCH_BYTES:,} are taken; seal smaller batches",
            limit="max_batch_bytes",
            value=seal.MAX_BATCH_BYTES,
        )
    scanned, body_root = kernel.scan_batch(packed)
    if not scanned.others or scanned.others[-1][0] != scanned.count - 1:
        raise SealError("the batch does not end with a seal's entry", reason="MALFORMED_SEAL")
    # Most batches have nothing here, and one of statements has nothing but unsigned ones.
    if scanned.other_tags[:-1].translate(None, _UNSIGNED_TAGS):
        for (place, offset, length), tag in zip(scanned.others[:-1], scanned.other_tags[:-1], strict=True):
            if tag not in _UNSIGNED_TAGS:
                _check_signed(packed[offset : offset + length], place, origin)
    _, offset, length = scanned.others[-1]
    seal_entry = packed[offset : offset + length]
    parsed = seal.take_apart(seal_entry, scanned.leaf_hashes[-merkle.HASH_SIZE :])
    seal.check_batch(parsed, scanned, body_root)
    seal.check_seal(parsed, origin)
    return CheckedBatch(packed, scanned.leaf_hashes, scanned.count, parsed, seal_entry)


def _check_signed(entry: bytes, place: int, origin: str) -> None:
    """An attestation has a good signature, if any; no other kind may come here."""
    parsed = entry_pb2.Entry.FromString(entry)
    if entry[0] == _ATTESTATION_TAG:
        statement.check_attestation_signature(parsed.attestation, origin)
    elif entry[0] == seal.SEAL_TAG:
        raise SealError(
            f"entry {place} of the batch is a seal; a batch holds one seal, its last entry", reason="KIND_NOT_ALLOWED"
        )
    else:
        kind = parsed.WhichOneof("kind")
        raise SealError(
            f"entry {place} of the batch is of kind {kind}, which only the ledger writes", reason="KIND_NOT_ALLOWED"
        )
