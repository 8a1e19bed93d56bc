"""Load for a server: sealed batches made beforehand, sent over streams, every acknowledgement checked.

Only sending and checking are in the time that is measured. Each stream is one chain; the bodies of its batches are
taken in turn from a few that were made once, with request ids of their own, and each has a seal of its own.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.served import Served
from lineage_ledger.emitter.acknowledgements import AcknowledgementChecker
from lineage_ledger.emitter.ring import Cut
from lineage_ledger.emitter.sealer import ChainSealer, SealedBatch
from lineage_ledger.formats import packed
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.prediction import encode_prediction
from lineage_ledger.rpc.connection import Connection
from lineage_ledger.rpc.endpoint import Endpoint
from lineage_ledger.rpc.methods import APPEND_STREAM
from lineage_ledger.v1 import append_pb2

_BODIES = 16
_REQUEST_ID_BYTES = 16
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
            batches.append(sealer.seal(cut, [bytes(32)]))
        chains.append(Chain(batches))
    return chains


def _body(shape: Shape) -> bytes:
    return packed.pack(
        [
            encode_prediction(
                binding_row=1,
                request_id=os.urandom(_REQUEST_ID_BYTES),
                input_commitment=hashlib.sha256(b"input").digest(),
                output_commitment=hashlib.sha256(b"output").digest(),
                start_time_unix_ns=time.time_ns(),
                duration_us=1_000,
            )
            for _ in range(shape.batch_entries)
        ]
    )


def send(server: Served, chains: Sequence[Chain], shape: Shape) -> Sent:
    """Open all streams, then send all; the time is from the first batch after the openings to the last answer."""
    streams = [_Stream(server, chain, shape) for chain in chains]
    threads = [threading.Thread(target=stream.run, daemon=True) for stream in streams]
    for thread in threads:
        thread.start()
    for stream in streams:
        if not stream.opened.wait(60):
            raise SystemExit("a stream did not open")
    start_s = time.perf_counter()
    for stream in streams:
        stream.go.set()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start_s
    for stream in streams:
        if stream.error is not None:
            raise stream.error
    entries = sum(batch.count for chain in chains for batch in chain.batches)
    return Sent(entries, seconds, [ms for stream in streams for ms in stream.latencies_ms])


class _Stream:
    """One stream with the thread that reads its answers; gRPC's own thread takes the requests."""

    def __init__(self, server: Served, chain: Chain, shape: Shape) -> None:
        self._connection = Connection(Endpoint(server.address))
        self._checker = AcknowledgementChecker(Verifier.parse(server.verifier_key), prove=shape.prove)
        self._batches = chain.batches
        self._shape = shape
        self._sent_s = [0.0] * len(chain.batches)
        self._acknowledged = 0
        self._room = threading.Condition()
        self.opened = threading.Event()
        self.go = threading.Event()
        self.error: Exception | None = None
        self.latencies_ms: list[float] = []

    def run(self) -> None:
        try:
            with self._connection:
                self._run()
        except Exception as error:  # noqa: BLE001  # raised by who waits
            self.error = error
            self.opened.set()

    def _run(self) -> None:
        options = self._checker.begin()
        for response in self._connection.exchange(APPEND_STREAM, self._requests(options)):
            now_s = time.perf_counter()
            checkpoint = self._checker.check_checkpoint(response.checkpoint, response.consistency_proof)
            first = self._acknowledged
            for place, said in enumerate(response.acknowledgements, first):
                batch = self._batches[place]
                self._checker.check(batch, batch.leaf_hashes, said, checkpoint)
                if said.duplicate:
                    raise SystemExit("a batch was there before")
                self.latencies_ms.append((now_s - self._sent_s[place]) * 1e3)
            with self._room:
                self._acknowledged = first + len(response.acknowledgements)
                self._room.notify()
            self.opened.set()
        if self._acknowledged != len(self._batches):
            raise SystemExit("not all batches were acknowledged")

    def _requests(self, options: append_pb2.AcknowledgementOptions) -> Iterator[append_pb2.AppendStreamRequest]:
        self._sent_s[0] = time.perf_counter()
        yield append_pb2.AppendStreamRequest(packed_batches=[self._batches[0].packed or b""], options=options)
        self.go.wait()
        at, in_flight, most = 1, self._shape.in_flight, self._shape.per_message
        while at < len(self._batches):
            with self._room:
                while at - self._acknowledged >= in_flight:
                    self._room.wait()
                end = min(at + most, self._acknowledged + in_flight, len(self._batches))
            now_s = time.perf_counter()
            self._sent_s[at:end] = [now_s] * (end - at)
            yield append_pb2.AppendStreamRequest(
                packed_batches=[batch.packed or b"" for batch in self._batches[at:end]]
            )
            at = end
