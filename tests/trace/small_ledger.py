"""A ledger in memory, built by the formats alone: what trace, receipts, indexes and reading services are tested on.

Deterministic: keys from seeds, times counted up. `groups` are what a store would have been given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lineage_ledger import kernel
from lineage_ledger.formats import admin, merkle, packed, seal, strict
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Signer, Verifier
from lineage_ledger.formats.prediction import PredictionId, encode_prediction
from lineage_ledger.trace import SealedEntry, digest_key
from lineage_ledger.v1 import entry_pb2
from lineage_ledger_server.store.rows import BatchRow, ChainRow, GroupWrite, ProducerRow

ORIGIN = "example.com/ledger/test"
START_NS = 1_700_000_000_000_000_000


def seeded_key(name: str) -> SigningKey:
    return SigningKey.from_seed(hashlib.sha256(name.encode()).digest())


def commitment(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@dataclass
class Chain:
    """A producer and its one chain."""

    name: str
    key: SigningKey
    chain_id: bytes
    ordinal: int
    nonce: bytes
    registered_index: int
    sequence: int = 0
    number: int = 0
    first_seal_index: int = 0
    last_seal_index: int = 0
    last_seal_hash: bytes = b""


@dataclass
class SmallLedger:
    entries: list[bytes] = field(default_factory=list)
    groups: list[GroupWrite] = field(default_factory=list)
    sealed: dict[int, SealedEntry] = field(default_factory=dict)
    names: dict[bytes, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ledger_key = seeded_key("ledger")
        self.admin_key = seeded_key("admin")
        self.signer = Signer(ORIGIN, self.ledger_key)
        self.verifier = Verifier(ORIGIN, self.ledger_key.public_key)
        self._chains = 0
        self._time_ns = START_NS
        self._block_hash = b""
        self._group_start = 0
        self._batches: list[BatchRow] = []
        self._chain_rows: dict[bytes, ChainRow] = {}
        self._producer_rows: dict[bytes, ProducerRow] = {}
        genesis = entry_pb2.Genesis(
            format_version=1,
            origin=ORIGIN,
            ledger_public_key=self.ledger_key.public_key,
            admin_public_keys=[self.admin_key.public_key],
            time_unix_ns=self.tick(),
        )
        self._append(entry_pb2.Entry(genesis=genesis).SerializeToString())
        self._block_hash = merkle.leaf_hash(self.entries[0])
        self.block()

    @property
    def size(self) -> int:
        return len(self.entries)

    def tick(self) -> int:
        self._time_ns += 1_000
        return self._time_ns

    def _append(self, entry: bytes) -> int:
        if entry[0] != 0x0A:  # the kernel has scanned predictions
            strict.check_entry(entry)
        self.entries.append(entry)
        return len(self.entries) - 1

    def register(self, name: str) -> Chain:
        """Register a producer and open its chain."""
        key = seeded_key(name)
        body = entry_pb2.ProducerRegistration(
            public_key=key.public_key, name=name, time_unix_ns=self.tick()
        ).SerializeToString()
        registered = entry_pb2.ProducerRegistered(
            body=body,
            possession_signature=key.sign(admin.signed_bytes(admin.POSSESSION_CONTEXT, ORIGIN, key.public_key)),
            admin_public_key=self.admin_key.public_key,
            admin_signature=self.admin_key.sign(admin.signed_bytes(admin.REGISTRATION_CONTEXT, ORIGIN, body)),
        )
        index = self._append(entry_pb2.Entry(producer_registered=registered).SerializeToString())
        self.names[key.public_key] = name
        self._producer_rows[key.public_key] = ProducerRow(index)
        return self._open(name, key, index, name)

    def open_another(self, chain: Chain, nonce: str, predecessor: bytes = b"") -> Chain:
        """One more chain of the same key, which says that it goes on from `predecessor` (chain id; empty: its own)."""
        return self._open(chain.name, chain.key, chain.registered_index, nonce, predecessor)

    def _open(
        self, name: str, key: SigningKey, registered_index: int, nonce: str, predecessor: bytes | None = None
    ) -> Chain:
        nonce_bytes = hashlib.sha256(b"nonce" + nonce.encode()).digest()
        chain_id = seal.chain_id(ORIGIN, key.public_key, nonce_bytes)
        chain = Chain(name, key, chain_id, self._chains, nonce_bytes, registered_index)
        self._chains += 1
        named = None if predecessor is None else entry_pb2.Predecessor(chain_id=predecessor or chain_id)
        self.batch(chain, [], predecessor=named)
        return chain

    def compromise(self, chain: Chain) -> int:
        body = entry_pb2.ProducerCompromise(
            public_key=chain.key.public_key, suspect_since_unix_ns=START_NS, time_unix_ns=self.tick()
        ).SerializeToString()
        compromised = entry_pb2.ProducerCompromised(
            body=body,
            admin_public_key=self.admin_key.public_key,
            admin_signature=self.admin_key.sign(admin.signed_bytes(admin.COMPROMISE_CONTEXT, ORIGIN, body)),
        )
        index = self._append(entry_pb2.Entry(producer_compromised=compromised).SerializeToString())
        self._producer_rows[chain.key.public_key] = ProducerRow(chain.registered_index, compromised_index=index)
        return index

    def batch(
        self,
        chain: Chain,
        entries: Sequence[bytes],
        bindings: Sequence[bytes] = (),
        lost: Iterable[tuple[int, int]] = (),
        predecessor: entry_pb2.Predecessor | None = None,
    ) -> list[int]:
        """Seal entries; indexes of them. `bindings` are deployment hashes, row 1 first."""
        first_index = self.size
        scanned = kernel.scan(packed.pack(entries)) if entries else None
        counts = scanned.binding_counts if scanned else ()
        lost_ranges = [entry_pb2.NumberRange(first=first, count=count) for first, count in lost]
        opening = chain.sequence == 0
        body = entry_pb2.SealBody(
            public_key=chain.key.public_key,
            chain_id=chain.chain_id,
            batch_sequence=chain.sequence,
            first_number=chain.number,
            count=len(entries),
            root=kernel.tree_root(scanned.leaf_hashes) if scanned else merkle.EMPTY_ROOT,
            previous_seal_hash=b"" if opening else chain.last_seal_hash,
            earliest_start_time_unix_ns=scanned.earliest_start_time_unix_ns if scanned else 0,
            latest_start_time_unix_ns=scanned.latest_start_time_unix_ns if scanned else 0,
            sealed_time_unix_ns=self.tick(),
            lost=lost_ranges,
            bindings=[
                entry_pb2.Binding(deployment_hash=deployment_hash, count=counts[row] if row < len(counts) else 0)
                for row, deployment_hash in enumerate(bindings)
            ],
            chain_nonce=chain.nonce if opening else b"",
            predecessor=predecessor,
        )
        entry = seal.build_seal(body, ORIGIN, chain.key)
        for item in entries:
            self._append(item)
        seal_index = self._append(entry)
        parsed = seal.parse_seal(entry)
        seal.check_seal(parsed, ORIGIN)
        self._batches.append(BatchRow(seal_index, chain.ordinal, chain.sequence, chain.number, len(entries)))
        for place, item in enumerate(entries):
            index = first_index + place
            self.sealed[index] = SealedEntry(index, item, seal_index, parsed)
        chain.first_seal_index = chain.first_seal_index or seal_index
        chain.last_seal_index = seal_index
        chain.last_seal_hash = parsed.entry_hash
        chain.sequence += 1
        chain.number = seal.next_number(body)
        self._chain_rows[chain.chain_id] = ChainRow(chain.ordinal, chain.first_seal_index, seal_index)
        return list(range(first_index, seal_index))

    def predictions(
        self, chain: Chain, count: int, deployment_hash: bytes, request_ids: Sequence[bytes] = ()
    ) -> list[PredictionId]:
        """A batch of `count` predictions; the i-th has the i-th request id, as long as there are."""
        first = chain.number
        inputs = [commitment(f"{chain.name} input {first + place}") for place in range(count)]
        entries = [
            encode_prediction(
                binding_row=1,
                input_commitment=inputs[place],
                output_commitment=commitment(f"{chain.name} output {first + place}"),
                start_time_unix_ns=self.tick(),
                request_id=request_ids[place] if place < len(request_ids) else b"",
                duration_us=17,
            )
            for place in range(count)
        ]
        self.batch(chain, entries, [deployment_hash])
        return [PredictionId(chain.chain_id, first + place, inputs[place][:4]) for place in range(count)]

    def block(self) -> None:
        """Close what was appended since the last block as one group."""
        block = entry_pb2.Block(
            number=len(self.groups) + 1, time_unix_ns=self.tick(), previous_block_hash=self._block_hash
        )
        index = self._append(entry_pb2.Entry(block=block).SerializeToString())
        self._block_hash = merkle.leaf_hash(self.entries[index])
        group = self.entries[self._group_start :]
        self.groups.append(
            GroupWrite(
                first_index=self._group_start,
                packed=packed.pack(group),
                leaf_hashes=b"".join(map(merkle.leaf_hash, group)),
                batches=self._batches,
                chains=self._chain_rows,
                producers=self._producer_rows,
                block_number=block.number,
                block_index=index,
            )
        )
        self._group_start = self.size
        self._batches, self._chain_rows, self._producer_rows = [], {}, {}

    def hashes(self) -> Leaves:
        return Leaves([merkle.leaf_hash(entry) for entry in self.entries])

    def checkpoint(self) -> bytes:
        return Checkpoint(ORIGIN, self.size, merkle.root_of(self.size, self.hashes())).sign(self.signer)


class Leaves:
    """A `HashReader` over leaf hashes."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.leaves = leaves

    def read_hashes(self, coordinates: Sequence[tuple[int, int]]) -> list[bytes]:
        return [kernel.tree_root(b"".join(self.leaves[n << level : (n + 1) << level])) for level, n in coordinates]


