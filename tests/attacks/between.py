"""Whoever answers in place of a ledger: an operator's other server, a proxy, a cache. It has a real ledger's answers.

Real gRPC in front of a real server; `lie` changes an answer, given the question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc

from lineage_ledger.rpc import methods
from lineage_ledger.rpc.methods import Method

Lie = Callable[[Any, Any], object]
"""Gets request and response, as messages; changes the response."""


class _Between(grpc.GenericRpcHandler):
    """Passes on the calls of a few methods."""

    def __init__(self, channel: grpc.Channel, lies: dict[Method[Any, Any], Lie]) -> None:
        self._channel = channel
        self._lies = {method.path: (method, lie) for method, lie in lies.items()}
        self._streams = {methods.STREAM_ENTRIES.path}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        path = handler_call_details.method
        if path in self._streams:
            forward: Any = self._channel.unary_stream(path)
            return grpc.unary_stream_rpc_method_handler(
                lambda request, _: (self._changed(path, request, response) for response in forward(request))
            )
        forward_one: Any = self._channel.unary_unary(path)
        return grpc.unary_unary_rpc_method_handler(
            lambda request, _: self._changed(path, request, self._answer(path, forward_one, request))
        )

    def _answer(self, path: str, forward: Any, request: bytes) -> bytes:
        """Where the ledger refuses an answer that is lied about, the lie is made from nothing."""
        try:
            return bytes(forward(request, timeout=10))
        except grpc.RpcError:
            if path not in self._lies:
                raise
            return b""

    def _changed(self, path: str, request: bytes, response: bytes) -> bytes:
        if path not in self._lies:
            return response
        method, lie = self._lies[path]
        said = method.parse_response(response)
        lie(method.request.FromString(request), said)
        return bytes(said.SerializeToString())


@contextmanager
def between(address: str, lies: dict[Method[Any, Any], Lie]) -> Iterator[str]:
    """The address of a server that passes on what the one at `address` says, with `lies` by method."""
    with grpc.insecure_channel(address) as channel:
        server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers([_Between(channel, lies)])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(0).wait()
