"""Fuzzes every target for a share of the time: `python -m tests.fuzz.run [--seconds N] [TARGET]...`.

With atheris (libFuzzer, guided by coverage) where it is installed; elsewhere with hypothesis, which knows nothing of
coverage and is said to be the lesser thing. In CI a missing atheris is a failure where there are wheels of it. What
crashes a target is written to a file, whose name is printed; exit status 1.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Final

FOUND: Final = Path(".cache/fuzz")
_LONGEST_INPUT_S: Final = 10
_MOST_MEMORY_MIB: Final = 1_024
_START_S: Final = 60.0


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together (60)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="targets fuzzed at once")
    parser.add_argument("--again", type=Path, metavar="FILE", help="give a file that crashed a target to it again")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", help="all, if none is named")
    options = parser.parse_args()
    if options.again:
        return run_again(options.targets[0], options.again)
    guided = importlib.util.find_spec("atheris") is not None
    if options.one:
        return fuzz_one(options.targets[0], options.seconds, guided=guided)
    names = options.targets or _all_targets()
    if not guided and (status := lesser_engine()):
        return status
    seconds = options.seconds * options.jobs / max(options.jobs, len(names))
    with ThreadPoolExecutor(options.jobs) as pool:
        statuses = list(pool.map(lambda name: _in_process(name, seconds), names))
    failed = [name for name, status in zip(names, statuses, strict=True) if status]
    print(f"{len(names)} targets, {seconds:.1f} s each, {'atheris' if guided else 'hypothesis'}: ", end="")
    print(f"crashes in {', '.join(failed)}" if failed else "no crash")
    return 1 if failed else 0


def lesser_engine() -> int:
    """Say that there is no atheris; the exit status if that must not be, else 0."""
    text = "atheris is not installed, hypothesis takes its place: NOT GUIDED BY COVERAGE, finds far less"
    print(f"{'=' * 20} {text} {'=' * 20}", file=sys.stderr)
    if os.environ.get("CI") and sys.platform == "linux" and sys.version_info[:2] == (3, 11):
        print("in CI, on Linux with Python 3.11, atheris must be there", file=sys.stderr)
        return 1
    return 0


def _all_targets() -> list[str]:
    from tests.fuzz.targets import TARGETS

    return list(TARGETS)


def run_again(name: str, file: Path) -> int:
    """Give a file's bytes to a target; says what it made of them, or raises what it raised."""
    from tests.fuzz.targets import TARGETS

    print("accepted" if TARGETS[name].run(file.read_bytes()) else "refused")
    return 0


def _in_process(name: str, seconds: float) -> int:
    """libFuzzer ends its process, and a target that hangs must not hang the others."""
    command = [sys.executable, "-m", "tests.fuzz.run", "--one", "--seconds", str(seconds), name]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=seconds + _START_S, check=False
        )
        status, output = result.returncode, result.stdout + result.stderr
    except subprocess.TimeoutExpired as error:
        status, output = 1, f"did not end in time: {error}"
    lines = output.splitlines()
    summary = next((line for line in reversed(lines) if line.startswith("Done")), "")
    print(f"{name}: {'CRASH' if status else 'ok'} {summary}".rstrip())
    if status:
        # Lines with a number sign are how far libFuzzer had come.
        print("\n".join([line for line in lines if not line.startswith(("#", "INFO:"))][-60:]))
        print(f"again: {Path(sys.executable).name} -m tests.fuzz.run --again FILE {name}")
    return status


def fuzz_one(name: str, seconds: float, *, guided: bool) -> int:
    """Fuzz one target in this process; the exit status, or an exception from a target that crashed."""
    own = FOUND / name
    (own / "corpus").mkdir(parents=True, exist_ok=True)
    if guided:
        _with_atheris(name, seconds, own)
    return _with_hypothesis(name, seconds, own)


def _with_atheris(name: str, seconds: float, own: Path) -> None:
    """Does not return: libFuzzer ends the process. New inputs are kept in `own`, for longer runs by hand."""
    import atheris

    with atheris.instrument_imports(include=["lineage_ledger", "lineage_ledger_server", "tomllib"]):
        from tests.fuzz.targets import CORPUS, TARGETS
    target = TARGETS[name]

    def run(data: bytes) -> None:
        target.run(data)

    arguments = [
        name,
        f"-max_total_time={max(1, round(seconds))}",
        f"-max_len={target.max_bytes}",
        f"-timeout={_LONGEST_INPUT_S}",
        f"-rss_limit_mb={_MOST_MEMORY_MIB}",
        f"-artifact_prefix={own}/",
        "-print_final_stats=1",
        str(own / "corpus"),
        str(CORPUS / name),
    ]
    atheris.Setup(arguments, run)
    atheris.Fuzz()


def _with_hypothesis(name: str, seconds: float, own: Path) -> int:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import seed as seeded

    from tests.fuzz.mutations import changed
    from tests.fuzz.targets import TARGETS, seeds

    target, end, count = TARGETS[name], time.monotonic() + seconds, 0
    failing: list[bytes] = []

    @given(changed(_contents(seeds(name)), target.max_bytes))
    @settings(max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def run(data: bytes) -> None:
        nonlocal count
        count += 1
        try:
            target.run(data)
        except BaseException:
            failing.append(data)
            raise

    while time.monotonic() < end:
        try:
            seeded(os.urandom(8))(run)()
        except BaseException:
            # The last one that failed is the smallest that hypothesis found.
            path = own / f"crash-{sha256(failing[-1]).hexdigest()[:40]}"
            path.write_bytes(failing[-1])
            print(f"written to {path}", file=sys.stderr)
            raise
    print(f"Done {count} runs")
    return 0


def _contents(files: dict[str, bytes]) -> Sequence[bytes]:
    return list(files.values())


if __name__ == "__main__":
    sys.exit(main())
