"""The operator as an attacker: he has the files, the ledger's key and the admin's, and this very code.

He makes `entries` what he likes and writes a ledger as it would be if that had been its history: hashes, tiles, rows,
checksums, indexes, head record and signature all in order. What he cannot do is sign for producers.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from lineage_ledger import kernel
from lineage_ledger.errors import LineageError
from lineage_ledger.formats import admin, keys, merkle, packed, seal
from lineage_ledger.formats.chain_receipt import ChainReceipt
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Signer
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.formats.receipt import Receipt
from lineage_ledger.v1 import entries_pb2, entry_pb2
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.head import Head, HeadRecord
from lineage_ledger_server.index.indexer import Indexer
from lineage_ledger_server.reading.log_reader import LogReader
from lineage_ledger_server.store.log_store import LogStore
from lineage_ledger_server.store.rows import BatchRow, ChainRow, GroupWrite, ProducerRow
from tests.sources import log_files
from tests.support import stored
from tests.trace.small_ledger import Leaves

SEAL, BLOCK, LEDGER_KEY = 0x12, 0x4A, 0x7A


class Operator:
    """Begins with the honest entries of the ledger in `data`, which nobody serves now; `data` itself stays as it is."""

    def __init__(self, data: Path) -> None:
        self.data_dir = DataDir(data)
        self.signer = Signer(*keys.read_signing_key(self.data_dir.ledger_key))
        self.shown = b""
        """The signed checkpoint that he shows; empty: an honest one of his entries."""
        self.admin_key = keys.read_signing_key(self.data_dir.admin_key)[1]
        with stored.opened(data) as reader:
            self.entries = list(stored.entries(reader))

    @property
    def origin(self) -> str:
        return self.signer.name

    @property
    def leaves(self) -> Leaves:
        return Leaves([merkle.leaf_hash(entry) for entry in self.entries])

    # -- what he makes of the entries ------------------------------------------------------------------------

    def batches_of(self, chain_id: bytes) -> list[range]:
        """Indexes of each batch of a chain, its seal included."""
        found = []
        for index, entry in enumerate(self.entries):
            if entry[0] == SEAL and (body := _body(entry)).chain_id == chain_id:
                found.append(range(index - body.count, index + 1))
        return found

    def edit(self, index: int, change: Callable[[entry_pb2.Entry], object]) -> None:
        """Change an entry, and with a block all links behind it."""
        entry = entry_pb2.Entry.FromString(self.entries[index])
        change(entry)
        self.entries[index] = entry.SerializeToString()
        self.relink()

    def log(self, *batches: bytes, time_unix_ns: int = 0) -> None:
        """Put batches on record, whatever the rules say of them, and a block behind them."""
        for batch in batches:
            self.entries += packed.split(batch)
        block = entry_pb2.Block(number=1, time_unix_ns=time_unix_ns or time.time_ns())
        self.entries.append(entry_pb2.Entry(block=block).SerializeToString())
        self.relink()

    def relink(self) -> None:
        """Number and link the blocks anew."""
        before = self.entries[0]
        number = 0
        for index, entry in enumerate(self.entries):
            if entry[0] == BLOCK:
                block, number = entry_pb2.Entry.FromString(entry), number + 1
                block.block.number, block.block.previous_block_hash = number, merkle.leaf_hash(before)
                before = self.entries[index] = block.SerializeToString()

    # -- what he shows of them -------------------------------------------------------------------------------

    def checkpoint(self) -> bytes:
        if self.shown:
            return self.shown
        size = len(self.entries)
        return Checkpoint(self.origin, size, merkle.root_of(size, self.leaves)).sign(self.signer)

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        return merkle.consistency_proof(old, new, self.leaves)

    def write(self, root: Path) -> Path:
        """A data folder that a server opens, serves and goes on from."""
        theirs = DataDir(root)
        theirs.make()
        shutil.copytree(self.data_dir.ledger_key.parent, theirs.ledger_key.parent, dirs_exist_ok=True)
        shutil.copy(self.data_dir.verifier_key, theirs.verifier_key)
        store = LogStore.open(theirs.log)
        for group in _groups(self.entries):
            store.append(group)
        record = HeadRecord(theirs.head)
        for _ in range(2):  # Both slots hold a head.
            record.write(Head.of_note(self.checkpoint()))
        indexer = Indexer(theirs.index, LogReader(store, record))
        with suppress(LineageError):  # Entries that cannot be read cannot be indexed.
            while indexer.step():
                pass
        indexer.stop()
        record.close()
        store.close()
        return root

    def export(self, root: Path) -> Path:
        """The log as files."""
        return log_files.write(root, self.entries, self.checkpoint())

    def receipt(self, prediction_id: PredictionId, *, without_key_changes: bool = False) -> bytes:
        """A lineage receipt of a prediction with nothing behind it, of the entries as they are now."""
        batch, opening = self._sealed(prediction_id)
        body = _body(self.entries[batch[-1]])
        chosen = self._about_key(body.public_key)
        place = seal.place_of(body, prediction_id.number)
        assert place is not None
        chosen |= {batch[place], batch[-1], opening, self._block_after(batch[-1])}
        if not without_key_changes:
            chosen |= {index for index, entry in enumerate(self.entries) if entry[0] == LEDGER_KEY}
        inside = Leaves([merkle.leaf_hash(self.entries[index]) for index in batch[:-1]])
        return Receipt(
            prediction_id,
            self._at(chosen),
            {batch[-1]: tuple(merkle.multiproof([place], body.count, inside))},
            tuple(merkle.multiproof(sorted(chosen), len(self.entries), self.leaves)),
            self.checkpoint(),
        ).encode()

    def logged(self, prediction_id: PredictionId) -> entries_pb2.LoggedPrediction:
        """A prediction with what proves it, of the entries as they are now: what a server of his own says of it."""
        batch, opening = self._sealed(prediction_id)
        body = _body(self.entries[batch[-1]])
        place = seal.place_of(body, prediction_id.number)
        assert place is not None
        entry = self.entries[batch[place]]
        inside = Leaves([merkle.leaf_hash(self.entries[index]) for index in batch[:-1]])
        return entries_pb2.LoggedPrediction(
            prediction_id=str(prediction_id),
            index=batch[place],
            entry=entry,
            seal_index=batch[-1],
            public_key=body.public_key,
            deployment_hash=body.bindings[entry_pb2.Entry.FromString(entry).prediction.binding_row - 1].deployment_hash,
            batch_proof=merkle.inclusion_proof(place, body.count, inside),
            chain_nonce=_body(self.entries[opening]).chain_nonce,
        )

    def chain_receipt(self, chain_id: bytes) -> bytes:
        """A chain receipt of all seals of a chain as they are now."""
        seals = [batch[-1] for batch in self.batches_of(chain_id)]
        key = _body(self.entries[seals[0]]).public_key
        chosen = {*self._about_key(key), *seals, self._block_after(seals[-1])}
        return ChainReceipt(
            chain_id,
            0,
            self._at(chosen),
            tuple(merkle.multiproof(sorted(chosen), len(self.entries), self.leaves)),
            self.checkpoint(),
        ).encode()

    def _at(self, indexes: set[int]) -> dict[int, bytes]:
        return {index: self.entries[index] for index in sorted(indexes)}

    def _about_key(self, public_key: bytes) -> set[int]:
        """The genesis, and the entries that registered a key and ended it."""
        found = {0}
        for index, entry in enumerate(self.entries):
            kind = entry_pb2.Entry.FromString(entry)
            if any(kind.HasField(name) for name in admin.PRODUCER_KINDS):
                about = entry_pb2.ProducerRetirement.FromString(getattr(kind, str(kind.WhichOneof("kind"))).body)
                if about.public_key == public_key:
                    found.add(index)
        return found

    def _sealed(self, prediction_id: PredictionId) -> tuple[range, int]:
        """Indexes of the batch that a prediction is in, and the index of its chain's first seal."""
        batches = self.batches_of(prediction_id.chain_id)
        for batch in batches:
            body = _body(self.entries[batch[-1]])
            if body.first_number <= prediction_id.number < seal.next_number(body):
                return batch, batches[0][-1]
        raise AssertionError("no batch of that chain has that number")

    def _block_after(self, index: int) -> int:
        return next(at for at in range(index, len(self.entries)) if self.entries[at][0] == BLOCK)


