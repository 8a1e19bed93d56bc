"""gRPC's asyncio server, kept from ending when somebody calls a method whose name is no text.

grpcio decodes the path of a call to a method that it was not told of beforehand, in the task that accepts calls; bytes
that are no UTF-8 end that task, which closes the server, for everybody, at the word of anybody who can connect. So all
methods are told beforehand (core compares their paths, byte for byte), and what is left is answered without a look at
its path. What follows leans on grpcio's inside; tests/services/test_odd_requests.py says when that has changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import grpc
import grpc.aio
from google.protobuf import descriptor_pool
from grpc._cython import cygrpc
from grpc.aio import _server

_REGISTERS = hasattr(cygrpc.AioServer, "_request_registered_call")
"""Whether this grpcio can be told of methods; those before 1.84 cannot, and look at a path in the call's own task."""


class _Details(NamedTuple):
    """By which a generic handler is asked for a method."""

    method: str
    invocation_metadata: tuple[()] = ()


class _Nothing(grpc.aio.ServerInterceptor):
    """There is no such method."""

    async def intercept_service(self, _continuation: Any, _details: Any) -> None:
        return None


class _Core(cygrpc.AioServer):  # type: ignore[misc]  # has no types
    async def _request_call(self) -> Any:
        """Calls of methods that there are not end here; the task that accepts calls never gets one."""
        loop = asyncio.get_running_loop()
        refused: set[asyncio.Task[None]] = set()
        while True:
            call = await super()._request_call()
            answer = cygrpc._handle_rpc("", None, (_Nothing(),), call, loop, False)
            task = loop.create_task(cygrpc._schedule_rpc_coro(answer, call, loop, ""))
            refused.add(task)  # the loop itself does not keep it
            task.add_done_callback(refused.discard)


class _Server(_server.Server):
    def __init__(self, interceptors: Sequence[Any], options: Sequence[tuple[str, Any]], max_calls: int) -> None:
        # Not the base's: it makes another core, which nobody would shut down.
        self._loop = asyncio.get_running_loop()
        self._server = _Core(self._loop, None, (), tuple(interceptors), tuple(options), max_calls)
        self._services: set[str] = set()

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[Any]) -> None:
        for handler in generic_rpc_handlers:
            service = handler.service_name()
            methods = descriptor_pool.Default().FindServiceByName(service).methods_by_name
            found = {name: handler.service(_Details(f"/{service}/{name}")) for name in methods}
            self.add_registered_method_handlers(service, {name: of for name, of in found.items() if of is not None})

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Any]) -> None:
        if service_name not in self._services:  # newer stubs add each service in both ways
            self._services.add(service_name)
            super().add_registered_method_handlers(service_name, dict(method_handlers))


def aio_server(interceptors: Sequence[Any], options: Sequence[tuple[str, Any]], max_calls: int) -> grpc.aio.Server:
    """As `grpc.aio.server` makes it, for the running loop; its services must be those of `.proto` files."""
    if not _REGISTERS:
        return grpc.aio.server(interceptors=interceptors, options=options, maximum_concurrent_rpcs=max_calls)
    server: Any = _Server(interceptors, options, max_calls)  # of the class in fact, which its stubs do not say
    return cast("grpc.aio.Server", server)
