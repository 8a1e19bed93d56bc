"""Plain gRPC stubs for tests that look at the wire."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lineage_ledger.formats import keys
from lineage_ledger.v1 import admin_pb2, admin_pb2_grpc, errors_pb2
from tests.support.producer import Producer, registration
from tests.support.server import RunningServer


def reason_of(error: grpc.RpcError) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """Status code, reason and metadata of a failed call, as errors.proto lays them down."""
    assert isinstance(error, grpc.Call)
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    assert isinstance(details, bytes), f"no details: {error.code()} {error.details()}"
    status = errors_pb2.Status.FromString(details)
    assert (status.code, status.message) == (error.code().value[0], error.details())
    info = errors_pb2.ErrorInfo.FromString(status.details[0].value)
    assert info.domain == "lineage-ledger"
    return error.code(), info.reason, dict(info.metadata)


def admin_key(data: Path) -> keys.SigningKey:
    return keys.read_signing_key(data / "keys" / "admin.key")[1]


def admin_stub(server: RunningServer) -> admin_pb2_grpc.AdminServiceStub:
    """Over the Unix socket."""
    socket = server.data / "admin.sock"
    return admin_pb2_grpc.AdminServiceStub(grpc.insecure_channel(f"unix:{socket}"))


def is_serving(channel: grpc.Channel) -> bool:
    """What the health service says of the whole server."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def registered(server: RunningServer, name: str = "model server") -> Producer:
    """A producer that may append, its chain not opened yet."""
    producer = Producer(server.origin)
    entry = registration(server.origin, producer.key, admin_key(server.data), name)
    admin_stub(server).RegisterProducer(admin_pb2.RegisterProducerRequest(entry=entry), timeout=10)
    return producer
