"""One run of a case: threads that append until the time is over. Runs in the worker."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from benchmarks.peers.contract import Append, Case, Ran, Store
from benchmarks.peers.pool import Pool


class WrongCountError(Exception):
    """What is on record is not what was acknowledged."""


def run(store: Store, pool: Pool, case: Case, seconds: float) -> Ran:
    """Appends for so many seconds, at least one batch a caller, and counts what is on record after it.

    Connecting is not in the time that is measured, and the batches are taken from the pool as they are; whatever the
    peer's interface does with them is.
    """
    before = store.count()
    threads = _Threads(store, pool, case, seconds)
    ran = threads.run()
    stored = store.count() - before
    if stored != ran.entries:
        raise WrongCountError(f"{case.name}: {ran.entries:,} entries were acknowledged and {stored:,} are on record")
    return ran


class _Threads:
    def __init__(self, store: Store, pool: Pool, case: Case, seconds: float) -> None:
        self._store = store
        self._pool = pool
        self._case = case
        self._seconds = seconds
        self._start = threading.Barrier(case.callers + 1)
        self._entries = [0] * case.callers
        self._error: Exception | None = None

    def run(self) -> Ran:
        threads = [
            threading.Thread(target=self._call, args=(number,), daemon=True) for number in range(self._case.callers)
        ]
        for thread in threads:
            thread.start()
        with suppress(threading.BrokenBarrierError):
            self._start.wait()
        start_s = time.perf_counter()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - start_s
        if self._error is not None:
            raise self._error
        return Ran(sum(self._entries), seconds)

    def _call(self, number: int) -> None:
        try:
            with self._store.caller(self._case) as append:
                self._start.wait()
                self._entries[number] = self._append(append)
        except threading.BrokenBarrierError:
            pass
        except Exception as error:  # noqa: BLE001  # raised by who waits
            self._error = error
            self._start.abort()

    def _append(self, append: Append) -> int:
        take, batch = self._pool.take, self._case.batch
        until_s = time.perf_counter() + self._seconds
        entries = 0
        while True:
            append(take(batch))
            entries += batch
            if time.perf_counter() >= until_s:
                return entries
