"""AppendService: the way in, for a handful of producers with large batches and for hundreds with small ones.

It runs on the server's event loop and keeps no thread for a stream, so that an idle one costs its memory and no more.
Small batches are checked on the loop itself, large ones by workers, which let go of the interpreter's lock for most of
it. Answers keep the order of the batches, refusals included, because a refusal travels through the sequencer's queue as
well; what became of a group comes back to the loop at once, and each stream is answered in one message.
"""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Final

from lineage_ledger._version import __version__
from lineage_ledger.formats import seal
from lineage_ledger.v1 import append_pb2, append_pb2_grpc
from lineage_ledger_server.errors import LimitError, NotFoundError, NotWritableError, RefusedError, ServerError
from lineage_ledger_server.ledger import Ledger
from lineage_ledger_server.reading.log_reader import LogReader
from lineage_ledger_server.sequencer.check import CheckedBatch, check_batch
from lineage_ledger_server.sequencer.genesis import FORMAT_VERSION
from lineage_ledger_server.sequencer.sequencer import Sequencer
from lineage_ledger_server.sequencer.submissions import Appended, Outcome, Work
from lineage_ledger_server.services.acknowledgements import Acknowledger
from lineage_ledger_server.services.errors import Caller, Context
from lineage_ledger_server.services.key_history import key_history
from lineage_ledger_server.services.pending import MAX_STREAM_BYTES, PendingBytes

MAX_BATCHES_PER_MESSAGE: Final = 1_024
MAX_BYTES_PER_MESSAGE: Final = 4 * 1024 * 1024
MAX_ANSWERS_PER_MESSAGE: Final = 1_024
_Take = Callable[[Outcome], object]
_ANSWER_BYTES: Final = 1_024  # what an answer costs that its client does not read
# Batches that are checked in one go; of less, handing it to another thread costs more than it brings.
_GROUP_BYTES: Final = 128 * 1024
_GROUP_BATCHES: Final = 64
_FEW_BATCHES: Final = 4


class AppendService(append_pb2_grpc.AppendServiceServicer):
    """Takes batches for `ledger`, over at most `max_streams` streams at a time."""

    def __init__(self, ledger: Ledger, max_streams: int, max_pending_bytes: int) -> None:
        self._ledger = ledger
        self._max_streams = max_streams
        # They check large batches, and nothing else: those who read must not hold them up. More than there are
        # processors would be in each other's way, and in the loop's.
        self._workers = ThreadPoolExecutor(max(2, os.cpu_count() or 1), thread_name_prefix="check")
        # Who waits for witnesses waits on a thread of its own, and there are no more of them than streams.
        self._waiters = ThreadPoolExecutor(max_streams, thread_name_prefix="witnessed")
        self._streams: set[_Stream] = set()  # touched on the loop only
        self._exchange = _Exchange(ledger.sequencer)
        self._pending = PendingBytes(max_pending_bytes)

    @property
    def pending_bytes(self) -> int:
        """Bytes of batches that were received and are not decided yet."""
        return self._pending.reserved

    @property
    def max_pending_bytes(self) -> int:
        return self._pending.most

    @property
    def streams(self) -> int:
        """Streams that are open."""
        return len(self._streams)

    @property
    def max_streams(self) -> int:
        return self._max_streams

    async def AppendStream(self, requests: AsyncIterator[append_pb2.AppendStreamRequest], context: Context) -> None:
        if len(self._streams) >= self._max_streams:
            raise LimitError(
                f"{self._max_streams} append streams are open, which is the limit; close one, send on fewer, "
                "or start the server with a higher --max-append-streams",
                limit="max_append_streams",
                value=self._max_streams,
            )
        stream = _Stream(self._ledger, self._pending, self._exchange, self._workers, self._waiters)
        self._streams.add(stream)
        try:
            await stream.serve(requests, context)
        finally:
            self._streams.discard(stream)

    async def end_streams(self) -> None:
        """After the sequencer has stopped: every stream answers what was taken, then ends as UNAVAILABLE."""
        for stream in self._streams:
            stream.end(NotWritableError("the ledger is stopping; try again when it is back", reason="STOPPING"))

    def close(self) -> None:
        """End its threads."""
        self._waiters.shutdown()
        self._workers.shutdown()

    async def AppendBatch(
        self, request: append_pb2.AppendBatchRequest, context: Context
    ) -> append_pb2.AppendBatchResponse:
        acknowledger = Acknowledger(self._ledger, request.options)
        size = len(request.packed_batch)
        answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def settle(outcome: Outcome) -> None:
            self._pending.release(size)
            if not answered.done():  # the caller may have gone
                answered.set_result(outcome)

        await self._pending.reserve(size)
        try:
            checked, refusal = await _checked([request.packed_batch], self._ledger.origin, self._workers)
            if refusal is not None:
                raise refusal
            self._exchange.submit(checked[0], settle)
        except BaseException:
            self._pending.release(size)
            raise
        outcome = await answered
        if isinstance(outcome, Exception):
            raise outcome
        if not isinstance(outcome, Appended):
            raise ServerError("the sequencer answered a batch with something else")
        response = await _responded(acknowledger, [outcome], self._waiters)
        return append_pb2.AppendBatchResponse(
            acknowledgement=response.acknowledgements[0],
            checkpoint=response.checkpoint,
            consistency_proof=response.consistency_proof,
        )

    def GetChain(self, request: append_pb2.GetChainRequest, call: Caller) -> append_pb2.GetChainResponse:
        return _chain_response(self._ledger.signed_reader, request.chain_id)

    def GetLedger(self, request: append_pb2.GetLedgerRequest, call: Caller) -> append_pb2.GetLedgerResponse:
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


