"""The C kernel under AddressSanitizer and UndefinedBehaviorSanitizer: `python -m tests.native.sanitize`.

Its functions that know nothing of Python are fuzzed by fuzz.c; beside that the extensions run their tests.
Needs gcc with its own sanitizers, on Linux; exit status 1 if there is a report, 2 if they are missing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.native import build

OUT: Final = build.ROOT / ".cache/sanitize"
RUNS: Final = 20_000
TESTS: Final = ("tests/kernel", "tests/emitter/test_packing.py", "tests/emitter/test_ring.py")
_ENVIRONMENT: Final = {
    "LINEAGE_KERNEL": "c",
    # Every object of Python gets memory of its own: of what lies in pymalloc's arenas a sanitizer knows no ends.
    "PYTHONMALLOC": "malloc",
    # What CPython itself does not give back at its end is no report; fuzz.c, which gives back all, is held to it.
    "ASAN_OPTIONS": "detect_leaks=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.native.sanitize", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"inputs that the fuzzer makes ({RUNS:,})")
    parser.add_argument("--random-seed", type=int, default=1, help="another one gives other inputs (1)")
    options = parser.parse_args()
    if missing := build.can_sanitize():
        print(f"the kernel cannot be built with sanitizers: {missing}; on Debian: apt-get install gcc", file=sys.stderr)
        return 2
    with ThreadPoolExecutor() as pool:  # each is a process of its own
        fuzzed = pool.submit(fuzz, OUT, options.runs, options.random_seed)
        tested = run_tests(OUT)
    return 1 if fuzzed.result() or tested else 0


def fuzz(out: Path, runs: int, random_seed: int, kernel: Path = build.KERNEL) -> int:
    """Fuzz the functions in the headers of `kernel`; not 0 if there is a report."""
    fuzzer, last = build.build_fuzzer(out, kernel), out / "last-input"
    command: list[str | Path] = [fuzzer, str(runs), str(random_seed), last, *build.seeds(out / "seeds")]
    status = subprocess.run(command, check=False).returncode
    if status:
        print(f"again: {fuzzer} again {last}", file=sys.stderr)
    return status


def run_tests(out: Path, *tests: str, kernel: Path = build.KERNEL) -> int:
    """Run tests, TESTS if none is named, against the extensions under sanitizers; not 0 if there is a report."""
    package = build.build_package(out, kernel)
    preloaded = {"PYTHONPATH": str(package), "LD_PRELOAD": build.library("libasan.so")}
    environ = {**os.environ, **_ENVIRONMENT, **preloaded}
    loaded = [sys.executable, "-c", "from lineage_ledger import _kernel; print(_kernel.__file__)"]
    found = subprocess.run(loaded, env=environ, capture_output=True, text=True, check=True).stdout.strip()
    if Path(found) != package / "lineage_ledger/_kernel.abi3.so":
        print(f"the tests would run against {found}, which has no sanitizers", file=sys.stderr)
        return 1
    # A report goes to the file descriptor itself, and ends the process: pytest must not hold it back.
    options = ["-m", "pytest", "--quiet", "--capture=sys", "-p", "no:cacheprovider", "-p", "no:xdist"]
    # Every byte and every run is the fuzzer's part; this is about how the extension holds what Python gives it.
    options += ["--hypothesis-profile=few", "-k", "not every_mutated_byte and not every_kind_of_run"]
    return subprocess.run(
        [sys.executable, *options, *(tests or TESTS)], env=environ, cwd=build.ROOT, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
