"""Calls with deadlines and typed errors, synchronous."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import grpc
from google.protobuf.message import Message

from lineage_ledger.rpc.channels import call_metadata, open_channel
from lineage_ledger.rpc.endpoint import Endpoint
from lineage_ledger.rpc.methods import Method
from lineage_ledger.rpc.status import rpc_error

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)
Streamed = TypeVar("Streamed", bound=Message, covariant=True)


_END_S = 5.0


class ResponseStream(Protocol[Streamed]):
    """Responses as they come; `cancel` ends the call from any thread, `end` also waits until grpc is done with it."""

    def __iter__(self) -> Iterator[Streamed]: ...
    def cancel(self) -> None: ...
    def end(self) -> None: ...


class Connection:
    """A channel to one endpoint; safe to share between threads. Every method raises `RpcError` and nothing else."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._channel = open_channel(endpoint)
        self._metadata = call_metadata(endpoint)
        self._callables: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    def call(self, method: Method[Request, Response], request: Request, *, timeout_s: float | None = None) -> Response:
        """One request, one response, within `timeout_s` seconds (the endpoint's own if None)."""
        callable_ = self._callable("unary_unary", method)
        try:
            response: Response = callable_(
                request, timeout=timeout_s or self.endpoint.timeout_s, metadata=self._metadata
            )
        except grpc.RpcError as error:
            raise rpc_error(method.path, self.endpoint.target, error) from None
        return response

    def stream(
        self, method: Method[Request, Response], request: Request, *, timeout_s: float | None = None
    ) -> ResponseStream[Response]:
        """One request, many responses; the deadline is for the whole stream (None: none)."""
        call = self._callable("unary_stream", method)(request, timeout=timeout_s, metadata=self._metadata)
        return _Responses(call, method.path, self.endpoint.target)

    def exchange(self, method: Method[Request, Response], requests: Iterator[Request]) -> ResponseStream[Response]:
        """Requests one way and responses the other, until `requests` ends; a thread of grpc's consumes `requests`.

        Has no deadline: the caller watches for acknowledgements that do not come, and cancels.
        """
        consumed = _Consumed(requests)
        call = self._callable("stream_stream", method)(consumed, metadata=self._metadata)
        return _Responses(call, method.path, self.endpoint.target, consumed)

    def close(self) -> None:
        """Ends all calls and disconnects."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _callable(self, arity: str, method: Method[Any, Any]) -> Any:
        with self._lock:
            key = (arity, method.path)
            if key not in self._callables:
                make = getattr(self._channel, arity)
                self._callables[key] = make(
                    method.path,
                    request_serializer=method.request.SerializeToString,
                    response_deserializer=method.parse_response,
                )
            return self._callables[key]


class _Consumed:
    """Requests, and the thread of grpc's that takes them."""

    def __init__(self, requests: Iterator[Any]) -> None:
        self._requests = requests
        self.thread: threading.Thread | None = None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self.thread = threading.current_thread()
        return next(self._requests)


class _Responses:
    def __init__(self, call: Any, path: str, target: str, consumed: _Consumed | None = None) -> None:
        self._call = call
        self._path = path
        self._target = target
        self._consumed = consumed
        self._ended = threading.Event()
        if not call.add_callback(self._ended.set):
            self._ended.set()

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._call
        except grpc.RpcError as error:
            raise rpc_error(self._path, self._target, error) from None
        finally:
            if self._consumed is None:  # else its requests may have to be ended first, and `end` comes after that
                self.end()

    def cancel(self) -> None:
        self._call.cancel()

    def end(self) -> None:
        """Cancel, and wait until no thread of grpc's has this call in hand.

        Those threads hold the call's lock now and then. The interpreter, when it exits, stops them wherever they are,
        and then waits for that lock for ever when it deletes the call.
        """
        self.cancel()
        self._ended.wait(_END_S)
        thread = self._consumed.thread if self._consumed is not None else None
        if thread is not None and thread is not threading.current_thread():
            thread.join(_END_S)
