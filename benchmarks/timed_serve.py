"""`lineage serve` that writes down how long each call with one answer took in its handler, and dies with its parent.

Started by `command()`. The file gets a line for each call: the method's name and nanoseconds.
"""

from __future__ import annotations

import ctypes
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import grpc

_PR_SET_PDEATHSIG = 1


def command(times: Path) -> Sequence[str]:
    """What to start such a server with; arguments of `lineage serve` follow."""
    return (sys.executable, "-m", "benchmarks.timed_serve", str(times))


class Timing(grpc.ServerInterceptor):
    """Around the handlers of calls with one answer, inside everything else; streams go by untouched."""

    def __init__(self, times: IO[str]) -> None:
        self._times = times

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        handler = continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        method, call, times = handler_call_details.method.rpartition("/")[2], handler.unary_unary, self._times

        def timed(request: Any, context: grpc.ServicerContext) -> Any:
            start_ns = time.perf_counter_ns()
            response = call(request, context)
            times.write(f"{method} {time.perf_counter_ns() - start_ns}\n")
            return response

        return handler._replace(unary_unary=timed)


class HandlerTimes:
    """The file, as the benchmark reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_bytes = 0

    def new_us(self, method: str) -> list[float]:
        """Of calls of a method since this was last asked, ascending."""
        with self.path.open(encoding="ascii") as file:
            file.seek(self._read_bytes)
            lines = [line.split() for line in file.read().splitlines()]
            self._read_bytes = file.tell()
        return sorted(int(ns) / 1e3 for name, ns in lines if name == method)


def main() -> None:
    """Serve, with `grpc.server` making servers that have a clock."""
    # Whoever started this may be killed, and must find the ledger free when it comes again.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    times = Path(sys.argv.pop(1)).open("a", buffering=1, encoding="ascii")  # noqa: SIM115  # open until the end
    make_server: Callable[..., grpc.Server] = grpc.server

    def with_clock(*arguments: Any, interceptors: Sequence[Any] = (), **options: Any) -> grpc.Server:
        return make_server(*arguments, interceptors=[*interceptors, Timing(times)], **options)

    grpc.server = with_clock  # type: ignore[assignment]  # it takes what that takes, and gives what that gives
    from lineage_ledger_server.cli.serve import serve

    serve()


if __name__ == "__main__":
    main()