def _body(seal_entry: bytes) -> entry_pb2.SealBody:
    """What a seal says, however it is encoded."""
    return entry_pb2.SealBody.FromString(entry_pb2.Entry.FromString(seal_entry).seal.body)


def _groups(entries: Sequence[bytes]) -> Iterator[GroupWrite]:
    """What the ledger would have written for each block, had it taken these entries."""
    chains: dict[bytes, ChainRow] = {}
    producers: dict[bytes, ProducerRow] = {}
    key_changes: list[int] = []
    start = 0
    batches: list[BatchRow] = []
    for index, data in enumerate(entries):
        entry = entry_pb2.Entry.FromString(data)
        kind = entry.WhichOneof("kind")
        if kind == "seal":
            body = _body(data)
            row = chains.get(body.chain_id, ChainRow(len(chains), index, index))
            chains[body.chain_id] = row._replace(last_seal_index=index)
            batches.append(BatchRow(index, row.ordinal, body.batch_sequence, body.first_number, body.count))
        elif kind == "conflict":
            about = seal.parse_seal(entry.conflict.first_seal).body.chain_id
            chains[about] = chains[about]._replace(conflict_index=index)
        elif kind in admin.PRODUCER_KINDS:
            key = entry_pb2.ProducerRetirement.FromString(getattr(entry, kind).body).public_key
            known = producers.get(key, ProducerRow(index))
            if kind == "producer_retired":
                known = known._replace(retired_index=index)
            elif kind == "producer_compromised":
                known = known._replace(compromised_index=index)
            producers[key] = known
        elif kind == "ledger_key":
            key_changes.append(index)
        elif kind == "block":
            group = entries[start : index + 1]
            own = packed.pack(group)
            hashes = kernel.leaf_hashes(own)
            number = entry.block.number
            yield GroupWrite(start, own, hashes, batches, dict(chains), dict(producers), number, index, key_changes)
            start, batches = index + 1, []
