"""Changes of a ledger's key, made by hand so that any part of one can be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lineage_ledger.formats import admin, checkpoint, merkle
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Signer, Verifier
from lineage_ledger.v1 import entry_pb2, proofs_pb2
from tests.trace.small_ledger import Leaves

ORIGIN = "example.com/ledger/keys"
OTHER_ORIGIN = "example.com/ledger/other"
TIME_UNIX_NS = 1_770_000_000_000_000_000


def seeded(name: str) -> SigningKey:
    """The same key each time."""
    return SigningKey(merkle.leaf_hash(name.encode()))


ADMIN = seeded("admin")
K0, K1, K2 = (seeded(f"ledger {number}") for number in range(3))


def verifier(key: SigningKey, origin: str = ORIGIN) -> Verifier:
    return Verifier(origin, key.public_key)


def genesis(key: SigningKey = K0, admin_key: SigningKey = ADMIN, origin: str = ORIGIN) -> bytes:
    """The entry at index 0."""
    return entry_pb2.Entry(
        genesis=entry_pb2.Genesis(
            format_version=1,
            origin=origin,
            ledger_public_key=key.public_key,
            admin_public_keys=[admin_key.public_key],
            time_unix_ns=TIME_UNIX_NS,
        )
    ).SerializeToString()


def change(old: SigningKey, new: SigningKey, *, admin_key: SigningKey = ADMIN, origin: str = ORIGIN) -> bytes:
    """The entry that puts `new` in force."""
    return admin.build_ledger_key_change(
        origin, old_key=old, new_key=new, time_unix_ns=TIME_UNIX_NS, admin_key=admin_key
    )


def edited(entry: bytes, **fields: bytes) -> bytes:
    """A change with other fields than it was signed with."""
    parsed = entry_pb2.Entry.FromString(entry)
    for name, value in fields.items():
        setattr(parsed.ledger_key, name, value)
    return parsed.SerializeToString()


@dataclass
class SmallTree:
    """A tree of any entries: a genesis, changes at their indexes, fillers between."""

    entries: list[bytes] = field(default_factory=lambda: [genesis()])

    def add(self, entry: bytes) -> int:
        """Its index."""
        self.entries.append(entry)
        return len(self.entries) - 1

    def fill(self, count: int) -> None:
        self.entries += [f"filler {number}".encode() for number in range(count)]

    def signed(self, key: SigningKey, size: int | None = None) -> bytes:
        """A checkpoint of the first `size` entries, all by default."""
        leaves = self._leaves(size)
        root = merkle.root_of(len(leaves.leaves), leaves)
        return checkpoint.Checkpoint(ORIGIN, len(leaves.leaves), root).sign(Signer(ORIGIN, key))

    def history(self, indexes: Sequence[int]) -> proofs_pb2.KeyHistory:
        """As a server says it, under the whole tree."""
        leaves = self._leaves(None)
        return proofs_pb2.KeyHistory(
            genesis=self.entries[0],
            changes=[proofs_pb2.KeyChange(index=index, entry=self.entries[index]) for index in indexes],
            proof=merkle.multiproof([0, *indexes], len(leaves.leaves), leaves),
        )

    def _leaves(self, size: int | None) -> Leaves:
        return Leaves([merkle.leaf_hash(entry) for entry in self.entries[:size]])
