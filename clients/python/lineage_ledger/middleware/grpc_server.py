"""Server interceptors for gRPC: one prediction for each call, its id in the trailing metadata.

    server = grpc.server(pool, interceptors=[LineageInterceptor(binding)])
    server = grpc.aio.server(interceptors=[AioLineageInterceptor(binding)])

Commitments are to serialised messages as they travel: to the message itself where there is one, and where there is a
stream, to all its messages as gRPC frames them (a zero byte and the length as 4 bytes, big-endian, before each).

Handlers are wrapped anew for each call, for only their (de)serialisers see the bytes that travel.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from typing import Any, Final, TypeAlias

from lineage_ledger.emitter import Binding
from lineage_ledger.errors import SettingsError
from lineage_ledger.middleware.commitment_key import CommitmentKey
from lineage_ledger.middleware.http_status import CANCELLED, INTERNAL, UNKNOWN
from lineage_ledger.middleware.recording import Recorder, Recording
from lineage_ledger.rpc.interceptors import AioServerInterceptor, ServerInterceptor

PREDICTION_ID_KEY: Final = "x-lineage-prediction-id"

# grpc's types are not known here: handlers, contexts and messages are whatever it passes.
Handler: TypeAlias = Any
Context: TypeAlias = Any
Details: TypeAlias = Any

_OWN_SERVICES: Final = "/grpc."
"""Health, reflection and the like: no predictions."""


class _Interceptor:
    def __init__(
        self,
        binding: Binding,
        *,
        commitment_key: CommitmentKey | None = None,
        methods: Collection[str] | Callable[[str], bool] | None = None,
        request_id_key: str | None = "x-request-id",
    ) -> None:
        """Calls of `methods` ("/package.Service/Method") are predictions; without it, all but gRPC's own services'.

        Without `commitment_key` it is that of `CommitmentKey.from_settings`. The caller's `request_id_key` is
        recorded, readable to all readers of the ledger, if it is 1 to 64 bytes of visible ASCII; None: never.
        Raises `SettingsError`, `InvalidKeyError`.
        """
        if isinstance(methods, str):
            raise SettingsError(f"methods must be a collection of methods, such as {{{methods!r}}}, not one text")
        self.recorder = Recorder(binding, commitment_key)
        self._methods = methods
        self._request_id_key = request_id_key.lower() if request_id_key else None

    def _begin(self, handler: Handler, details: Details) -> _Call | None:
        """A call's recording, if it is for a prediction. gRPC asks once for each call."""
        methods, method = self._methods, details.method
        try:
            if methods is None:
                wanted = not method.startswith(_OWN_SERVICES)
            else:
                wanted = methods(method) if callable(methods) else method in methods
            if handler is None or not wanted:
                return None
            key = self._request_id_key
            found = next((value for name, value in details.invocation_metadata or () if name == key), b"")
            recording = self.recorder.begin(found.encode() if isinstance(found, str) else found)
        except Exception as error:  # noqa: BLE001 - nothing of ours fails a call
            self.recorder.report(error)
            return None
        return _Call(self.recorder, recording, handler) if recording is not None else None


class LineageInterceptor(_Interceptor, ServerInterceptor):
    """A `grpc.ServerInterceptor`."""

    def intercept_service(self, continuation: Callable[[Details], Handler], handler_call_details: Details) -> Handler:
        """Called by gRPC."""
        handler = continuation(handler_call_details)
        call = self._begin(handler, handler_call_details)
        return handler if call is None else call.wrap(_stream if handler.response_streaming else _unary)


class AioLineageInterceptor(_Interceptor, AioServerInterceptor):
    """A `grpc.aio.ServerInterceptor`.

    Calls that `abort` are on record without their id in the answer, for grpc.aio answers before this can; so are those
    of handlers that are plain functions, whose contexts do not show the metadata they hold.
    """

    async def intercept_service(
        self, continuation: Callable[[Details], Awaitable[Handler]], handler_call_details: Details
    ) -> Handler:
        """Called by gRPC."""
        handler = await continuation(handler_call_details)
        call = self._begin(handler, handler_call_details)
        if call is None:
            return handler
        behavior = call.behavior
        if inspect.isasyncgenfunction(behavior):
            return call.wrap(_async_stream)
        if inspect.iscoroutinefunction(behavior):
            return call.wrap(_async_writer if handler.response_streaming else _async_unary)
        return call.wrap(_stream if handler.response_streaming else _unary)


