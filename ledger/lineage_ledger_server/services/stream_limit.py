"""How many answers may be streams at a time: each holds a worker for as long as its client takes to read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from lineage_ledger_server.errors import LimitError
from lineage_ledger_server.services import errors

# AppendStream has a limit of its own; health's Watch holds no worker.
_NOT_COUNTED = ("/lineage_ledger.v1.AppendService/", "/grpc.health.v1.Health/")


class StreamLimit(grpc.ServerInterceptor):
    """Refuses more than `most` calls at a time whose answers are streams, reflection included."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._free = threading.BoundedSemaphore(most)

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        handler = continuation(handler_call_details)
        if handler is None or not handler.response_streaming or handler_call_details.method.startswith(_NOT_COUNTED):
            return handler
        shape = "stream_stream" if handler.request_streaming else "unary_stream"
        return handler._replace(**{shape: self._counted(getattr(handler, shape))})

    def _counted(self, method: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Iterator[Any]]:
        def counted(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            if not self._free.acquire(blocking=False):
                refusal = LimitError(
                    f"{self._most} streams of answers are open, which is the limit; read them to their end or cancel "
                    "them, and try again",
                    limit="max_read_streams",
                    value=self._most,
                )
                errors.abort(context, refusal)
            try:
                yield from method(request, context)
            finally:
                self._free.release()

        return counted
