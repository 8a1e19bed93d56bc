"""A real ledger on disk, made by the sequencer and the indexer, and every value of it that a bit can be flipped in."""

from __future__ import annotations

import random
import shutil
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import lmdb

from lineage_ledger.formats import keys, packed
from lineage_ledger.formats.admin import build_ledger_key_change
from lineage_ledger.formats.note import Verifier
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.index.indexer import Indexer
from lineage_ledger_server.ledger import open_ledger
from lineage_ledger_server.sequencer.check import check_batch
from lineage_ledger_server.sequencer.producers import check_admin_entry
from lineage_ledger_server.sequencer.signing import check_key_change
from lineage_ledger_server.sequencer.submissions import Outcome
from lineage_ledger_server.store.index_store import TABLES as INDEX_TABLES
from lineage_ledger_server.store.log_store import TABLES as LOG_TABLES
from tests.audit.ledger_builder import Builder
from tests.support.producer import Producer, a_prediction, registration

ORIGIN = "example.com/ledger/test"
HASHES_BYTES = 8192
SLOT_BYTES = 8192


@dataclass(frozen=True)
class StoredLedger:
    """A ledger that nobody serves."""

    data_dir: DataDir
    verifier: Verifier

    def copy(self, root: Path) -> StoredLedger:
        shutil.copytree(self.data_dir.root, root)
        return StoredLedger(DataDir(root), self.verifier)


def make(root: Path, *, batches: int = 40, most: int = 150, seed: int = 1) -> StoredLedger:
    """About 3,000 entries in several chains: statements, losses, a conflict, keys retired, compromised and changed."""
    choice = random.Random(seed)
    data_dir = DataDir(root)
    ledger = open_ledger(data_dir, origin=ORIGIN)
    _, admin = keys.read_signing_key(data_dir.admin_key)
    builder = Builder(seed, ORIGIN)
    builder.admin = admin

    def submit(work: object) -> Outcome:
        future: Future[Outcome] = Future()
        ledger.sequencer.submit(work, future.set_result)  # type: ignore[arg-type]  # any kind of work
        return future.result(10)

    def change(entry: bytes, kind: str) -> None:
        submit(check_admin_entry(entry, kind, ORIGIN, frozenset({admin.public_key})))

    producers = [Producer(ORIGIN) for _ in range(4)]
    for producer in producers:
        change(registration(ORIGIN, producer.key, admin), "producer_registered")
        submit(check_batch(producer.batch(), ORIGIN))
    number = 0
    for place in range(batches):
        producer = producers[place % len(producers)]
        count = choice.randrange(1, most)
        entries = [
            a_prediction(
                number + each,
                row=1 + each % 2,
                start_time_unix_ns=10**18 + choice.randrange(10**9),
                request_id=choice.randbytes(12) if each % 3 else b"",
            )
            for each in range(count)
        ]
        if place % 4 == 0:
            entries += [builder.artifact(), builder.attestation(producer.key)]
        number += count
        lost = [(producer.number + 2, 5)] if place % 7 == 0 and count > 5 else []
        submit(check_batch(producer.batch(entries, lost), ORIGIN))
    before = (producers[3].sequence, producers[3].number, producers[3].previous)
    submit(check_batch(producers[3].batch([a_prediction(1)]), ORIGIN))
    producers[3].sequence, producers[3].number, producers[3].previous = before
    submit(check_batch(producers[3].batch([a_prediction(2)]), ORIGIN))
    change(builder.entries[builder.retire(producers[1].key, 10_000)], "producer_retired")
    change(builder.entries[builder.compromise(producers[2].key)], "producer_compromised")
    change(builder.entries[builder.compromise(producers[1].key)], "producer_compromised")
    new_key = keys.SigningKey.generate()
    keys.write_signing_key(data_dir.new_ledger_key, ORIGIN, new_key)
    _, old_key = keys.read_signing_key(data_dir.ledger_key)
    rotation = build_ledger_key_change(ORIGIN, old_key=old_key, new_key=new_key, time_unix_ns=1, admin_key=admin)
    submit(check_key_change(rotation, ORIGIN, frozenset({admin.public_key}), data_dir.new_ledger_key))
    submit(check_batch(producers[0].batch([a_prediction(3)], closing=True), ORIGIN))
    indexer = Indexer(data_dir.index, ledger.reader)
    while indexer.step():
        pass
    indexer.stop()
    verifier = ledger.verifier
    ledger.close()
    return StoredLedger(data_dir, verifier)


