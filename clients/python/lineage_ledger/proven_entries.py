"""Entries that a receipt carries: proven to be under its checkpoint, and what they say of the ledger and its producers.

What kinds of receipts have in common; what is particular to each is in `receipts` and `chain_receipts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from lineage_ledger.errors import LineageError, VerificationError
from lineage_ledger.formats import admin, merkle, strict
from lineage_ledger.formats.ledger_keys import LedgerKeys, UnknownPinError, follow
from lineage_ledger.formats.note import Verifier
from lineage_ledger.v1 import entry_pb2

_LEDGER_KEY_TAG: Final = bytes((entry_pb2.Entry.LEDGER_KEY_FIELD_NUMBER << 3 | 2,))


class ReceiptError(VerificationError):
    """A receipt whose parts do not belong together."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A producer's key, as the entries about it in the receipt say."""

    public_key: bytes
    """32 bytes."""
    name: str
    registered_index: int
    retired_index: int = 0
    """Index of the entry that retired it; 0: none here."""
    compromised_index: int = 0
    """Index of the entry that declared it compromised; 0: none here."""
    last_block: int = 0
    """For a retired key: number of the last block that may hold a batch of it."""
    suspect_since_unix_ns: int = 0
    """For a compromised key."""


def _ledger_keys(entries: Mapping[int, bytes], pinned: Verifier) -> LedgerKeys:
    """The keys that the genesis and the changes of the ledger's key among the entries lead to from the pinned one."""
    if 0 not in entries:
        raise ReceiptError("the receipt must hold the genesis, at index 0 and nowhere else")
    changes = [(index, entry) for index, entry in sorted(entries.items()) if entry[:1] == _LEDGER_KEY_TAG]
    try:
        return follow(pinned, entries[0], changes)
    except UnknownPinError as error:
        raise UnknownPinError(
            f"{error}. A receipt from before the pinned key was put in force is verified with a key that was pinned "
            "then: give that one, or ask for a new receipt"
        ) from error


class ProvenEntries:
    """The entries of a receipt. Raises a `LineageError` unless all of them are proven and strictly encoded.

    `entries` are by index; `tree` is their multiproof in the tree of the signed note `checkpoint`.
    """

    def __init__(
        self, entries: Mapping[int, bytes], tree: Sequence[bytes], checkpoint: bytes, verifier: Verifier
    ) -> None:
        self.keys = _ledger_keys(entries, verifier)
        self.checkpoint = self.keys.open(checkpoint)
        self.origin = self.checkpoint.origin
        self.raw = entries
        self.leaves = {index: merkle.leaf_hash(entry) for index, entry in entries.items()}
        if merkle.multiproof_root(self.leaves, self.checkpoint.size, tree) != self.checkpoint.root:
            raise ReceiptError("the receipt's entries do not lead to the root of its checkpoint; something was changed")
        self.parsed: dict[int, entry_pb2.Entry] = {}
        for index, entry in entries.items():
            try:
                self.parsed[index] = strict.parse_entry(entry)
            except LineageError as error:
                raise ReceiptError(f"entry {index} is malformed: {error}") from error
        self.by_kind: dict[str, list[int]] = {}
        """Indexes, ascending, by the field of `Entry` that is set."""
        for index in sorted(self.parsed):
            self.by_kind.setdefault(self.parsed[index].WhichOneof("kind") or "", []).append(index)
        self.genesis = self._genesis()
        self.signers = self._signers()
        """Producers by public key, from the entries about them, whose signatures are checked."""

    def of_kind(self, *kinds: str) -> list[int]:
        """Indexes of the entries of these kinds, ascending."""
        return sorted(index for kind in kinds for index in self.by_kind.get(kind, ()))

    def check_kinds(self, *known: str) -> None:
        """That there are only entries of these kinds, those about keys, and a genesis. Raises `ReceiptError`."""
        if strange := self.by_kind.keys() - {"genesis", "ledger_key", *known} - admin.PRODUCER_KINDS:
            raise ReceiptError(f"the receipt holds an entry of kind {min(strange)}, which does not belong in one")

    def _genesis(self) -> entry_pb2.Genesis:
        if self.by_kind.get("genesis") != [0]:
            raise ReceiptError("the receipt must hold the genesis, at index 0 and nowhere else")
        genesis = self.parsed[0].genesis
        if genesis.origin != self.origin:
            raise ReceiptError("the genesis names another origin than the checkpoint")
        return genesis

    def _signers(self) -> dict[bytes, Signer]:
        signers: dict[bytes, Signer] = {}
        for index in self.of_kind(*admin.PRODUCER_KINDS):
            body = admin.check_producer_entry(self.parsed[index], self.origin, self.genesis.admin_public_keys)
            known = signers.get(body.public_key)
            if isinstance(body, entry_pb2.ProducerRegistration):
                if known is not None:
                    raise ReceiptError(f"entry {index} registers a key that is registered already")
                signers[body.public_key] = Signer(body.public_key, body.name, index)
            elif known is None or known.compromised_index:
                raise ReceiptError(f"entry {index} ends a key that is not registered before, or was compromised before")
            elif isinstance(body, entry_pb2.ProducerRetirement):
                if known.retired_index:
                    raise ReceiptError(f"entry {index} retires a key that was retired at index {known.retired_index}")
                signers[body.public_key] = replace(known, retired_index=index, last_block=body.last_block)
            else:
                signers[body.public_key] = replace(
                    known, compromised_index=index, suspect_since_unix_ns=body.suspect_since_unix_ns
                )
        return signers
