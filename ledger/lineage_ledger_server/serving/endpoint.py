"""What every gRPC server of ours has: options, limits, health, reflection, the services that read, an address.

gRPC's synchronous server keeps a worker for every open stream, so there are as many workers as streams are allowed, and
a reserve for everything else; streams beyond their limits are refused, never queued. Health has workers of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from lineage_ledger.errors import SettingsError
from lineage_ledger.v1 import entries_pb2, entries_pb2_grpc, proofs_pb2, proofs_pb2_grpc, trace_pb2, trace_pb2_grpc
from lineage_ledger_server.index.lookup import Lookup
from lineage_ledger_server.publication import Publication
from lineage_ledger_server.reading.log_reader import LogReader
from lineage_ledger_server.services import access
from lineage_ledger_server.services.entries import EntryService
from lineage_ledger_server.services.proofs import ProofService
from lineage_ledger_server.services.stream_limit import StreamLimit
from lineage_ledger_server.services.trace import TraceService

_log = structlog.get_logger(__name__)

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
MAX_READ_STREAMS = 32
RESERVED_WORKERS = 32 + MAX_READ_STREAMS
_HEALTH_WORKERS = 4
_CALLS_PER_WORKER = 4  # how many may wait for one; more are refused, for each costs memory
_KEEPALIVE_MS = 30_000
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
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


class Health(health.HealthServicer):
    """Health with workers of its own, so that a server whose workers are all busy still says how it is."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_HEALTH_WORKERS, thread_name_prefix="health")
        super().__init__(experimental_non_blocking=True, experimental_thread_pool=self._pool)
        # What the base class does for Watch; grpc looks for it at the handler.
        Health.Check.experimental_thread_pool = self._pool  # type: ignore[attr-defined]  # an attribute of a function

    def Check(  # noqa: N802  # gRPC's name
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        return super().Check(request, context)

    def say(self, services: Sequence[str], *, serving: bool) -> None:
        """Set the state of `services`; the empty name is the whole server."""
        states = health_pb2.HealthCheckResponse
        for service in services:
            self.set(service, states.SERVING if serving else states.NOT_SERVING)

    def close(self) -> None:
        """End its workers."""
        self._pool.shutdown()


def make_server(
    workers: int,
    policy: access.AccessPolicy,
    health_servicer: Health,
    services: Sequence[str],
    *,
    shares_port: bool = False,
) -> grpc.Server:
    """A server without services but health and reflection, which names `services` besides.

    A second server on the port is a mistake, unless it `shares_port` with others of its kind.
    """
    server = grpc.server(
        ThreadPoolExecutor(workers, thread_name_prefix="grpc"),
        interceptors=[access.AccessInterceptor(policy), StreamLimit(min(MAX_READ_STREAMS, workers // 2))],
        options=[*_OPTIONS, ("grpc.so_reuseport", int(shares_port))],
        maximum_concurrent_rpcs=_CALLS_PER_WORKER * workers,
    )
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    reflection.enable_server_reflection([*services, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    return server


def add_read_services(server: grpc.Server, reader: LogReader, lookup: Lookup, publication: Publication) -> None:
    """Entries, proofs and traces: all that needs the ledger's files and not its sequencer."""
    entries_pb2_grpc.add_EntryServiceServicer_to_server(EntryService(reader, lookup), server)
    proofs_pb2_grpc.add_ProofServiceServicer_to_server(ProofService(reader, lookup, publication.witnessed), server)
    trace_pb2_grpc.add_TraceServiceServicer_to_server(TraceService(reader, lookup), server)


def bind(server: grpc.Server, listen: str, credentials: grpc.ServerCredentials | None) -> str:
    """Bind to HOST:PORT; the address with the port that it got. Raises `SettingsError`."""
    try:
        port = server.add_insecure_port(listen) if credentials is None else server.add_secure_port(listen, credentials)
    except RuntimeError as error:
        port = 0
        _log.debug("cannot bind", error=str(error))
    if not port:
        raise SettingsError(f"cannot listen on {listen}: is it in use, or not an address of this machine?")
    return f"{listen.rpartition(':')[0]}:{port}"
