"""Keeps the process that serves the log over HTTP: starts it, starts it again when it died, and takes it along.

The socket belongs to this process, so that the address is known before there is a ledger and stays while there is no
process behind it; who connects then waits for the next one.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import astuple

import structlog

from lineage_ledger_server.errors import HttpProcessError
from lineage_ledger_server.serving.http_server import READY, HttpArguments
from lineage_ledger_server.serving.settings import ServerSettings
from lineage_ledger_server.serving.web import DRAIN_S, Listener, TlsFiles

_log = structlog.get_logger(__name__)

_MIN_BACKOFF_S = 0.5
_MAX_BACKOFF_S = 30.0
_STEADY_S = 60.0  # one that lived that long was no failed start


class HttpProcess:
    """Binds on construction, serves from `start` to `stop`.

    Raises `SettingsError` as `Listener` does.
    """

    def __init__(self, listen: str, settings: ServerSettings, log_format: str) -> None:
        cert, key = settings.tls_cert, settings.tls_key
        tls = TlsFiles(cert, key) if cert is not None and key is not None else None
        self._listener = Listener(listen, tls, insecure=settings.insecure)
        self.url = self._listener.url
        self._arguments = HttpArguments(
            descriptor=str(self._listener.socket.fileno()),
            log_format=log_format,
            data=str(settings.data.absolute()),
            head="" if settings.head is None else str(settings.head.absolute()),
            tls_cert="" if tls is None else str(tls.certificate.absolute()),
            tls_key="" if tls is None else str(tls.key.absolute()),
        )
        self._stopping = threading.Event()
        self._starting = threading.Lock()  # none is started once all is stopping
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper = threading.Thread(target=self._keep, name="http-process", daemon=True)

    def start(self) -> None:
        """Returns when it serves. Raises `HttpProcessError` if it cannot; its log says why."""
        self._process = self._started()
        assert self._process.stdout is not None
        if self._process.stdout.readline() != READY:
            self.stop()
            raise HttpProcessError("the process that serves the log over HTTP did not start; its log says why")
        self._keeper.start()

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            # -P: the current folder is no place to import from.
            [sys.executable, "-P", "-m", "lineage_ledger_server.serving.http_server", *astuple(self._arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[self._listener.socket.fileno()],
        )

    def _keep(self) -> None:
        backoff_s = _MIN_BACKOFF_S
        while not self._stopping.is_set():
            process, started_s = self._process, time.monotonic()
            assert process is not None
            status = process.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - started_s > _STEADY_S:
                backoff_s = _MIN_BACKOFF_S
            _log.error("the process that serves HTTP ended; it is started again", status=status, after_s=backoff_s)
            if self._stopping.wait(backoff_s):
                return
            backoff_s = min(2 * backoff_s, _MAX_BACKOFF_S)
            with self._starting:
                if self._stopping.is_set():
                    return
                try:
                    self._process = self._started()
                except OSError as error:
                    _log.error("the process that serves HTTP cannot be started", error=str(error))
                else:
                    _close(process)

    def drain(self) -> None:
        """Take no more connections; open requests get `web.DRAIN_S` seconds, for which `stop` waits."""
        with self._starting:
            self._stopping.set()
        self._listener.close()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def stop(self) -> None:
        """Drain, and return when the process has ended."""
        self.drain()
        if self._process is not None:
            try:
                self._process.wait(DRAIN_S + 5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            _close(self._process)
        if self._keeper.is_alive():
            self._keeper.join()


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
