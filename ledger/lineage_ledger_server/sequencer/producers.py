"""Producers' keys: what an admin may say of them, and what a key may do at an index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lineage_ledger.errors import MalformedEntryError, SealError
from lineage_ledger.formats import admin, strict
from lineage_ledger.formats.strict_rules import MAX_ENTRY_BYTES
from lineage_ledger.v1 import entry_pb2
from lineage_ledger_server.errors import AdminError
from lineage_ledger_server.store.rows import ProducerRow


@dataclass(frozen=True, slots=True)
class Producer:
    """A registered key, as the entries about it say."""

    public_key: bytes
    name: str
    row: ProducerRow
    last_block: int = 0
    """For a retired key: number of the last block that may hold a batch of it."""
    suspect_since_unix_ns: int = 0
    """For a compromised key."""

    @property
    def retired(self) -> bool:
        return self.row.retired_index != 0

    @property
    def compromised(self) -> bool:
        return self.row.compromised_index != 0


@dataclass(frozen=True, slots=True)
class AdminChange:
    """An admin's entry whose signatures check, taken apart."""

    entry: bytes
    public_key: bytes
    body: admin.ProducerBody


def check_admin_entry(entry: bytes, kind: str, origin: str, admin_public_keys: frozenset[bytes]) -> AdminChange:
    """Check an admin's entry by itself, its signatures included.

    `kind` is the field of `Entry` that must be set: producer_registered, producer_retired or producer_compromised.
    Raises `MalformedEntryError`, `AdminError` (ENTRY_TOO_LARGE, KIND_NOT_ALLOWED), `SignatureError` or
    `SmallOrderKeyError`.
    """
    if len(entry) > MAX_ENTRY_BYTES:
        raise AdminError(
            f"the entry has {len(entry):,} bytes, at most {MAX_ENTRY_BYTES:,} are taken",
            reason="ENTRY_TOO_LARGE",
        )
    parsed = strict.parse_entry(entry)
    if parsed.WhichOneof("kind") != kind:
        raise AdminError(
            f"this call takes an entry of kind {kind}, not {parsed.WhichOneof('kind')}", reason="KIND_NOT_ALLOWED"
        )
    body = admin.check_producer_entry(parsed, origin, admin_public_keys)
    return AdminChange(entry, body.public_key, body)


def changed(change: AdminChange, producer: Producer | None, index: int) -> Producer:
    """The producer after `change`, whose entry gets `index`. Raises `AdminError` if it may not happen."""
    body = change.body
    name = change.public_key.hex()
    if isinstance(body, entry_pb2.ProducerRegistration):
        if producer is not None:
            raise AdminError(
                f"the key {name} is registered already, as {producer.name!r}, at index {producer.row.registered_index}",
                reason="PRODUCER_EXISTS",
            )
        return Producer(change.public_key, body.name, ProducerRow(index))
    if producer is None:
        raise AdminError(f"the key {name} is not registered here", reason="NOT_FOUND")
    if producer.compromised:
        raise AdminError(f"the key {name} is already declared compromised", reason="COMPROMISED_KEY")
    if isinstance(body, entry_pb2.ProducerRetirement):
        if producer.retired:
            raise AdminError(f"the key {name} is retired already", reason="RETIRED_KEY")
        return replace(producer, row=producer.row._replace(retired_index=index), last_block=body.last_block)
    row = producer.row._replace(compromised_index=index)
    return replace(producer, row=row, suspect_since_unix_ns=body.suspect_since_unix_ns)


def restored(row: ProducerRow, entry_at: Callable[[int], bytes]) -> Producer:
    """The producer as the stored row and the entries that it points at give it. Raises `MalformedEntryError`."""
    entry = strict.parse_entry(entry_at(row.registered_index))
    if entry.WhichOneof("kind") != "producer_registered":
        raise MalformedEntryError(f"index {row.registered_index} holds no registration")
    body = entry_pb2.ProducerRegistration.FromString(entry.producer_registered.body)
    producer = Producer(body.public_key, body.name, row)
    if row.retired_index:
        entry = strict.parse_entry(entry_at(row.retired_index))
        retirement = entry_pb2.ProducerRetirement.FromString(entry.producer_retired.body)
        producer = replace(producer, last_block=retirement.last_block)
    if row.compromised_index:
        entry = strict.parse_entry(entry_at(row.compromised_index))
        compromise = entry_pb2.ProducerCompromise.FromString(entry.producer_compromised.body)
        producer = replace(producer, suspect_since_unix_ns=compromise.suspect_since_unix_ns)
    return producer


def check_may_append(producer: Producer | None, public_key: bytes, *, opens_chain: bool, block_number: int) -> None:
    """Whether a key may have a batch in the block `block_number`. Raises `SealError`."""
    name = public_key.hex()
    if producer is None:
        raise SealError(
            f"the key {name} is not registered here; an admin registers it with `lineage producers add`",
            reason="UNKNOWN_KEY",
        )
    if producer.compromised:
        raise SealError(
            f"the key {name} ({producer.name}) was declared compromised; use another", reason="COMPROMISED_KEY"
        )
    if producer.retired and (opens_chain or block_number > producer.last_block):
        raise SealError(
            f"the key {name} ({producer.name}) is retired: it opens no chain, and its open chains ended with block "
            f"{producer.last_block}; use another",
            reason="RETIRED_KEY",
        )
