"""Seals: the signed entries that close batches and link them into chains (proto/README.md, "Seals and chains").

A seal at index s closes exactly the entries [s - count, s). What is signed is the body as carried, never a
re-serialisation of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from lineage_ledger.errors import SealError
from lineage_ledger.formats import keys, merkle, strict
from lineage_ledger.kernel import ScannedBatch
from lineage_ledger.v1 import entry_pb2

SEAL_TAG = 0x12
"""First byte of a seal's entry."""
MAX_SEAL_BYTES = 32_000
MAX_BATCH_ENTRIES = 16_384
MAX_BATCH_BYTES = 4 * 1024 * 1024
MAX_LOST_RANGES = 512
MAX_BINDINGS = 255
CHAIN_ID_BYTES = 16
NONCE_BYTES = 32

_SEAL_CONTEXT = b"lineage-ledger/seal/v1\n"
_CHAIN_CONTEXT = b"lineage-ledger/chain/v1\n"


class ParsedSeal(NamedTuple):
    """A seal's entry taken apart."""

    body: entry_pb2.SealBody
    body_bytes: bytes
    """The body as carried; what the signature covers."""
    signature: bytes
    """64 bytes."""
    entry_hash: bytes
    """Leaf hash of the whole entry; 32 bytes."""


def chain_id(origin: str, public_key: bytes, nonce: bytes) -> bytes:
    """The 16-byte id of the chain that `public_key` opens with `nonce` (32 bytes) in the ledger `origin`.

    Being a hash over all three, it cannot be occupied by somebody else or carried into another ledger.
    """
    return hashlib.sha256(_CHAIN_CONTEXT + origin.encode() + b"\n" + public_key + nonce).digest()[:CHAIN_ID_BYTES]


def signed_bytes(origin: str, body: bytes) -> bytes:
    """What a seal's signature is over."""
    return _SEAL_CONTEXT + origin.encode() + b"\n" + body


def build_seal(body: entry_pb2.SealBody, origin: str, key: keys.SigningKey) -> bytes:
    """Sign `body` for the ledger `origin` and return the seal's entry.

    Raises `MalformedEntryError` if the body breaks a rule of the format, so that nothing is sealed that a server
    would refuse.
    """
    body_bytes = body.SerializeToString()
    signature = key.sign(signed_bytes(origin, body_bytes))
    entry = entry_pb2.Entry(seal=entry_pb2.Seal(body=body_bytes, signature=signature)).SerializeToString()
    strict.check_entry(entry)
    return entry


def parse_seal(entry: bytes) -> ParsedSeal:
    """Take a seal's entry apart; raises `MalformedEntryError` unless it is strictly encoded, `SealError` if no seal."""
    strict.check_entry(entry)
    return take_apart(entry, merkle.leaf_hash(entry))


def take_apart(entry: bytes, entry_hash: bytes) -> ParsedSeal:
    """Take an entry apart that was found strictly encoded, whose leaf hash is known; `SealError` if it is no seal."""
    if entry[0] != SEAL_TAG:
        raise SealError("the entry is not a seal", reason="MALFORMED_SEAL")
    seal = entry_pb2.Entry.FromString(entry).seal
    body_bytes = seal.body
    return ParsedSeal(entry_pb2.SealBody.FromString(body_bytes), body_bytes, seal.signature, entry_hash)


def check_seal(seal: ParsedSeal, origin: str) -> None:
    """Check all that a seal says by itself: its arithmetic, its chain id where it opens the chain, its signature.

    Raises `SealError` with the reason that a server answers.
    """
    check_body(seal.body, origin)
    check_signature(seal, origin)


def check_body(body: entry_pb2.SealBody, origin: str) -> None:
    """Check all that a seal says by itself, but not who says it. Raises `SealError`."""
    if body.batch_sequence == 0:
        if chain_id(origin, body.public_key, body.chain_nonce) != body.chain_id:
            raise SealError(
                f"chain {body.chain_id.hex()} is not the id that its key and nonce give in {origin!r}; "
                "was it made for another ledger?",
                reason="CHAIN_ID_MISMATCH",
            )
        if body.count or body.lost or body.first_number or body.bindings:
            raise SealError(
                "the seal that opens a chain must be empty: no entries, no losses, no bindings, first number 0",
                reason="MALFORMED_SEAL",
            )
    _check_lost(body)
    if body.count == 0 and body.root != merkle.EMPTY_ROOT:
        raise SealError("an empty batch must have the root of the empty tree", reason="ROOT_MISMATCH")
    if sum(binding.count for binding in body.bindings) > body.count:
        raise SealError("the table of bindings counts more predictions than the batch holds", reason="BINDING_MISMATCH")


