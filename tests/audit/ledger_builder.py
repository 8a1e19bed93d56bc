"""Ledgers made in memory, entry by entry, straight from the formats: right ones, and ones with one rule broken.

Independent of store and sequencer, so that it can write what they would refuse.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from lineage_ledger.audit import Reopen
from lineage_ledger.errors import MalformedError
from lineage_ledger.formats import keys, merkle, packed, seal
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Signer, Verifier
from lineage_ledger.kernel import tree_root
from lineage_ledger.v1 import entry_pb2

ORIGIN = "example.com/ledger/test"
START_NS = 1_700_000_000_000_000_000
WIDTH = 256

Edit = Callable[[entry_pb2.SealBody], object]


def no_edit(body: entry_pb2.SealBody) -> None:
    """The seal as it should be."""


@dataclass
class MemorySource:
    """Bundles, tiles and a checkpoint held in memory; change them at will."""

    bundles: list[tuple[bytes, bytes]]
    tiles: dict[tuple[int, int], bytes]
    checkpoint: bytes
    size: int
    has_tiles: bool = True

    @property
    def reopen(self) -> Reopen:
        return partial(type(self), self.bundles, {}, b"", self.size, self.has_tiles)

    @property
    def checkpoints(self) -> list[tuple[str, bytes]]:
        return [("checkpoint", self.checkpoint)]

    def bundle(self, number: int) -> tuple[bytes | None, bytes]:
        hashes, entries = self.bundles[number]
        return (hashes if self.has_tiles else None), entries

    def tile_hashes(self, level: int, number: int, width: int) -> bytes:
        if (level, number) not in self.tiles:
            raise MalformedError(f"no tile {level}/{number}")
        return self.tiles[level, number][: 32 * width]


def source_of(entries: Sequence[bytes], checkpoint: bytes) -> MemorySource:
    """The entries stored as they should be."""
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    bundles = [
        (b"".join(leaves[at : at + WIDTH]), packed.pack(entries[at : at + WIDTH]))
        for at in range(0, len(entries), WIDTH)
    ]
    tiles = {}
    level, hashes = 0, leaves
    while len(hashes) >= WIDTH:
        hashes = [tree_root(b"".join(hashes[at : at + WIDTH])) for at in range(0, len(hashes) // WIDTH * WIDTH, WIDTH)]
        level += 1
        for number in range((len(hashes) + WIDTH - 1) // WIDTH):
            tiles[level, number] = b"".join(hashes[number * WIDTH : (number + 1) * WIDTH])
    return MemorySource(bundles, tiles, checkpoint, len(entries))


@dataclass
class Chain:
    """A producer's chain as its emitter keeps it."""

    key: keys.SigningKey
    nonce: bytes
    chain_id: bytes
    sequence: int = 0
    number: int = 0
    last_seal_hash: bytes = b""


