"""A peer that runs, seen from the benchmark: the worker that appends to it, asked one thing at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.peers import environments
from benchmarks.peers.contract import Case, NotRunError, Peer, Ran
from benchmarks.peers.processes import last_line

_END_S = 30.0


class PeerError(Exception):
    """A peer failed while it was measured, or has other entries on record than it acknowledged."""


class Handle:
    """A worker, asked one thing at a time."""

    def __init__(self, peer: Peer, process: subprocess.Popen[str], log: Path) -> None:
        self.peer = peer
        self.version = ""
        self._process = process
        self._log = log

    def open(self, environment: Path, folder: Path, pool: Path, entry_bytes: int) -> None:
        """Say where everything is; before anything else."""
        self._write(
            {"environment": str(environment), "folder": str(folder), "pool": str(pool), "entry_bytes": entry_bytes}
        )

    def opened(self) -> None:
        """Wait until the peer runs and the worker has connected. Raises `NotRunError`."""
        said = self._read()
        if "not_run" in said:
            raise NotRunError(said["not_run"])
        self.version = str(said["version"])

    def run(self, case: Case, seconds: float) -> Ran:
        """One run of a case. Raises `PeerError`."""
        self._write({"do": "run", "case": case.name, "seconds": seconds})
        said = self._read()
        return Ran(int(said["entries"]), float(said["seconds"]))

    def check(self) -> None:
        """Let the peer check all that is on record. Raises `PeerError`."""
        self._write({"do": "check"})
        self._read()

    def finish(self) -> None:
        """Say that there is no more to do; the worker ends meanwhile."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()

    def _write(self, asked: dict[str, object]) -> None:
        assert self._process.stdin is not None
        # That it ended, and why, is said by who reads its answer.
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        said = json.loads(line) if line else {"error": f"its worker ended: {last_line(self._log)}"}
        if "error" in said:
            raise PeerError(f"{self.peer.name}: {said['error']} (more in {self._log})")
        return said


@contextmanager
def worker(
    peer: Peer, environment: Path, folder: Path, pool: Path, entry_bytes: int, *, under: Sequence[str | Path] = ()
) -> Iterator[Handle]:
    """A worker in a peer's environment, with the peer's data in `folder`; wait for it with `opened`.

    So all peers can be opened at the same time. It ends when it has nothing more to read. `under` is a command that
    runs it, such as a tracer.
    """
    log = folder.with_suffix(".log")
    module = peer.connect.__module__
    with log.open("ab") as file:
        process = subprocess.Popen(
            [*under, environments.python_of(environment), "-m", "benchmarks.peers.worker", module],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True, cwd=environments.ROOT,
            process_group=0,
        )  # fmt: skip
    handle = Handle(peer, process, log)
    try:
        handle.open(environment, folder, pool, entry_bytes)
        yield handle
    finally:
        handle.finish()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            # With the server that it started.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert process.stdout is not None
        process.stdout.close()
