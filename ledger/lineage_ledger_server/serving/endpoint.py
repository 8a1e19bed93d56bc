"""What every gRPC server of ours has: options, limits, health, reflection, the services that read, an address.

Calls run on one event loop, and on workers where a service is a plain method (`services.calls`). Calls beyond the
limits are refused, never queued.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from lineage_ledger.errors import SettingsError
from lineage_ledger.v1 import entries_pb2, entries_pb2_grpc, proofs_pb2, proofs_pb2_grpc, trace_pb2, trace_pb2_grpc
from lineage_ledger_server.index.lookup import Lookup
from lineage_ledger_server.publication import Publication
from lineage_ledger_server.reading.log_reader import LogReader
from lineage_ledger_server.services.access import AccessPolicy
from lineage_ledger_server.services.append import MAX_BYTES_PER_MESSAGE
from lineage_ledger_server.services.calls import CallGate
from lineage_ledger_server.services.entries import EntryService
from lineage_ledger_server.services.proofs import ProofService
from lineage_ledger_server.services.trace import TraceService
from lineage_ledger_server.serving.core import aio_server
from lineage_ledger_server.serving.loop import made_on_loop, on_loop, serving_loop

_log = structlog.get_logger(__name__)

MAX_ANSWER_BYTES = 8 * 1024 * 1024
MAX_REQUEST_BYTES = MAX_BYTES_PER_MESSAGE + 64 * 1024
"""Of a message; a call may keep so much in memory by sending all of it but the end."""
MAX_CONNECTIONS = 4_096
MAX_READ_STREAMS = 32
WORKERS = 32
MAX_CALLS = 256
"""Besides append streams; more are refused, for each costs memory."""
_KEEPALIVE_MS = 30_000
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", MAX_ANSWER_BYTES),
    ("grpc.max_allowed_incoming_connections", MAX_CONNECTIONS),
    # A machine that vanished closes no connection; its streams must not be counted for ever.
    ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", _KEEPALIVE_MS // 3),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", _KEEPALIVE_MS // 3),  # clients may look after us as well
]
READ_SERVICES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in ((entries_pb2, "EntryService"), (proofs_pb2, "ProofService"), (trace_pb2, "TraceService"))
)


class Health(health_aio.HealthServicer):
    """Health on the event loop itself, so that a server whose workers are all busy still says how it is."""

    def say(self, services: Sequence[str], *, serving: bool) -> None:
        """Set the state of `services`; the empty name is the whole server. From any thread, without waiting."""
        states = health_pb2.HealthCheckResponse
        for service in services:
            state = states.SERVING if serving else states.NOT_SERVING
            asyncio.run_coroutine_threadsafe(self.set(service, state), serving_loop())


class Endpoint:
    """A gRPC server with its workers; `health` and reflection are there already, and reflection names `services`.

    `max_calls` may be open at a time. A second server on the port is a mistake, unless it `shares_port` with others of
    its kind. What `add` adds must be added before `start`.
    """

    def __init__(
        self,
        policy: AccessPolicy,
        health_servicer: Health,
        services: Sequence[str],
        *,
        workers: int,
        max_calls: int,
        shares_port: bool = False,
    ) -> None:
        self.workers = ThreadPoolExecutor(workers, thread_name_prefix="grpc")
        gate = CallGate(policy, self.workers, min(MAX_READ_STREAMS, 4 * workers))
        options = [*_OPTIONS, ("grpc.so_reuseport", int(shares_port))]
        self._server = made_on_loop(lambda: aio_server([gate], options, max_calls))
        self.add(health_pb2_grpc.add_HealthServicer_to_server, health_servicer)
        names = [*services, health.SERVICE_NAME, reflection.SERVICE_NAME]
        made_on_loop(lambda: reflection.enable_server_reflection(names, self._server))

    def add(self, add_to_server: Callable[[Any, Any], None], servicer: object) -> None:
        """Add a service by the function that was generated for it."""
        made_on_loop(lambda: add_to_server(servicer, self._server))

    def bind(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        """Bind to HOST:PORT, or unix:PATH; returns the port. Raises `SettingsError`."""

        def bound() -> int:
            if credentials is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, credentials)

        try:
            port = made_on_loop(bound)
        except RuntimeError as error:
            port = 0
            _log.debug("cannot bind", error=str(error))
        if not port:
            raise SettingsError(f"cannot listen on {address}: is it in use, or not an address of this machine?")
        return port

    def listen(self, address: str, credentials: grpc.ServerCredentials | None) -> str:
        """Bind to HOST:PORT; the address with the port that it got. Raises `SettingsError`."""
        return f"{address.rpartition(':')[0]}:{self.bind(address, credentials)}"

    def start(self) -> None:
        on_loop(self._server.start())

    def begin_stop(self, drain_s: float) -> Future[None]:
        """Take no more calls; those that are open get `drain_s` seconds. Done when all have ended."""
        return asyncio.run_coroutine_threadsafe(self._server.stop(drain_s), serving_loop())

    def close(self) -> None:
        """End its workers, once it has stopped."""
        self.workers.shutdown()


def add_read_services(endpoint: Endpoint, reader: LogReader, lookup: Lookup, publication: Publication) -> None:
    """Entries, proofs and traces: all that needs the ledger's files and not its sequencer."""
    endpoint.add(entries_pb2_grpc.add_EntryServiceServicer_to_server, EntryService(reader, lookup))
    endpoint.add(
        proofs_pb2_grpc.add_ProofServiceServicer_to_server, ProofService(reader, lookup, publication.witnessed)
    )
    endpoint.add(trace_pb2_grpc.add_TraceServiceServicer_to_server, TraceService(reader, lookup))