class _Call:
    """One call on its way through: its recording, and its handler with what passes through it made visible."""

    __slots__ = ("_deserialize", "_handler", "_name", "_recorder", "_recording", "_serialize", "context")

    def __init__(self, recorder: Recorder, recording: Recording, handler: Handler) -> None:
        self._recorder = recorder
        self._recording = recording
        self._handler = handler
        self._deserialize = handler.request_deserializer
        self._serialize = handler.response_serializer
        self._name = "_".join(
            "stream" if streaming else "unary" for streaming in (handler.request_streaming, handler.response_streaming)
        )
        self.context: Context = None

    @property
    def behavior(self) -> Callable[..., Any]:
        """The application's own function."""
        behavior: Callable[..., Any] = getattr(self._handler, self._name)
        return behavior

    def wrap(self, around: Callable[[_Call, Callable[..., Any]], Callable[..., Any]]) -> Handler:
        """The handler to give to gRPC for this one call."""
        return self._handler._replace(
            request_deserializer=self._receive,
            response_serializer=self._answer,
            **{self._name: around(self, self.behavior)},
        )

    def end(self, status_code: int | None = None) -> None:
        """The call is over: emit, and put the id into the trailing metadata. Without a code: as the context says."""
        if self._recording.is_over:
            return
        context = self.context
        prediction_id = self._recording.emit(_code(context) if status_code is None else status_code)
        if prediction_id is None or not hasattr(context, "trailing_metadata"):
            return  # What the application put there cannot be seen, and is not overwritten.
        try:
            theirs = context.trailing_metadata() or ()
            context.set_trailing_metadata((*theirs, (PREDICTION_ID_KEY, str(prediction_id))))
        except Exception as error:  # noqa: BLE001 - nothing of ours fails a call; it is on record, without its header
            self._recorder.report(error)

    def fail(self) -> None:
        """The application raised: with `abort` its code stands in the context."""
        self.end(_code(self.context) or UNKNOWN)

    def _receive(self, data: bytes) -> Any:
        self._recording.received(_framed(data) if self._handler.request_streaming else data)
        if self._deserialize is None:
            return data
        try:
            return self._deserialize(data)
        except Exception:
            self.end(INTERNAL)  # gRPC answers so, and never calls the application.
            raise

    def _answer(self, message: Any) -> bytes:
        try:
            data: bytes = message if self._serialize is None else self._serialize(message)
        except Exception:
            self.end(INTERNAL)
            raise
        if self._handler.response_streaming:
            self._recording.answered(_framed(data))
        else:
            self._recording.answered(data)
            self.end()  # The status follows at once, with the metadata that stands then.
        return data


def _unary(call: _Call, behavior: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(request: Any, context: Context) -> Any:
        call.context = context
        try:
            return behavior(request, context)
        except Exception:
            call.fail()
            raise

    return wrapped


def _stream(call: _Call, behavior: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    def wrapped(request: Any, context: Context) -> Iterator[Any]:
        call.context = context
        try:
            yield from behavior(request, context)
        except GeneratorExit:  # gRPC asks no further: the client has gone.
            call.end(CANCELLED)
            raise
        except Exception:
            call.fail()
            raise
        call.end()

    return wrapped


def _async_unary(call: _Call, behavior: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def wrapped(request: Any, context: Context) -> Any:
        call.context = context
        try:
            return await behavior(request, context)
        except Exception:
            call.fail()
            raise
        except BaseException:
            call.end(CANCELLED)
            raise

    return wrapped


def _async_writer(call: _Call, behavior: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """For a coroutine that answers by `context.write`."""
    inner = _async_unary(call, behavior)

    async def wrapped(request: Any, context: Context) -> None:
        await inner(request, context)
        call.end()

    return wrapped


def _async_stream(call: _Call, behavior: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    async def wrapped(request: Any, context: Context) -> AsyncIterator[Any]:
        call.context = context
        try:
            async for response in behavior(request, context):
                yield response
        except Exception:
            call.fail()
            raise
        except BaseException:
            call.end(CANCELLED)
            raise
        call.end()

    return wrapped


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(5, "big") + data


def _code(context: Context) -> int:
    """The google.rpc.Code that the application set; 0 if it set none, or the context does not tell."""
    try:
        code = context.code() if hasattr(context, "code") else None
    except NotImplementedError:  # Contexts that others made may leave it out.
        return 0
    number = code if isinstance(code, int) else code.value[0] if code is not None else 0
    return number if 0 <= number <= 16 else UNKNOWN
