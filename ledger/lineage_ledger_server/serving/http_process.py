"""The process that serves the log over HTTP, as the one that starts it sees it.

The socket belongs to this process, so that the address is known before there is a ledger and stays while there is no
process behind it; who connects then waits for the next one.
"""

from __future__ import annotations

from dataclasses import astuple

from lineage_ledger_server.serving.child_process import ChildProcess
from lineage_ledger_server.serving.http_server import HttpArguments
from lineage_ledger_server.serving.settings import ServerSettings
from lineage_ledger_server.serving.web import DRAIN_S, Listener, TlsFiles


class HttpProcess:
    """Binds on construction, serves from `start` to `stop`.

    Raises `SettingsError` as `Listener` does.
    """

    def __init__(self, listen: str, settings: ServerSettings, log_format: str) -> None:
        cert, key = settings.tls_cert, settings.tls_key
        tls = TlsFiles(cert, key) if cert is not None and key is not None else None
        self._listener = Listener(listen, tls, insecure=settings.insecure)
        descriptor = self._listener.socket.fileno()
        arguments = HttpArguments(
            descriptor=str(descriptor),
            log_format=log_format,
            data=str(settings.data.absolute()),
            head="" if settings.head is None else str(settings.head.absolute()),
            tls_cert="" if tls is None else str(tls.certificate.absolute()),
            tls_key="" if tls is None else str(tls.key.absolute()),
        )
        module = "lineage_ledger_server.serving.http_server"
        self._process = ChildProcess("serves HTTP", module, astuple(arguments), DRAIN_S, [descriptor])
        self.says = f"serving the log on {self._listener.url}"

    @property
    def url(self) -> str:
        """Where it serves."""
        return self._listener.url

    def start(self) -> None:
        """Returns when it serves. Raises `ProcessStartError` if it cannot; its log says why."""
        try:
            self._process.start()
        except BaseException:
            self.stop()
            raise

    def drain(self) -> None:
        """Take no more connections; open requests get `web.DRAIN_S` seconds, for which `stop` waits."""
        self._process.drain()
        self._listener.close()

    def stop(self) -> None:
        """Drain, and return when the process has ended."""
        self.drain()
        self._process.stop()
