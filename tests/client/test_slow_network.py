"""A server that is far away: connecting takes as long as it takes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lineage_ledger import Client, Emitter
from tests.support.rpc import registered
from tests.support.server import RunningServer

DELAY_S = 0.3


@contextmanager
def far_away(address: str) -> Iterator[str]:
    """Another address of the same server, with `DELAY_S` before each piece gets through, in either direction."""
    host, _, port = address.rpartition(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    near, _ = listener.accept()
                except OSError:
                    return
                far = socket.create_connection((host, int(port)))
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=pass_on, args=(source, target), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def pass_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(65_536):
            time.sleep(DELAY_S)
            target.sendall(piece)
    except OSError:
        pass
    for each in (source, target):
        each.close()


def test_a_client_and_an_emitter_reach_it(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "ledger") as server, far_away(server.address) as address:
        with Client(address, ledger=server.verifier_key) as client:
            assert client.checkpoint().size >= 2
        key = registered(server, "far").key
        with Emitter(address, ledger=server.verifier_key, key=key) as emitter:
            emitter.bind(bytes(32)).emit(bytes(32), bytes(32))
            assert emitter.flush(20)