@dataclass(frozen=True)
class Value:
    """One stored value: a row of a table, or a slot of the head record (which has no table)."""

    folder: str
    table: str
    key: bytes
    content: bytes

    @property
    def kind(self) -> str:
        return f"{self.folder}/{self.table}"

    def place(self, bit: int) -> str:
        """What the audit must call the place of this bit."""
        at = bit // 8
        number = int.from_bytes(self.key, "big")
        if self.folder == "head":
            return f"head record slot {number}"
        if self.folder == "index":
            return f"row index {self.table} {self.key.decode() if self.table == 'meta' else self.key.hex()}"
        if self.table == "bundles":
            return self._in_entries(number, HASHES_BYTES, 256 * number, at)
        if self.table == "tail":
            if at < 2:
                return f"row tail {number}"
            hashes_end = 2 + 32 * int.from_bytes(self.content[:2], "big")
            return self._in_entries(number // 256, hashes_end, number, at)
        if self.table == "tiles":
            return f"tile level {number >> 56} number {number & ((1 << 56) - 1)}"
        if self.table == "directory":
            return f"row directory {int.from_bytes(self.key[:4], 'big')}/{int.from_bytes(self.key[4:], 'big')}"
        if self.table in ("batches", "blocks", "chain_ids"):
            return f"row {self.table} {number}"
        return f"row {self.table} {self.key.decode() if self.table == 'meta' else self.key.hex()}"

    def _in_entries(self, tile: int, hashes_end: int, first_index: int, at: int) -> str:
        if at < hashes_end:
            return f"tile level 0 number {tile}"
        spans = packed.spans(self.content[hashes_end:])
        place = next(place for place, (offset, length) in enumerate(spans) if at - hashes_end < offset + length)
        return f"entry {first_index + place}"

    def bit_of(self, what: str, choice: random.Random) -> int:
        """A random bit in the "hashes" or the "entries" of a bundle or a row of the tail, or "any"."""
        if what == "any":
            return choice.randrange(8 * len(self.content))
        begin = 0 if self.table == "bundles" else 2
        end = HASHES_BYTES if self.table == "bundles" else 2 + 32 * int.from_bytes(self.content[:2], "big")
        at = choice.randrange(begin, end) if what == "hashes" else choice.randrange(end, len(self.content))
        return 8 * at + choice.randrange(8)


def values(ledger: StoredLedger) -> list[Value]:
    """Every value that is live."""
    found = []
    for folder, tables in (("log", LOG_TABLES), ("index", INDEX_TABLES)):
        with lmdb.open(str(ledger.data_dir.root / folder), max_dbs=16, readonly=True, lib_version=0) as env:
            for table in tables:
                database = env.open_db(table.encode(), create=False)
                with env.begin(db=database) as txn, txn.cursor() as cursor:
                    found += [Value(folder, table, bytes(key), bytes(value)) for key, value in cursor if value]
    record = ledger.data_dir.head.read_bytes()
    for number in (0, 1):
        slot = record[number * SLOT_BYTES : (number + 1) * SLOT_BYTES]
        length = 12 + int.from_bytes(slot[8:12], "big") + 32
        found.append(Value("head", "slot", bytes([number]), slot[:length]))
    return found


def write(ledger: StoredLedger, value: Value, content: bytes) -> None:
    """Put another content in the place of a value's."""
    if value.folder == "head":
        with ledger.data_dir.head.open("r+b") as file:
            file.seek(value.key[0] * SLOT_BYTES)
            file.write(content)
        return
    with _opened(ledger, value) as env, env.begin(write=True, db=env.open_db(value.table.encode())) as txn:
        assert txn.put(value.key, content)


def remove(ledger: StoredLedger, value: Value) -> None:
    """Take a row away."""
    with _opened(ledger, value) as env, env.begin(write=True, db=env.open_db(value.table.encode())) as txn:
        assert txn.delete(value.key)


def _opened(ledger: StoredLedger, value: Value) -> lmdb.Environment:
    # Not synced: nobody pulls the plug on a test, and there are hundreds of these writes.
    return lmdb.open(str(ledger.data_dir.root / value.folder), max_dbs=16, lib_version=0, sync=False)


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
