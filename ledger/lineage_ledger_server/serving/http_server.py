"""The process that serves the log over HTTP: it reads the same files as the process that started it, and no more.

Standard input is a pipe that the parent holds open and never writes to: when it ends, however the parent ended, this
process ends. On standard output it says that the files could be opened.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from lineage_ledger.errors import LineageError
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.logs import configure_logs
from lineage_ledger_server.serving.web import DRAIN_S, TlsFiles, WebServer
from lineage_ledger_server.static.http_app import http_app
from lineage_ledger_server.static.published import opened

READY = b"ready\n"
_PARENT_PIPE = 0
_NICENESS = 10  # where processors are short, readers wait and appending does not


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
    configure_logs(told.log_format)
    # The parent blocked both. Ctrl-C is for the parent, who then closes the pipe.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.nice(_NICENESS)
    try:
        with opened(told.data_dir) as log:
            server = WebServer(http_app(log), socket.socket(fileno=int(told.descriptor)), told.tls)
            threading.Thread(target=_end_with_parent, args=[server], name="parent", daemon=True).start()
            os.write(1, READY)
            server.run()
    except (LineageError, OSError) as error:
        structlog.get_logger(__name__).error("cannot serve the log over HTTP", error=str(error))
        return 1
    return 0


def _end_with_parent(server: WebServer) -> None:
    while os.read(_PARENT_PIPE, 1):
        pass
    server.stop()
    time.sleep(DRAIN_S + 1)
    os._exit(1)  # whatever still holds it up


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
