"""The server that benchmarks start answers only after a sync: else their figures would be of something else.

Its calls are traced. Each sync is made to take 30 ms longer, so that an answer that does not wait for it comes first.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks import timed_serve
from benchmarks.feed import Feed
from benchmarks.served import Served, served
from lineage_ledger.emitter.acknowledgements import AcknowledgementChecker
from lineage_ledger.emitter.ring import Cut
from lineage_ledger.emitter.sealer import ChainSealer, SealedBatch
from lineage_ledger.formats import packed
from lineage_ledger.formats.note import Verifier
from lineage_ledger.rpc.connection import Connection
from lineage_ledger.rpc.endpoint import Endpoint
from lineage_ledger.rpc.methods import APPEND_BATCH
from lineage_ledger.v1 import append_pb2
from tests.benchmarks import sync_trace
from tests.benchmarks.sync_trace import Answer
from tests.support.producer import a_prediction

pytestmark = pytest.mark.skipif(sync_trace.compiler() is None, reason="needs Linux and a C compiler")

DELAY_US = 30_000
BATCHES = 3
_SERVE = "from lineage_ledger_server.cli.serve import serve; serve()"

# Ledgers that lie about what is durable, each in one way.
_LMDB_NEVER_SYNCS = """
import lmdb
environment = lmdb.Environment
def without_sync(path, **options):
    return environment(path, **{**options, "sync": options["readonly"]})
lmdb.Environment = without_sync
"""
_LMDB_SYNCS_LATER = f"""{_LMDB_NEVER_SYNCS}
import threading, time
def and_synced_later(path, **options):
    made = without_sync(path, **options)
    def sync():
        while True:
            made.sync(True)
            time.sleep(0.001)
    threading.Thread(target=sync, daemon=True).start()
    return made
lmdb.Environment = and_synced_later
"""
_HEAD_IS_NOT_SYNCED = """
from lineage_ledger_server import head
head._sync_data = lambda descriptor: None
"""
_ANSWERS_BEFORE_THE_HEAD = """
import threading
from lineage_ledger_server.head import HeadRecord
write = HeadRecord.write
def write_later(self, new):
    threading.Timer(0.01, write, [self, new]).start()
    HeadRecord.read = lambda self: new
HeadRecord.write = write_later
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sync_trace.build(tmp_path_factory.mktemp("sync_trace"))


def batch_of(sealer: ChainSealer, number: int) -> SealedBatch:
    first = sealer.next_number
    entries = [a_prediction(first + place, request_id=sync_trace.marked(number)) for place in range(3)]
    return sealer.seal(Cut(first, first + len(entries), packed.pack(entries), len(entries), []), [bytes(32)])


def by_stream(server: Served) -> Iterator[Answer]:
    with Feed(server, in_flight=1) as feed:
        for number in range(BATCHES):
            feed.send([batch_of(feed.sealer, number)])
            yield Answer(number, time.monotonic_ns())


def by_calls(server: Served) -> Iterator[Answer]:
    checker = AcknowledgementChecker(Verifier.parse(server.verifier_key), prove=False)
    sealer = ChainSealer(server.origin, server.key)
    with Connection(Endpoint(server.address)) as connection:
        connection.call(APPEND_BATCH, append_pb2.AppendBatchRequest(packed_batch=sealer.open(None).packed or b""))
        for number in range(BATCHES):
            batch = batch_of(sealer, number)
            request = append_pb2.AppendBatchRequest(packed_batch=batch.packed or b"", options=checker.begin())
            response = connection.call(APPEND_BATCH, request)
            yield Answer(number, time.monotonic_ns())
            checkpoint = checker.check_checkpoint(response.checkpoint, response.consistency_proof)
            checker.check(batch, b"", response.acknowledgement, checkpoint)


class Traced:
    """Runs a server of a benchmark under the trace, sends to it, and says what is wrong."""

    def __init__(self, library: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._library, self._folder, self._monkeypatch = library, folder, monkeypatch

    def complaints(
        self,
        way: Callable[[Served], Iterator[Answer]],
        command: tuple[str, ...] = (sys.executable, "-c", _SERVE),
        *,
        skip: bool = False,
    ) -> list[str]:
        trace, data = self._folder / "trace", self._folder / "ledger"
        with self._monkeypatch.context() as patched:
            for name, value in sync_trace.environment(self._library, trace, delay_us=DELAY_US, skip=skip).items():
                patched.setenv(name, value)
            with served(data, command=command) as server:
                patched.undo()
                answers = list(way(server))
        assert len(answers) == BATCHES
        return list(sync_trace.complaints(sync_trace.read(trace), answers, data))


@pytest.fixture
def traced(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Traced:
    return Traced(library, tmp_path, monkeypatch)


@pytest.mark.parametrize("way", [by_stream, by_calls])
def test_the_server_of_benchmarks_answers_after_a_sync(
    traced: Traced, way: Callable[[Served], Iterator[Answer]]
) -> None:
    assert traced.complaints(way) == []


def test_the_server_that_times_its_handlers_does_too(traced: Traced, tmp_path: Path) -> None:
    assert traced.complaints(by_stream, (*timed_serve.command(tmp_path / "times"),)) == []


@pytest.mark.parametrize(
    ("fault", "missing"),
    [
        (_LMDB_NEVER_SYNCS, "sync of the log"),
        (_LMDB_SYNCS_LATER, "sync of the log"),
        (_HEAD_IS_NOT_SYNCED, "sync of the head record"),
        (_ANSWERS_BEFORE_THE_HEAD, "write of the head record"),
    ],
    ids=["never synced", "synced later", "head not synced", "head later"],
)
def test_a_server_that_does_not_wait_is_caught(traced: Traced, fault: str, missing: str) -> None:
    found = traced.complaints(by_stream, (sys.executable, "-c", fault + _SERVE))
    assert found
    assert any(missing in complaint for complaint in found)


def test_a_system_whose_syncs_do_nothing_is_caught(traced: Traced) -> None:
    found = traced.complaints(by_stream, skip=True)
    assert len(found) == BATCHES
    assert all("sync of the log" in complaint for complaint in found)
