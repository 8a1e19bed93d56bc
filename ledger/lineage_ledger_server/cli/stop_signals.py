"""How a command that serves is stopped: SIGTERM or SIGINT, waited for by the one thread that has nothing else to do."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}


@contextmanager
def stop_signals() -> Iterator[Callable[[], object]]:
    """Block both for this thread and all threads that are begun within, and give what waits for the first of them.

    A signal that another thread got would not wake this one, so enter it before there are any. Further ones are for the
    stop that is under way. Afterwards all is as before: processes that are begun later would inherit the block.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        yield lambda: signal.sigwait(_STOP_SIGNALS)
    finally:
        while signal.sigpending() & _STOP_SIGNALS:
            signal.sigwait(_STOP_SIGNALS)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
