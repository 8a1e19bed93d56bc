"""immudb: a server with a Merkle tree over transactions of keys and values; the nearest in what it proves.

The server is what `go install` of its module gives, or a binary of that name in .cache/peers/immudb/bin or on PATH; the
client is immudb-py. The key of an entry is its request id. `SetAll` of 1,000, because it refuses 4,096; `VerifiedSet`
is one entry whose inclusion, and the consistency of the tree with what the client saw before, the client verifies.
Synced mode, its default (strace: three fsync a transaction, shared by those of callers that come together); its servers
for PostgreSQL's protocol, for metrics and for browsers are off. Its state is signed only if it has a signing key; here
it has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from benchmarks.peers import environments
from benchmarks.peers.contract import Append, Case, Claims, NotRunError, Peer
from benchmarks.peers.pool import request_id_of
from benchmarks.peers.processes import find, free_port, listens, running

_MODULE = "github.com/codenotary/immudb/cmd/immudb@v1.11.0"
_REQUIREMENTS = ("immudb-py==1.5.0", "protobuf==7.36.2", "grpcio==1.85.1")
_PAGE = 999


def _install(environment: Path) -> None:
    if find("immudb", environment / "bin") is not None:
        return
    go = environment.parent / "go"
    environments.call(
        ["go", "install", _MODULE],
        GOBIN=str(environment / "bin"), GOPATH=str(go / "path"), GOCACHE=str(go / "cache"),
        GOFLAGS="-modcacherw", GOTOOLCHAIN="local", CGO_ENABLED="0",
    )  # fmt: skip


@contextmanager
def _serve(environment: Path, folder: Path) -> Iterator[str]:
    program = find("immudb", environment / "bin")
    if program is None:
        raise NotRunError("there is no program immudb; --install builds it")
    port = free_port()
    off = ("--pgsql-server=false", "--metrics-server=false", "--web-server=false")
    with running(
        [program, "--address", "127.0.0.1", "--port", str(port), "--dir", folder / "data", "--synced=true", *off],
        log=folder / "server.log",
        ready=lambda: listens(port),
        environment={"IMMUDB_LOGDIR": str(folder / "log")},
    ):
        yield f"127.0.0.1:{port}"


def _connect(address: str) -> Any:
    from immudb import ImmudbClient

    client = ImmudbClient(address)
    client.login("immudb", "immudb")
    return client


class _Store:
    def __init__(self, address: str) -> None:
        self._connect = partial(_connect, address)
        # Logging in takes the server a good while, by design: connections are kept from run to run.
        self._idle: SimpleQueue[Any] = SimpleQueue()
        self._client = self._connect()
        version = self._client.serverInfo().version or "built without a version"
        self.version = f"{version}, client {_REQUIREMENTS[0].partition('==')[2]}"
        self._counted_to = self._client.currentState().txId
        self._count = 0

    @contextmanager
    def caller(self, case: Case) -> Iterator[Append]:
        try:
            client = self._idle.get_nowait()
        except Empty:
            client = self._connect()

        def set_all(batch: Sequence[bytes]) -> None:
            client.setAll({request_id_of(entry): entry for entry in batch})

        def verified_set(batch: Sequence[bytes]) -> None:
            (entry,) = batch
            if not client.verifiedSet(request_id_of(entry), entry).verified:
                raise RuntimeError("an entry was not proven")

        yield verified_set if case.batch == 1 else set_all
        self._idle.put(client)

    def count(self) -> int:
        """Entries of all transactions since the last count, read from their headers."""
        newest = self._client.currentState().txId
        while self._counted_to < newest:
            limit = min(_PAGE, newest - self._counted_to)
            for transaction in self._client.txScan(self._counted_to + 1, limit).txs:
                self._count += transaction.header.nentries
                self._counted_to = transaction.header.id
        return self._count

    def check(self) -> None:
        self._client.verifiedTxById(self._client.currentState().txId)

    def close(self) -> None:
        self._client.shutdown()
        while not self._idle.empty():
            self._idle.get().shutdown()


PEER = Peer(
    name="immudb",
    title="immudb",
    claims=Claims(
        is_ledger=True,
        tamper_evidence="Merkle tree",
        signed=False,
        entry_proof="with VerifiedSet, verified by the client",
        durability="synced (synced mode, its default)",
        checks="counted after each run; what VerifiedSet answers; the last transaction's proof at the end",
        request_ids_indexed=True,
        place="server",
    ),
    cases=(
        Case("SetAll of 1,000", 1_000),
        Case("SetAll of 1,000, 30 callers", 1_000, callers=30),
        Case("SetAll of 64", 64),
        Case("VerifiedSet", 1, params={"proven": True}),
        Case("VerifiedSet, 30 callers", 1, callers=30, params={"proven": True}),
    ),
    requirements=_REQUIREMENTS,
    serve=_serve,
    connect=_Store,
    install=_install,
)