class _Exchange:
    """Between the loop and the sequencer's thread, both ways in groups.

    What is submitted while the loop goes round once is handed over together: with the first batch alone the sequencer
    would begin a commit, and the others would wait for it. What became of a group comes back together as well.
    """

    def __init__(self, sequencer: Sequencer) -> None:
        self._loop = asyncio.get_running_loop()
        self._sequencer = sequencer
        self._submitted: list[tuple[Work, _Take]] = []  # touched on the loop only
        self._outcomes: deque[tuple[_Take, Outcome]] = deque()
        self._is_called = False

    def submit(self, work: Work, take: _Take) -> None:
        """Have the sequencer do it, in the order of the calls; `take` is called on the loop with the outcome."""
        if not self._submitted:
            self._loop.call_soon(self._hand_over)
        self._submitted.append((work, take))

    def _hand_over(self) -> None:
        submitted, self._submitted = self._submitted, []
        for work, take in submitted:
            try:
                self._sequencer.submit(work, functools.partial(self._put, take))
            except NotWritableError as stopping:
                take(stopping)

    def _put(self, take: _Take, outcome: Outcome) -> None:
        """On the sequencer's thread: the loop is called once for as many outcomes as come together."""
        self._outcomes.append((take, outcome))
        if not self._is_called:
            self._is_called = True
            self._loop.call_soon_threadsafe(self._give)

    def _give(self) -> None:
        # In this order: whoever puts after the first line has the loop called again.
        self._is_called = False
        while self._outcomes:
            take, outcome = self._outcomes.popleft()
            take(outcome)


class _EndOfStream(RefusedError):  # noqa: N818  # a mark, not an error
    """Travels behind the last batch of a stream; what the client sent before it is answered by then."""


