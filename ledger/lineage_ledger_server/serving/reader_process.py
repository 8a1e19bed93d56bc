"""Processes that serve reads beside the one that writes: all at one address, where the kernel spreads connections.

Each is a `ReaderServer` over the same files, with the same access and TLS as the process that writes. A connection
belongs to one of them for its life; when one dies its clients connect anew, to others until it is back.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import structlog

from lineage_ledger.errors import LineageError
from lineage_ledger_server.serving.addresses import bound, with_port
from lineage_ledger_server.serving.child_process import ChildProcess, begin_child, serve_as_child
from lineage_ledger_server.serving.reader_server import ReaderServer
from lineage_ledger_server.serving.settings import ServerSettings

_MODULE = "lineage_ledger_server.serving.reader_process"


class ReaderProcesses:
    """`number` of them at `listen`; the port is taken on construction, and served from `start` to `stop`.

    Raises `SettingsError` for an address that is none, cannot be had, or is beyond loopback without TLS.
    """

    def __init__(self, number: int, listen: str, settings: ServerSettings, log_format: str) -> None:
        settings = replace(settings, listen=listen)
        settings.credentials()
        self._reserved = bound(listen)
        # Only now: a port that others have is refused above, and shared from here on with our children alone, as far as
        # others ask for one that is free.
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        self.address = with_port(listen, self._reserved)
        told = [log_format, _as_text(replace(settings, listen=self.address))]
        self._processes = [ChildProcess("serves reads", _MODULE, told, settings.drain_s) for _ in range(number)]
        self.says = f"{number} {'reader' if number == 1 else 'readers'} on {self.address}"

    @property
    def number(self) -> int:
        """How many there should be."""
        return len(self._processes)

    @property
    def serving(self) -> int:
        """How many there are just now."""
        return sum(process.serving for process in self._processes)

    def start(self) -> None:
        """Returns when all serve. Raises `ProcessStartError` if one cannot; its log says why."""
        for process in self._processes:
            process.begin()
        try:
            for process in self._processes:
                process.wait_until_it_serves()
        except BaseException:
            self.stop()
            raise

    def drain(self) -> None:
        """Take no more calls; open ones get `drain_s` seconds, for which `stop` waits."""
        for process in self._processes:
            process.drain()

    def stop(self) -> None:
        """Drain, and return when they have ended."""
        self.drain()
        for process in self._processes:
            process.stop()
        self._reserved.close()


def _as_text(settings: ServerSettings) -> str:
    """Paths made absolute, so that it does not matter where they are read."""
    return json.dumps(asdict(settings), default=lambda path: str(path.absolute()))


def _from_text(text: str) -> ServerSettings:
    values: dict[str, Any] = json.loads(text)
    for field in fields(ServerSettings):
        if str(field.type).startswith("Path") and values[field.name] is not None:
            values[field.name] = Path(values[field.name])
    return ServerSettings(**values)


def main(log_format: str, settings_text: str) -> int:
    """Serve until the parent is gone, or SIGTERM; returns the exit status."""
    begin_child(log_format)
    settings = _from_text(settings_text)
    try:
        server = ReaderServer(settings, shares_port=True)
        server.start()
    except (LineageError, OSError) as error:
        structlog.get_logger(__name__).error("cannot serve reads", error=str(error))
        return 1
    serve_as_child(lambda: os.kill(os.getpid(), signal.SIGTERM), settings.drain_s)
    signal.sigwait({signal.SIGTERM})
    server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
