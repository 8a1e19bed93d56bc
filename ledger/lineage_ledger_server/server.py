"""The running server: the ledger, its indexer, and the gRPC servers in front of them.

Threads. gRPC's synchronous server keeps a worker for every open stream, so there are as many workers as streams are
allowed, and a reserve for everything else; streams beyond their limits are refused, never queued. Health and
administration have workers of their own: health a pool, administration a second server on the Unix socket.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from lineage_ledger.errors import SettingsError
from lineage_ledger.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    append_pb2,
    append_pb2_grpc,
    entries_pb2,
    entries_pb2_grpc,
    proofs_pb2,
    proofs_pb2_grpc,
    trace_pb2,
    trace_pb2_grpc,
)
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.index.indexer import Indexer
from lineage_ledger_server.ledger import Ledger, open_ledger
from lineage_ledger_server.sequencer.sequencer import Status
from lineage_ledger_server.services import access
from lineage_ledger_server.services.admin import AdminService, Parts
from lineage_ledger_server.services.append import AppendService
from lineage_ledger_server.services.entries import EntryService
from lineage_ledger_server.services.proofs import ProofService
from lineage_ledger_server.services.stream_limit import StreamLimit
from lineage_ledger_server.services.trace import TraceService

_log = structlog.get_logger(__name__)

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
_MAX_READ_STREAMS = 32
_RESERVED_WORKERS = 32 + _MAX_READ_STREAMS
_ADMIN_WORKERS = 4
_HEALTH_WORKERS = 4
_CALLS_PER_WORKER = 4  # how many may wait for one; more are refused, for each costs memory
_KEEPALIVE_MS = 30_000
_READERS_CHECK_S = 30.0
_MAX_SOCKET_PATH_BYTES = 107
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),  # a second server on the port is a mistake, not a partner
    # A machine that vanished closes no connection; its streams must not be counted for ever.
    ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", _KEEPALIVE_MS // 3),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", _KEEPALIVE_MS // 3),  # clients may look after us as well
]
_SERVICES = [
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in (
        (append_pb2, "AppendService"),
        (entries_pb2, "EntryService"),
        (proofs_pb2, "ProofService"),
        (trace_pb2, "TraceService"),
        (admin_pb2, "AdminService"),
    )
]


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How to serve. `listen` is HOST:PORT, port 0 for any free one."""

    data: Path
    listen: str = "127.0.0.1:7461"
    origin: str | None = None
    head: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    access: Path | None = None
    insecure: bool = False
    max_append_streams: int = 256
    block_interval_s: float = 60.0
    drain_s: float = 10.0

    def credentials(self) -> grpc.ServerCredentials | None:
        """TLS credentials, None for plain text.

        Raises `SettingsError` for plain text beyond loopback, and for an address that is none.
        """
        access.check_address(self.listen)
        tls = [path for path in (self.tls_cert, self.tls_key, self.client_ca) if path is not None]
        if len(tls) == 3:
            return access.server_credentials(*tls)
        if tls:
            raise SettingsError("TLS needs all of --tls-cert, --tls-key and --client-ca")
        if not access.is_loopback(self.listen) and not self.insecure:
            raise SettingsError(
                f"{self.listen} can be reached from other machines: give --tls-cert, --tls-key and --client-ca, or "
                "spell out --insecure if something in front of the ledger protects it"
            )
        return None


