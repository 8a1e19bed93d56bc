"""A real ledger on disk that grows to any size asked for, made by the sequencer."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

from lineage_ledger.formats import keys
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.merkle import leaf_hash
from lineage_ledger.formats.note import Signer, Verifier
from lineage_ledger.formats.prediction import PredictionPacker
from lineage_ledger.formats.seal import MAX_BATCH_ENTRIES
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.head import Head, HeadRecord
from lineage_ledger_server.index.indexer import Indexer
from lineage_ledger_server.ledger import open_ledger
from lineage_ledger_server.sequencer.check import check_batch
from lineage_ledger_server.sequencer.producers import check_admin_entry
from lineage_ledger_server.sequencer.submissions import Outcome
from tests.support.producer import Producer, registration
from tests.support.stored import opened

ORIGIN = "example.com/ledger/interop"
FIRST_START_TIME_NS = 1_700_000_000_000_000_000
SMALLEST = 6  # genesis, block; registration, block; the seal that opens the chain, block
_GROUP_OVERHEAD = 2  # a seal and a block


class GrownLedger:
    """A ledger in `root`, of `SMALLEST` entries at first; no block is written but those that batches need."""

    def __init__(self, root: Path) -> None:
        self.data_dir = DataDir(root)
        self._ledger = open_ledger(self.data_dir, origin=ORIGIN, block_interval_s=1e6)
        self.verifier: Verifier = self._ledger.verifier
        self._producer = Producer(ORIGIN)
        self._pack = PredictionPacker(1).pack
        _, admin = keys.read_signing_key(self.data_dir.admin_key)
        self._submit(
            check_admin_entry(
                registration(ORIGIN, self._producer.key, admin),
                "producer_registered",
                ORIGIN,
                self._ledger.admin_public_keys,
            )
        )
        self._submit(check_batch(self._producer.batch(), ORIGIN))
        assert self.size == SMALLEST

    @property
    def size(self) -> int:
        return self._ledger.reader.head().size

    @property
    def checkpoint(self) -> bytes:
        """The newest, signed."""
        return self._ledger.reader.head().note

    def grow_to(self, size: int) -> None:
        """By batches of predictions to exactly `size`, which must be the size now or at least 3 above it."""
        while missing := size - self.size:
            count = min(missing - _GROUP_OVERHEAD, MAX_BATCH_ENTRIES)
            # What is left over must be enough for one more batch.
            if 0 < missing - _GROUP_OVERHEAD - count <= _GROUP_OVERHEAD:
                count -= _GROUP_OVERHEAD
            first = self._producer.number
            entries = [self._prediction(number) for number in range(first, first + count)]
            self._submit(check_batch(self._producer.batch(entries), ORIGIN))

    def _prediction(self, number: int) -> bytes:
        commitment = number.to_bytes(8, "big") * 4
        request_id = b"" if number % 3 else number.to_bytes(16, "big")
        return self._pack(commitment, commitment, request_id, FIRST_START_TIME_NS + number, number % 50, 0)[2:]

    def _submit(self, work: object) -> Outcome:
        future: Future[Outcome] = Future()
        self._ledger.sequencer.submit(work, future.set_result)  # type: ignore[arg-type]  # any kind of work
        outcome = future.result(20)
        assert not isinstance(outcome, Exception), outcome
        return outcome

    def close(self) -> None:
        self._ledger.close()


def publish_genesis_alone(root: Path) -> None:
    """Sign a head over the genesis of a closed ledger, as if that had come before its first block."""
    data_dir = DataDir(root)
    name, key = keys.read_signing_key(data_dir.ledger_key)
    with opened(root) as reader:
        genesis = reader.entry(0)
    data_dir.head.unlink()
    record = HeadRecord(data_dir.head)
    record.write(Head.of_note(Checkpoint(name, 1, leaf_hash(genesis)).sign(Signer(name, key))))
    record.close()


def make_indexes(root: Path) -> None:
    """The derived indexes of a closed ledger, which whoever serves it wants."""
    with opened(root) as reader:
        indexer = Indexer(DataDir(root).index, reader)
        while indexer.step():
            pass
        indexer.stop()
