"""Processes that check runs of bundles, each its own, while the one that started them takes what they found in order.

A worker sends what it found through a pipe that holds little, and waits while that is full: memory does not grow with
the log. A worker that dies, or says nothing for long, is an error here and so never a pass.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Final

from lineage_ledger.audit.local import Digest, digest
from lineage_ledger.audit.source import Reopen
from lineage_ledger.errors import LineageError

TIMEOUT_S: Final = 600.0
"""For one run of bundles. Of a remote log these are 65,536 entries to fetch."""

_END_S: Final = 5.0


class WorkerError(LineageError):
    """A process that checked a part of the log ended, or did not answer."""


@contextmanager
def digests(
    reopen: Reopen,
    runs: Sequence[range],
    origin: str,
    signatures_from: int,
    processes: int,
    timeout_s: float = TIMEOUT_S,
) -> Iterator[Iterator[Digest | None]]:
    """Check `runs` of full bundles in `processes` (1 or more) others; gives what each found, in their order.

    None for a run that is not as it should be, or could not be read. Raises `WorkerError`. All processes are ended
    when the context is left, however that comes.
    """
    # Not forked: the caller may have threads and an open LMDB environment, which do not survive that.
    context = multiprocessing.get_context("spawn")
    workers: list[tuple[SpawnProcess, Connection]] = []
    try:
        for place in range(min(processes, len(runs))):
            receiver, sender = context.Pipe(duplex=False)
            share = runs[place::processes]
            process = context.Process(
                target=_work, args=(sender, reopen, share, origin, signatures_from), name=f"audit-{place}", daemon=True
            )
            process.start()
            sender.close()
            workers.append((process, receiver))
        yield _received(workers, len(runs), timeout_s)
    finally:
        for process, receiver in workers:
            receiver.close()
            process.terminate()
        for process, _ in workers:
            process.join(_END_S)
            if process.is_alive():
                process.kill()
                process.join()


def _received(
    workers: Sequence[tuple[SpawnProcess, Connection]], count: int, timeout_s: float
) -> Iterator[Digest | None]:
    for place in range(count):
        process, receiver = workers[place % len(workers)]
        try:
            if not receiver.poll(timeout_s):
                raise WorkerError(f"{process.name} (process {process.pid}) did not answer for {timeout_s:g} s")
            found: Digest | None = receiver.recv()
        except (EOFError, OSError) as error:
            process.join(_END_S)
            raise WorkerError(
                f"{process.name} (process {process.pid}) ended with status {process.exitcode}; with one process "
                "(--processes 1) the audit needs no others"
            ) from error
        yield found


def _work(sender: Connection, reopen: Reopen, runs: Sequence[range], origin: str, signatures_from: int) -> None:
    """A worker's life. Ctrl-C reaches all processes of a terminal; the one that started this one ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source = reopen()
    with suppress(BrokenPipeError):
        for numbers in runs:
            try:
                found = digest(source, numbers, origin, signatures_from)
            except Exception:  # noqa: BLE001 - whatever it is, the one process comes to it as well, and says what it is
                sender.send(None)
            else:
                sender.send(found)
