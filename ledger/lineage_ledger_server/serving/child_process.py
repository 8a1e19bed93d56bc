"""Processes beside the one that serves: started, started again when they die, and taken along however it ends.

Both sides of it are here. Standard input of a child is a pipe that the parent holds open and never writes to: when it
ends, however the parent ended, the child ends. On standard output a child says once that it serves.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

import structlog

from lineage_ledger_server.errors import ProcessStartError
from lineage_ledger_server.logs import configure_logs

_log = structlog.get_logger(__name__)

_READY = b"ready\n"
_PARENT_PIPE = 0
_NICENESS = 10  # where processors are short, readers wait and appending does not
_MIN_BACKOFF_S = 0.5
_MAX_BACKOFF_S = 30.0
_STEADY_S = 60.0  # one that lived that long was no failed start
_PATIENCE_S = 5.0  # what a child may take beyond the time that it drains


class ChildProcess:
    """One process that runs `module` as a program, told `arguments`, with open `descriptors`; from `start` to `stop`.

    `does` says what it is there for, in the log: "serves HTTP". A child drains for `drain_s` seconds.
    """

    def __init__(
        self, does: str, module: str, arguments: Sequence[str], drain_s: float, descriptors: Sequence[int] = ()
    ) -> None:
        self._does = does
        # -P: the current folder is no place to import from.
        self._command = [sys.executable, "-P", "-m", module, *arguments]
        self._drain_s = drain_s
        self._descriptors = descriptors
        self._stopping = threading.Event()
        self._starting = threading.Lock()  # none is started once all is stopping
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper = threading.Thread(target=self._keep, name="child-process", daemon=True)
        self.serving = False
        """Whether it has said that it serves, and lives."""

    def begin(self) -> None:
        """Start it, and do not wait; `wait_until_it_serves` does. For several at a time."""
        self._process = self._started()

    def wait_until_it_serves(self) -> None:
        """From then on it is kept alive. Raises `ProcessStartError` if it did not start; its log says why."""
        process = self._process
        assert process is not None
        self._hear(process)
        if not self.serving:
            self.stop()
            raise ProcessStartError(f"the process that {self._does} did not start; its log says why")
        self._keeper.start()

    def start(self) -> None:
        """`begin` and `wait_until_it_serves`."""
        self.begin()
        self.wait_until_it_serves()

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=self._descriptors
        )

    def _hear(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until it says that it serves, or ends."""
        assert process.stdout is not None
        self.serving = process.stdout.readline() == _READY

    def _keep(self) -> None:
        backoff_s = _MIN_BACKOFF_S
        while not self._stopping.is_set():
            process, started_s = self._process, time.monotonic()
            assert process is not None
            if not self.serving:
                self._hear(process)
            status = process.wait()
            self.serving = False
            if self._stopping.is_set():
                return
            if time.monotonic() - started_s > _STEADY_S:
                backoff_s = _MIN_BACKOFF_S
            _log.error(f"the process that {self._does} ended; it is started again", status=status, after_s=backoff_s)
            if self._stopping.wait(backoff_s):
                return
            backoff_s = min(2 * backoff_s, _MAX_BACKOFF_S)
            with self._starting:
                if self._stopping.is_set():
                    return
                try:
                    self._process = self._started()
                except OSError as error:
                    _log.error(f"the process that {self._does} cannot be started", error=str(error))
                else:
                    _close(process)

    def drain(self) -> None:
        """Have it take no more; what it is at gets the time to drain, for which `stop` waits."""
        with self._starting:
            self._stopping.set()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def stop(self) -> None:
        """Drain, and return when the process has ended."""
        self.drain()
        if self._process is not None:
            try:
                self._process.wait(self._drain_s + _PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._keeper.is_alive():
            self._keeper.join()
        if self._process is not None:
            _close(self._process)


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def begin_child(log_format: str) -> None:
    """The child's side, first thing: its log, its niceness, and SIGTERM and SIGINT blocked, as the parent had them.

    Ctrl-C is for the parent, who then closes the pipe.
    """
    configure_logs(log_format)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    os.nice(_NICENESS)


def serve_as_child(stop: Callable[[], object], drain_s: float) -> None:
    """Say that this process serves; once the parent is gone `stop` is called, on a thread of its own.

    What has not ended `drain_s` seconds after that, and one, is ended.
    """

    def end_with_parent() -> None:
        while os.read(_PARENT_PIPE, 1):
            pass
        stop()
        time.sleep(drain_s + 1)
        os._exit(1)  # whatever still holds it up

    threading.Thread(target=end_with_parent, name="parent", daemon=True).start()
    os.write(1, _READY)
