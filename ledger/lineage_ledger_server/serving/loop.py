"""The event loop that the gRPC servers of this process run on: one, on a thread of its own, for the process's life.

grpc.aio keeps one poller for a process, so one loop for all servers is what it is made for.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import grpc.aio

_T = TypeVar("_T")
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def serving_loop() -> asyncio.AbstractEventLoop:
    """The loop; the first call starts it."""
    global _loop  # one for the process, as said
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            # Held for good: when its last server goes, grpc.aio closes the files that this loop may be about to read.
            _loop.call_soon(grpc.aio.init_grpc_aio)
            threading.Thread(target=_loop.run_forever, name="serving", daemon=True).start()
        return _loop


def on_loop(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run it there and wait for what it returns or raises; from any other thread."""
    return asyncio.run_coroutine_threadsafe(coroutine, serving_loop()).result()


def made_on_loop(make: Callable[[], _T]) -> _T:
    """What `make` returns when it is called there: grpc.aio's objects belong to the loop that they were made on."""

    async def made() -> _T:
        return make()

    return on_loop(made())
