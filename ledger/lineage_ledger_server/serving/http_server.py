"""The process that serves the log over HTTP: it reads the same files as the process that started it, and no more."""

from __future__ import annotations

import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import structlog

from lineage_ledger.errors import LineageError
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.serving.child_process import begin_child, serve_as_child
from lineage_ledger_server.serving.web import DRAIN_S, TlsFiles, WebServer
from lineage_ledger_server.static.http_app import http_app
from lineage_ledger_server.static.published import opened


@dataclass(frozen=True, slots=True)
class HttpArguments:
    """What the process is told, all of it text; the socket is inherited."""

    descriptor: str
    log_format: str
    data: str
    head: str = ""
    tls_cert: str = ""
    tls_key: str = ""

    @property
    def data_dir(self) -> DataDir:
        return DataDir(Path(self.data), Path(self.head) if self.head else None)

    @property
    def tls(self) -> TlsFiles | None:
        return TlsFiles(Path(self.tls_cert), Path(self.tls_key)) if self.tls_cert else None


def main(*arguments: str) -> int:
    """Serve until the parent is gone, or SIGTERM; returns the exit status."""
    told = HttpArguments(*arguments)
    begin_child(told.log_format)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # which uvicorn stops by
    try:
        with opened(told.data_dir) as log:
            server = WebServer(http_app(log), socket.socket(fileno=int(told.descriptor)), told.tls)
            serve_as_child(server.stop, DRAIN_S)
            server.run()
    except (LineageError, OSError) as error:
        structlog.get_logger(__name__).error("cannot serve the log over HTTP", error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
