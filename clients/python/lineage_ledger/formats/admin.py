"""What admins sign: producers' registrations, retirements and compromises (proto/README.md, "Blocks and the ledger's own
entries"), and what attesters sign. Each signature is over context ‖ origin ‖ "\\n" ‖ body as carried."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from lineage_ledger.errors import MalformedEntryError, SignatureError
from lineage_ledger.formats import keys
from lineage_ledger.v1 import entry_pb2

REGISTRATION_CONTEXT: Final = b"lineage-ledger/registration/v1\n"
RETIREMENT_CONTEXT: Final = b"lineage-ledger/retirement/v1\n"
COMPROMISE_CONTEXT: Final = b"lineage-ledger/compromise/v1\n"
POSSESSION_CONTEXT: Final = b"lineage-ledger/possession/v1\n"
ATTESTATION_CONTEXT: Final = b"lineage-ledger/attestation/v1\n"

ProducerBody = entry_pb2.ProducerRegistration | entry_pb2.ProducerRetirement | entry_pb2.ProducerCompromise

_KINDS: Final[Mapping[str, tuple[bytes, type[ProducerBody]]]] = {
    "producer_registered": (REGISTRATION_CONTEXT, entry_pb2.ProducerRegistration),
    "producer_retired": (RETIREMENT_CONTEXT, entry_pb2.ProducerRetirement),
    "producer_compromised": (COMPROMISE_CONTEXT, entry_pb2.ProducerCompromise),
}
PRODUCER_KINDS: Final = frozenset(_KINDS)


def signed_bytes(context: bytes, origin: str, body: bytes) -> bytes:
    """What a signature is over."""
    return context + origin.encode() + b"\n" + body


def check_producer_entry(entry: entry_pb2.Entry, origin: str, admin_public_keys: Collection[bytes]) -> ProducerBody:
    """Check the signatures of a registration, retirement or compromise, and return its body.

    `entry` was parsed strictly; `admin_public_keys` are the genesis'. Raises `SignatureError`, `SmallOrderKeyError` or
    `InvalidKeyError`, and `MalformedEntryError` for an entry of another kind.
    """
    kind = entry.WhichOneof("kind") or ""
    if kind not in _KINDS:
        raise MalformedEntryError(f"an entry of kind {kind} says nothing about a producer's key")
    context, body_type = _KINDS[kind]
    envelope = getattr(entry, kind)
    body = body_type.FromString(envelope.body)
    if isinstance(body, entry_pb2.ProducerRegistration):
        keys.check_public_key(body.public_key)
        possession = signed_bytes(POSSESSION_CONTEXT, origin, body.public_key)
        if not keys.verify(body.public_key, possession, envelope.possession_signature):
            raise SignatureError(
                f"the producer did not sign that it has the key {body.public_key.hex()} for origin {origin!r}"
            )
    if envelope.admin_public_key not in admin_public_keys:
        raise SignatureError(f"{envelope.admin_public_key.hex()} is not an admin key of the ledger {origin!r}")
    if not keys.verify(
        envelope.admin_public_key, signed_bytes(context, origin, envelope.body), envelope.admin_signature
    ):
        raise SignatureError(f"the admin's signature of the entry ({kind}) does not check for origin {origin!r}")
    return body


def check_attestation(attestation: entry_pb2.Attestation, origin: str) -> entry_pb2.AttestationBody:
    """Check the attester's signature, if there is one, and return the body. Raises `SignatureError`."""
    body = entry_pb2.AttestationBody.FromString(attestation.body)
    message = signed_bytes(ATTESTATION_CONTEXT, origin, attestation.body)
    if body.public_key and not keys.verify(body.public_key, message, attestation.signature):
        raise SignatureError(
            f"the attester's signature does not check for origin {origin!r} and key {body.public_key.hex()}"
        )
    return body
