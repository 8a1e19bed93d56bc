"""Web servers that do not do what they should: each connection is given to a function that may do anything with it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

Answer = Callable[[socket.socket, str], None]
"""Gets the connection after a request was read from it, and the path that was asked for."""


class FakeWebServer:
    """Serves on loopback until closed; `paths` are the paths that were asked for, in order."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self.paths: list[str] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with self._lock:
                    self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as requests:
            while line := requests.readline():
                path = line.split()[1].decode()
                length = 0
                while (header := requests.readline().strip()) != b"":
                    if header.lower().startswith(b"content-length:"):
                        length = int(header.split(b":")[1])
                requests.read(length)
                self.paths.append(path)
                self._answer(connection, path)

    def close(self) -> None:
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> FakeWebServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def respond(
    connection: socket.socket, body: bytes, status: str = "200 OK", headers: Mapping[str, str] | None = None
) -> None:
    """An answer in order, with its length unless `headers` say another."""
    lines = {"Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    connection.sendall(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body)
