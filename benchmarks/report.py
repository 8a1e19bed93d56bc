"""The one form in which benchmarks say what they measured."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from lineage_ledger import kernel

_FOLDER = Path(__file__).resolve().parent
_DISTRIBUTIONS = ("grpcio", "protobuf", "pynacl", "lmdb")


@dataclass(frozen=True, slots=True)
class Result:
    """One figure: the median of its runs, and how far they lie apart."""

    name: str
    value: float
    unit: str
    spread: tuple[float, float]
    """Least and greatest of the runs."""
    runs: int
    params: Mapping[str, object]

    @classmethod
    def of(cls, name: str, unit: str, values: Sequence[float], **params: object) -> Result:
        return cls(name, statistics.median(values), unit, (min(values), max(values)), len(values), params)


def report(
    benchmark: str, results: Sequence[Result], *, as_json: bool, not_run: Mapping[str, str] | None = None
) -> None:
    """Print results: one JSON object, or a line each. `not_run` says of what was left out why."""
    left_out = not_run or {}
    if as_json:
        document = {
            "benchmark": benchmark,
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "commit": _commit(),
            "machine": {
                "cpus": os.cpu_count(),
                "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
                "processor": _processor(),
                "system": platform.platform(),
            },
            "versions": {"python": platform.python_version(), "kernel": kernel.KERNEL, **_versions()},
            "results": [asdict(result) for result in results],
            "not_run": [{"name": name, "reason": reason} for name, reason in left_out.items()],
        }
        json.dump(document, sys.stdout, indent=2)
        print()
        return
    for result in results:
        low, high = map(number, result.spread)
        runs = f"{result.runs} run{'s' if result.runs > 1 else ''}"
        print(f"{result.name:40} {number(result.value):>14} {result.unit}  ({low} to {high}, {runs})")
    for name, reason in left_out.items():
        print(f"{name}: not run: {reason}")


def number(value: float) -> str:
    """For people: three digits, or all before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"


def _commit() -> str:
    """The commit that was measured; with "+changes" if files were changed since."""
    commit = _git("rev-parse", "HEAD")
    return f"{commit}+changes" if _git("status", "--porcelain", "--untracked-files=no") else commit


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False, cwd=_FOLDER)
    return done.stdout.strip()


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="ascii", errors="replace") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _versions() -> dict[str, str]:
    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
