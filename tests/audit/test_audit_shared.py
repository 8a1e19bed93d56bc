"""An audit that processes share finds what one process finds: the same findings, in the same order."""

from __future__ import annotations

import os
import pickle
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest

from lineage_ledger.audit import BatchFacts, Observer, Reopen, Report, audit, workers
from lineage_ledger.audit.local import Digest, digest
from lineage_ledger.errors import LineageError
from lineage_ledger.formats import keys, packed
from lineage_ledger.formats.note import Verifier
from lineage_ledger.v1 import entry_pb2
from tests.audit import test_audit_rules
from tests.audit.ledger_builder import Builder, MemorySource, begun, grown, predictions
from tests.audit.test_audit_rules import CASES

MODULE = sys.modules["lineage_ledger.audit.audit"]


@contextmanager
def in_this_process(
    reopen: Reopen, runs: Sequence[range], origin: str, signatures_from: int, processes: int
) -> Iterator[Iterator[Digest | None]]:
    """`workers.digests` without processes, which take a quarter of a second each to start."""

    def found() -> Iterator[Digest | None]:
        source = pickle.loads(pickle.dumps(reopen))()
        for numbers in runs:
            try:
                result = digest(source, numbers, origin, signatures_from)
            except LineageError:
                TAKEN["unusual"] += 1
                yield None
            else:
                TAKEN["plain"] += 1
                yield pickle.loads(pickle.dumps(result))

    yield found()


TAKEN = {"plain": 0, "unusual": 0}


@pytest.fixture
def small_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of one bundle, so that small ledgers have many."""
    monkeypatch.setattr(MODULE, "_RUN_BUNDLES", 1)
    monkeypatch.setattr(workers, "digests", in_this_process)
    TAKEN.update(plain=0, unusual=0)


def outcome(report: Report) -> object:
    """All that must be the same."""
    return report.findings, report.finding_count, report.counts, report.not_checked, report.failures, report.state


class Recording(Observer):
    """Notes all that it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def start(self, size: int) -> None:
        self.told.append(size)

    def on_batch(self, batch: BatchFacts) -> None:
        self.told.append((replace(batch.chain), *batch[1:]))

    def on_deployment(self, leaf_hash: bytes, deployment: entry_pb2.Deployment) -> None:
        self.told.append((leaf_hash, deployment))

    def on_block(self, number: int, index: int, time_unix_ns: int) -> None:
        self.told.append((number, index, time_unix_ns))


def check(source: MemorySource, verifier: Verifier, known: bytes | None = None) -> Report:
    by_one, by_two = Recording(), Recording()
    alone = audit(source, verifier, known, observer=by_one)
    shared = audit(source, verifier, known, observer=by_two, processes=2)
    assert outcome(shared) == outcome(alone)
    assert by_two.told == by_one.told
    assert (alone.processes, shared.processes) == (1, 2)
    assert shared.bytes_read >= alone.bytes_read
    return shared


def padded(entries: int) -> tuple[Builder, keys.SigningKey]:
    builder, key = begun()
    chain = builder.open_chain(key)
    while len(builder.entries) < entries:
        model = entry_pb2.Digest(algorithm="DIGEST_ALGORITHM_SHA256", value=builder.random.randbytes(32))
        deployment = entry_pb2.Deployment(name="served", model=model)
        statements = [builder.artifact(), entry_pb2.Entry(deployment=deployment).SerializeToString()]
        builder.batch(chain, [*predictions(builder, 9), *statements, builder.attestation(key)])
        builder.block()
    return builder, key


@pytest.mark.usefixtures("small_runs")
@pytest.mark.parametrize("name", sorted(CASES))
def test_each_broken_rule(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_audit_rules, "begun", partial(padded, 300))
    builder, expected = CASES[name]()
    key = builder.new_key()
    builder.register(key)
    builder.block()
    chain = builder.open_chain(key)
    while len(builder.entries) < 1_300:
        builder.batch(chain, predictions(builder, 90))
        builder.block()
    report = check(builder.source(), builder.verifier)
    assert {place for place in expected if place[0] != "no_block"} <= {(f.kind, f.index) for f in report.findings}
    assert TAKEN["plain"]
    assert not TAKEN["unusual"] or expected


@pytest.fixture(scope="module")
def ledger() -> Builder:
    return grown(7, 40, 150)


