"""How this project serves HTTP: uvicorn around an ASGI application, on a socket that was bound before, within limits.

Connections, headers and the time that a client may take for a request are bounded. Nobody's request is logged, and the
answers do not say which server sent them.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from lineage_ledger.errors import SettingsError
from lineage_ledger_server.services.access import check_address, is_loopback
from lineage_ledger_server.serving.addresses import bound, with_port

_log = structlog.get_logger(__name__)

MAX_CONNECTIONS = 256
MAX_HEADER_BYTES = 16 * 1024
KEEP_ALIVE_S = 15
REQUEST_S = 15.0
"""How long a client may take to send a request, and to read any part of its answer."""
DRAIN_S = 10
PATIENCE_S = 1.0
"""How long a client that sends nothing keeps its connection when there are as many as there may be."""
_BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A server's certificate and its key (PEM)."""

    certificate: Path
    key: Path

    def check(self) -> None:
        """Raises `SettingsError` unless the two can be used together."""
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"the TLS files cannot be used: {error}") from None


class Listener:
    """HOST:PORT, bound; port 0 for any free one.

    Raises `SettingsError` for an address that is none or cannot be had, for TLS files that cannot be used, and for
    plain text beyond loopback, unless `insecure` says that something in front of it protects it.
    """

    def __init__(self, listen: str, tls: TlsFiles | None = None, *, insecure: bool = False) -> None:
        check_address(listen)
        if tls is not None:
            tls.check()
        elif not is_loopback(listen) and not insecure:
            raise SettingsError(
                f"{listen} can be reached from other machines: give --tls-cert and --tls-key, or spell out --insecure "
                "if something in front of it protects it"
            )
        self.tls = tls
        self.socket = bound(listen)
        # Connections inherit it. asyncio sets it on sockets of its own making alone; without it the second piece of an
        # answer, its body, waits 40 ms for the client's acknowledgement of the first, its headers.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.listen(_BACKLOG)
        self.url = f"{'http' if tls is None else 'https'}://{with_port(listen, self.socket)}"
        """With the port that it got."""

    def close(self) -> None:
        """Give the address back."""
        self.socket.close()


class WebServer:
    """Serves the ASGI application `app` on a bound socket, which it closes at the end."""

    def __init__(self, app: Any, bound: socket.socket, tls: TlsFiles | None = None) -> None:
        self._socket = bound
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                loop="asyncio",
                http=_Protocol,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=MAX_CONNECTIONS,
                backlog=_BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=DRAIN_S,
                h11_max_incomplete_event_size=MAX_HEADER_BYTES,
                ssl_certfile=None if tls is None else str(tls.certificate),
                ssl_keyfile=None if tls is None else str(tls.key),
            )
        )

    def run(self) -> None:
        """Serve until `stop`, or until SIGTERM or SIGINT in a main thread that has them unblocked."""
        errors = logging.getLogger("uvicorn.error")
        # What clients do wrong is warnings there, and no news.
        errors.setLevel(logging.ERROR)
        errors.handlers, errors.propagate = [_ToStructlog()], False
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """End soon: open requests get `DRAIN_S` seconds. Any thread may call it."""
        self._server.should_exit = True


class _Protocol(H11Protocol):
    """Ends connections that make no headway; uvicorn by itself waits for ever for a request to begin, or to end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._answers = 0
        self._headway = (0, 0)
        self._turn_s = self.loop.time()
        if len(self.connections) >= MAX_CONNECTIONS:
            self._make_room()
        self._watch = self.loop.call_later(REQUEST_S, self._check_headway)

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._answers += 1
        self._turn_s = self.loop.time()
        super().on_response_complete()

    @property
    def _is_ours(self) -> bool:
        """Whether we owe the client an answer, and not the client us a request."""
        return self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete

    def _make_room(self) -> None:
        """End connections that say nothing, so that who only holds connections keeps nobody out.

        uvicorn counts them, and answers 503 beyond the limit, but never refuses one: files that can be opened are few.
        """
        others = [one for one in self.connections if isinstance(one, _Protocol) and not one._is_ours]
        for one in others:
            if self.loop.time() - one._turn_s > PATIENCE_S:
                one.transport.abort()
        if len(self.connections) > 2 * MAX_CONNECTIONS:
            self.transport.abort()

    def _check_headway(self) -> None:
        unread = self.transport.get_write_buffer_size()
        headway = (self._answers, unread)
        if headway == self._headway and (unread or not self._is_ours):
            self.transport.abort()
            return
        self._headway = headway
        self._watch = self.loop.call_later(REQUEST_S, self._check_headway)


class _ToStructlog(logging.Handler):
    """Errors of uvicorn, as events of the server's log."""

    def emit(self, record: logging.LogRecord) -> None:
        _log.error("HTTP server", what=record.getMessage().strip(), exc_info=record.exc_info or None)
