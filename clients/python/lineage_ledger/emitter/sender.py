"""Sends sealed batches over one stream and takes their acknowledgements; comes back for as long as it is needed.

A batch may be sent any number of times: the server answers a duplicate with the indexes it got the first time. So
whatever ends a connection, the next one begins with the first batch that was not acknowledged.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lineage_ledger import kernel
from lineage_ledger.agreement import join, run
from lineage_ledger.emitter import forking
from lineage_ledger.emitter.acknowledgements import AcknowledgementChecker
from lineage_ledger.emitter.errors import UnderPromisedError
from lineage_ledger.emitter.sealer import SealedBatch
from lineage_ledger.emitter.window import Window
from lineage_ledger.errors import LineageError, OtherKeyError, RpcError, VerificationError
from lineage_ledger.rpc.endpoint import Endpoint
from lineage_ledger.rpc.methods import APPEND_STREAM, GET_LEDGER
from lineage_ledger.v1 import append_pb2

if TYPE_CHECKING:
    from lineage_ledger.rpc.connection import Connection, ResponseStream

_IDLE_STREAM_S = 10.0
STALLED_S = 30.0
"""A stream that acknowledges nothing for so long is of no use; a server that waits for witnesses waits for less."""
_QUIESCE_S = 5.0

# The key, or who calls, is refused: an administrator can change that, so we keep asking, slowly.
_REFUSED = frozenset({"PERMISSION_DENIED", "UNAUTHENTICATED"})
# The chain takes no more batches, whatever we do.
_CHAIN_OVER = frozenset({"SEQUENCE_CONFLICT", "CHAIN_ENDED"})
# The batch is refused for what it is.
_BATCH_REFUSED = frozenset({"INVALID_ARGUMENT", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE"})


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next connection, in seconds; doubled at each failure, with jitter."""

    least_s: float = 0.05
    most_s: float = 5.0
    refused_s: float = 10.0
    """At least, after the key or the caller was refused."""

    def delay_s(self, failures: int, *, refused: bool) -> float:
        """Between half and all of the delay after that many failures in a row."""
        full = min(self.least_s * 2.0 ** min(failures - 1, 20), self.most_s)
        return (max(full, self.refused_s) if refused else full) * random.uniform(0.5, 1.0)  # noqa: S311  (jitter is no secret)


class Outcomes(Protocol):
    """Who is told what became of batches; called on the sender's thread, must not raise or block for long."""

    def acknowledged(self, batch: SealedBatch, acknowledgement: append_pb2.Acknowledgement) -> None: ...
    def abandoned(self, batch: SealedBatch, batches: list[SealedBatch], error: LineageError) -> None: ...
    def failed(self, error: Exception) -> None: ...


