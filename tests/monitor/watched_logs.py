"""Ledgers in folders, which grow or lie as a test wants them; a webhook that remembers; monitors of them."""

from __future__ import annotations

import copy
import json
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from lineage_ledger import Client, SigningKey
from lineage_ledger.formats import admin
from lineage_ledger.monitor.monitor import Monitor
from lineage_ledger.monitor.view import Watched
from lineage_ledger.monitor.webhook import Webhook
from lineage_ledger.sources.folder import open_folder
from tests.audit.ledger_builder import begun, predictions
from tests.sources import log_files
from tests.support.rpc import admin_key
from tests.support.server import RunningServer


class Ledger:
    """A right ledger, published in the folder `root`."""

    def __init__(self, root: Path, seed: int = 1) -> None:
        self.root = root
        self.builder, key = begun(seed)
        self.chain = self.builder.open_chain(key)
        self.grow()

    def grow(self, count: int = 5, *, block_time_unix_ns: int = 0) -> None:
        """A batch, a block that is written now, and all of it published."""
        self.builder.batch(self.chain, predictions(self.builder, count))
        self.builder.block(time_unix_ns=block_time_unix_ns or time.time_ns())
        self.publish()

    def publish(self, size: int | None = None) -> None:
        entries = self.builder.entries[:size]
        log_files.write(self.root, entries, self.builder.checkpoint(len(entries)))

    def copy(self, root: Path) -> Ledger:
        """The same ledger, from now on apart."""
        other = copy.copy(self)
        other.root, other.builder, other.chain = root, copy.copy(self.builder), copy.copy(self.chain)
        other.builder.entries = list(self.builder.entries)
        other.builder.random = copy.copy(self.builder.random)
        return other

    @property
    def size(self) -> int:
        return len(self.builder.entries)

    @property
    def vkey(self) -> str:
        return str(self.builder.verifier)

    def watched(self, name: str = "prod", max_block_age_s: float = 180.0) -> Watched:
        return Watched(name, self.builder.verifier, partial(open_folder, self.root), max_block_age_s)


class Receiver:
    """A real HTTP server that takes what a webhook sends; `statuses` are answered first, then 204."""

    def __init__(self, *statuses: int) -> None:
        self.received: list[dict[str, Any]] = []
        self.attempts = 0
        remaining = list(statuses)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                assert self.headers["content-type"] == "application/json"
                receiver.attempts += 1
                status = remaining.pop(0) if remaining else 204
                if status < 300:
                    receiver.received.append(json.loads(body))
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?secret=s3cret"

    @property
    def kinds(self) -> list[str]:
        return [each["kind"] for each in self.received]

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def monitor_of(
    *ledgers: Watched,
    state: Path,
    receiver: Receiver | None = None,
    patience_s: float = 300.0,
    is_stopped: bool = False,
) -> Monitor:
    """A monitor as a process that starts now has it; with `is_stopped` its webhook is tried once only."""
    stopped = threading.Event()
    if is_stopped:
        stopped.set()
    webhook = None if receiver is None else Webhook(receiver.url, stopped)
    return Monitor(ledgers, state, stopped, interval_s=0.1, webhook=webhook, patience_s=patience_s)


def grow_server(server: RunningServer, count: int = 1) -> None:
    """A real server gets `count` entries, each in a block of its own."""
    with Client(f"unix:{server.data / 'admin.sock'}", ledger=server.verifier_key) as client:
        for number in range(count):
            key = SigningKey.generate()
            possession = admin.prove_possession(server.origin, key)
            client.producers_add(
                key.public_key, f"p{number}", possession_signature=possession, admin_key=admin_key(server.data)
            )
