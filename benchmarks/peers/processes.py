"""Servers of peers: started, waited for, and ended by their own id."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.contract import NotRunError

_READY_S = 30.0
_END_S = 20.0


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    log: Path,
    ready: Callable[[], bool],
    user: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """A server, once `ready` says so; ended at the end, however that comes. Raises `NotRunError` if it does not start.

    It is in the process group of the worker that starts it, which an interrupt from the terminal does not reach.
    """
    with log.open("ab") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, user=user, group=user,
            extra_groups=[] if user else None, cwd=log.parent, env={**os.environ, **(environment or {})},
        )  # fmt: skip
    try:
        until_s = time.monotonic() + _READY_S
        while not ready():
            if process.poll() is not None or time.monotonic() > until_s:
                raise NotRunError(f"its server did not start: {last_line(log)}")
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def last_line(log: Path) -> str:
    """What a log ends with, for an error."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["it said nothing"]
    return lines[-1][-300:]


def listens(port: int) -> bool:
    """Whether somebody takes connections on that port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A port that nobody has now, for servers that cannot be told to take any."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def find(name: str, *folders: Path) -> Path | None:
    """A program in one of those folders, else on PATH."""
    for folder in folders:
        if os.access(folder / name, os.X_OK):
            return folder / name
    found = shutil.which(name)
    return Path(found) if found else None
