"""`lineage serve` that writes down how long each call with one answer took in its handler, and dies with its parent.

Started by `command()`. The file gets a line for each call: the method's name, nanoseconds, and those of them that its
thread had a CPU.
"""

from __future__ import annotations

import ctypes
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lineage_ledger_server.services.calls import CallGate

_PR_SET_PDEATHSIG = 1


def command(times: Path) -> Sequence[str]:
    """What to start such a server with; arguments of `lineage serve` follow."""
    return (sys.executable, "-m", "benchmarks.timed_serve", str(times))


class Handled(NamedTuple):
    """Milliseconds of calls, each ascending."""

    taken_ms: list[float]
    cpu_ms: list[float]
    """Of the handler's thread: what the machine's other work does not change."""


class HandlerTimes:
    """The file, as the benchmark reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_bytes = 0

    def new(self, method: str) -> Handled:
        """Of calls of a method since this was last asked."""
        with self.path.open(encoding="ascii") as file:
            file.seek(self._read_bytes)
            lines = [line.split() for line in file.read().splitlines()]
            self._read_bytes = file.tell()
        found = [(int(taken) / 1e6, int(cpu) / 1e6) for name, taken, cpu in lines if name == method]
        return Handled(sorted(taken for taken, _ in found), sorted(cpu for _, cpu in found))


def main() -> None:
    """Serve, with a clock around every method that gives one answer."""
    # Whoever started this may be killed, and must find the ledger free when it comes again.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    times = Path(sys.argv.pop(1)).open("a", buffering=1, encoding="ascii")  # noqa: SIM115  # open until the end
    run = CallGate._run

    def run_timed(gate: CallGate, method: Callable[[Any, Any], Any], *rest: Any) -> Any:
        def timed(request: Any, call: Any) -> Any:
            start_ns, start_cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
            response = method(request, call)
            cpu_ns, taken_ns = time.thread_time_ns() - start_cpu_ns, time.perf_counter_ns() - start_ns
            times.write(f"{method.__name__} {taken_ns} {cpu_ns}\n")
            return response

        return run(gate, timed, *rest)

    CallGate._run = run_timed  # type: ignore[assignment,method-assign]  # on the worker, inside everything else
    from lineage_ledger_server.cli.serve import serve

    serve()


if __name__ == "__main__":
    main()
