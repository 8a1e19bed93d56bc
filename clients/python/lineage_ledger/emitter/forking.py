"""What happens to emitters when the process forks.

gRPC keeps threads and locks that a child does not get in a usable state. So before a fork every emitter ends its
connection; afterwards the parent goes on lazily, and the child begins anew: two processes that went on with the same
chain would sign different batches under one sequence.

That alone is not enough: grpc's own threads outlive a channel by a moment, and about one child in four died or hung
(grpcio 1.85). With GRPC_ENABLE_FORK_SUPPORT (`rpc.channels`) grpc quiets them, but then a call that is under way when
it begins can neither go on nor be cancelled. Hooks before a fork run in the reverse order of their registration, and
grpc registers its own with the first channel; so ours is registered after that.
"""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from lineage_ledger.emitter.emitter import Emitter
    from lineage_ledger.rpc.connection import Connection
    from lineage_ledger.rpc.endpoint import Endpoint

_RETRY_S = 0.002
_SETTLE_S = 0.02
"""How long grpc's threads get to notice that their channel is closed; without it, one child in ten still hung."""

LOCK = threading.RLock()
"""Held while a process forks, and for what must not be half done in a child."""

_emitters: WeakSet[Emitter] = WeakSet()
_registered: set[str] = set()
_forks_waiting = 0


def register(emitter: Emitter) -> None:
    """Take care of `emitter` from now on. Imports no grpc."""
    with LOCK:
        _emitters.add(emitter)
        if "locking" not in _registered:
            os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
            _registered.add("locking")


def connect(endpoint: Endpoint, is_cancelled: Callable[[], bool]) -> Connection | None:
    """A connection that can be forked around; None if cancelled.

    The first one imports grpc, which takes 0.1 s and must not be half done in a child.
    """
    while not is_cancelled():
        # A fork waits for threads that connect, with the lock held: so this never waits for the lock in turn.
        if not LOCK.acquire(timeout=_RETRY_S):
            continue
        try:
            from lineage_ledger.rpc.connection import Connection

            importlib.import_module("grpc._channel")  # grpc would do so with the first channel only.
            # A fork that waits for us has its list of hooks already, and would miss those that come with a channel.
            if not _forks_waiting:
                connection = Connection(endpoint)
                if "quieting" not in _registered:
                    os.register_at_fork(before=_quiet)
                    _registered.add("quieting")
                return connection
        finally:
            LOCK.release()
        time.sleep(_RETRY_S)
    return None


def _quiet() -> None:
    global _forks_waiting
    _forks_waiting = 1
    were_connected = [emitter._before_fork() for emitter in list(_emitters)]
    if any(were_connected):
        time.sleep(_SETTLE_S)


def _before() -> None:
    global _forks_waiting
    _forks_waiting = 1
    LOCK.acquire()
    _quiet()


def _after_in_parent() -> None:
    global _forks_waiting
    _forks_waiting = 0
    for emitter in list(_emitters):
        emitter._after_fork_in_parent()
    LOCK.release()


def _after_in_child() -> None:
    global _forks_waiting
    _forks_waiting = 0
    # The thread that forked holds the lock and is the one that lives on, so it can let go of it.
    for emitter in list(_emitters):
        emitter._after_fork_in_child()
    LOCK.release()
