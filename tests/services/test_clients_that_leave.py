"""Clients that go away in the middle are no fault of the server's: it forgets them, and its log has nothing to say."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from lineage_ledger.v1 import admin_pb2, append_pb2, append_pb2_grpc, entries_pb2, entries_pb2_grpc
from tests.support.processes import eventually
from tests.support.rpc import admin_stub, registered
from tests.support.server import RunningServer

_WAITS_S = (0.0005, 0.001, 0.003, 0.01, 0.03)


def test_whoever_leaves_while_it_is_answered_leaves_nothing_behind(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "l") as server:
        producer = registered(server)
        batches = [producer.batch(), *(producer.predictions(14_000) for _ in range(4))]
        with grpc.insecure_channel(server.address) as channel:
            stub: Any = append_pb2_grpc.AppendServiceStub(channel)
            for packed in batches:
                stub.AppendBatch(append_pb2.AppendBatchRequest(packed_batch=packed))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda seed: _leave(server.address, batches, seed), range(8)))
        admin = admin_stub(server)
        eventually(lambda: not admin.GetStatistics(admin_pb2.GetStatisticsRequest(), timeout=5).pending_bytes)
        assert server.stop() == 0
    log = (tmp_path / "l.log").read_text()
    assert [line for line in log.splitlines() if "retrieved" in line or "unexpected" in line or "Error" in line] == []


def _leave(address: str, batches: list[bytes], seed: int) -> None:
    """Begin calls of all kinds and cancel them, before anything comes, or after the first answer, or by deadline."""
    rng = random.Random(seed)
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        append: Any = append_pb2_grpc.AppendServiceStub(channel)
        read: Any = entries_pb2_grpc.EntryServiceStub(channel)
        for _ in range(60):
            wait_s = rng.choice(_WAITS_S)
            requests = [append_pb2.AppendStreamRequest(packed_batches=[packed]) for packed in batches]
            calls = [
                read.StreamEntries(entries_pb2.StreamEntriesRequest()),
                read.StreamEntries(entries_pb2.StreamEntriesRequest(), timeout=wait_s),
                append.AppendStream(iter(requests[: rng.randrange(5)])),
                append.AppendStream(iter(requests), timeout=wait_s),
                append.AppendBatch.future(append_pb2.AppendBatchRequest(packed_batch=rng.choice(batches))),
            ]
            try:
                next(calls[0])
                calls[4].result(wait_s)
            except (grpc.RpcError, grpc.FutureTimeoutError):
                pass
            for call in calls:
                call.cancel()
