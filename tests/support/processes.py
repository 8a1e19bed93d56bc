"""Processes that tests start never outlive them, not even when a test fails half way; and those that these start."""

from __future__ import annotations

import atexit
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_started: list[subprocess.Popen[Any]] = []


def watched(process: subprocess.Popen[Any]) -> subprocess.Popen[Any]:
    """`process`, to be killed when this one ends."""
    if not _started:
        atexit.register(_kill)
    _started.append(process)
    return process


def _kill() -> None:
    for process in _started:
        if process.poll() is None:
            process.kill()


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for children in /proc")


def children_of(pid: int, module: str) -> list[int]:
    """The processes that `pid` started to run `module`."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    pids = [int(child) for file in found for child in file.read_text().split()]
    return [child for child in pids if module.encode() in Path(f"/proc/{child}/cmdline").read_bytes()]


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def eventually(is_so: Callable[[], object], timeout_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
