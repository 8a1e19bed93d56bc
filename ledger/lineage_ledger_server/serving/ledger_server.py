"""The running server: the ledger, its indexer, and the gRPC servers in front of them.

Administration has a server of its own on the Unix socket, so that no number of callers can keep it out.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import structlog

from lineage_ledger.errors import SettingsError
from lineage_ledger.formats.note import Verifier
from lineage_ledger.v1 import admin_pb2, admin_pb2_grpc, append_pb2, append_pb2_grpc
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.index.indexer import Indexer
from lineage_ledger_server.ledger import Ledger, open_ledger
from lineage_ledger_server.sequencer.sequencer import Status
from lineage_ledger_server.services import access
from lineage_ledger_server.services.admin import AdminService, Parts
from lineage_ledger_server.services.append import AppendService
from lineage_ledger_server.services.memory import MemoryReturn
from lineage_ledger_server.serving.endpoint import (
    MAX_CALLS,
    READ_SERVICES,
    WORKERS,
    Endpoint,
    Health,
    add_read_services,
)
from lineage_ledger_server.serving.loop import made_on_loop, on_loop
from lineage_ledger_server.serving.reader_process import ReaderProcesses
from lineage_ledger_server.serving.settings import ServerSettings

_log = structlog.get_logger(__name__)

_ADMIN_WORKERS = 4
_HOUSEKEEPING_S = 30.0
_MAX_SOCKET_PATH_BYTES = 107
_APPEND_SERVICE = append_pb2.DESCRIPTOR.services_by_name["AppendService"].full_name
_ADMIN_SERVICE = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name
_SERVICES = (_APPEND_SERVICE, *READ_SERVICES, _ADMIN_SERVICE)


class LedgerServer:
    """Opens everything on construction, serves from `start` to `stop`.

    `readers` are started by somebody else; statistics count them. Raises what `open_ledger` raises, and `SettingsError`
    if it cannot listen.
    """

    def __init__(self, settings: ServerSettings, readers: ReaderProcesses | None = None) -> None:
        credentials = settings.credentials()
        policy = settings.policy()
        self._settings = settings
        self._readers = readers
        self._data_dir = DataDir(settings.data, settings.head)
        admin_target = _socket_target(self._data_dir.admin_socket)
        self._stopping = threading.Event()
        self._memory = MemoryReturn()
        self._health = Health()
        self.ledger: Ledger = open_ledger(
            self._data_dir,
            origin=settings.origin,
            block_interval_s=settings.block_interval_s,
            on_status=self._on_status,
            witnessing=settings.witnessing(),
        )
        self.reader = self.ledger.reader
        try:
            self._indexer = Indexer(self._data_dir.index, self.ledger.reader, self.ledger.origin)
            self._endpoint = self._make_endpoint(policy, WORKERS)
            self._admin_endpoint = self._make_endpoint(access.ADMIN_POLICY, _ADMIN_WORKERS)
            self._append = made_on_loop(
                lambda: AppendService(self.ledger, settings.max_append_streams, settings.max_pending_mib << 20)
            )
            self._add_services(self._endpoint)
            self._add_services(self._admin_endpoint)
            self.address = self._endpoint.listen(settings.listen, credentials)
            self._bind_admin(admin_target)
        except BaseException:
            self.ledger.close()
            raise
        self._timer = threading.Thread(target=self._keep_house, name="housekeeping", daemon=True)

    @property
    def verifier(self) -> Verifier:
        """The key of the newest checkpoint."""
        return self.ledger.verifier

    @property
    def published_size(self) -> int:
        """Entries that readers see."""
        return self.ledger.published_size

    def _make_endpoint(self, policy: access.AccessPolicy, workers: int) -> Endpoint:
        max_calls = MAX_CALLS + self._settings.max_append_streams
        return Endpoint(policy, self._health, _SERVICES, workers=workers, max_calls=max_calls)

    def _add_services(self, endpoint: Endpoint) -> None:
        endpoint.add(append_pb2_grpc.add_AppendServiceServicer_to_server, self._append)
        add_read_services(endpoint, self.ledger.reader, self._indexer.lookup, self.ledger.publication)
        parts = Parts(self.ledger, self._indexer, self._append, self._readers)
        endpoint.add(admin_pb2_grpc.add_AdminServiceServicer_to_server, AdminService(parts))

    def _bind_admin(self, target: str) -> None:
        self._data_dir.admin_socket.unlink(missing_ok=True)
        mask = os.umask(0o177)  # the socket is there from here on, and never for others
        try:
            self._admin_endpoint.bind(target, None)
        finally:
            os.umask(mask)

    def start(self) -> None:
        """Begin to serve."""
        self._indexer.start()
        self._timer.start()
        self._on_status(self.ledger.sequencer.status)
        self._endpoint.start()
        self._admin_endpoint.start()

    def stop(self) -> None:
        """Say so, finish what was taken, let go. Calls that are open get `drain_s` seconds."""
        self._stopping.set()
        on_loop(self._health.enter_graceful_shutdown())
        endpoints = (self._endpoint, self._admin_endpoint)
        drained = [endpoint.begin_stop(self._settings.drain_s) for endpoint in endpoints]
        self.ledger.sequencer.stop()
        on_loop(self._append.end_streams())
        for ended in drained:
            ended.result()
        for endpoint in endpoints:
            endpoint.close()
        self._append.close()
        self._indexer.stop()
        self.ledger.close()
        self._data_dir.admin_socket.unlink(missing_ok=True)

    def _on_status(self, status: Status) -> None:
        """A ledger that cannot write is not serving appends; reading goes on."""
        self._health.say(["", _APPEND_SERVICE], serving=status.writable)
        self._health.say([*READ_SERVICES, _ADMIN_SERVICE], serving=True)

    def _keep_house(self) -> None:
        while not self._stopping.wait(_HOUSEKEEPING_S):
            self._check_readers()
            if not self._append.pending_bytes and (returned := self._memory.give_back()):
                _log.info("memory that a burst took was given back", megabytes=returned >> 20)

    def _check_readers(self) -> None:
        """Free the LMDB reader slots of killed processes; else they make the files grow."""
        try:
            freed = self.ledger.store.check_readers()
        except Exception as error:  # noqa: BLE001  # the environment is being opened anew; next time, then
            _log.debug("reader slots were not checked", error=str(error))
            return
        if freed:
            _log.info("freed reader slots of processes that are gone", slots=freed)


def _socket_target(path: Path) -> str:
    """gRPC's address of a Unix socket. Raises `SettingsError` for a path that is too long for one."""
    name = min(str(path.absolute()), os.path.relpath(path), key=len)
    if len(name.encode()) > _MAX_SOCKET_PATH_BYTES:
        raise SettingsError(
            f"the path of the admin socket, {name}, is longer than the {_MAX_SOCKET_PATH_BYTES} bytes that the system "
            "allows; choose a shorter --data, or start the server in a folder near it"
        )
    return "unix:" + name.replace("%", "%25")  # it is read as a URI
