"""The thread that asks one witness, again and again; slow or dead, it keeps nobody else waiting."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog

from lineage_ledger.errors import LineageError
from lineage_ledger.formats.note import Signature
from lineage_ledger_server.head import Head
from lineage_ledger_server.witnessing.link import AheadError, WitnessLink, is_alarming

_log = structlog.get_logger(__name__)

_MIN_BACKOFF_S: Final = 0.1
_MAX_BACKOFF_S: Final = 10.0


class Cosigned(NamedTuple):
    """A witness cosigned a head; verified."""

    name: str
    """Of the witness, in the policy."""
    head: Head
    signature: Signature


class Ahead(NamedTuple):
    """A witness cosigned a tree of `size` before, and so not the smaller one that it was asked about."""

    name: str
    size: int


class WitnessStatus(NamedTuple):
    """What came of asking a witness."""

    name: str
    """Of its key."""
    size: int = 0
    """Of the newest tree that it cosigned since the start; 0: none."""
    time_unix_ns: int = 0
    """When that was."""
    error: str = ""
    """Why its last answer was no cosignature; empty: it was one, or it was not asked yet."""


class Asker:
    """Asks for a cosignature of the head given last until it has it; `tell` gets what comes of it."""

    def __init__(self, link: WitnessLink, tell: Callable[[Cosigned | Ahead], object]) -> None:
        self._link = link
        self._tell = tell
        self._wanted: Head | None = None  # guarded by _changed, as is the next
        self._stopping = False
        self._changed = threading.Condition()
        self.status = WitnessStatus(link.witness.verifier.name)
        self._thread = threading.Thread(target=self._run, name=f"witness-{link.witness.name[:20]!a}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask(self, head: Head) -> None:
        """From now on this head is wanted, and no other."""
        with self._changed:
            self._wanted = head
            self._changed.notify()

    def stop(self) -> None:
        """Ask nothing more. A request that is under way goes on in its thread, and is heard by nobody."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def _run(self) -> None:
        backoff_s = _MIN_BACKOFF_S
        while (head := self._next()) is not None:
            try:
                signature = self._link.cosign(head)
            except Exception as error:  # noqa: BLE001  # whatever a witness brings about, the next attempt is due
                if self._stopping:
                    return
                self._failed(head, error)
                self._pause(backoff_s * random.uniform(0.5, 1.0))  # noqa: S311  (jitter is no secret)
                backoff_s = min(2 * backoff_s, _MAX_BACKOFF_S)
                continue
            backoff_s = _MIN_BACKOFF_S
            if self.status.error:
                _log.info("a witness cosigns again", witness=self.status.name)
            self.status = self.status._replace(size=head.size, time_unix_ns=time.time_ns(), error="")
            with self._changed:
                if self._wanted is head:
                    self._wanted = None
            self._tell(Cosigned(self._link.witness.name, head, signature))

    def _next(self) -> Head | None:
        """The head that is wanted, as soon as one is; None at the end."""
        with self._changed:
            while self._wanted is None and not self._stopping:
                self._changed.wait()
            return None if self._stopping else self._wanted

    def _pause(self, seconds: float) -> None:
        """A new head does not make a witness that is down answer sooner."""
        deadline_s = time.monotonic() + seconds
        with self._changed:
            while not self._stopping and (left_s := deadline_s - time.monotonic()) > 0:
                self._changed.wait(left_s)

    def _failed(self, head: Head, error: Exception) -> None:
        message = str(error) if isinstance(error, LineageError) else f"unexpected {type(error).__name__}: {error}"
        if isinstance(error, AheadError):
            self._tell(Ahead(self._link.witness.name, error.size))
        if message != self.status.error:
            facts = {"witness": self.status.name, "size": head.size, "cause": message}
            if isinstance(error, LineageError) and not is_alarming(error):
                _log.warning("a witness does not cosign", **facts)
            else:  # the checkpoint is what the witness would have to be confronted with
                _log.error("a witness refuses, or lies", **facts, checkpoint=head.note.decode("utf-8", "replace"))
        self.status = self.status._replace(error=message)
