"""Fetches pieces before they are asked for, in order and in bounded memory, so that no round trip is waited for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_HELD_BYTES = 32 * 1024 * 1024
"""What is fetched and not asked for yet; besides, each thread may have one piece in hand."""


class ReadAhead(Generic[T]):
    """Gives the pieces [0, end) that `fetch` brings; one thread asks, mostly in order.

    A jump begins anew at the piece asked for. How far it reads ahead doubles with each piece that comes in order, up
    to two pieces a thread: after a jump nobody knows yet whether what follows is wanted. It never goes beyond a
    multiple of `stride`, where whoever asks jumps.
    """

    def __init__(
        self, fetch: Callable[[int], T], end: int, weigh: Callable[[T], int], threads: int, stride: int | None = None
    ) -> None:
        self._fetch = fetch
        self._end = end
        self._weigh = weigh
        self._threads = threads
        self._stride = stride or max(end, 1)
        self._executor: ThreadPoolExecutor | None = None
        self._coming: dict[int, Future[T]] = {}
        self._next = 0
        self._distance = 1

    def get(self, number: int) -> T:
        """The piece, or what `fetch` raised for it."""
        if number not in self._coming:
            self._drop()
            self._next, self._distance = number, 1
        self._distance = min(2 * self._distance, 2 * self._threads)
        self._submit(min(number + self._distance, (number // self._stride + 1) * self._stride))
        return self._coming.pop(number).result()

    def close(self) -> None:
        """Fetch nothing more; does not wait for what is under way."""
        self._coming.clear()
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None

    def _submit(self, until: int) -> None:
        if self._executor is None:  # Not before it is needed: a process that was forked meanwhile has no threads.
            self._executor = ThreadPoolExecutor(self._threads, "read-ahead")
        held, in_hand = 0, 0
        for future in self._coming.values():
            if not future.done():
                in_hand += 1
            elif future.exception() is None:
                held += self._weigh(future.result())
        while self._next < min(until, self._end) or not self._coming:
            if self._coming and (held > MAX_HELD_BYTES or in_hand >= self._threads):
                return
            self._coming[self._next] = self._executor.submit(self._fetch, self._next)
            self._next += 1
            in_hand += 1

    def _drop(self) -> None:
        for future in self._coming.values():
            future.cancel()
        self._coming.clear()
