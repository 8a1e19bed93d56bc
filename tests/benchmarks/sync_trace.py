"""Traces a server's writes, syncs and answers by a small library that is preloaded into it, and judges their order.

The library is built with the system's compiler; nothing else is needed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

MARK = "sync-trace:"
_SOURCE = Path(__file__).with_name("sync_trace.c")
_META_BYTES = 2 * 4_096  # LMDB's two meta pages: what makes a transaction the newest


def compiler() -> str | None:
    """The system's, where preloading works."""
    return shutil.which("cc") if sys.platform == "linux" else None


def build(folder: Path) -> Path:
    """The library."""
    library = folder / "sync_trace.so"
    flags = ["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-ldl"]
    subprocess.run([compiler() or "cc", str(_SOURCE), "-o", str(library), *flags], check=True)
    return library


def environment(library: Path, trace: Path, *, delay_us: int, skip: bool = False) -> Mapping[str, str]:
    """What a process is to be started with to be traced."""
    wanted = {
        "LD_PRELOAD": str(library),
        "SYNC_TRACE_FILE": str(trace),
        "SYNC_TRACE_MARK": MARK,
        "SYNC_TRACE_DELAY_US": str(delay_us),
    }
    return {**wanted, "SYNC_TRACE_SKIP": "1"} if skip else wanted


def marked(number: int) -> bytes:
    """Bytes by which what is written of batch `number` is known again; 19 of them."""
    return MARK.encode() + number.to_bytes(8, "big")


class Call(NamedTuple):
    """One call that a process made, and that succeeded."""

    start_ns: int
    end_ns: int
    kind: str
    """"write", "sync" or "send"."""
    synced: bool
    """Whether the descriptor is synced by each write."""
    offset: int
    markers: frozenset[int]
    """Batches of which something was written."""
    path: str


class Answer(NamedTuple):
    """An acknowledgement, as the client saw it."""

    number: int
    end_ns: int
    """When it had it, by the monotonic clock."""


def read(trace: Path) -> list[Call]:
    """All calls, by their start."""
    return sorted(map(_parse, trace.read_text().splitlines()))


def _parse(line: str) -> Call:
    start, end, kind, flags, offset, markers, path = line.split(" ", 6)
    numbers = frozenset() if markers == "-" else frozenset(map(int, markers.split(",")))
    return Call(int(start), int(end), kind, "D" in flags, int(offset), numbers, path)


def complaints(calls: Sequence[Call], answers: Sequence[Answer], data: Path) -> Iterator[str]:
    """For each answer, the step that is missing before it: what makes a batch durable, in order.

    Its bytes are written to the log, the log is synced, LMDB's meta page is written and synced, then the head record
    is written and synced; only then something is sent, and the client has its answer.
    """
    log, head = os.path.realpath(data / "log" / "data.mdb"), os.path.realpath(data / "head")
    for answer in answers:
        # An answer may be read before the call that sends it has returned; everything else was over by then.
        before = [c for c in calls if (c.start_ns if c.kind == "send" else c.end_ns) <= answer.end_ns]
        written = [call for call in before if call.kind == "write"]
        synced = [call for call in before if call.kind == "sync"]
        steps = {
            "write of its bytes to the log": [c for c in written if c.path == log and answer.number in c.markers],
            "sync of the log": [c for c in synced if c.path == log],
            "synced write of the log's meta page": [
                c for c in written if c.path == log and c.synced and 0 <= c.offset < _META_BYTES
            ],
            "write of the head record": [c for c in written if c.path == head],
            "sync of the head record": [c for c in synced if c.path == head],
            "send of an answer": [c for c in before if c.kind == "send"],
        }
        since_ns = 0
        for name, found in steps.items():
            step = next((call for call in found if call.start_ns >= since_ns), None)
            if step is None:
                yield f"batch {answer.number} was acknowledged without a {name} before"
                break
            since_ns = step.end_ns
