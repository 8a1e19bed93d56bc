"""What happens to emitters when the process forks.

gRPC keeps threads and locks that a child does not get in a usable state. So before a fork every emitter ends its
connection; afterwards the parent goes on lazily, and the child begins anew: two processes that went on with the same
chain would sign different batches under one sequence.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from lineage_ledger.emitter.emitter import Emitter

LOCK = threading.RLock()
"""Held while a process forks, and for what must not be half done in a child."""

_emitters: WeakSet[Emitter] = WeakSet()
_is_registered = False


def register(emitter: Emitter) -> None:
    """Take care of `emitter` from now on."""
    global _is_registered
    with LOCK:
        _emitters.add(emitter)
        if not _is_registered:
            os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
            _is_registered = True


def _before() -> None:
    LOCK.acquire()
    for emitter in list(_emitters):
        emitter._before_fork()


def _after_in_parent() -> None:
    for emitter in list(_emitters):
        emitter._after_fork_in_parent()
    LOCK.release()


def _after_in_child() -> None:
    # The thread that forked holds the lock and is the one that lives on, so it can let go of it.
    for emitter in list(_emitters):
        emitter._after_fork_in_child()
    LOCK.release()
