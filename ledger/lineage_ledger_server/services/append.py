"""AppendService: the way in.

A stream has two threads: one reads batches and checks them, the stream's own answers them, so that the next batch is
checked while the last one waits for the disk. Answers keep the order of the batches, refusals included, because a
refusal travels through the sequencer's queue as well.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, Final

import grpc

from lineage_ledger._version import __version__
from lineage_ledger.formats import seal
from lineage_ledger.v1 import append_pb2, append_pb2_grpc
from lineage_ledger_server.errors import LimitError, NotFoundError, NotWritableError, RefusedError, ServerError
from lineage_ledger_server.ledger import Ledger
from lineage_ledger_server.reading.log_reader import LogReader
from lineage_ledger_server.sequencer.check import CheckedBatch, check_batch
from lineage_ledger_server.sequencer.genesis import FORMAT_VERSION
from lineage_ledger_server.sequencer.sequencer import Sequencer
from lineage_ledger_server.sequencer.submissions import Appended, Outcome
from lineage_ledger_server.services.acknowledgements import Acknowledger
from lineage_ledger_server.services.errors import answers
from lineage_ledger_server.services.key_history import key_history

MAX_BATCHES_PER_MESSAGE: Final = 1_024
MAX_BYTES_PER_MESSAGE: Final = 4 * 1024 * 1024
MAX_ANSWERS_PER_MESSAGE: Final = 1_024
MAX_UNANSWERED_BYTES: Final = 16 * 1024 * 1024
"""What one stream may have in the server at a time; then it is read no further, and gRPC holds the client back."""
_ANSWER_BYTES: Final = 1_024  # what an answer costs that its client does not read


class AppendService(append_pb2_grpc.AppendServiceServicer):
    """Takes batches for `ledger`, over at most `max_streams` streams at a time."""

    def __init__(self, ledger: Ledger, max_streams: int) -> None:
        self._ledger = ledger
        self._max_streams = max_streams
        self._streams: set[_Stream] = set()  # guarded by _lock
        self._lock = threading.Lock()

    @property
    def streams(self) -> int:
        """Streams that are open."""
        return len(self._streams)

    @property
    def max_streams(self) -> int:
        return self._max_streams

    @answers
    def AppendStream(
        self, request_iterator: Iterator[append_pb2.AppendStreamRequest], context: grpc.ServicerContext
    ) -> Iterator[append_pb2.AppendStreamResponse]:
        stream = _Stream(self._ledger, request_iterator, context)
        with self._lock:
            if len(self._streams) >= self._max_streams:
                raise LimitError(
                    f"{self._max_streams} append streams are open, which is the limit; close one, send on fewer, "
                    "or start the server with a higher --max-append-streams",
                    limit="max_append_streams",
                    value=self._max_streams,
                )
            self._streams.add(stream)
        try:
            yield from stream.responses()
        finally:
            with self._lock:
                self._streams.discard(stream)

    def end_streams(self) -> None:
        """After the sequencer has stopped: every stream answers what was taken, then ends as UNAVAILABLE."""
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.end(NotWritableError("the ledger is stopping; try again when it is back", reason="STOPPING"))

    @answers
    def AppendBatch(
        self, request: append_pb2.AppendBatchRequest, context: grpc.ServicerContext
    ) -> append_pb2.AppendBatchResponse:
        acknowledger = Acknowledger(self._ledger, request.options)
        batch = check_batch(request.packed_batch, self._ledger.origin)
        response = acknowledger.respond([_submit_and_wait(self._ledger.sequencer, batch, context)])
        return append_pb2.AppendBatchResponse(
            acknowledgement=response.acknowledgements[0],
            checkpoint=response.checkpoint,
            consistency_proof=response.consistency_proof,
        )

    @answers
    def GetChain(
        self, request: append_pb2.GetChainRequest, context: grpc.ServicerContext
    ) -> append_pb2.GetChainResponse:
        return _chain_response(self._ledger.signed_reader, request.chain_id)

    @answers
    def GetLedger(
        self, request: append_pb2.GetLedgerRequest, context: grpc.ServicerContext
    ) -> append_pb2.GetLedgerResponse:
        signed = self._ledger.signed_reader  # so that every checkpoint in an acknowledgement can be opened
        size = signed.head().size
        return append_pb2.GetLedgerResponse(
            origin=self._ledger.origin,
            verifier_key=str(self._ledger.signer.keys.verifier_at(size)),
            format_version=FORMAT_VERSION,
            max_batch_bytes=seal.MAX_BATCH_BYTES,
            max_batch_entries=seal.MAX_BATCH_ENTRIES,
            server_version=__version__,
            key_history=key_history(signed, size, with_proof=False),
        )


class _EndOfStream(RefusedError):  # noqa: N818  # a mark, not an error
    """Travels behind the last batch of a stream; what the client sent before it is answered by then."""


class _Stream:
    """One AppendStream call."""

    def __init__(
        self, ledger: Ledger, requests: Iterator[append_pb2.AppendStreamRequest], context: grpc.ServicerContext
    ) -> None:
        self._ledger = ledger
        self._acknowledger: Acknowledger | None = None  # made by the first message, before its batches are submitted
        self._requests = requests
        self._outcomes: queue.SimpleQueue[tuple[Outcome, int]] = queue.SimpleQueue()
        self._unanswered_bytes = 0  # guarded by _room
        self._room = threading.Condition()
        self._gone = False
        if not context.add_callback(self._hang_up):
            self._hang_up()

    def responses(self) -> Iterator[append_pb2.AppendStreamResponse]:
        """Answers until the client is done or gone; then raises what a batch was refused for."""
        reader = threading.Thread(target=self._read, name="append-stream-reader", daemon=True)
        reader.start()
        while True:
            outcomes = [self._outcomes.get()]
            while len(outcomes) < MAX_ANSWERS_PER_MESSAGE and not self._outcomes.empty():
                outcomes.append(self._outcomes.get())
            appended: list[Appended] = []
            failure: Exception | None = None
            for outcome, size in outcomes:
                if isinstance(outcome, Appended):
                    appended.append(outcome)
                elif isinstance(outcome, Exception):
                    failure = outcome
                    break
                self._release(size)
            if appended and self._acknowledger is not None:
                yield self._acknowledger.respond(appended)
            if failure is not None:
                self._hang_up()
                if isinstance(failure, _EndOfStream):
                    return
                raise failure

    def _read(self) -> None:
        """Check and submit batch after batch, until one is refused; runs on the stream's second thread."""
        end: Exception = _EndOfStream("the stream ended", reason="STOPPING")
        try:
            for request in self._requests:
                if self._acknowledger is None:
                    self._acknowledger = Acknowledger(self._ledger, request.options)
                _check_message(request)
                for packed in request.packed_batches:
                    size = len(packed) + _ANSWER_BYTES
                    if not self._reserve(size):
                        return
                    self._submit(check_batch(packed, self._ledger.origin), size)
        except grpc.RpcError:
            pass  # the client broke off
        except Exception as error:  # noqa: BLE001  # travels on, and is raised on the stream's own thread
            end = error
        self._submit(end, 0)

    def _submit(self, work: CheckedBatch | Exception, size: int) -> None:
        try:
            self._ledger.sequencer.submit(work, lambda outcome: self._outcomes.put((outcome, size)))
        except NotWritableError as stopping:
            self._outcomes.put((stopping, 0))

    def _reserve(self, size: int) -> bool:
        """Wait until the stream may hold `size` bytes more; False once it is over."""
        with self._room:
            while self._unanswered_bytes and self._unanswered_bytes + size > MAX_UNANSWERED_BYTES and not self._gone:
                self._room.wait()
            self._unanswered_bytes += size
            return not self._gone

    def _release(self, size: int) -> None:
        with self._room:
            self._unanswered_bytes -= size
            self._room.notify()

    def end(self, why: Exception) -> None:
        """The call is over after the answers that are ready; wakes both threads."""
        with self._room:
            self._gone = True
            self._room.notify_all()
        self._outcomes.put((why, 0))

    def _hang_up(self) -> None:
        self.end(_EndOfStream("the call is over", reason="STOPPING"))


