"""Emitters with many threads and forked processes, on the real ledger: every id leads to its own payload."""

from __future__ import annotations

import os
import struct
import threading
from pathlib import Path

import pytest

from lineage_ledger.emitter import Emitter, Policy, WhenFull
from lineage_ledger.formats.prediction import PredictionId
from tests.support.rpc import registered
from tests.support.server import RunningServer
from tests.support.stored import numbered, opened

# Where the input commitment lies in a prediction with a one-byte row and no request id.
COMMITMENT = slice(6, 38)
PAYLOAD = struct.Struct(">II24x")


def _payloads(data: Path) -> dict[tuple[bytes, int], bytes]:
    with opened(data) as reader:
        return {(chain, number): entry[COMMITMENT] for chain, number, entry in numbered(reader) if entry[0] == 0x0A}


@pytest.fixture
def server(tmp_path):
    with RunningServer(tmp_path / "l") as server:
        yield server


@pytest.mark.timeout(240)
def test_sixteen_threads_of_a_hundred_thousand(server):
    threads, emits = 16, 100_000
    emitter = Emitter(
        server.address, ledger=server.verifier_key, key=registered(server).key, policy=Policy(when_full=WhenFull.BLOCK)
    )
    binding = emitter.bind(bytes(range(32)))
    ids: list[list[PredictionId]] = [[] for _ in range(threads)]

    def work(thread: int) -> None:
        mine = ids[thread]
        for count in range(emits):
            commitment = PAYLOAD.pack(thread, count)
            mine.append(binding.emit(commitment, commitment))

    workers = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert emitter.flush(120)
    assert emitter.statistics.lost == 0
    assert emitter.close()
    assert server.stop() == 0
    payloads = _payloads(server.data)
    assert len(payloads) == threads * emits
    for thread, mine in enumerate(ids):
        for count, prediction in enumerate(mine):
            assert payloads[prediction.chain_id, prediction.number] == PAYLOAD.pack(thread, count)
            assert prediction.input_prefix == thread.to_bytes(4, "big")


@pytest.mark.timeout(240)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("spool", [False, True])
def test_fork_in_the_middle(server, tmp_path, spool):
    """Parent and child both go on, while another thread is emitting, and both complete, each in a chain of its own."""
    emits, forks = 20_000, 3
    emitter = Emitter(
        server.address,
        ledger=server.verifier_key,
        key=registered(server).key,
        spool=tmp_path / "spool" if spool else None,
        policy=Policy(when_full=WhenFull.BLOCK),
    )
    binding = emitter.bind(bytes(range(32)))
    stop = threading.Event()
    other: list[tuple[PredictionId, bytes]] = []

    def emit(process: int, count: int, into: list[tuple[PredictionId, bytes]]) -> None:
        commitment = PAYLOAD.pack(process, count)
        into.append((binding.emit(commitment, commitment), commitment))

    def work() -> None:
        count = 0
        while not stop.is_set():
            emit(1_000, count, other)
            count += 1
            if count % 50 == 0:
                stop.wait(0.001)

    worker = threading.Thread(target=work)
    worker.start()
    mine: list[tuple[PredictionId, bytes]] = []
    for count in range(emits):
        emit(0, count, mine)
    children = []
    for child in range(1, forks + 1):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                theirs: list[tuple[PredictionId, bytes]] = []
                for count in range(emits):
                    emit(child, count, theirs)
                if emitter.flush(60) and emitter.close(60) and emitter.statistics.acknowledged == emits:
                    lines = [f"{prediction} {commitment.hex()}" for prediction, commitment in theirs]
                    (tmp_path / f"child-{child}").write_text("\n".join(lines))
                    status = 0
            finally:
                os._exit(status)
        children.append(pid)
        for count in range(emits * child, emits * (child + 1)):
            emit(0, count, mine)
    stop.set()
    worker.join()
    assert emitter.flush(60)
    assert emitter.close(60)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * forks
    assert server.stop() == 0
    payloads = _payloads(server.data)
    everything = mine + other
    for child in range(1, forks + 1):
        lines = (tmp_path / f"child-{child}").read_text().splitlines()
        assert len(lines) == emits
        found = [line.split() for line in lines]
        everything += [(PredictionId.parse(text), bytes.fromhex(commitment)) for text, commitment in found]
    assert len({prediction.chain_id for prediction, _ in everything}) == forks + 1
    assert len(payloads) == len(everything) == emits * (2 * forks + 1) + len(other)
    for prediction, commitment in everything:
        assert payloads[prediction.chain_id, prediction.number] == commitment
