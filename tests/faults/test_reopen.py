"""A killed ledger of ten million entries is back within a second, with all that it acknowledged."""

from __future__ import annotations

import time

import grpc
import pytest

from lineage_ledger.emitter import Emitter, Policy, WhenFull
from lineage_ledger.v1 import admin_pb2, entries_pb2, entries_pb2_grpc
from tests.support.rpc import admin_stub, registered
from tests.support.server import RunningServer

ENTRIES = 10_000_000


@pytest.mark.long
def test_ten_million_entries_open_within_a_second_after_a_kill(tmp_path):
    with RunningServer(tmp_path / "empty") as empty:
        nothing_s = empty.start_s  # what starting Python and gRPC takes by itself
    server = RunningServer(tmp_path / "l")
    emitter = Emitter(
        server.address, ledger=server.verifier_key, key=registered(server).key, policy=Policy(when_full=WhenFull.BLOCK)
    )
    binding = emitter.bind(bytes(range(32)))
    commitment = bytes(range(32))
    for _ in range(ENTRIES):
        last = binding.emit(commitment, commitment)
    assert emitter.flush(120)
    server.kill()
    server = RunningServer(tmp_path / "l", listen=server.address)
    assert server.start_s - nothing_s < 1
    began = time.monotonic()
    statistics = admin_stub(server).GetStatistics(admin_pb2.GetStatisticsRequest(), timeout=5)
    assert statistics.tree_size > ENTRIES
    with grpc.insecure_channel(server.address) as channel:
        found = entries_pb2_grpc.EntryServiceStub(channel).GetPrediction(
            entries_pb2.GetPredictionRequest(prediction_id=str(last)), timeout=5
        )
    assert found.prediction.prediction_id == str(last)
    assert time.monotonic() - began < 1
    assert emitter.close()
    assert server.stop() == 0
