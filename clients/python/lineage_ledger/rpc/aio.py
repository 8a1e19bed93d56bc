"""The same calls for asyncio."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import Message

from lineage_ledger.rpc.channels import call_metadata, open_aio_channel
from lineage_ledger.rpc.endpoint import Endpoint
from lineage_ledger.rpc.methods import Method
from lineage_ledger.rpc.status import rpc_error

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class AioConnection:
    """A channel to one endpoint, for one event loop. Every method raises `RpcError` and nothing else."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._channel = open_aio_channel(endpoint)
        self._metadata = call_metadata(endpoint)

    async def call(
        self, method: Method[Request, Response], request: Request, *, timeout_s: float | None = None
    ) -> Response:
        """One request, one response, within `timeout_s` seconds (the endpoint's own if None)."""
        callable_: Any = self._channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.parse_response,
        )
        try:
            response: Response = await callable_(
                request, timeout=timeout_s or self.endpoint.timeout_s, metadata=self._metadata
            )
        except grpc.RpcError as error:
            raise rpc_error(method.path, self.endpoint.target, error) from None
        return response

    async def stream(
        self, method: Method[Request, Response], request: Request, *, timeout_s: float | None = None
    ) -> AsyncGenerator[Response, None]:
        """One request, many responses; the deadline is for the whole stream (None: none)."""
        callable_: Any = self._channel.unary_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.parse_response,
        )
        call = callable_(request, timeout=timeout_s, metadata=self._metadata)
        try:
            async for response in call:
                yield response
        except grpc.RpcError as error:
            raise rpc_error(method.path, self.endpoint.target, error) from None
        finally:
            call.cancel()

    async def close(self) -> None:
        """Ends all calls and disconnects."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
