"""Makes logs to store: real entries, seals and blocks, and a naive tree beside them to compare with."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from lineage_ledger.formats import packed, seal
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Signer
from lineage_ledger.formats.prediction import PredictionId, encode_prediction
from lineage_ledger.v1 import entry_pb2
from lineage_ledger_server.head import Head
from lineage_ledger_server.store.rows import BatchRow, ChainRow, GroupWrite, ProducerRow

ORIGIN = "example.com/ledger/test"
BLOCK_INTERVAL_NS = 1_000
FIRST_BLOCK_TIME_NS = 1_000_000


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\0" + entry).digest()


def naive_root(hashes: Sequence[bytes]) -> bytes:
    """RFC 6962, 2.1, as it is written there."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while 2 * split < len(hashes):
        split *= 2
    return hashlib.sha256(b"\1" + naive_root(hashes[:split]) + naive_root(hashes[split:])).digest()


@dataclass
class Batch:
    """A batch as it was sealed; `first_number` and so on as in its seal."""

    chain_id: bytes
    seal_index: int
    first_number: int
    lost: tuple[tuple[int, int], ...]
    ids: list[PredictionId]
    first_index: int


@dataclass
class _Chain:
    row: ChainRow
    key: SigningKey
    next_sequence: int = 0
    next_number: int = 0
    last_seal_hash: bytes = b""


@dataclass
class LogBuilder:
    """A growing log: `group()` gives what the next commit adds, `entries` all there is after it."""

    seed: int = 0
    entries: list[bytes] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    chains: dict[bytes, _Chain] = field(default_factory=dict)
    signer: Signer = field(default_factory=lambda: Signer(ORIGIN, SigningKey.from_seed(b"L" * 32)))

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.producer_key = SigningKey.from_seed(b"P" * 32)

    @property
    def size(self) -> int:
        return len(self.entries)

    def root(self) -> bytes:
        return naive_root(self.hashes)

    def head(self) -> Head:
        return Head.of_note(Checkpoint(ORIGIN, self.size, self.root()).sign(self.signer))

    def raw_group(self, count: int) -> GroupWrite:
        """`count` entries of random bytes and lengths; the last one counts as the block."""
        return self._group([self.random.randbytes(self.random.randint(1, 60)) for _ in range(count)], [], {}, {})

    def genesis_group(self) -> GroupWrite:
        """The genesis, a producer's registration and block 1."""
        genesis = entry_pb2.Genesis(format_version=1, origin=ORIGIN, ledger_public_key=b"l" * 32, time_unix_ns=1)
        genesis.admin_public_keys.append(b"a" * 32)
        registration = entry_pb2.ProducerRegistration(
            public_key=self.producer_key.public_key, name="producer", time_unix_ns=1
        )
        registered = entry_pb2.ProducerRegistered(
            body=registration.SerializeToString(),
            possession_signature=b"s" * 64,
            admin_public_key=b"a" * 32,
            admin_signature=b"s" * 64,
        )
        entries = [entry_pb2.Entry(genesis=genesis), entry_pb2.Entry(producer_registered=registered)]
        rows = {self.producer_key.public_key: ProducerRow(1)}
        return self._group([entry.SerializeToString() for entry in entries] + [self._block()], [], {}, rows)

    def group(self, counts: Sequence[int], *, lost: bool = False, new_chain: bool = False) -> GroupWrite:
        """One batch of each count, in chains chosen at random, and a block. A new chain begins with an empty batch."""
        entries: list[bytes] = []
        batches: list[BatchRow] = []
        changed: dict[bytes, ChainRow] = {}
        if new_chain or not self.chains:
            self._batch(self._open_chain(), 0, False, entries, batches, changed)
        for count in counts:
            chain_id = self.random.choice(sorted(self.chains))
            self._batch(chain_id, count, lost, entries, batches, changed)
        return self._group([*entries, self._block()], batches, changed, {})

    def _open_chain(self) -> bytes:
        nonce = self.random.randbytes(32)
        chain_id = seal.chain_id(ORIGIN, self.producer_key.public_key, nonce)
        self.chains[chain_id] = _Chain(ChainRow(len(self.chains), 0, 0), self.producer_key)
        self._nonce = nonce
        return chain_id

    def _batch(
        self,
        chain_id: bytes,
        count: int,
        lost: bool,
        entries: list[bytes],
        batches: list[BatchRow],
        changed: dict[bytes, ChainRow],
    ) -> None:
        chain = self.chains[chain_id]
        first_number, first_index = chain.next_number, self.size + len(entries)
        gap = (first_number + 1, 2) if lost and count > 1 else None
        ids, number = [], first_number
        for _ in range(count):
            if gap is not None and number == gap[0]:
                number += gap[1]
            commitment = self.random.randbytes(32)
            ids.append(PredictionId(chain_id, number, commitment[:4]))
            entries.append(
                encode_prediction(
                    binding_row=1, input_commitment=commitment, output_commitment=b"o" * 32, start_time_unix_ns=5
                )
            )
            number += 1
        body = entry_pb2.SealBody(
            public_key=chain.key.public_key,
            chain_id=chain_id,
            batch_sequence=chain.next_sequence,
            first_number=first_number,
            count=count,
            root=naive_root([leaf(entry) for entry in entries[len(entries) - count :]]),
            previous_seal_hash=chain.last_seal_hash,
            sealed_time_unix_ns=9,
        )
        if count:
            body.earliest_start_time_unix_ns = body.latest_start_time_unix_ns = 5
            body.bindings.append(entry_pb2.Binding(deployment_hash=b"d" * 32, count=count))
        if gap is not None:
            body.lost.append(entry_pb2.NumberRange(first=gap[0], count=gap[1]))
        if chain.next_sequence == 0:
            body.chain_nonce = self._nonce
        entries.append(seal.build_seal(body, ORIGIN, chain.key))
        seal_index = first_index + count
        first_seal_index = chain.row.first_seal_index if chain.next_sequence else seal_index
        batches.append(BatchRow(seal_index, chain.row.ordinal, chain.next_sequence, first_number, count))
        chain.row = changed[chain_id] = ChainRow(chain.row.ordinal, first_seal_index, seal_index)
        chain.next_sequence += 1
        chain.next_number = seal.next_number(body)
        chain.last_seal_hash = leaf(entries[-1])
        self.batches.append(Batch(chain_id, seal_index, first_number, (gap,) if gap else (), ids, first_index))

    def _block(self) -> bytes:
        number = len(self.blocks) + 1
        previous = leaf(self.entries[self.blocks[-1] if self.blocks else 0]) if self.entries else b"g" * 32
        block = entry_pb2.Block(
            number=number, time_unix_ns=FIRST_BLOCK_TIME_NS + number * BLOCK_INTERVAL_NS, previous_block_hash=previous
        )
        return entry_pb2.Entry(block=block).SerializeToString()

    def _group(
        self,
        entries: list[bytes],
        batches: list[BatchRow],
        chains: dict[bytes, ChainRow],
        producers: dict[bytes, ProducerRow],
    ) -> GroupWrite:
        first_index = self.size
        hashes = [leaf(entry) for entry in entries]
        self.entries += entries
        self.hashes += hashes
        self.blocks.append(self.size - 1)
        return GroupWrite(
            first_index=first_index,
            packed=packed.pack(entries),
            leaf_hashes=b"".join(hashes),
            batches=batches,
            chains=chains,
            producers=producers,
            block_number=len(self.blocks),
            block_index=self.size - 1,
        )