@pytest.mark.usefixtures("small_runs")
@pytest.mark.parametrize("bundles", [1, 3])
@pytest.mark.parametrize("seed", range(24))
def test_flipped_bits(ledger: Builder, seed: int, bundles: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_RUN_BUNDLES", bundles)
    choice = random.Random(seed)
    source = ledger.source()
    for _ in range(seed % 4):
        number = choice.randrange(len(source.bundles))
        parts = [bytearray(part) for part in source.bundles[number]]
        part = choice.choice(parts)
        part[choice.randrange(len(part))] ^= 1 << choice.randrange(8)
        source.bundles[number] = (bytes(parts[0]), bytes(parts[1]))
    if seed % 5 == 0:
        tile = bytearray(source.tiles[1, 0])
        tile[choice.randrange(len(tile))] ^= 1
        source.tiles[1, 0] = bytes(tile)
    check(source, ledger.verifier, ledger.checkpoint(4))
    assert TAKEN["plain"] or TAKEN["unusual"]


@pytest.mark.usefixtures("small_runs")
@pytest.mark.parametrize(("batches", "most"), [(300, 3), (40, 150), (4, 5_000)])
def test_right_ledgers_of_small_and_large_batches(batches: int, most: int) -> None:
    builder = grown(5, batches, most)
    for has_tiles in (True, False):
        source = builder.source()
        source.has_tiles = has_tiles
        assert check(source, builder.verifier).exit_status == 0
        assert not TAKEN["unusual"]


@pytest.mark.usefixtures("small_runs")
def test_a_batch_of_more_entries_than_are_allowed_is_found_by_both() -> None:
    builder, key = begun()
    builder.batch(builder.open_chain(key), [builder.prediction()] * 16_386)
    builder.block()
    assert check(builder.source(), builder.verifier).findings


class Dying(MemorySource):
    """Ends the process that reads its third bundle, if it is not the one that made it."""

    owner = 0

    def bundle(self, number: int) -> tuple[bytes | None, bytes]:
        if number == 3 and os.getpid() != self.owner:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().bundle(number)


class Hanging(MemorySource):
    """Answers nothing in another process."""

    owner = 0

    def bundle(self, number: int) -> tuple[bytes | None, bytes]:
        if os.getpid() != self.owner:
            time.sleep(600)
        return super().bundle(number)


def shared(source: MemorySource, verifier: Verifier, monkeypatch: pytest.MonkeyPatch) -> Report:
    monkeypatch.setattr(MODULE, "_RUN_BUNDLES", 2)
    return audit(source, verifier, processes=2)


def test_real_processes_find_the_same(ledger: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ledger.source()
    assert outcome(shared(source, ledger.verifier, monkeypatch)) == outcome(audit(source, ledger.verifier))
    hashes, entries = source.bundles[4]
    source.bundles[4] = (hashes, packed.pack([*packed.split(entries)[:-1], ledger.artifact()]))
    report = shared(source, ledger.verifier, monkeypatch)
    assert outcome(report) == outcome(audit(source, ledger.verifier))
    assert report.findings


def test_a_process_that_dies_is_no_pass(ledger: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    right = ledger.source()
    monkeypatch.setattr(Dying, "owner", os.getpid())
    source = Dying(right.bundles, right.tiles, right.checkpoint, right.size)
    report = shared(source, ledger.verifier, monkeypatch)
    assert report.exit_status == 2
    assert "ended with status -9" in report.failures[0]
    assert report.state is None


def test_a_process_that_hangs_is_no_pass(ledger: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    right = ledger.source()
    monkeypatch.setattr(Hanging, "owner", os.getpid())
    monkeypatch.setattr(workers, "digests", partial(workers.digests, timeout_s=1.0))
    source = Hanging(right.bundles, right.tiles, right.checkpoint, right.size)
    report = shared(source, ledger.verifier, monkeypatch)
    assert report.exit_status == 2
    assert "did not answer for 1 s" in report.failures[0]


def test_a_source_that_cannot_be_opened_again_is_audited_by_one_process(ledger: Builder) -> None:
    class Once(MemorySource):
        reopen = None  # type: ignore[assignment]  # as a source may say

    right = ledger.source()
    report = audit(Once(right.bundles, right.tiles, right.checkpoint, right.size), ledger.verifier, processes=4)
    assert (report.exit_status, report.processes) == (0, 1)


def test_a_small_log_is_audited_by_one_process_unless_more_are_asked_for(ledger: Builder) -> None:
    assert audit(ledger.source(), ledger.verifier, processes=None).processes == 1


@pytest.mark.usefixtures("small_runs")
def test_a_log_that_takes_one_process_long_is_shared(ledger: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_MIN_SHARED_S", 0.0)
    monkeypatch.setattr(MODULE, "_cpus", lambda: 64)
    report = audit(ledger.source(), ledger.verifier, processes=None)
    assert (report.processes, report.exit_status) == (8, 0)
    assert outcome(report) == outcome(audit(ledger.source(), ledger.verifier))
