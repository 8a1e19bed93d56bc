"""The derived indexes hold what a look through the whole log finds, however they came about."""

from __future__ import annotations

import hashlib
import random
import time
from typing import TYPE_CHECKING

import pytest

from lineage_ledger.formats import statement
from lineage_ledger.formats.digest import parse_digest
from lineage_ledger.trace import digest_key
from lineage_ledger.v1 import entry_pb2
from lineage_ledger_server.errors import CorruptValueError, DiskFullError, StoreError
from lineage_ledger_server.index import stretch
from lineage_ledger_server.index.indexer import Indexer
from lineage_ledger_server.index.lookup import LogStatements, Lookup
from lineage_ledger_server.store.index_store import EMPTY, IndexStore, IndexWrite, Position, Posting, PostingRow
from lineage_ledger_server.store.rows import number_key
from lineage_ledger_server.store.run_rows import RunKey
from tests.index.served_log import ServedLog
from tests.trace.graphs import demo
from tests.trace.small_ledger import ORIGIN, SmallLedger, digest_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def random_ledger(seed: int, groups: int = 30) -> SmallLedger:
    """Statements that share digests, predictions with and without request ids, losses, large entries, recoveries."""
    rng = random.Random(seed)
    ledger = SmallLedger()
    chains = [ledger.register(name) for name in ("a", "b", "c")]
    texts = [digest_text(str(n)) for n in range(6)] + ["md5:" + "0" * 32, "sha1:" + "1" * 40]
    deployments: list[bytes] = [b"\x07" * 32]
    for group in range(groups):
        if rng.random() < 0.3:  # of its own key or another's, of one that was recovered before, or of itself
            predecessor = rng.choice([b"", *(chain.chain_id for chain in chains)])
            chains.append(ledger.open_another(rng.choice(chains), str(group), predecessor))
        for _ in range(rng.randint(0, 3)):
            chain = rng.choice(chains)
            if rng.random() < 0.5:
                entries = [random_statement(rng, texts) for _ in range(rng.randint(0, 5))]
                ledger.batch(chain, entries, lost=[(chain.number, rng.randint(1, 9))] if rng.random() < 0.3 else ())
                deployments += [statement.statement_hash(e) for e in entries if e[0] >> 3 == 5]
            else:
                ids = [rng.choice([b"", b"same", rng.randbytes(8)]) for _ in range(rng.randint(1, 400))]
                ledger.predictions(chain, len(ids), rng.choice(deployments), ids)
        ledger.block()
    return ledger


def random_statement(rng: random.Random, texts: list[str]) -> bytes:
    kind = rng.randrange(4)
    if kind == 0:
        padding = {"padding": "x" * 4_000} if rng.random() < 0.5 else None
        return statement.artifact(kind="dataset", digest=rng.choice(texts), name="d", attributes=padding)
    if kind == 1:
        return statement.run(
            kind="training",
            name="r",
            inputs=rng.sample(texts, 2),
            outputs=rng.choices(texts, k=2),
            code=rng.choice(texts),
        )
    if kind == 2:
        return statement.deployment(name=str(rng.random()), model=rng.choice(texts))
    return statement.attestation(subject=rng.choice(texts), predicate_type="p", time_unix_ns=1)


def naive_postings(ledger: SmallLedger) -> dict[tuple[Posting, bytes], list[tuple[int, int]]]:
    found: dict[tuple[Posting, bytes], dict[int, int]] = {}

    def post(kind: Posting, subject: bytes, index: int, count: int = 0) -> None:
        rows = found.setdefault((kind, subject), {})
        rows[index] = rows.get(index, 0) + count

    for index, raw in enumerate(ledger.entries):
        entry = entry_pb2.Entry.FromString(raw)
        kind = entry.WhichOneof("kind")
        if kind in ("artifact", "run", "deployment", "attestation"):
            post(Posting.STATEMENT, statement.statement_hash(raw), index)
        if kind == "artifact":
            post(Posting.ARTIFACT, digest_key(entry.artifact.digest), index)
        elif kind == "deployment":
            post(Posting.DEPLOYED, digest_key(entry.deployment.model), index)
        elif kind == "attestation":
            body = entry_pb2.AttestationBody.FromString(entry.attestation.body)
            post(Posting.ATTESTED, digest_key(body.subject), index)
        elif kind == "run":
            for reference in entry.run.inputs:
                post(Posting.USED, digest_key(reference.digest), index)
            post(Posting.USED, digest_key(entry.run.code), index)
            for reference in entry.run.outputs:
                post(Posting.GENERATED, digest_key(reference.digest), index)
        elif kind == "seal":
            seal = entry_pb2.SealBody.FromString(entry.seal.body)
            post(Posting.SEALED, seal.public_key, index)
            before = seal.predecessor.chain_id
            if seal.chain_nonce:
                post(Posting.OPENED, seal.public_key, index)
            if before not in (b"", seal.chain_id):
                post(Posting.RECOVERED, before + seal.public_key, index)
            for binding in filter(lambda binding: binding.count, seal.bindings):
                post(Posting.BOUND, binding.deployment_hash, index, binding.count)
    return {key: sorted(rows.items()) for key, rows in found.items()}


