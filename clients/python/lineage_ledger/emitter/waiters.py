"""Threads that wait for the acknowledgement of one entry."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Waiter:
    """Becomes done with the entry's index, or with the error that says why there is none."""

    event: threading.Event = field(default_factory=threading.Event)
    index: int = -1
    error: Exception | None = None


class Waiters:
    """By chain and number. Every step is one operation on a dictionary, so no lock is needed."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[bytes, int], Waiter] = {}

    def add(self, chain_id: bytes, number: int, waiter: Waiter) -> None:
        """Before the entry is placed, so that its acknowledgement cannot come first."""
        self._waiting[chain_id, number] = waiter

    def drop(self, chain_id: bytes, number: int) -> None:
        """Nobody waits any more."""
        self._waiting.pop((chain_id, number), None)

    def done(self, chain_id: bytes, number: int, index: int) -> None:
        """The entry is in the ledger at `index`."""
        waiter = self._waiting.pop((chain_id, number), None)
        if waiter is not None:
            waiter.index = index
            waiter.event.set()

    def fail(self, chain_id: bytes, number: int, error: Exception) -> None:
        """The entry will not be acknowledged."""
        waiter = self._waiting.pop((chain_id, number), None)
        if waiter is not None:
            waiter.error = error
            waiter.event.set()

    def fail_chain(self, chain_id: bytes, error: Exception) -> None:
        """Nothing more of the chain will be acknowledged."""
        for waiting_chain, number in list(self._waiting):
            if waiting_chain == chain_id:
                self.fail(chain_id, number, error)

    def fail_all(self, error: Exception) -> None:
        """Nothing more will be acknowledged."""
        for chain_id, number in list(self._waiting):
            self.fail(chain_id, number, error)