def _check_message(request: append_pb2.AppendStreamRequest) -> None:
    batches = len(request.packed_batches)
    if not 1 <= batches <= MAX_BATCHES_PER_MESSAGE:
        raise LimitError(
            f"a message carries 1 to {MAX_BATCHES_PER_MESSAGE} batches, this one {batches}",
            limit="max_batches_per_message",
            value=MAX_BATCHES_PER_MESSAGE,
        )
    size = sum(map(len, request.packed_batches))
    if batches > 1 and size > MAX_BYTES_PER_MESSAGE:  # one by itself is told of max_batch_bytes
        raise LimitError(
            f"a message carries at most {MAX_BYTES_PER_MESSAGE:,} bytes of batches, this one {size:,}; send fewer",
            limit="max_bytes_per_message",
            value=MAX_BYTES_PER_MESSAGE,
        )


def _submit_and_wait(sequencer: Sequencer, work: CheckedBatch, context: grpc.ServicerContext) -> Appended:
    """One batch through the sequencer, within the call's deadline."""
    outcome = wait_for(sequencer, work, context)
    if not isinstance(outcome, Appended):
        raise ServerError("the sequencer answered a batch with something else")
    return outcome


def wait_for(sequencer: Sequencer, work: Any, context: grpc.ServicerContext) -> Outcome:
    """Submit `work` and wait for what becomes of it; raises what it is refused for.

    If the caller's deadline passes first the work may still be done; a batch can be sent again, it is known by its
    place.
    """
    future: Future[Outcome] = Future()
    sequencer.submit(work, future.set_result)
    try:
        outcome = future.result(_time_left_s(context))
    except TimeoutError:
        raise RefusedError(
            "the deadline passed before the commit; send again to learn what became of it", reason="STOPPING"
        ) from None
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _time_left_s(context: grpc.ServicerContext) -> float:
    """Seconds to the call's deadline, at most what a thread can wait: without a deadline gRPC says more than that."""
    left_s = context.time_remaining()
    return threading.TIMEOUT_MAX if left_s is None else min(left_s, threading.TIMEOUT_MAX)


def _chain_response(reader: LogReader, chain_id: bytes) -> append_pb2.GetChainResponse:
    if len(chain_id) != seal.CHAIN_ID_BYTES:
        raise RefusedError(
            f"a chain id has {seal.CHAIN_ID_BYTES} bytes, not {len(chain_id)}", reason="INVALID_ARGUMENT"
        )
    row = reader.chain(chain_id)
    if row is None:
        raise NotFoundError(f"no chain {chain_id.hex()} is logged here")
    last = seal.parse_seal(reader.entry(row.last_seal_index))
    state = append_pb2.CHAIN_STATE_OPEN
    if row.conflict_index:
        state = append_pb2.CHAIN_STATE_CONFLICTED
    elif last.body.closing:
        state = append_pb2.CHAIN_STATE_CLOSED
    return append_pb2.GetChainResponse(
        state=state,
        public_key=last.body.public_key,
        next_batch_sequence=last.body.batch_sequence + 1,
        next_number=seal.next_number(last.body),
        last_seal_hash=last.entry_hash,
        last_seal_index=row.last_seal_index,
    )
