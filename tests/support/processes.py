"""Processes that tests start never outlive them, not even when a test fails half way."""

from __future__ import annotations

import atexit
import subprocess
from typing import Any

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