class _Stream:
    """One AppendStream call: one task reads batches and checks them, one answers. All on the loop."""

    def __init__(
        self, ledger: Ledger, pending: PendingBytes, exchange: _Exchange, workers: Executor, waiters: Executor
    ) -> None:
        self._ledger = ledger
        self._pending = pending
        self._exchange = exchange
        self._workers = workers
        self._waiters = waiters
        self._acknowledger: Acknowledger | None = None  # made by the first message, before its batches are submitted
        self._outcomes: deque[tuple[Outcome, int]] = deque()
        self._unanswered_bytes = 0
        self._has_outcomes = asyncio.Event()
        self._has_room = asyncio.Event()

    async def serve(self, requests: AsyncIterator[append_pb2.AppendStreamRequest], context: Context) -> None:
        """Answers until the client is done or gone; then raises what a batch was refused for."""
        reading = asyncio.get_running_loop().create_task(self._read(requests))
        try:
            while True:
                await self._has_outcomes.wait()
                self._has_outcomes.clear()
                while self._outcomes:
                    failure = await self._answer(context)
                    if isinstance(failure, _EndOfStream):
                        return
                    if failure is not None:
                        raise failure
        finally:
            reading.cancel()

    async def _answer(self, context: Context) -> Exception | None:
        """Answer what has come, in one message; returns what ends the stream, if that has come."""
        appended: list[Appended] = []
        failure: Exception | None = None
        answered_bytes = 0
        while self._outcomes and failure is None and len(appended) < MAX_ANSWERS_PER_MESSAGE:
            outcome, size = self._outcomes.popleft()
            answered_bytes += size
            if isinstance(outcome, Appended):
                appended.append(outcome)
            elif isinstance(outcome, Exception):
                failure = outcome
        if appended and self._acknowledger is not None:
            await context.write(await _responded(self._acknowledger, appended, self._waiters))
        self._unanswered_bytes -= answered_bytes
        self._has_room.set()
        return failure

    async def _read(self, requests: AsyncIterator[append_pb2.AppendStreamRequest]) -> None:
        """Check and submit batch after batch, until one is refused."""
        end: Exception = _EndOfStream("the stream ended", reason="STOPPING")
        try:
            async for request in requests:
                if self._acknowledger is None:
                    self._acknowledger = Acknowledger(self._ledger, request.options)
                _check_message(request)
                for group in _groups(request.packed_batches):
                    await self._take(group)
        except Exception as error:  # noqa: BLE001  # travels on, and is raised where the answers are
            end = error
        self._submit(end, 0)

    async def _take(self, group: Sequence[bytes]) -> None:
        """Check batches and submit them, when there is room for them. Raises what the first one is refused for."""
        sizes = [len(packed) + _ANSWER_BYTES for packed in group]
        while self._unanswered_bytes and self._unanswered_bytes + sum(sizes) > MAX_STREAM_BYTES:
            self._has_room.clear()
            await self._has_room.wait()
        await self._pending.reserve(sum(sizes))
        unused = sum(sizes)
        try:
            checked, refusal = await _checked(group, self._ledger.origin, self._workers)
            for batch, size in zip(checked, sizes, strict=False):
                unused -= size
                self._unanswered_bytes += size
                self._submit(batch, size)
        finally:
            self._pending.release(unused)
        if refusal is not None:
            raise refusal

    def _submit(self, work: CheckedBatch | Exception, size: int) -> None:
        def take(outcome: Outcome) -> None:
            self._pending.release(size)
            self._outcomes.append((outcome, size))
            self._has_outcomes.set()

        self._exchange.submit(work, take)

    def end(self, why: Exception) -> None:
        """The call is over after the answers that are ready."""
        self._outcomes.append((why, 0))
        self._has_outcomes.set()


def _groups(batches: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Batches that are checked together: as many as are small, or one."""
    group: list[bytes] = []
    size = 0
    for packed in batches:
        if group and (len(group) == _GROUP_BATCHES or size + len(packed) > _GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(packed)
        size += len(packed)
    yield group


async def _checked(
    group: Sequence[bytes], origin: str, workers: Executor
) -> tuple[list[CheckedBatch], Exception | None]:
    """The batches up to the first that is refused, and what that is refused for.

    On the loop if it is quickly done, else by a worker: whoever sends much must not keep the others waiting.
    """
    if len(group) <= _FEW_BATCHES and sum(map(len, group)) <= _GROUP_BYTES:
        return _check_all(group, origin)
    return await asyncio.get_running_loop().run_in_executor(workers, _check_all, group, origin)


def _check_all(group: Sequence[bytes], origin: str) -> tuple[list[CheckedBatch], Exception | None]:
    checked: list[CheckedBatch] = []
    for packed in group:
        try:
            checked.append(check_batch(packed, origin))
        except Exception as error:  # noqa: BLE001  # returned
            return checked, error
    return checked, None


async def _responded(
    acknowledger: Acknowledger, appended: list[Appended], waiters: Executor
) -> append_pb2.AppendStreamResponse:
    if acknowledger.waits:
        return await asyncio.get_running_loop().run_in_executor(waiters, acknowledger.respond, appended)
    return acknowledger.respond(appended)


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


def wait_for(sequencer: Sequencer, work: Work, call: Caller) -> Outcome:
    """Submit `work` and wait for what becomes of it; raises what it is refused for.

    If the caller's deadline passes first the work may still be done; a batch can be sent again, it is known by its
    place.
    """
    future: Future[Outcome] = Future()
    sequencer.submit(work, future.set_result)
    try:
        outcome = future.result(_time_left_s(call))
    except TimeoutError:
        raise RefusedError(
            "the deadline passed before the commit; send again to learn what became of it", reason="STOPPING"
        ) from None
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _time_left_s(call: Caller) -> float:
    """Seconds to the call's deadline, at most what a thread can wait: without a deadline gRPC says more than that."""
    left_s = call.time_remaining()
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