def check_signature(seal: ParsedSeal, origin: str) -> None:
    """Check the signature by the key that the seal names. Raises `SealError` with the reason BAD_SIGNATURE."""
    body = seal.body
    if not keys.verify(body.public_key, signed_bytes(origin, seal.body_bytes), seal.signature):
        raise SealError(
            f"the signature of batch {body.batch_sequence} of chain {body.chain_id.hex()} does not check "
            f"for origin {origin!r}; the producer must seal for exactly this origin",
            reason="BAD_SIGNATURE",
        )


def _check_lost(body: entry_pb2.SealBody) -> None:
    """Lost ranges lie within the span of numbers that the batch accounts for."""
    end = next_number(body)
    if end >= 1 << 63:
        raise SealError("numbers must stay below 2^63", reason="MALFORMED_SEAL")
    for lost in body.lost:
        if lost.first < body.first_number or lost.first + lost.count > end:
            raise SealError(
                f"lost numbers [{lost.first}, {lost.first + lost.count}) are outside the batch's span "
                f"[{body.first_number}, {end})",
                reason="MALFORMED_SEAL",
            )


def check_batch(seal: ParsedSeal, scanned: ScannedBatch, root: bytes) -> None:
    """Hold a seal against the entries it closes.

    `scanned` is the scan of the batch with its seal, which is the last entry; `root` the RFC 6962 root of all leaf
    hashes but the last. Raises `SealError`.
    """
    body = seal.body
    if body.count != scanned.count - 1:
        raise SealError(
            f"the seal counts {body.count} entries, the batch has {scanned.count - 1}", reason="COUNT_MISMATCH"
        )
    if body.root != root:
        raise SealError(
            f"the seal's root {body.root.hex()} is not the root {root.hex()} of the batch's entries; "
            "they were changed after sealing",
            reason="ROOT_MISMATCH",
        )
    _check_binding_counts([binding.count for binding in body.bindings], scanned.binding_counts)
    times = (body.earliest_start_time_unix_ns, body.latest_start_time_unix_ns)
    seen = (scanned.earliest_start_time_unix_ns, scanned.latest_start_time_unix_ns)
    if times != seen:
        raise SealError(
            f"the seal says the predictions start between {times[0]} and {times[1]}, they start between "
            f"{seen[0]} and {seen[1]}",
            reason="TIME_RANGE_MISMATCH",
        )


def _check_binding_counts(said: Sequence[int], seen: Sequence[int]) -> None:
    if len(seen) > len(said):
        raise SealError(
            f"a prediction names row {len(seen)}, the seal's table of bindings has {len(said)} rows",
            reason="BINDING_MISMATCH",
        )
    for row, count in enumerate(said, 1):
        found = seen[row - 1] if row <= len(seen) else 0
        if count != found:
            raise SealError(
                f"row {row} of the seal's table of bindings counts {count} predictions, the batch has {found}",
                reason="BINDING_MISMATCH",
            )


def next_number(body: entry_pb2.SealBody) -> int:
    """The number after the last one, lost or present, that the batch accounts for."""
    lost = sum(each.count for each in body.lost) if body.lost else 0
    return body.first_number + body.count + lost


def number_at(body: entry_pb2.SealBody, place: int) -> int:
    """The number of the batch's entry at `place` (0 to count - 1). Raises `IndexError` outside of it."""
    if not 0 <= place < body.count:
        raise IndexError(f"place {place} is outside a batch of {body.count}")
    number = body.first_number + place
    for lost in body.lost:
        if lost.first > number:
            break
        number += lost.count
    return number


def place_of(body: entry_pb2.SealBody, number: int) -> int | None:
    """The place in the batch of the entry with `number`; None if it was declared lost.

    Raises `IndexError` if the batch does not account for the number.
    """
    if not body.first_number <= number < next_number(body):
        raise IndexError(f"number {number} is outside [{body.first_number}, {next_number(body)})")
    place = number - body.first_number
    for lost in body.lost:
        if number < lost.first:
            break
        if number < lost.first + lost.count:
            return None
        place -= lost.count
    return place