@dataclass
class Builder:
    """Appends entries. What is not said is as it should be."""

    seed: int = 1
    origin: str = ORIGIN
    entries: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.signer = Signer(self.origin, self.new_key())
        self.admin = self.new_key()
        self.deployment_hash = self.random.randbytes(32)
        self.block_number = 0
        self.block_hash = b""
        self.time_unix_ns = START_NS

    @property
    def verifier(self) -> Verifier:
        return self.signer.verifier

    def new_key(self) -> keys.SigningKey:
        return keys.SigningKey.from_seed(self.random.randbytes(32))

    def append(self, entry: bytes | entry_pb2.Entry) -> int:
        """Any entry as it is; returns its index."""
        self.entries.append(entry if isinstance(entry, bytes) else entry.SerializeToString())
        return len(self.entries) - 1

    def genesis(self, *, origin: str = "", ledger_public_key: bytes = b"") -> int:
        genesis = entry_pb2.Genesis(
            format_version=1,
            origin=origin or self.origin,
            ledger_public_key=ledger_public_key or self.signer.key.public_key,
            admin_public_keys=[self.admin.public_key],
            time_unix_ns=START_NS,
        )
        index = self.append(entry_pb2.Entry(genesis=genesis))
        self.block_hash = merkle.leaf_hash(self.entries[index])
        return index

    def block(self, *, number: int = 0, link: bytes = b"", time_unix_ns: int = 0) -> int:
        self.block_number = number or self.block_number + 1
        self.time_unix_ns += 1_000_000
        block = entry_pb2.Block(
            number=self.block_number,
            time_unix_ns=time_unix_ns or self.time_unix_ns,
            previous_block_hash=link or self.block_hash,
        )
        index = self.append(entry_pb2.Entry(block=block))
        self.block_hash = merkle.leaf_hash(self.entries[index])
        return index

    def _admin_signature(self, context: str, body: bytes, admin: keys.SigningKey | None) -> dict[str, bytes]:
        admin = admin or self.admin
        message = f"lineage-ledger/{context}/v1\n{self.origin}\n".encode() + body
        return {"admin_public_key": admin.public_key, "admin_signature": admin.sign(message)}

    def register(self, key: keys.SigningKey, *, admin: keys.SigningKey | None = None, possession: bytes = b"") -> int:
        body = entry_pb2.ProducerRegistration(
            public_key=key.public_key, name="producer", time_unix_ns=START_NS
        ).SerializeToString()
        signed = possession or key.sign(f"lineage-ledger/possession/v1\n{self.origin}\n".encode() + key.public_key)
        signatures = self._admin_signature("registration", body, admin)
        message = entry_pb2.ProducerRegistered(body=body, possession_signature=signed, **signatures)
        return self.append(entry_pb2.Entry(producer_registered=message))

    def retire(self, key: keys.SigningKey, last_block: int, *, admin: keys.SigningKey | None = None) -> int:
        body = entry_pb2.ProducerRetirement(
            public_key=key.public_key, last_block=last_block, time_unix_ns=START_NS
        ).SerializeToString()
        message = entry_pb2.ProducerRetired(body=body, **self._admin_signature("retirement", body, admin))
        return self.append(entry_pb2.Entry(producer_retired=message))

    def compromise(
        self, key: keys.SigningKey, *, admin: keys.SigningKey | None = None, since_unix_ns: int = START_NS
    ) -> int:
        body = entry_pb2.ProducerCompromise(
            public_key=key.public_key, suspect_since_unix_ns=since_unix_ns, time_unix_ns=START_NS
        ).SerializeToString()
        message = entry_pb2.ProducerCompromised(body=body, **self._admin_signature("compromise", body, admin))
        return self.append(entry_pb2.Entry(producer_compromised=message))

    def removal(self, *, admin: keys.SigningKey | None = None) -> int:
        body = entry_pb2.RemovalBody(
            policy="ninety days", ranges=[entry_pb2.IndexRange(first=2, count=1)], time_unix_ns=START_NS
        ).SerializeToString()
        message = entry_pb2.Removal(body=body, **self._admin_signature("removal", body, admin))
        return self.append(entry_pb2.Entry(removal=message))

    def change_ledger_key(self, new: keys.SigningKey, *, old: keys.SigningKey | None = None, wrong: str = "") -> int:
        """`wrong` names the signature that is not right: "old", "new" or "admin"."""
        old = old or self.signer.key
        body = entry_pb2.LedgerKeyChange(
            old_public_key=old.public_key, new_public_key=new.public_key, time_unix_ns=START_NS
        ).SerializeToString()
        message = f"lineage-ledger/ledger-key/v1\n{self.origin}\n".encode() + body
        change = entry_pb2.LedgerKey(
            body=body,
            old_signature=(new if wrong == "old" else old).sign(message),
            new_signature=(old if wrong == "new" else new).sign(message),
            **self._admin_signature("ledger-key", body, self.new_key() if wrong == "admin" else None),
        )
        index = self.append(entry_pb2.Entry(ledger_key=change))
        self.signer = Signer(self.origin, new)
        return index

    def prediction(self, *, row: int = 1, offset_ns: int = 0) -> bytes:
        start = START_NS + (offset_ns or self.random.randrange(1, 10**9))
        prediction = entry_pb2.Prediction(
            binding_row=row,
            request_id=self.random.randbytes(16),
            input_commitment=self.random.randbytes(32),
            output_commitment=self.random.randbytes(32),
            start_time_unix_ns=start,
            duration_us=1234,
        )
        return entry_pb2.Entry(prediction=prediction).SerializeToString()

    def artifact(self, size: int = 10) -> bytes:
        digest = entry_pb2.Digest(algorithm="DIGEST_ALGORITHM_SHA256", value=self.random.randbytes(32))
        attributes = [entry_pb2.Attribute(name=f"{place:04}", value="v" * 4000) for place in range(size // 4000)]
        artifact = entry_pb2.Artifact(
            kind="ARTIFACT_KIND_MODEL", digest=digest, name="model " + "n" * min(size, 200), attributes=attributes
        )
        return entry_pb2.Entry(artifact=artifact).SerializeToString()

    def attestation(self, key: keys.SigningKey | None, *, signer: keys.SigningKey | None = None) -> bytes:
        digest = entry_pb2.Digest(algorithm="DIGEST_ALGORITHM_SHA256", value=self.random.randbytes(32))
        body = entry_pb2.AttestationBody(
            subject=digest,
            predicate_type="https://example.com/reviewed",
            public_key=key.public_key if key else b"",
            time_unix_ns=START_NS,
        ).SerializeToString()
        message = f"lineage-ledger/attestation/v1\n{self.origin}\n".encode() + body
        attester = signer or key
        signature = attester.sign(message) if attester else b""
        return entry_pb2.Entry(attestation=entry_pb2.Attestation(body=body, signature=signature)).SerializeToString()

    def new_chain(self, key: keys.SigningKey) -> Chain:
        nonce = self.random.randbytes(32)
        return Chain(key, nonce, seal.chain_id(self.origin, key.public_key, nonce))

    def open_chain(self, key: keys.SigningKey, edit: Edit = no_edit) -> Chain:
        """A chain with its empty first seal appended."""
        chain = self.new_chain(key)
        self.batch(chain, (), edit=edit)
        return chain

    def batch(
        self,
        chain: Chain,
        entries: Iterable[bytes],
        *,
        lost: Sequence[tuple[int, int]] = (),
        closing: bool = False,
        edit: Edit = no_edit,
        signing_key: keys.SigningKey | None = None,
        within: Callable[[], object] | None = None,
    ) -> int:
        """Append a batch and its seal; returns the seal's index.

        `edit` changes the body before it is signed; `within` is called before the last entry is appended.
        """
        batch = list(entries)
        seal_entry = self.seal_entry(chain, batch, lost=lost, closing=closing, edit=edit, signing_key=signing_key)
        for place, entry in enumerate(batch):
            if within is not None and place == len(batch) - 1:
                within()
            self.append(entry)
        index = self.append(seal_entry)
        self.advance(chain, seal_entry)
        return index

    def advance(self, chain: Chain, seal_entry: bytes) -> None:
        """The chain goes on from this seal."""
        body = entry_pb2.SealBody.FromString(entry_pb2.Entry.FromString(seal_entry).seal.body)
        chain.sequence = body.batch_sequence + 1
        chain.number = seal.next_number(body)
        chain.last_seal_hash = merkle.leaf_hash(seal_entry)

    def seal_entry(
        self,
        chain: Chain,
        batch: Sequence[bytes],
        *,
        lost: Sequence[tuple[int, int]] = (),
        closing: bool = False,
        edit: Edit = no_edit,
        signing_key: keys.SigningKey | None = None,
    ) -> bytes:
        parsed = [entry_pb2.Entry.FromString(entry) for entry in batch if entry[0] == 0x0A]
        starts = [entry.prediction.start_time_unix_ns for entry in parsed]
        rows = [entry.prediction.binding_row for entry in parsed]
        body = entry_pb2.SealBody(
            public_key=chain.key.public_key,
            chain_id=chain.chain_id,
            batch_sequence=chain.sequence,
            first_number=chain.number,
            count=len(batch),
            root=tree_root(b"".join(merkle.leaf_hash(entry) for entry in batch)),
            previous_seal_hash=chain.last_seal_hash,
            earliest_start_time_unix_ns=min(starts, default=0),
            latest_start_time_unix_ns=max(starts, default=0),
            sealed_time_unix_ns=START_NS,
            lost=[entry_pb2.NumberRange(first=first, count=count) for first, count in lost],
            bindings=[
                entry_pb2.Binding(deployment_hash=self.deployment_hash, count=rows.count(row))
                for row in range(1, max(rows, default=0) + 1)
            ],
            chain_nonce=b"" if chain.sequence else chain.nonce,
            closing=closing,
        )
        edit(body)
        body_bytes = body.SerializeToString()
        message = seal.signed_bytes(self.origin, body_bytes)
        signature = (signing_key or chain.key).sign(message)
        return entry_pb2.Entry(seal=entry_pb2.Seal(body=body_bytes, signature=signature)).SerializeToString()

    def conflict(self, first: bytes, second: bytes) -> int:
        return self.append(entry_pb2.Entry(conflict=entry_pb2.Conflict(first_seal=first, second_seal=second)))

    def checkpoint(self, size: int | None = None, *, signer: Signer | None = None) -> bytes:
        size = len(self.entries) if size is None else size
        root = tree_root(b"".join(merkle.leaf_hash(entry) for entry in self.entries[:size]))
        return Checkpoint(self.origin, size, root).sign(signer or self.signer)

    def source(self, size: int | None = None) -> MemorySource:
        """All entries, stored as they should be, under a checkpoint over `size` of them (all)."""
        return source_of(self.entries, self.checkpoint(size))


def begun(seed: int = 1) -> tuple[Builder, keys.SigningKey]:
    """Genesis, a block, a registered producer, a block."""
    builder = Builder(seed)
    builder.genesis()
    builder.block()
    key = builder.new_key()
    builder.register(key)
    builder.block()
    return builder, key


def predictions(builder: Builder, count: int, rows: int = 1) -> list[bytes]:
    """Predictions with rows 1 to `rows` in turn."""
    return [builder.prediction(row=1 + place % rows) for place in range(count)]


def grown(seed: int, batches: int, most: int) -> Builder:
    """A right ledger of several chains, with statements, losses, heartbeats and a retired key."""
    builder, key = begun(seed)
    chains = [builder.open_chain(key), builder.open_chain(key)]
    builder.block()
    for number in range(batches):
        chain = chains[number % 2]
        count = builder.random.randrange(most + 1)
        lost = [(chain.number + 1, 3)] if number % 5 == 0 and count > 1 else []
        batch = predictions(builder, count, 1 + number % 3)
        if number % 3 == 0:
            batch.insert(len(batch) // 2, builder.artifact())
            batch.append(builder.attestation(key))
        builder.batch(chain, batch, lost=lost)
        if builder.random.random() < 0.6:
            builder.block()
    builder.retire(key, builder.block_number + 2)
    builder.batch(chains[0], predictions(builder, 2), closing=True)
    builder.block()
    return builder