class Sender:
    """A thread with a connection, started when there is something to send.

    `quiesce` ends both, so that the process can fork; after `resume`, `wake` starts them again.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        window: Window,
        checker: AcknowledgementChecker,
        outcomes: Outcomes,
        read: Callable[[SealedBatch], bytes],
        backoff: Backoff,
    ) -> None:
        self._endpoint = endpoint
        self._window = window
        self._checker = checker
        self._outcomes = outcomes
        self._read = read
        self._backoff = backoff
        self._mutex = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._stream: ResponseStream[append_pb2.AppendStreamResponse] | None = None
        self._asked: Connection | None = None
        self._careful = False
        self._is_quiet = False

    def wake(self) -> None:
        """Have a thread running; cheap if there is one."""
        if self._thread is None:
            with self._mutex:
                if self._thread is None and not self._is_quiet:
                    self._stopping = threading.Event()
                    self._thread = threading.Thread(
                        target=self._run, args=(self._stopping,), name="lineage-sender", daemon=True
                    )
                    try:
                        self._thread.start()
                    except RuntimeError as error:  # The process has too many, or ends; the next wake tries it again.
                        self._thread = None
                        self._outcomes.failed(error)

    def quiesce(self) -> bool:
        """End thread, stream and channel until `resume`; whether there were any. What is under way is sent again."""
        with self._mutex:
            self._is_quiet = True
            thread, self._thread = self._thread, None
            self._stopping.set()
            self._window.end()
            stream, asked = self._stream, self._asked
        if stream is not None:
            stream.cancel()
        if asked is not None:
            asked.close()  # which ends the call
        if thread is not None and thread is not threading.current_thread():
            thread.join(_QUIESCE_S)
        return thread is not None

    def resume(self) -> None:
        """Let the next `wake` start again."""
        self._is_quiet = False

    def _run(self, stopping: threading.Event) -> None:
        failures = 0
        while not stopping.is_set():
            before = self._window.acknowledged
            try:
                connection = forking.connect(self._endpoint, stopping.is_set)
                if connection is not None:
                    with connection:
                        self._meet(connection, stopping)
                        while not stopping.is_set():
                            if self._window.wait_for_batches(_IDLE_STREAM_S, stopping.is_set):
                                self._converse(connection, stopping)
            except Exception as error:  # noqa: BLE001  (whatever it was, batches wait and must be tried again)
                if stopping.is_set():
                    return
                failures = 1 if self._window.acknowledged != before else failures + 1
                self._outcomes.failed(error)
                stopping.wait(self._backoff.delay_s(failures, refused=self._judge(error)))

    def _meet(self, connection: Connection, stopping: threading.Event) -> None:
        """See that this is the ledger that is pinned: another one would refuse all that is sealed for this one."""
        with self._asking(connection, stopping) as may_ask:
            if may_ask:
                self._checker.check_ledger(connection.call(GET_LEDGER, append_pb2.GetLedgerRequest()))

    @contextmanager
    def _asking(self, connection: Connection, stopping: threading.Event) -> Iterator[bool]:
        """Around calls that are to end when `quiesce` is called; whether they may be made at all."""
        with self._mutex:
            self._asked = None if stopping.is_set() else connection
        try:
            yield self._asked is not None
        finally:
            with self._mutex:
                self._asked = None

    def _converse(self, connection: Connection, stopping: threading.Event) -> None:
        """One stream, until it fails, idles or is quiesced. Raises `LineageError`."""
        session = object()
        options = self._checker.begin()
        self._window.begin(session)
        stream = connection.exchange(APPEND_STREAM, self._requests(session, options))
        with self._mutex:
            self._stream = stream
        try:
            if not stopping.is_set():
                for response in stream:
                    self._take(response, connection, stopping)
                self._checker.end()
        finally:
            with self._mutex:
                self._stream = None
            self._window.end()
            stream.end()

    def _requests(
        self, session: object, options: append_pb2.AcknowledgementOptions | None
    ) -> Iterator[append_pb2.AppendStreamRequest]:
        """What goes out; runs on a thread of grpc's."""
        while True:
            batch = self._window.next_to_send(
                session,
                max_in_flight=1 if self._careful else None,
                idle_s=_IDLE_STREAM_S,
                stalled_s=STALLED_S,
                stalled=self._stalled,
            )
            if batch is None:
                return
            try:
                yield append_pb2.AppendStreamRequest(packed_batches=[self._packed(batch)], options=options)
                options = None
            except LineageError as error:
                self._outcomes.failed(error)
                self._stalled()
                return

    def _stalled(self) -> None:
        """The stream is of no use any more: make the thread that reads it come back."""
        stream = self._stream
        if stream is not None:
            stream.cancel()

    def _packed(self, batch: SealedBatch) -> bytes:
        packed = batch.packed
        return self._read(batch) if packed is None else packed

    def _take(
        self, response: append_pb2.AppendStreamResponse, connection: Connection, stopping: threading.Event
    ) -> None:
        try:
            checkpoint = self._checker.check_checkpoint(response.checkpoint, response.consistency_proof)
        except OtherKeyError:
            self._meet(connection, stopping)  # The ledger's key was changed meanwhile, or this is another ledger.
            checkpoint = self._checker.check_checkpoint(response.checkpoint, response.consistency_proof)
        for acknowledgement in response.acknowledgements:
            batch = self._window.front()
            if batch is None:
                raise VerificationError("the server acknowledged a batch that was not sent")
            leaf_hashes = batch.leaf_hashes
            if self._checker.needs_leaf_hashes and not leaf_hashes:
                leaf_hashes = kernel.leaf_hashes(self._packed(batch))
            self._checker.check(batch, leaf_hashes, acknowledgement, checkpoint)
            self._outcomes.acknowledged(batch, acknowledgement)
            self._window.acknowledge()
            self._careful = False
        if self._checker.published(response):
            self._join(connection, stopping)

    def _join(self, connection: Connection, stopping: threading.Event) -> None:
        """What others saw, who share the checkpoint file, must be of one history with what was seen here.

        A server that does not answer is asked again with the next response. Raises `ForkError`.
        """
        history = self._checker.history
        if history.unlinked is not None:
            with self._asking(connection, stopping) as may_ask, suppress(RpcError):
                if may_ask:
                    run(connection, join(history))

    def _judge(self, error: Exception) -> bool:
        """Draw the consequences for the chain; whether key or caller are refused, so that hurry is of no use."""
        if not isinstance(error, RpcError):
            return not isinstance(error, UnderPromisedError)
        if error.status in _REFUSED:
            return True
        if error.status in _BATCH_REFUSED or error.reason in _CHAIN_OVER:
            front = self._window.front()
            if front is None:
                return False
            if not self._careful:
                # Some batch under way was refused. Which one is certain when it is sent again by itself.
                self._careful = True
                return False
            self._careful = False
            self._outcomes.abandoned(front, self._window.abandon(front.chain_id), error)
        return False