class NaiveSource:
    """The `StatementSource` that looks through everything."""

    def __init__(self, ledger: SmallLedger) -> None:
        self._ledger = ledger
        self._parsed = {index: strict.parse_entry(item.entry) for index, item in sorted(ledger.sealed.items())}

    def sealed_entry(self, index: int) -> SealedEntry:
        return self._ledger.sealed[index]

    def statement_index(self, leaf_hash: bytes) -> int | None:
        for index, parsed in self._parsed.items():
            if parsed.WhichOneof("kind") != "prediction" and merkle.leaf_hash(self._ledger.entries[index]) == leaf_hash:
                return index
        return None

    def artifact_index(self, digest: entry_pb2.Digest) -> int | None:
        return next(
            (i for i, e in self._parsed.items() if e.HasField("artifact") and _same(e.artifact.digest, digest)), None
        )

    def generating_runs(self, digest: entry_pb2.Digest) -> list[int]:
        return [i for i, e in self._parsed.items() if any(_same(output.digest, digest) for output in e.run.outputs)]

    def attestations(self, digest: entry_pb2.Digest) -> list[int]:
        return [
            i
            for i, e in self._parsed.items()
            if e.HasField("attestation")
            and _same(entry_pb2.AttestationBody.FromString(e.attestation.body).subject, digest)
        ]


def _same(one: entry_pb2.Digest, other: entry_pb2.Digest) -> bool:
    return digest_key(one) == digest_key(other)


def digest_text(name: str) -> str:
    return "sha256:" + hashlib.sha256(name.encode()).hexdigest()


__all__ = ["ORIGIN", "Chain", "Leaves", "NaiveSource", "SmallLedger", "commitment", "digest_text"]
