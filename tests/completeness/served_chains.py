"""A real server with chains of every fate, and windows to look at them through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lineage_ledger import errors
from lineage_ledger.client import Client
from lineage_ledger.formats import keys
from lineage_ledger.rpc import methods
from lineage_ledger.rpc.connection import Connection
from lineage_ledger.rpc.endpoint import Endpoint
from lineage_ledger.v1 import admin_pb2, append_pb2
from tests.support.producer import Producer, a_prediction, registration
from tests.support.server import RunningServer

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
"""When the first batch's predictions start; each next batch is ten seconds later."""


@dataclass
class ServedChains:
    """The server, and what was appended."""

    server: RunningServer
    key: keys.SigningKey
    open: Producer
    closed: Producer
    crashed: Producer
    successor: Producer
    conflicted: Producer

    def client(self) -> Client:
        return Client(self.server.address, ledger=self.server.verifier_key)


def predictions(chain: Producer, count: int, batch: int, lost: list[tuple[int, int]] | None = None) -> bytes:
    """The chain's next batch: predictions that start within the second `T0` + 10 s for each batch before it."""
    started = T0 + 10 * batch * SECOND
    entries = [
        a_prediction(chain.number + place, start_time_unix_ns=started + place * SECOND // count)
        for place in range(count)
    ]
    return chain.batch(entries, lost or [])


def append(connection: Connection, packed: bytes) -> None:
    connection.call(methods.APPEND_BATCH, append_pb2.AppendBatchRequest(packed_batch=packed))


@contextmanager
def served_chains(folder: Path) -> Iterator[ServedChains]:
    """Five chains of one key: 30 + 30 + 30 predictions, two losses, one closed, one crashed and recovered."""
    with RunningServer(folder / "ledger") as server, Connection(Endpoint(server.address)) as connection:
        _, admin_key = keys.read_signing_key(server.data / "keys" / "admin.key")
        key = keys.SigningKey.generate()
        with Connection(Endpoint(f"unix:{server.data / 'admin.sock'}")) as admin:
            entry = registration(server.origin, key, admin_key)
            admin.call(methods.REGISTER_PRODUCER, admin_pb2.RegisterProducerRequest(entry=entry))
        chains = [Producer(server.origin, key) for _ in range(5)]
        opened, closed, crashed, successor, conflicted = chains
        for chain in (opened, closed, crashed, conflicted):
            append(connection, chain.batch())
        for batch in range(3):
            append(connection, predictions(opened, 30, batch))
        append(connection, predictions(opened, 10, 3, [(opened.number + 2, 5)]))
        append(connection, predictions(closed, 7, 0))
        append(connection, closed.batch(closing=True))
        append(connection, predictions(crashed, 4, 1))
        body = successor.body()
        body.predecessor.chain_id, body.predecessor.next_number = crashed.chain_id, crashed.number
        append(connection, successor.seal([], body))
        append(connection, predictions(successor, 3, 2))
        append(connection, predictions(conflicted, 2, 0))
        rival = Producer(server.origin, key, conflicted.nonce)
        rival.batch()
        try:
            append(connection, predictions(rival, 5, 0))
        except errors.RpcError as error:
            assert error.reason == "SEQUENCE_CONFLICT"
        yield ServedChains(server, key, *chains)
