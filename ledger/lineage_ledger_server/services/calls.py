"""How calls reach services: who may, how many, on which thread, and what becomes of what they raise.

gRPC's asyncio server runs on one event loop. Services are plain methods and generators, which may read the disk and
hash; each step of theirs runs on a worker, and none is held while a client takes its time to read. A service that must
keep a thousand streams open is written as a coroutine and runs on the loop itself (AppendService).
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from lineage_ledger_server.errors import LimitError, RefusedError
from lineage_ledger_server.services import errors
from lineage_ledger_server.services.access import AccessPolicy
from lineage_ledger_server.services.errors import Context

_SHAPES: Final = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
# AppendStream has a limit of its own; health's Watch costs next to nothing.
_NOT_COUNTED: Final = ("/lineage_ledger.v1.AppendService/", "/grpc.health.v1.Health/")
_END: Final = object()
_CALL_BYTES: Final = 16 * 1024  # what gRPC keeps of an open call, about
MAX_UNREAD_BYTES: Final = 256 * 1024 * 1024
"""Answers that clients have not taken yet, over all calls, those of streams not counted."""

Method = Callable[[Any, Any], Any]
Handler = Callable[[Any, Context], Awaitable[Any]]


class Call:
    """What a service may know of the call that it answers; any thread may ask."""

    def __init__(self, context: Context) -> None:
        left_s: float | None = context.time_remaining()
        self._deadline_s = None if left_s is None else time.monotonic() + left_s
        self._ended = False

    def is_active(self) -> bool:
        """Whether somebody still waits for the answer."""
        return not self._ended and self.time_remaining() != 0

    def time_remaining(self) -> float | None:
        """Seconds to the deadline, at least 0; None if there is none."""
        return None if self._deadline_s is None else max(0.0, self._deadline_s - time.monotonic())

    def end(self) -> None:
        """Nobody waits any more."""
        self._ended = True


class CallGate(grpc.aio.ServerInterceptor):
    """Stands before every service of a server. `workers` run the services that are plain methods.

    At most `max_read_streams` calls at a time have streams as answers, reflection included, AppendStream not.
    """

    def __init__(self, policy: AccessPolicy, workers: ThreadPoolExecutor, max_read_streams: int) -> None:
        self._policy = policy
        self._workers = workers
        self._max_read_streams = max_read_streams
        self._read_streams = 0  # touched on the loop only, as is the next
        self._unread_bytes = 0

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        path: str = handler_call_details.method
        shape = next(shape for shape in _SHAPES if getattr(handler, shape) is not None)
        method = getattr(handler, shape)
        if handler.response_streaming or inspect.iscoroutinefunction(method):
            serve = self._served(method)
        else:
            serve = self._run(method, handler.response_serializer)
            handler = handler._replace(response_serializer=None)
        if handler.response_streaming and not path.startswith(_NOT_COUNTED):
            serve = self._counted(serve)
        parse = _parser(handler.request_deserializer, path)
        if handler.request_streaming:
            guarded = self._guarded(serve, path)
            return handler._replace(request_deserializer=parse, **{shape: guarded})
        # What gRPC itself parses it parses before anybody is asked, and answers in its own way.
        guarded = self._guarded(lambda message, context: serve(parse(message), context), path)
        return handler._replace(request_deserializer=None, **{shape: guarded})

    def _guarded(self, serve: Handler, path: str) -> Handler:
        """Access is checked first, and whatever is raised becomes a status."""

        async def guarded(request: Any, context: Context) -> Any:
            try:
                try:
                    self._policy.check(path, context.invocation_metadata() or (), context.auth_context())
                    return await serve(request, context)
                except grpc.aio.BaseError:
                    raise
                except Exception as error:  # noqa: BLE001  # as said
                    await errors.abort(context, error)
            except grpc.aio.InternalError:  # it could not be written: the caller has gone, which we hear of later
                raise asyncio.CancelledError from None

        return guarded

    def _counted(self, serve: Handler) -> Handler:
        async def counted(request: Any, context: Context) -> Any:
            if self._read_streams >= self._max_read_streams:
                raise LimitError(
                    f"{self._max_read_streams} streams of answers are open, which is the limit; read them to their "
                    "end or cancel them, and try again",
                    limit="max_read_streams",
                    value=self._max_read_streams,
                )
            self._read_streams += 1
            try:
                return await serve(request, context)
            finally:
                self._read_streams -= 1

        return counted

    def _served(self, method: Method) -> Handler:
        """A method that is a coroutine or answers with a stream, as a coroutine."""
        if inspect.iscoroutinefunction(method):
            return method
        if inspect.isasyncgenfunction(method):
            return _written(method)
        return self._stepped(method)

    def _run(self, method: Method, serialized: Callable[[Any], bytes]) -> Handler:
        """A plain method, on a worker, which makes bytes of its answer as well."""

        async def run(request: Any, context: Context) -> bytes:
            call = Call(context)
            loop = asyncio.get_running_loop()
            try:
                answer = await loop.run_in_executor(self._workers, lambda: serialized(method(request, call)))
            finally:
                call.end()
            self._hold(len(answer) + _CALL_BYTES, context)
            return answer

        return run

    def _hold(self, size: int, context: Context) -> None:
        """Count an answer until its client has taken it, or has gone: gRPC has no way to take it back.

        Raises `LimitError` if too many lie about already.
        """
        if self._unread_bytes + size > MAX_UNREAD_BYTES:
            raise LimitError(
                f"{MAX_UNREAD_BYTES >> 20} MiB of answers wait for clients to read them, which is the limit; try again "
                "in a while, or ask for less",
                limit="max_unread_bytes",
                value=MAX_UNREAD_BYTES,
            )
        self._unread_bytes += size

        def let_go(_: object) -> None:
            self._unread_bytes -= size

        context.add_done_callback(let_go)  # type: ignore[arg-type]  # the stubs want a class of their own

    def _stepped(self, method: Method) -> Handler:
        """A generator: a worker makes the next message while the one before is written."""

        async def stepped(request: Any, context: Context) -> None:
            call = Call(context)
            steps = _Steps(method(request, call))
            loop = asyncio.get_running_loop()
            following = loop.run_in_executor(self._workers, steps.next)
            try:
                while (message := await following) is not _END:
                    following = loop.run_in_executor(self._workers, steps.next)
                    await context.write(message)
            finally:
                call.end()
                if not following.cancel() and not following.cancelled():
                    following.exception()  # of a step that nobody waits for, which is no news
                self._workers.submit(steps.close)

        return stepped


def _parser(parse: Callable[[bytes], Any], path: str) -> Callable[[bytes], Any]:
    """Parses requests; raises `RefusedError` for bytes that are none."""

    def parsed(message: bytes) -> Any:
        try:
            return parse(message)
        except DecodeError as error:
            raise RefusedError(f"this is no request of {path}: {error}", reason="INVALID_ARGUMENT") from None

    return parsed


class _Steps:
    """A generator that is stepped from changing threads, one at a time."""

    def __init__(self, messages: Iterator[Any]) -> None:
        self._messages = messages
        self._lock = threading.Lock()

    def next(self) -> Any:
        """The next message, or `_END`: StopIteration cannot pass through a future."""
        with self._lock:
            return next(self._messages, _END)

    def close(self) -> None:
        """End it, after the step that somebody has begun."""
        with self._lock:
            close = getattr(self._messages, "close", None)
            if close is not None:
                close()


def _written(method: Callable[[Any, Any], AsyncIterator[Any]]) -> Handler:
    """An asynchronous generator of somebody else's."""

    async def written(request: Any, context: Context) -> None:
        async for message in method(request, context):
            await context.write(message)

    return written
