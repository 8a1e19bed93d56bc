"""What admins sign of keys: registrations, retirements and compromises of producers', changes of the ledger's.

Each signature is over context ‖ origin ‖ "\\n" ‖ body as carried (proto/README.md, "Blocks and the ledger's own
entries").
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from lineage_ledger.errors import MalformedEntryError, SignatureError
from lineage_ledger.formats import keys, strict
from lineage_ledger.v1 import entry_pb2

REGISTRATION_CONTEXT: Final = b"lineage-ledger/registration/v1\n"
RETIREMENT_CONTEXT: Final = b"lineage-ledger/retirement/v1\n"
COMPROMISE_CONTEXT: Final = b"lineage-ledger/compromise/v1\n"
POSSESSION_CONTEXT: Final = b"lineage-ledger/possession/v1\n"
LEDGER_KEY_CONTEXT: Final = b"lineage-ledger/ledger-key/v1\n"

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


def check_ledger_key_entry(
    entry: entry_pb2.Entry, origin: str, admin_public_keys: Collection[bytes]
) -> entry_pb2.LedgerKeyChange:
    """Check the three signatures of a change of the ledger's key, and return its body.

    `entry` was parsed strictly; `admin_public_keys` are the genesis'. That the old key is the one in force is for the
    caller to see (`lineage_ledger.formats.ledger_keys`). Raises `SignatureError`, `SmallOrderKeyError` or
    `InvalidKeyError`, and `MalformedEntryError` for an entry of another kind.
    """
    kind = entry.WhichOneof("kind") or ""
    if kind != "ledger_key":
        raise MalformedEntryError(f"an entry of kind {kind} changes no key of the ledger")
    change = entry.ledger_key
    body = entry_pb2.LedgerKeyChange.FromString(change.body)
    message = signed_bytes(LEDGER_KEY_CONTEXT, origin, change.body)
    keys.check_public_key(body.new_public_key)
    for name, public_key, signature in (
        ("old", body.old_public_key, change.old_signature),
        ("new", body.new_public_key, change.new_signature),
    ):
        if not keys.verify(public_key, message, signature):
            raise SignatureError(
                f"the {name} key, {public_key.hex()}, did not sign the change of the ledger's key for origin {origin!r}"
            )
    if change.admin_public_key not in admin_public_keys:
        raise SignatureError(f"{change.admin_public_key.hex()} is not an admin key of the ledger {origin!r}")
    if not keys.verify(change.admin_public_key, message, change.admin_signature):
        raise SignatureError(f"the admin's signature of the entry ({kind}) does not check for origin {origin!r}")
    return body


def build_ledger_key_change(
    origin: str,
    *,
    old_key: keys.SigningKey,
    new_key: keys.SigningKey,
    time_unix_ns: int,
    admin_key: keys.SigningKey,
) -> bytes:
    """The entry that puts `new_key` in force for the checkpoints in the place of `old_key`, signed by all three."""
    body = entry_pb2.LedgerKeyChange(
        old_public_key=old_key.public_key, new_public_key=new_key.public_key, time_unix_ns=time_unix_ns
    ).SerializeToString()
    message = signed_bytes(LEDGER_KEY_CONTEXT, origin, body)
    entry = entry_pb2.Entry(
        ledger_key=entry_pb2.LedgerKey(
            body=body,
            old_signature=old_key.sign(message),
            new_signature=new_key.sign(message),
            admin_public_key=admin_key.public_key,
            admin_signature=admin_key.sign(message),
        )
    ).SerializeToString()
    strict.check_entry(entry)
    return entry


def prove_possession(origin: str, key: keys.SigningKey) -> bytes:
    """A producer's signature, 64 bytes, that it has `key`: what an admin needs to register it, with the public key."""
    return key.sign(signed_bytes(POSSESSION_CONTEXT, origin, key.public_key))


def build_registration(
    origin: str,
    *,
    public_key: bytes,
    name: str,
    possession_signature: bytes,
    time_unix_ns: int,
    admin_key: keys.SigningKey,
) -> bytes:
    """The entry that registers a producer's key, signed by the admin. Raises `MalformedEntryError` for a wrong name."""
    body = entry_pb2.ProducerRegistration(public_key=public_key, name=name, time_unix_ns=time_unix_ns)
    return _signed(origin, "producer_registered", body, admin_key, possession_signature=possession_signature)


def build_retirement(
    origin: str, *, public_key: bytes, last_block: int, time_unix_ns: int, admin_key: keys.SigningKey
) -> bytes:
    """The entry that retires a key: it opens no chain, its open chains go on up to block `last_block` (from 1)."""
    body = entry_pb2.ProducerRetirement(public_key=public_key, last_block=last_block, time_unix_ns=time_unix_ns)
    return _signed(origin, "producer_retired", body, admin_key)


def build_compromise(
    origin: str, *, public_key: bytes, suspect_since_unix_ns: int, time_unix_ns: int, admin_key: keys.SigningKey
) -> bytes:
    """The entry that declares a key compromised: nothing signed by it is taken any more."""
    body = entry_pb2.ProducerCompromise(
        public_key=public_key, suspect_since_unix_ns=suspect_since_unix_ns, time_unix_ns=time_unix_ns
    )
    return _signed(origin, "producer_compromised", body, admin_key)


_ENVELOPES: Final = {
    "producer_registered": entry_pb2.ProducerRegistered,
    "producer_retired": entry_pb2.ProducerRetired,
    "producer_compromised": entry_pb2.ProducerCompromised,
}


def _signed(origin: str, kind: str, body: ProducerBody, admin_key: keys.SigningKey, **fields: bytes) -> bytes:
    body_bytes = body.SerializeToString()
    envelope = _ENVELOPES[kind](
        body=body_bytes,
        admin_public_key=admin_key.public_key,
        admin_signature=admin_key.sign(signed_bytes(_KINDS[kind][0], origin, body_bytes)),
        **fields,
    )
    entry = entry_pb2.Entry(**{kind: envelope}).SerializeToString()
    strict.check_entry(entry)
    return entry
