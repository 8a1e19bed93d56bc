"""The keys of one ledger, from its genesis on: which of them signs the checkpoint of a size.

A `ledger_key` entry at index i puts its new key in force for checkpoints of more than i entries. It is signed by the
key in force before, by the new key and by an admin of the genesis (proto/README.md, "Change of the ledger's key"), so
whoever pinned any one of the keys can follow to all the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lineage_ledger.errors import LineageError, MalformedError, ProofError, SignatureError, VerificationError
from lineage_ledger.formats import merkle, strict
from lineage_ledger.formats.admin import check_ledger_key_entry
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Verifier
from lineage_ledger.v1 import entry_pb2, proofs_pb2

MAX_CHANGES: Final = 1_000
"""Changes of its key that a ledger may have: a rotation a month for 83 years."""


class KeyHistoryError(VerificationError):
    """Changes of a ledger's key that do not follow from each other, or do not lead to the pinned key."""


class UnknownPinError(KeyHistoryError, SignatureError):
    """The pinned key is none of those that the ledger had, as far as it was shown."""


@dataclass(frozen=True, slots=True)
class LedgerKeys:
    """What `follow` found; `Checkpoint.open` takes it where it takes one `Verifier`."""

    changes: tuple[tuple[int, Verifier], ...]
    """Index of the entry that put a key in force, and the key; the first is the genesis, at index 0."""
    pinned_index: int = 0
    """Index of the entry that put the pinned key in force: whoever pinned it knows that the ledger had as much."""

    @property
    def name(self) -> str:
        """The origin, which is the name of all keys."""
        return self.changes[0][1].name

    @property
    def newest(self) -> Verifier:
        """The key in force now, as far as is known here."""
        return self.changes[-1][1]

    def verifier_at(self, size: int) -> Verifier:
        """The key that signs a checkpoint of `size` entries: the last one put in force at a lower index than `size`."""
        return next((key for index, key in reversed(self.changes) if index < size), self.changes[0][1])

    def open(self, signed: bytes) -> Checkpoint:
        """The checkpoint in a note, signed by the key in force at its size and by that alone. As `Checkpoint.open`."""
        return Checkpoint.open(signed, self)

    def extends(self, known: LedgerKeys) -> bool:
        """Whether these are the keys known before, with none or more changes after them."""
        return self.changes[: len(known.changes)] == known.changes


def follow(pinned: Verifier, genesis: bytes, changes: Sequence[tuple[int, bytes]]) -> LedgerKeys:
    """The keys that the genesis' entry and the entries of the changes, each with its index, lead to.

    Checks of each change all three signatures, that it replaces the key in force, and that its new key is a valid one
    which the ledger never had; and that `pinned` is one of the keys. That the entries are at these indexes, and that
    none is missing, is not seen here. Raises `KeyHistoryError`, `SignatureError`, `InvalidKeyError` or
    `MalformedError`.
    """
    if len(changes) > MAX_CHANGES:
        raise KeyHistoryError(f"{len(changes):,} changes of the ledger's key; at most {MAX_CHANGES:,} are followed")
    first = _parsed(0, genesis, "genesis").genesis
    if first.origin != pinned.name:
        raise UnknownPinError(f"the genesis is of {first.origin!r}, the pinned key of {pinned.name!r}")
    keys = [(0, Verifier(first.origin, first.ledger_public_key))]
    had = {first.ledger_public_key}
    for index, entry in changes:
        before, current = keys[-1]
        if index <= before:
            raise KeyHistoryError(f"a change of the ledger's key at index {index} is given after one at {before}")
        body = check_ledger_key_entry(_parsed(index, entry, "ledger_key"), first.origin, first.admin_public_keys)
        if body.old_public_key != current.public_key:
            raise KeyHistoryError(
                f"the entry at index {index} replaces the key {body.old_public_key.hex()}, but the key in force is "
                f"{current.public_key.hex()}; a change is missing, or this is another ledger's"
            )
        if body.new_public_key in had:
            raise KeyHistoryError(f"the entry at index {index} puts {body.new_public_key.hex()} in force a second time")
        had.add(body.new_public_key)
        keys.append((index, Verifier(first.origin, body.new_public_key)))
    if pinned.public_key not in had:
        raise UnknownPinError(
            f"the pinned key {pinned} is none of the keys that the ledger {first.origin!r} had by what is shown; the "
            f"last of them is {keys[-1][1]}"
        )
    pinned_index = next(index for index, key in keys if key.public_key == pinned.public_key)
    return LedgerKeys(tuple(keys), pinned_index)


def follow_history(pinned: Verifier, history: proofs_pb2.KeyHistory) -> LedgerKeys:
    """`follow`, for what a server said; its indexes are not proven by it."""
    return follow(pinned, history.genesis, [(change.index, change.entry) for change in history.changes])


def follow_proven(pinned: Verifier, history: proofs_pb2.KeyHistory, signed: bytes) -> tuple[LedgerKeys, Checkpoint]:
    """`follow`, with what comes along checked too: the checkpoint, and that it is over these entries at these indexes.

    Raises what `follow` and `Checkpoint.open` raise, and `ProofError`.
    """
    keys = follow_history(pinned, history)
    checkpoint = keys.open(signed)
    leaves = {0: merkle.leaf_hash(history.genesis)}
    leaves |= {change.index: merkle.leaf_hash(change.entry) for change in history.changes}
    if max(leaves) >= checkpoint.size:
        raise ProofError(f"the key was changed at index {max(leaves)}, beyond the checkpoint over {checkpoint.size}")
    if merkle.multiproof_root(leaves, checkpoint.size, tuple(history.proof)) != checkpoint.root:
        raise ProofError("the changes of the ledger's key are not in the tree of the checkpoint that came with them")
    return keys, checkpoint


def _parsed(index: int, entry: bytes, kind: str) -> entry_pb2.Entry:
    try:
        parsed = strict.parse_entry(entry)
    except LineageError as error:
        raise MalformedError(f"the entry that was given for index {index} is malformed: {error}") from error
    if parsed.WhichOneof("kind") != kind:
        raise KeyHistoryError(f"the entry at index {index} must be a {kind}, and is a {parsed.WhichOneof('kind')}")
    return parsed