def indexes_with(lookup: Lookup, request_id: bytes, start: int, end: int) -> list[int]:
    """What is found, each with its entry."""
    found = list(lookup.with_request_id(request_id, start, end))
    assert all(entry_pb2.Entry.FromString(entry).prediction.request_id == request_id for _, entry in found)
    return [index for index, _ in found]


def request_ids(ledger: SmallLedger) -> dict[bytes, list[int]]:
    found: dict[bytes, list[int]] = {}
    for index, raw in enumerate(ledger.entries):
        if request_id := entry_pb2.Entry.FromString(raw).prediction.request_id:
            found.setdefault(request_id, []).append(index)
    return found


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ServedLog]:
    served = ServedLog(random_ledger(1), tmp_path)
    yield served
    served.close()


@pytest.mark.parametrize("seed", range(4))
def test_against_a_look_through_everything(seed: int, tmp_path: Path) -> None:
    ledger = random_ledger(seed)
    log = ServedLog(ledger, tmp_path)
    log.index()
    store = log.indexer._store
    expected = naive_postings(ledger)
    assert {Posting.OPENED, Posting.RECOVERED} <= {kind for kind, _ in expected}
    assert sum(name == "postings" for name, _, _ in store.dump()) == sum(map(len, expected.values()))
    for (kind, subject), rows in expected.items():
        assert store.postings(kind, subject, 0, ledger.size, 10**6) == rows
        middle = rows[len(rows) // 2][0]
        assert store.postings(kind, subject, middle, ledger.size, 2) == [r for r in rows if r[0] >= middle][:2]
        assert store.postings(kind, subject, 0, middle, 10**6) == [r for r in rows if r[0] < middle]
    lookup = log.indexer.lookup
    for request_id, indexes in request_ids(ledger).items():
        assert indexes_with(lookup, request_id, 0, ledger.size) == indexes
    for start, end in ((0, 300), (255, 257), (256, 512), (700, ledger.size), (ledger.size, ledger.size)):
        same = [index for index in request_ids(ledger)[b"same"] if start <= index < end]
        assert indexes_with(lookup, b"same", start, end) == same
    assert indexes_with(lookup, b"never", 0, ledger.size) == []
    kinds = [entry_pb2.Entry.FromString(raw).WhichOneof("kind") for raw in ledger.entries]
    totals = log.indexer.totals()
    assert totals.size == ledger.size
    assert totals.predictions == kinds.count("prediction")
    assert totals.statements == sum(kinds.count(kind) for kind in ("artifact", "run", "deployment", "attestation"))
    assert totals.lost == sum(
        lost.count
        for raw in ledger.entries
        for lost in entry_pb2.SealBody.FromString(entry_pb2.Entry.FromString(raw).seal.body).lost
    )
    log.close()


@pytest.mark.parametrize("entries_a_commit", [1, 256, 700])
def test_however_they_came_about_they_are_the_same(
    entries_a_commit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once; a group at a time; in small commits, with a crash (a new start) after each."""
    ledger = random_ledger(3, groups=12)
    at_once = ServedLog(ledger, tmp_path / "at_once")
    at_once.index()
    expected = list(at_once.indexer._store.dump())
    at_once.indexer.rebuild()
    at_once.index()
    assert list(at_once.indexer._store.dump()) == expected
    at_once.close()

    growing = SmallLedger()
    log = ServedLog(growing, tmp_path / "growing")
    for group_end in [group.block_index + 1 for group in ledger.groups[1:]]:
        growing.entries = ledger.entries[:group_end]
        growing.groups = [group for group in ledger.groups if group.block_index < group_end]
        log.publish()
    assert list(log.indexer._store.dump()) == expected

    monkeypatch.setattr(stretch, "MAX_COMMIT_ENTRIES", entries_a_commit)
    steps = 0
    more = True
    rows: list[tuple[str, bytes, bytes]] = []
    path = tmp_path / "restarted"
    while more:
        indexer = Indexer(path, log.reader)
        more = indexer.step()
        steps += 1
        rows = list(indexer._store.dump())
        indexer.stop()
    assert rows == expected
    assert steps == -(-ledger.size // max(entries_a_commit // 256 * 256 + (entries_a_commit % 256 > 0) * 256, 256))
    log.close()


def test_large_entries_are_scanned_in_pieces(tmp_path: Path) -> None:
    """A bundle of more than 4 MiB, which the kernel does not scan at once."""
    ledger = SmallLedger()
    chain = ledger.register("a")
    attributes = {f"{n:02}": "x" * 4_090 for n in range(15)}
    big = [
        statement.artifact(kind="dataset", digest=digest_text(str(n)), name="d", attributes=attributes)
        for n in range(60)
    ]
    for _ in range(4):
        ledger.predictions(chain, 3, b"\x01" * 32, [b"x", b"y"])
        ledger.batch(chain, big)
    ledger.predictions(chain, 60, b"\x01" * 32, [b"x", b"y"])
    ledger.block()
    assert ledger.size > 300
    log = ServedLog(ledger, tmp_path)
    log.index()
    assert indexes_with(log.indexer.lookup, b"y", 0, ledger.size) == request_ids(ledger)[b"y"]
    key = digest_key(parse_digest(digest_text("59")))
    assert len(list(log.indexer.lookup.indexes(Posting.ARTIFACT, key, 0, ledger.size))) == 4
    log.close()


class TestAnotherLog:
    def test_ahead_of_the_log(self, log: ServedLog) -> None:
        log.index()
        expected = list(log.indexer._store.dump())
        before = log.indexer.totals()
        ahead = Position(before.size + 1, *before[1:])
        log.indexer._store.commit(write(before, ahead))
        log.index()
        assert list(log.indexer._store.dump()) == expected

    def test_same_size_other_entries(self, log: ServedLog, tmp_path: Path) -> None:
        log.index()
        expected = list(log.indexer._store.dump())
        before = log.indexer.totals()
        log.indexer._store.commit(write(before, before._replace(root=bytes(32), predictions=7)))
        log.indexer.stop()
        log.indexer = Indexer(tmp_path / "index", log.reader)
        log.index()
        assert list(log.indexer._store.dump()) == expected

    def test_another_origin(self, log: ServedLog, tmp_path: Path) -> None:
        log.index()
        log.indexer.stop()
        with pytest.raises(StoreError, match="holds the indexes"):
            IndexStore.open(tmp_path / "index", origin="example.com/another", read_only=True)
        other = IndexStore.open(tmp_path / "index", origin="example.com/another")
        assert other.position() == EMPTY
        assert [row for row in other.dump() if row[0] != "meta"] == []
        other.close()
        log.indexer = Indexer(tmp_path / "index", log.reader)
        log.index()
        assert log.indexer.totals().size == log.ledger.size


def write(before: Position, after: Position) -> IndexWrite:
    return IndexWrite(before, after, [], {}, [])


def test_commit_on_another_position_is_refused(log: ServedLog) -> None:
    log.index()
    with pytest.raises(StoreError, match="not where this commit begins"):
        log.indexer._store.commit(write(EMPTY, EMPTY))


def test_read_only_process_reads_along(log: ServedLog, tmp_path: Path) -> None:
    log.index()
    log.indexer.stop()
    reading = IndexStore.open(tmp_path / "index", origin=ORIGIN, read_only=True)
    assert reading.position().size == log.ledger.size
    reading.close()
    log.indexer = Indexer(tmp_path / "index", log.reader)


def test_indexes_that_do_not_open_are_made_again(log: ServedLog, tmp_path: Path) -> None:
    log.index()
    expected = list(log.indexer._store.dump())
    log.indexer.stop()
    (tmp_path / "index" / "data.mdb").write_bytes(b"not LMDB at all" * 1_000)
    log.indexer = Indexer(tmp_path / "index", log.reader)
    log.index()
    assert list(log.indexer._store.dump()) == expected


class TestDamagedLog:
    """Entries that make postings are hashed before they are believed; a request id's row only points at an entry."""

    @pytest.fixture
    def ledger(self) -> SmallLedger:
        ledger = SmallLedger()
        chain = ledger.register("a")
        ledger.batch(chain, [statement.artifact(kind="dataset", digest=digest_text("d"), name="d")])
        for first in (0, 300):
            ledger.predictions(chain, 300, b"\x07" * 32, [b"%d" % number for number in range(first, first + 300)])
        ledger.block()
        return ledger

    def damaged(self, ledger: SmallLedger, path: Path, index: int, change: Callable[[bytes], bytes]) -> ServedLog:
        log = ServedLog(ledger, path)
        entry = ledger.entries[index]
        changed = change(entry)
        assert changed != entry and len(changed) == len(entry)
        number = index // 256
        with log.store._environment.write() as txn:
            table = log.store._environment.table("bundles")
            key = number_key(number)
            value = txn.get(key, db=table) or b""
            assert value.count(entry) == 1
            txn.put(key, value.replace(entry, changed), db=table)
        return log

    def index_of(self, ledger: SmallLedger, kind: str) -> int:
        kinds = [entry_pb2.Entry.FromString(raw).WhichOneof("kind") for raw in ledger.entries[:512]]
        return max(index for index, found in enumerate(kinds) if found == kind)

    @pytest.mark.parametrize("kind", ["seal", "artifact"])
    def test_entry_with_postings(self, kind: str, ledger: SmallLedger, tmp_path: Path) -> None:
        index = self.index_of(ledger, kind)
        log = self.damaged(ledger, tmp_path, index, lambda entry: entry[:-1] + bytes([entry[-1] ^ 1]))
        with pytest.raises(CorruptValueError, match=f"entry at index {index} ") as raised:
            log.index()
        assert raised.value.index == index
        assert log.indexer.indexed_size == 0
        log.close()

    @pytest.mark.parametrize("at", [0, 1, 3])
    def test_entry_that_is_none_any_more(self, at: int, ledger: SmallLedger, tmp_path: Path) -> None:
        index = self.index_of(ledger, "prediction")

        def change(entry: bytes) -> bytes:
            return entry[:at] + b"\xff" + entry[at + 1 :]

        log = self.damaged(ledger, tmp_path, index, change)
        with pytest.raises(CorruptValueError, match=f"entry at index {index} "):
            log.index()
        log.close()

    def test_seal_that_looks_like_a_prediction(self, ledger: SmallLedger, tmp_path: Path) -> None:
        """It is not hashed then, but no batch is believed whose seal is not there."""
        index = self.index_of(ledger, "seal")
        good = next(raw for raw in ledger.entries if raw[0] == 0x0A)

        def change(entry: bytes) -> bytes:
            length = len(entry) - len(good) - 2
            return good + (len(entry) - len(good) - 2).to_bytes(2, "big") + entry[-length:]

        log = self.damaged(ledger, tmp_path, index, change)
        with pytest.raises(CorruptValueError):
            log.index()
        log.close()

    def test_request_id_of_another(self, ledger: SmallLedger, tmp_path: Path) -> None:
        """The index takes the damaged id up; the hit is found out, by name, and every other id is found."""
        index = next(index for index, raw in enumerate(ledger.entries) if b"\x12\x03250" in raw)
        log = self.damaged(ledger, tmp_path, index, lambda entry: entry.replace(b"\x12\x03250", b"\x12\x03251"))
        log.index()
        lookup = log.indexer.lookup
        assert indexes_with(lookup, b"250", 0, ledger.size) == []
        with pytest.raises(CorruptValueError, match=f"entry at index {index} "):
            indexes_with(lookup, b"251", 0, ledger.size)
        for number in {*range(600)} - {250, 251}:
            assert indexes_with(lookup, b"%d" % number, 0, ledger.size) == request_ids(ledger)[b"%d" % number]
        log.close()


def test_rows_that_their_entries_do_not_bear_out_are_no_hits(tmp_path: Path) -> None:
    """Rows of others' ids that begin alike, more of them than a page holds, before and behind the right one."""
    ledger = SmallLedger()
    chain = ledger.register("a")
    ledger.predictions(chain, 1_600, b"\x07" * 32, [b"right" if n == 800 else b"%d" % n for n in range(1_600)])
    ledger.block()
    log = ServedLog(ledger, tmp_path)
    log.index()
    (right,) = request_ids(ledger)[b"right"]
    before = log.indexer.totals()
    prefix = hashlib.sha256(b"right").digest()[:10]
    hostile = {
        RunKey(first, 0): b"".join(prefix + index.to_bytes(3, "big") for index in range(first, first + 256))
        for first in range(0, ledger.size - 255, 256)
    }
    log.indexer._store.commit(IndexWrite(before, before, [], hostile, []))
    assert len(hostile) == 6
    assert indexes_with(log.indexer.lookup, b"right", 0, ledger.size) == [right]
    assert indexes_with(log.indexer.lookup, b"right", right, ledger.size) == [right]
    assert indexes_with(log.indexer.lookup, b"right", right + 1, ledger.size) == []
    log.close()


def test_posting_that_its_entry_does_not_bear_out_is_not_believed(tmp_path: Path) -> None:
    """As a flipped bit in the index would make it."""
    it = demo(3)
    log = ServedLog(it.ledger, tmp_path)
    log.index()
    source = LogStatements(log.reader, log.indexer.lookup, it.ledger.size)
    digest = parse_digest(digest_text("never logged"))
    assert source.artifact_index(digest) is None
    before = log.indexer.totals()
    rows = [
        PostingRow(Posting.ARTIFACT, digest_key(digest), it.statements["model"]),
        PostingRow(Posting.GENERATED, digest_key(digest), it.statements["train"]),
        PostingRow(Posting.ATTESTED, digest_key(digest), it.statements["attestation"]),
        PostingRow(Posting.STATEMENT, bytes(32), it.statements["deployment"]),
    ]
    log.indexer._store.commit(IndexWrite(before, before, rows, {}, []))
    with pytest.raises(CorruptValueError, match="ARTIFACT"):
        source.artifact_index(digest)
    with pytest.raises(CorruptValueError, match="GENERATED"):
        list(source.generating_runs(digest))
    with pytest.raises(CorruptValueError, match="ATTESTED"):
        list(source.attestations(digest))
    with pytest.raises(CorruptValueError, match="STATEMENT"):
        source.statement_index(bytes(32))
    log.close()


class TestThread:
    """Faults are injected at the store; the thread must go on by itself."""

    def wait_until(self, what: Callable[[], bool], seconds: float = 5.0) -> None:
        until = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < until, "not in time"
            time.sleep(0.005)

    def test_follows_the_head(self, tmp_path: Path) -> None:
        ledger = SmallLedger()
        log = ServedLog(ledger, tmp_path)
        log.indexer.start()
        chain = ledger.register("a")
        for _ in range(3):
            ledger.predictions(chain, 300, b"\x01" * 32, [b"id"])
            ledger.block()
            log.publish(index=False)
            assert log.indexer.lookup.wait_for(ledger.size, 5.0)
        assert len(indexes_with(log.indexer.lookup, b"id", 0, ledger.size)) == 3
        assert not log.indexer.lookup.wait_for(ledger.size + 1, 0.02)
        log.close()

    def test_error_is_visible_and_tried_again(self, log: ServedLog, monkeypatch: pytest.MonkeyPatch) -> None:
        store = log.indexer._store
        commit = store.commit
        failures = iter([DiskFullError("no space left"), RuntimeError("anything")])

        def failing(write: IndexWrite) -> None:
            if (error := next(failures, None)) is not None:
                raise error
            commit(write)

        monkeypatch.setattr(store, "commit", failing)
        seen: list[str] = []
        log.indexer.start()

        def done() -> bool:
            seen.append(log.indexer.status.error)
            return log.indexer.status.indexed_size == log.ledger.size

        self.wait_until(done)
        assert {"no space left", "anything"} <= set(seen)
        assert log.indexer.status.error == ""

    def test_work_is_counted(self, log: ServedLog, monkeypatch: pytest.MonkeyPatch) -> None:
        assert log.indexer.work == (0, 0, 0, 0, 0)
        monkeypatch.setattr(stretch, "MAX_COMMIT_ENTRIES", 256)
        monkeypatch.setattr(stretch, "READ_LEVEL", 0)
        steps = 1
        while log.indexer.step():
            steps += 1
        work = log.indexer.work
        assert (work.commits, work.entries) == (steps, log.ledger.size)
        assert log.ledger.size > 4_096
        assert work.merged_rows == len(log.indexer._store.run(RunKey(0, 1))) // 13 > 1_000
        assert 0 < work.merge_us < work.busy_us

    def test_rebuild_while_running(self, log: ServedLog) -> None:
        log.indexer.start()
        self.wait_until(lambda: log.indexer.indexed_size == log.ledger.size)
        expected = list(log.indexer._store.dump())
        log.indexer.rebuild()
        self.wait_until(lambda: not log.indexer._rebuild and log.indexer.totals().size == log.ledger.size)
        assert list(log.indexer._store.dump()) == expected


def test_more_losses_than_64_bits_count_do_not_stop_it(tmp_path: Path) -> None:
    ledger = SmallLedger()
    for name in ("a", "b", "c"):
        chain = ledger.register(name)
        ledger.batch(chain, [], lost=[(0, (1 << 63) - 1)])
    ledger.block()
    served = ServedLog(ledger, tmp_path / "s")
    served.index()
    assert served.indexer.indexed_size == len(ledger.entries)
    assert served.indexer.totals().lost == (1 << 64) - 1
    served.close()
