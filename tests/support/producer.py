"""A producer made of the formats alone, which can be told to break any single rule."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from lineage_ledger import kernel
from lineage_ledger.formats import admin, keys, merkle, packed, prediction, seal
from lineage_ledger.v1 import entry_pb2

DEPLOYMENT_HASH = bytes(range(32))


def a_prediction(number: int, *, row: int = 1, start_time_unix_ns: int = 0, request_id: bytes = b"") -> bytes:
    """A prediction's entry whose input commitment begins with its number, 4 bytes."""
    return prediction.encode_prediction(
        binding_row=row,
        input_commitment=number.to_bytes(4, "big") + bytes(28),
        output_commitment=bytes([7]) * 32,
        request_id=request_id,
        start_time_unix_ns=start_time_unix_ns or time.time_ns(),
        duration_us=35,
    )


@dataclass(slots=True)
class Producer:
    """One chain of one key; `batch` gives the next packed batch, and goes on as if it was taken."""

    origin: str
    key: keys.SigningKey = field(default_factory=keys.SigningKey.generate)
    nonce: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    chain_id: bytes = b""
    sequence: int = 0
    number: int = 0
    previous: bytes = b""

    def __post_init__(self) -> None:
        self.chain_id = seal.chain_id(self.origin, self.key.public_key, self.nonce)

    def body(self, entries: Sequence[bytes] = (), lost: Sequence[tuple[int, int]] = ()) -> entry_pb2.SealBody:
        """The right seal body for `entries` as this chain's next batch; `lost` are (first, count)."""
        body = entry_pb2.SealBody(
            public_key=self.key.public_key,
            chain_id=self.chain_id,
            batch_sequence=self.sequence,
            first_number=self.number,
            count=len(entries),
            root=kernel.tree_root(b"".join(merkle.leaf_hash(entry) for entry in entries)),
            previous_seal_hash=self.previous,
            sealed_time_unix_ns=time.time_ns(),
            lost=[entry_pb2.NumberRange(first=first, count=count) for first, count in lost],
            chain_nonce=self.nonce if self.sequence == 0 else b"",
        )
        scanned = kernel.scan(packed.pack(entries))
        if scanned.binding_counts:
            body.earliest_start_time_unix_ns = scanned.earliest_start_time_unix_ns
            body.latest_start_time_unix_ns = scanned.latest_start_time_unix_ns
        for count in scanned.binding_counts:
            body.bindings.add(deployment_hash=DEPLOYMENT_HASH, count=count)
        return body

    def seal(self, entries: Sequence[bytes], body: entry_pb2.SealBody, origin: str = "") -> bytes:
        """Pack `entries` with a seal of `body`, and go on behind it."""
        sealed = seal.build_seal(body, origin or self.origin, self.key)
        self.sequence = body.batch_sequence + 1
        self.number = seal.next_number(body)
        self.previous = merkle.leaf_hash(sealed)
        return packed.pack([*entries, sealed])

    def batch(
        self, entries: Sequence[bytes] = (), lost: Sequence[tuple[int, int]] = (), *, closing: bool = False
    ) -> bytes:
        """The chain's next packed batch. The first one of a chain must be empty."""
        body = self.body(entries, lost)
        body.closing = closing
        return self.seal(entries, body)

    def predictions(self, count: int) -> bytes:
        """The chain's next packed batch, of `count` predictions that carry their numbers."""
        return self.batch([a_prediction(self.number + place) for place in range(count)])


def registration(origin: str, key: keys.SigningKey, admin_key: keys.SigningKey, name: str = "model server") -> bytes:
    """A registration's entry, signed by both."""
    return admin.build_registration(
        origin,
        public_key=key.public_key,
        name=name,
        possession_signature=admin.prove_possession(origin, key),
        time_unix_ns=time.time_ns(),
        admin_key=admin_key,
    )


def retirement(origin: str, public_key: bytes, admin_key: keys.SigningKey, last_block: int) -> bytes:
    """A retirement's entry."""
    return admin.build_retirement(
        origin, public_key=public_key, last_block=last_block, time_unix_ns=time.time_ns(), admin_key=admin_key
    )


def compromise(origin: str, public_key: bytes, admin_key: keys.SigningKey) -> bytes:
    """A compromise's entry."""
    return admin.build_compromise(
        origin, public_key=public_key, suspect_since_unix_ns=1, time_unix_ns=time.time_ns(), admin_key=admin_key
    )
