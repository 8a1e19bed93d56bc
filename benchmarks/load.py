"""Load for a server: sealed batches made beforehand, sent over streams, every acknowledgement checked.

Only sending and checking are in the time that is measured. Each stream is one chain; the bodies of its batches are
taken in turn from a few that were made once, with request ids of their own, and each has a seal of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc.aio

from benchmarks.served import Served
from lineage_ledger.emitter.acknowledgements import AcknowledgementChecker
from lineage_ledger.emitter.ring import Cut
from lineage_ledger.emitter.sealer import ChainSealer, SealedBatch
from lineage_ledger.formats import packed, statement
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.prediction import encode_prediction
from lineage_ledger.rpc.methods import APPEND_STREAM
from lineage_ledger.v1 import append_pb2

_BODIES = 16
_REQUEST_ID_BYTES = 16
_OPEN_S = 60.0
_OPTIONS = [
    ("grpc.max_send_message_length", 8 << 20),
    ("grpc.use_local_subchannel_pool", 1),  # else all streams would share one connection
]
ENTRY_BYTES = 104
"""Of a prediction with a request id of 16 bytes and a duration, without the length before it."""


@dataclass(slots=True)
class Chain:
    """Batches of one chain, in their order, ready to be sent; the first opens it."""

    batches: list[SealedBatch] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Shape:
    """What is sent: how many streams, and what each batch is."""

    streams: int
    batch_entries: int
    batches: int
    """Of each stream."""
    in_flight: int = 8
    """Batches of a stream that are not acknowledged yet, at most."""
    per_message: int = 1
    """Batches in a message, at most."""
    prove: bool = False
    statement_bytes: int = 0
    """Statements of that size instead of predictions."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a load."""

    entries: int
    seconds: float
    latencies_ms: list[float]
    """From giving a batch to gRPC to its checked acknowledgement."""

    @property
    def rate(self) -> float:
        """Entries a second, acknowledged."""
        return self.entries / self.seconds


def make_chains(server: Served, shape: Shape) -> list[Chain]:
    """Seal the batches of all streams. The time that it takes is not measured by anybody."""
    bodies = [_body(shape) for _ in range(_BODIES)]
    chains = []
    for stream in range(shape.streams):
        sealer = ChainSealer(server.origin, server.key)
        batches = [sealer.open(None)]
        for number in range(shape.batches):
            first = sealer.next_number
            body = bodies[(number + stream) % len(bodies)]
            cut = Cut(first, first + shape.batch_entries, body, shape.batch_entries, [])
            batches.append(sealer.seal(cut, [] if shape.statement_bytes else [bytes(32)]))
        chains.append(Chain(batches))
    return chains


def _body(shape: Shape) -> bytes:
    if shape.statement_bytes:
        return packed.pack([_statement(shape.statement_bytes) for _ in range(shape.batch_entries)])
    return packed.pack([_prediction() for _ in range(shape.batch_entries)])


def _prediction() -> bytes:
    return encode_prediction(
        binding_row=1,
        request_id=os.urandom(_REQUEST_ID_BYTES),
        input_commitment=hashlib.sha256(b"input").digest(),
        output_commitment=hashlib.sha256(b"output").digest(),
        start_time_unix_ns=time.time_ns(),
        duration_us=1_000,
    )


def _statement(size: int) -> bytes:
    """An artifact of so many bytes, each with a digest of its own."""

    def of(uri: str) -> bytes:
        digest = f"sha256:{os.urandom(32).hex()}"
        return statement.artifact(kind="dataset", digest=digest, name="loans", uri=uri, size_bytes=1_048_576)

    least = len(of("u"))
    entry = of("u" * (1 + size - least))
    return entry if len(entry) <= size else of("u" * (1 + size - least - (len(entry) - size)))


def send(server: Served, chains: Sequence[Chain], shape: Shape) -> Sent:
    """Open all streams, then send all; the time is from the first batch after the openings to the last answer."""
    return asyncio.run(_send(server, chains, shape))


async def _send(server: Served, chains: Sequence[Chain], shape: Shape) -> Sent:
    streams = [_Stream(server, chain, shape) for chain in chains]
    go = asyncio.Event()
    tasks = [asyncio.create_task(stream.run(go)) for stream in streams]
    try:
        opened: asyncio.Future[Any] = asyncio.gather(*(stream.opened for stream in streams))
        waited: list[asyncio.Future[Any]] = [opened, *tasks]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED, timeout=_OPEN_S)
        if not opened.done():
            await asyncio.gather(*(task for task in tasks if task.done()))  # which raises what went wrong
            raise SystemExit("a stream did not open")
        start_s = time.perf_counter()
        go.set()
        await asyncio.gather(*tasks)
        seconds = time.perf_counter() - start_s
    finally:
        for task in tasks:
            task.cancel()
    entries = sum(batch.count for chain in chains for batch in chain.batches)
    return Sent(entries, seconds, [ms for stream in streams for ms in stream.latencies_ms])


class _Stream:
    """One stream on a connection of its own: one task sends, one takes the answers."""

    def __init__(self, server: Served, chain: Chain, shape: Shape) -> None:
        self._address = server.address
        self._checker = AcknowledgementChecker(Verifier.parse(server.verifier_key), prove=shape.prove)
        self._batches = chain.batches
        self._shape = shape
        self._sent_s = [0.0] * len(chain.batches)
        self._acknowledged = 0
        self._room = asyncio.Event()
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.latencies_ms: list[float] = []

    async def run(self, go: asyncio.Event) -> None:
        async with grpc.aio.insecure_channel(self._address, _OPTIONS) as channel:
            method: Any = APPEND_STREAM
            call = channel.stream_stream(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.parse_response,
            )()
            sending = asyncio.create_task(self._send(call, go))
            try:
                await self._receive(call)
                await sending
            finally:
                sending.cancel()

    async def _receive(self, call: Any) -> None:
        while (response := await call.read()) is not grpc.aio.EOF:
            now_s = time.perf_counter()
            checkpoint = self._checker.check_checkpoint(response.checkpoint, response.consistency_proof)
            first = self._acknowledged
            for place, said in enumerate(response.acknowledgements, first):
                batch = self._batches[place]
                self._checker.check(batch, batch.leaf_hashes, said, checkpoint)
                if said.duplicate:
                    raise SystemExit("a batch was there before")
                self.latencies_ms.append((now_s - self._sent_s[place]) * 1e3)
            self._acknowledged = first + len(response.acknowledgements)
            self._room.set()
            if not self.opened.done():
                self.opened.set_result(None)
        if self._acknowledged != len(self._batches):
            raise SystemExit(f"not all batches were acknowledged: {await call.details()}")

    async def _send(self, call: Any, go: asyncio.Event) -> None:
        options = self._checker.begin()
        self._sent_s[0] = time.perf_counter()
        await call.write(
            append_pb2.AppendStreamRequest(packed_batches=[self._batches[0].packed or b""], options=options)
        )
        await go.wait()
        at, in_flight, most = 1, self._shape.in_flight, self._shape.per_message
        while at < len(self._batches):
            while at - self._acknowledged >= in_flight:
                self._room.clear()
                await self._room.wait()
            end = min(at + most, self._acknowledged + in_flight, len(self._batches))
            now_s = time.perf_counter()
            self._sent_s[at:end] = [now_s] * (end - at)
            packed = [batch.packed or b"" for batch in self._batches[at:end]]
            await call.write(append_pb2.AppendStreamRequest(packed_batches=packed))
            at = end
        await call.done_writing()
