"""What the middlewares share: one call's way onto the record, whatever its protocol.

Bodies are hashed as they pass and not kept. Nothing here raises into the call that it records, except what the
emitter's policy asks for (`fail_closed`, `WhenFull.RAISE`): trouble is logged, at most once a minute, and counted.
"""

from __future__ import annotations

import base64
import logging
import os
import re
import threading
import time
from typing import TYPE_CHECKING, Final

from lineage_ledger.emitter import Binding
from lineage_ledger.errors import LineageError
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.middleware.commitment_key import CommitmentKey

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_REPEAT_S: Final = 60.0
_REQUEST_ID: Final = re.compile(rb"[!-~]{1,64}")
_RANDOM_BYTES: Final = 12

_logger = logging.getLogger("lineage_ledger.middleware")


def usable_request_id(value: bytes) -> bytes:
    """The caller's id if it is 1 to 64 bytes of visible ASCII; otherwise 16 random characters (96 bits)."""
    if _REQUEST_ID.fullmatch(value):
        return value
    return base64.urlsafe_b64encode(os.urandom(_RANDOM_BYTES))


class Recorder:
    """Puts a server's calls on record. Thread-safe."""

    def __init__(self, binding: Binding, commitment_key: CommitmentKey | None) -> None:
        self.binding = binding
        self.commitment_key = commitment_key or CommitmentKey.from_settings()
        self.failures = 0
        """Calls that are not on record because something went wrong here; the emitter counts its own losses."""
        self._next_log_s = 0.0
        self._lock = threading.Lock()

    def begin(self, request_id: bytes) -> Recording | None:
        """A call begins now. `request_id` is what its caller calls it, as it came (`usable_request_id`)."""
        try:
            return Recording(self, usable_request_id(request_id))
        except Exception as error:  # noqa: BLE001 - nothing of ours fails a call
            self.report(error)
            return None

    def report(self, error: Exception) -> None:
        """Counts and logs why a call is not on record."""
        now_s = time.monotonic()
        with self._lock:
            self.failures += 1
            is_due = now_s >= self._next_log_s
            if is_due:
                self._next_log_s = now_s + _REPEAT_S
        if is_due:
            _logger.error("a prediction is not on record: %s", error, exc_info=error)


class Recording:
    """One call on its way onto the record."""

    __slots__ = ("_begin_ns", "_input", "_output", "_recorder", "_start_time_unix_ns", "is_over", "request_id")

    def __init__(self, recorder: Recorder, request_id: bytes) -> None:
        self._recorder = recorder
        self._begin_ns = time.perf_counter_ns()
        self._start_time_unix_ns = time.time_ns()
        self.request_id = request_id
        """1 to 64 bytes of visible ASCII."""
        self.is_over = False
        begin = recorder.commitment_key.begin
        self._input = begin("input", self._start_time_unix_ns, request_id)
        self._output = begin("output", self._start_time_unix_ns, request_id)

    def received(self, data: ReadableBuffer) -> None:
        """A piece of what the server was asked."""
        try:
            self._input.update(data)
        except Exception as error:  # noqa: BLE001 - nothing of ours fails a call
            self._give_up(error)

    def answered(self, data: ReadableBuffer) -> None:
        """A piece of what it answered."""
        try:
            self._output.update(data)
        except Exception as error:  # noqa: BLE001 - nothing of ours fails a call
            self._give_up(error)

    def emit(self, status_code: int) -> PredictionId | None:
        """The call is over: emit its prediction. Only the first time counts; later ones, and failures, give None.

        `status_code` is a google.rpc.Code. Raises `LineageError` only where the emitter's policy says so.
        """
        if self.is_over:
            return None
        self.is_over = True
        try:
            return self._recorder.binding.emit(
                self._input.digest(),
                self._output.digest(),
                request_id=self.request_id,
                start_time_unix_ns=self._start_time_unix_ns,
                duration_us=(time.perf_counter_ns() - self._begin_ns) // 1_000 or 1,
                status_code=status_code,
            )
        except LineageError:
            raise
        except Exception as error:  # noqa: BLE001 - nothing of ours fails a call
            self._recorder.report(error)
            return None

    def _give_up(self, error: Exception) -> None:
        if not self.is_over:
            self.is_over = True
            self._recorder.report(error)
