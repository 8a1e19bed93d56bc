"""Who may: the genesis, the ledger's keys, admins' entries, and what producers' keys may do at an index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lineage_ledger.audit.damage import Damage
from lineage_ledger.audit.facts import ProducerFacts
from lineage_ledger.audit.report import Finding
from lineage_ledger.audit.state import AdminKey, LedgerKeyFacts, RulesState
from lineage_ledger.errors import InvalidKeyError, LineageError
from lineage_ledger.formats import keys
from lineage_ledger.formats.admin import LEDGER_KEY_CONTEXT, check_producer_entry, signed_bytes
from lineage_ledger.v1 import entry_pb2

_REMOVAL_CONTEXT = b"lineage-ledger/removal/v1\n"


class Authority:
    """Takes the entries that say who may, in order of index, and answers for the index it has come to."""

    def __init__(self, origin: str, damage: Damage, add: Callable[[Finding], None]) -> None:
        self._origin = origin
        self._damage = damage
        self._add = add
        self._admins: frozenset[bytes] = frozenset()
        self._producers: dict[bytes, ProducerFacts] = {}
        self._ledger_keys: list[tuple[int, bytes]] = []
        self._unknown_keys: set[bytes] = set()
        self.not_checked: list[str] = []
        """What could not be told because an entry that may say it cannot be read."""

    def resume(self, state: RulesState) -> None:
        """Go on from what the entries up to here said."""
        self._admins = frozenset(each.public_key for each in state.admins)
        self._producers = {each.public_key: replace(each) for each in state.producers}
        self._ledger_keys = [(each.index, each.public_key) for each in state.ledger_keys]

    def admin_keys(self) -> tuple[AdminKey, ...]:
        """Of the genesis."""
        return tuple(map(AdminKey, sorted(self._admins)))

    def ledger_key_facts(self) -> tuple[LedgerKeyFacts, ...]:
        """All keys that the ledger had so far."""
        return tuple(LedgerKeyFacts(*each) for each in self._ledger_keys)

    @property
    def producers(self) -> dict[bytes, ProducerFacts]:
        """By public key."""
        return self._producers

    @property
    def ledger_keys(self) -> list[bytes]:
        """All keys that the ledger had so far, the first one from its genesis."""
        return [key for _, key in self._ledger_keys]

    @property
    def key_changes(self) -> tuple[int, ...]:
        """Indexes of the entries that changed the ledger's key."""
        return tuple(index for index, _ in self._ledger_keys if index)

    def ledger_key_at(self, size: int) -> bytes | None:
        """The key that signs a checkpoint of this size; None if that is not known."""
        return next((key for index, key in reversed(self._ledger_keys) if index < size), None)

    def genesis(self, index: int, genesis: entry_pb2.Genesis) -> None:
        """A genesis, which belongs at index 0 only."""
        if index:
            self._add(Finding.at_entry(index, "genesis", "a genesis", "only the entry at index 0 is one"))
            return
        if genesis.origin != self._origin:
            self._add(Finding.at_entry(index, "origin", f"the genesis is of {genesis.origin!r}", repr(self._origin)))
        self._admins = frozenset(genesis.admin_public_keys)
        self._ledger_keys = [(index, genesis.ledger_public_key)]

    def producer_entry(self, index: int, entry: entry_pb2.Entry) -> None:
        """A registration, retirement or compromise."""
        if not self._admins:
            return  # Without a genesis that can be read there is nothing to check by; that is a finding already.
        try:
            body = check_producer_entry(entry, self._origin, self._admins)
        except LineageError as error:
            self._add(Finding.at_entry(index, "admin_entry", str(error)))
            return
        known = self._producers.get(body.public_key)
        name = f"the key {body.public_key.hex()}"
        if isinstance(body, entry_pb2.ProducerRegistration):
            if known is None:
                self._producers[body.public_key] = ProducerFacts(body.public_key, index)
            else:
                found = f"{name} is registered again; it is since index {known.registered_index}"
                self._add(Finding.at_entry(index, "producer_exists", found))
        elif known is None:
            if self.first_mention(index, body.public_key):
                self._add(Finding.at_entry(index, "unknown_key", f"{name} is ended, and was never registered"))
        elif known.compromised_index or (known.retired_index and isinstance(body, entry_pb2.ProducerRetirement)):
            ended_index = known.compromised_index or known.retired_index
            self._add(Finding.at_entry(index, "ended_key", f"{name} was ended at index {ended_index} already"))
        elif isinstance(body, entry_pb2.ProducerRetirement):
            known.retired_index, known.last_block = index, body.last_block
        else:
            known.compromised_index, known.suspect_since_unix_ns = index, body.suspect_since_unix_ns

    def removal(self, index: int, removal: entry_pb2.Removal) -> None:
        """A removal of predictions."""
        self._check_admin(index, removal.admin_public_key, removal.admin_signature, _REMOVAL_CONTEXT, removal.body)

    def ledger_key(self, index: int, change: entry_pb2.LedgerKey) -> None:
        """A new key for the checkpoints, signed by the one before, by itself and by an admin."""
        body = entry_pb2.LedgerKeyChange.FromString(change.body)
        message = signed_bytes(LEDGER_KEY_CONTEXT, self._origin, change.body)
        current = self.ledger_key_at(index)
        if current is not None and body.old_public_key != current:
            found = f"the key {body.old_public_key.hex()} is replaced"
            self._add(Finding.at_entry(index, "ledger_key", found, f"the ledger's key, {current.hex()}"))
        if body.new_public_key in self.ledger_keys:
            found = f"the key {body.new_public_key.hex()} is put in force a second time"
            self._add(Finding.at_entry(index, "ledger_key", found, "a key that the ledger never had"))
        try:
            keys.check_public_key(body.new_public_key)
        except InvalidKeyError as error:
            self._add(Finding.at_entry(index, "ledger_key", str(error)))
        for name, key, signature in (
            ("old", body.old_public_key, change.old_signature),
            ("new", body.new_public_key, change.new_signature),
        ):
            if not keys.verify(key, message, signature):
                self._add(Finding.at_entry(index, "ledger_key", f"the signature of the {name} key does not check"))
        self._check_admin(index, change.admin_public_key, change.admin_signature, LEDGER_KEY_CONTEXT, change.body)
        self._ledger_keys.append((index, body.new_public_key))

    def first_mention(self, index: int, public_key: bytes) -> bool:
        """Whether an unregistered key is to be reported: once, and not if its registration may be unreadable."""
        if public_key in self._unknown_keys:
            return False
        self._unknown_keys.add(public_key)
        if self._damage.structural:
            what = f"registration of the key {public_key.hex()}"
            self.not_checked.append(f"{what}: an entry before index {index} cannot be read")
            return False
        return True

    def _check_admin(self, index: int, public_key: bytes, signature: bytes, context: bytes, body: bytes) -> None:
        if not self._admins:
            return
        if public_key not in self._admins:
            self._add(Finding.at_entry(index, "admin_entry", f"{public_key.hex()} is not an admin key of this ledger"))
        elif not keys.verify(public_key, signed_bytes(context, self._origin, body), signature):
            self._add(Finding.at_entry(index, "admin_entry", "the admin's signature does not check"))

    def refusal(self, public_key: bytes, *, opens_chain: bool, block_number: int) -> tuple[str, str] | None:
        """Why the key may not have a batch in this block now: kind and text of a finding; None: it may."""
        known = self._producers.get(public_key)
        name = f"the key {public_key.hex()}"
        if known is None:
            return "unknown_key", f"{name} is not registered at a lower index"
        if known.compromised_index:
            return "compromised_key", f"{name} was declared compromised at index {known.compromised_index}"
        if known.retired_index and opens_chain:
            return "retired_key", f"{name} was retired at index {known.retired_index}, and opens a chain"
        if known.retired_index and block_number > known.last_block:
            return "retired_key", f"{name} was retired up to block {known.last_block}, and this is block {block_number}"
        return None
