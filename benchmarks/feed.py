"""One chain that is sent over one stream, a stretch at a time: as fast as it goes, or at a rate."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from benchmarks import stored_log
from benchmarks.load import Sent
from benchmarks.served import Served
from lineage_ledger.emitter.acknowledgements import AcknowledgementChecker
from lineage_ledger.emitter.ring import Cut
from lineage_ledger.emitter.sealer import ChainSealer, SealedBatch
from lineage_ledger.formats import packed, statement
from lineage_ledger.formats.note import Verifier
from lineage_ledger.rpc.connection import Connection
from lineage_ledger.rpc.endpoint import Endpoint
from lineage_ledger.rpc.methods import APPEND_STREAM
from lineage_ledger.v1 import append_pb2

_PATIENCE_S = 120.0


@dataclass(slots=True)
class _Stretch:
    """Batches to send, and what became of them."""

    batches: Iterator[SealedBatch]
    entries_per_s: float
    stop: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)
    all_sent: bool = False
    start_s: float = 0.0
    end_s: float = 0.0
    entries: int = 0
    latencies_ms: list[float] = field(default_factory=list)


class Feed:
    """Opens the chain on entering. Every acknowledgement is checked; nothing is sent again.

    One stretch at a time: `begin` it and `end` it, or `send` it whole.
    """

    def __init__(self, server: Served, *, in_flight: int = 8) -> None:
        self.sealer = ChainSealer(server.origin, server.key)
        self._connection = Connection(Endpoint(server.address))
        self._checker = AcknowledgementChecker(Verifier.parse(server.verifier_key), prove=False)
        self._in_flight = in_flight
        self._stretches: queue.SimpleQueue[_Stretch | None] = queue.SimpleQueue()
        self._current: _Stretch | None = None
        self._unacknowledged: deque[tuple[SealedBatch, float]] = deque()
        self._room = threading.Condition()
        self._error: BaseException | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)

    def begin(self, batches: Iterable[SealedBatch], entries_per_s: float = 0.0) -> None:
        """Send batches that go on with the chain, at most so many entries a second (0: as fast as it goes)."""
        assert self._current is None
        self._current = _Stretch(iter(batches), entries_per_s)
        self._stretches.put(self._current)

    def end(self, *, stop: bool = False) -> Sent:
        """Wait until all is acknowledged; with `stop`, send nothing more before."""
        stretch = self._current
        assert stretch is not None
        if stop:
            stretch.stop.set()
        # The stream may have ended before there was a stretch that could have been told.
        while self._error is None and not stretch.done.wait(0.5):
            with self._room:
                oldest_s = self._unacknowledged[0][1] if self._unacknowledged else time.perf_counter()
            if time.perf_counter() - oldest_s > _PATIENCE_S:
                raise SystemExit(f"the server acknowledged nothing for {_PATIENCE_S:g} s")
        if self._error is not None:
            raise self._error
        self._current = None
        return Sent(stretch.entries, stretch.end_s - stretch.start_s, stretch.latencies_ms)

    def send(self, batches: Iterable[SealedBatch], entries_per_s: float = 0.0) -> Sent:
        """`begin` and `end`."""
        self.begin(batches, entries_per_s)
        return self.end()

    def __enter__(self) -> Self:
        self._reader.start()
        self.send([self.sealer.open(None)])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._current is not None:
            self._current.stop.set()
        self._stretches.put(None)
        self._reader.join(_PATIENCE_S if kind is None else 1.0)
        self._connection.close()

    def _requests(self) -> Iterator[append_pb2.AppendStreamRequest]:
        options: append_pb2.AcknowledgementOptions | None = self._checker.begin()
        while (stretch := self._stretches.get()) is not None:
            stretch.start_s = time.perf_counter()
            while not stretch.stop.is_set():
                if stretch.entries_per_s:
                    due_s = stretch.start_s + stretch.entries / stretch.entries_per_s
                    if stretch.stop.wait(max(0.0, due_s - time.perf_counter())):
                        break
                # Taken only when it will be sent: the chain has no gaps.
                if (batch := next(stretch.batches, None)) is None:
                    break
                with self._room:
                    while len(self._unacknowledged) >= self._in_flight:
                        self._room.wait()
                    self._unacknowledged.append((batch, time.perf_counter()))
                stretch.entries += batch.count
                yield append_pb2.AppendStreamRequest(packed_batches=[batch.packed or b""], options=options)
                options = None
            with self._room:
                stretch.all_sent = True
                if not self._unacknowledged:
                    self._finish(stretch)

    def _read(self) -> None:
        try:
            for response in self._connection.exchange(APPEND_STREAM, self._requests()):
                self._take(response, time.perf_counter())
        except BaseException as error:  # noqa: BLE001  # raised by who waits
            self._error = error
            if self._current is not None:
                self._current.done.set()

    def _take(self, response: append_pb2.AppendStreamResponse, now_s: float) -> None:
        checkpoint = self._checker.check_checkpoint(response.checkpoint, response.consistency_proof)
        stretch = self._current
        assert stretch is not None
        for said in response.acknowledgements:
            batch, sent_s = self._unacknowledged[0]
            self._checker.check(batch, b"", said, checkpoint)
            if said.duplicate:
                raise SystemExit("a batch was there before; the figure would be of nothing")
            stretch.latencies_ms.append((now_s - sent_s) * 1e3)
            with self._room:
                self._unacknowledged.popleft()
                self._room.notify()
        with self._room:
            stretch.end_s = now_s
            if stretch.all_sent and not self._unacknowledged:
                self._finish(stretch)

    def record_lineage(self) -> bytes:
        """Send what the model of the predictions to come was made from; the leaf hash of its deployment, 32 bytes."""
        lineage = stored_log.lineage_statements()
        self.send([self.sealer.seal(Cut(0, len(lineage), packed.pack(lineage), len(lineage), []), [])])
        return statement.statement_hash(lineage[-1])

    @staticmethod
    def _finish(stretch: _Stretch) -> None:
        if not stretch.end_s:
            stretch.end_s = time.perf_counter()
        stretch.done.set()
