"""Whatever readers ask for, batches are checked meanwhile: appending does not wait for reading."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import grpc

from lineage_ledger.v1 import admin_pb2, admin_pb2_grpc, append_pb2, append_pb2_grpc
from lineage_ledger_server.serving.endpoint import WORKERS
from lineage_ledger_server.serving.ledger_server import LedgerServer
from lineage_ledger_server.serving.settings import ServerSettings
from tests.support.producer import Producer, registration
from tests.support.rpc import admin_key


def test_a_large_batch_is_taken_while_every_worker_is_busy_with_reading(tmp_path: Path) -> None:
    server = LedgerServer(ServerSettings(data=tmp_path / "l", listen="127.0.0.1:0"))
    server.start()
    done = threading.Event()
    try:
        producer = Producer(server.ledger.origin)
        entry = registration(producer.origin, producer.key, admin_key(tmp_path / "l"))
        with grpc.insecure_channel(f"unix:{tmp_path / 'l' / 'admin.sock'}") as channel:
            admin: Any = admin_pb2_grpc.AdminServiceStub(channel)
            admin.RegisterProducer(admin_pb2.RegisterProducerRequest(entry=entry), timeout=10)
        for _ in range(2 * WORKERS):
            server._endpoint.workers.submit(done.wait, 30)
        with grpc.insecure_channel(server.address) as channel:
            append: Any = append_pb2_grpc.AppendServiceStub(channel)
            for packed in (producer.batch(), producer.predictions(10_000)):
                answer = append.AppendBatch(append_pb2.AppendBatchRequest(packed_batch=packed), timeout=5)
        assert answer.acknowledgement.batch_sequence == 1
    finally:
        done.set()
        server.stop()
