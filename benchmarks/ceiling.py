"""How much of what the machine could do is left: the real server against one that checks, hashes and indexes nothing.

python -m benchmarks.ceiling [--quick] [--json] [--data FOLDER]

Both get the same load in turn, in batches of 4,096 over one stream, and sync before they answer. The ratio is of each
pair. Beside it what the parts could do alone: SHA-256 by `openssl speed`, and sequential writing, synced at the end of
each 64 MiB.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import audited, load
from benchmarks.append import CHECKS, DURABILITY, shape_of
from benchmarks.report import Result, report
from benchmarks.served import Served, served

_BATCH = 4_096
_NOTHING_CHECKED = (sys.executable, "-m", "benchmarks.ceiling_serve")
_WRITE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    pairs: int
    entries: int
    """Of a run."""
    writes: int
    hash_s: int


FULL = Sizes(pairs=9, entries=4_000_000, writes=16, hash_s=3)
QUICK = Sizes(pairs=5, entries=1_200_000, writes=4, hash_s=1)


def main(argv: Sequence[str] | None = None, sizes: Sizes | None = None) -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    parser.add_argument("--data", type=Path, help="folder on the disk to measure (default: a temporary one)")
    arguments = parser.parse_args(argv)
    sizes = sizes or (QUICK if arguments.quick else FULL)
    with tempfile.TemporaryDirectory(prefix="lineage-bench-", dir=arguments.data) as folder:
        results = [*_pairs(Path(folder), sizes), _written(Path(folder) / "written", sizes)]
    hashed, not_run = _hashed(sizes)
    report("ceiling", [*results, *hashed], as_json=arguments.json, not_run=not_run)


def _pairs(folder: Path, sizes: Sizes) -> list[Result]:
    shape = shape_of(_BATCH, 1, sizes.entries)
    real: list[float] = []
    ceiling: list[float] = []
    with ExitStack() as stack:
        ledger = stack.enter_context(served(folder / "ledger"))
        nothing = stack.enter_context(served(folder / "nothing", command=_NOTHING_CHECKED))
        for pair in range(sizes.pairs + 1):
            rates = _rate(ledger, shape), _rate(nothing, shape)
            if pair:  # the first warms up
                real.append(rates[0])
                ceiling.append(rates[1])
        checkpoint = audited.last_checkpoint(ledger)
    audited.must_pass(folder / "ledger", ledger.verifier_key, checkpoint)
    shared = {"entry_bytes": load.ENTRY_BYTES, "batch": _BATCH, "streams": 1, "durability": DURABILITY}
    ratios = [one / other for one, other in zip(real, ceiling, strict=True)]
    off = "hashing, checks and indexes are off; synced and signed as always"
    return [
        Result.of("append", "entries/s", real, **shared, checks=CHECKS),
        Result.of("ceiling", "entries/s", ceiling, **shared, checks=off),
        Result.of("append, of the ceiling", "", ratios, **shared, checks="as above, each"),
    ]


def _rate(server: Served, shape: load.Shape) -> float:
    return load.send(server, load.make_chains(server, shape), shape).rate


def _written(path: Path, sizes: Sizes) -> Result:
    """Megabytes (10^6) a second that a file grows by."""
    block = os.urandom(1 << 20)
    values = []
    with path.open("wb", buffering=0) as file:
        for _ in range(sizes.writes):
            start_s = time.perf_counter()
            for _ in range(_WRITE_BYTES // len(block)):
                file.write(block)
            os.fdatasync(file.fileno())
            values.append(_WRITE_BYTES / (time.perf_counter() - start_s) / 1e6)
    path.unlink()
    return Result.of("sequential write", "MB/s", values, durability="fdatasync after each 64 MiB", checks="none")


def _hashed(sizes: Sizes) -> tuple[list[Result], dict[str, str]]:
    """Megabytes a second that one core hashes."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return [], {"openssl speed sha256": "there is no openssl command on this machine"}
    results: list[Result] = []
    for size in (load.ENTRY_BYTES + 1, 8_192):
        command = [openssl, "speed", "-seconds", str(sizes.hash_s), "-bytes", str(size), "-evp", "sha256"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = re.search(r"^\S*sha256\s+([0-9.]+)k$", done.stdout, re.IGNORECASE | re.MULTILINE)
        if found is None:
            return results, {"openssl speed sha256": f"its output was not understood: {done.stdout[-200:]!r}"}
        value = float(found[1]) / 1e3
        results.append(Result.of("openssl speed sha256", "MB/s", [value], bytes=size, durability="none", checks="none"))
    return results, {}


if __name__ == "__main__":
    main()