class LedgerServer:
    """Opens everything on construction, serves from `start` to `stop`.

    Raises what `open_ledger` raises, and `SettingsError` if it cannot listen.
    """

    def __init__(self, settings: ServerSettings) -> None:
        credentials = settings.credentials()
        policy = access.read_policy(settings.access) if settings.access else access.AccessPolicy()
        self._settings = settings
        self._data_dir = DataDir(settings.data, settings.head)
        admin_target = _socket_target(self._data_dir.admin_socket)
        self._stopping = threading.Event()
        self._health_pool = ThreadPoolExecutor(_HEALTH_WORKERS, thread_name_prefix="health")
        self._health = _Health(self._health_pool)
        self.ledger: Ledger = open_ledger(
            self._data_dir,
            origin=settings.origin,
            block_interval_s=settings.block_interval_s,
            on_status=self._on_status,
        )
        try:
            self._indexer = Indexer(self._data_dir.index, self.ledger.reader)
            self._append = AppendService(self.ledger, settings.max_append_streams)
            workers = settings.max_append_streams + _RESERVED_WORKERS
            self._server = self._make_server(workers, policy)
            self._admin_server = self._make_server(_ADMIN_WORKERS, access.ADMIN_POLICY)
            self.address = self._bind(credentials, admin_target)
        except BaseException:
            self.ledger.close()
            raise
        self._timer = threading.Thread(target=self._check_readers, name="lmdb-readers", daemon=True)

    def _make_server(self, workers: int, policy: access.AccessPolicy) -> grpc.Server:
        server = grpc.server(
            ThreadPoolExecutor(workers, thread_name_prefix="grpc"),
            interceptors=[access.AccessInterceptor(policy), StreamLimit(min(_MAX_READ_STREAMS, workers // 2))],
            options=_OPTIONS,
            maximum_concurrent_rpcs=_CALLS_PER_WORKER * workers,
        )
        reader = self.ledger.reader
        append_pb2_grpc.add_AppendServiceServicer_to_server(self._append, server)
        entries_pb2_grpc.add_EntryServiceServicer_to_server(EntryService(reader, self._indexer.lookup), server)
        proofs_pb2_grpc.add_ProofServiceServicer_to_server(ProofService(reader, self._indexer.lookup), server)
        trace_pb2_grpc.add_TraceServiceServicer_to_server(TraceService(reader, self._indexer.lookup), server)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(
            AdminService(Parts(self.ledger, self._indexer, self._append)), server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection([*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
        return server

    def _bind(self, credentials: grpc.ServerCredentials | None, admin_target: str) -> str:
        """Bind both servers; the address that TCP clients dial."""
        listen = self._settings.listen
        try:
            if credentials is None:
                port = self._server.add_insecure_port(listen)
            else:
                port = self._server.add_secure_port(listen, credentials)
        except RuntimeError as error:
            port = 0
            _log.debug("cannot bind", error=str(error))
        if not port:
            raise SettingsError(f"cannot listen on {listen}: is it in use, or not an address of this machine?")
        self._data_dir.admin_socket.unlink(missing_ok=True)
        mask = os.umask(0o177)  # the socket is there from here on, and never for others
        try:
            self._admin_server.add_insecure_port(admin_target)
        except RuntimeError:
            raise SettingsError(f"cannot make the admin socket {self._data_dir.admin_socket}") from None
        finally:
            os.umask(mask)
        return f"{listen.rpartition(':')[0]}:{port}"

    def start(self) -> None:
        """Begin to serve."""
        self._indexer.start()
        self._timer.start()
        self._on_status(self.ledger.sequencer.status)
        self._server.start()
        self._admin_server.start()

    def stop(self) -> None:
        """Say so, finish what was taken, let go. Calls that are open get `drain_s` seconds."""
        self._stopping.set()
        self._health.enter_graceful_shutdown()
        drained = [server.stop(self._settings.drain_s) for server in (self._server, self._admin_server)]
        self.ledger.sequencer.stop()
        self._append.end_streams()
        for event in drained:
            event.wait()
        self._indexer.stop()
        self.ledger.close()
        self._health_pool.shutdown()
        self._data_dir.admin_socket.unlink(missing_ok=True)

    def _on_status(self, status: Status) -> None:
        """A ledger that cannot write is not serving appends; reading goes on."""
        serving = health_pb2.HealthCheckResponse
        self._set_health(serving.SERVING if status.writable else serving.NOT_SERVING)

    def _set_health(self, state: int) -> None:
        self._health.set("", state)
        self._health.set(_SERVICES[0], state)
        for service in _SERVICES[1:]:
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)

    def _check_readers(self) -> None:
        """Free the LMDB reader slots of killed processes, now and then; else they make the files grow."""
        while not self._stopping.wait(_READERS_CHECK_S):
            try:
                freed = self.ledger.store.check_readers()
            except Exception as error:  # noqa: BLE001  # the environment is being opened anew; next time, then
                _log.debug("reader slots were not checked", error=str(error))
                continue
            if freed:
                _log.info("freed reader slots of processes that are gone", slots=freed)


class _Health(health.HealthServicer):
    """Health with workers of its own, so that a server whose workers are all busy still says how it is."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        super().__init__(experimental_non_blocking=True, experimental_thread_pool=pool)
        # What the base class does for Watch; grpc looks for it at the handler.
        _Health.Check.experimental_thread_pool = pool  # type: ignore[attr-defined]  # an attribute of a function

    def Check(  # noqa: N802  # gRPC's name
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        return super().Check(request, context)


def _socket_target(path: Path) -> str:
    """gRPC's address of a Unix socket. Raises `SettingsError` for a path that is too long for one."""
    name = min(str(path.absolute()), os.path.relpath(path), key=len)
    if len(name.encode()) > _MAX_SOCKET_PATH_BYTES:
        raise SettingsError(
            f"the path of the admin socket, {name}, is longer than the {_MAX_SOCKET_PATH_BYTES} bytes that the system "
            "allows; choose a shorter --data, or start the server in a folder near it"
        )
    return "unix:" + name.replace("%", "%25")  # it is read as a URI
