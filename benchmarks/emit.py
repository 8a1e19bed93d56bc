"""What emitting costs: the calling thread, a loop that serves, and the way to an acknowledgement by a real server.

python -m benchmarks.emit [--quick] [--json] [--data FOLDER]
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import Result, report
from benchmarks.served import Served, served
from lineage_ledger import Binding, Emitter, Policy, commit, commit_many, derive_key

_ENTRY_BYTES = 104
_INPUT, _OUTPUT, _REQUEST_ID = hashlib.sha256(b"input").digest(), hashlib.sha256(b"output").digest(), bytes(range(16))
_WORK_NS = 35_000
_DURABILITY = "synced, under a signed checkpoint"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    runs: int
    requests: int
    """Of the serving loop, in each run."""
    entries: int
    """Emitted to be acknowledged, in each run."""


_QUICK = Size(3, 15_000, 400_000)
_FULL = Size(9, 50_000, 2_000_000)


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    parser.add_argument("--data", type=Path, help="folder on the disk to measure (default: a temporary one)")
    arguments = parser.parse_args()
    size = _QUICK if arguments.quick else _FULL
    with (
        tempfile.TemporaryDirectory(prefix="lineage-bench-", dir=arguments.data) as folder,
        served(Path(folder) / "ledger") as server,
    ):
        results = [
            *_commitments(size),
            *_serving(server, size, "Python", _python_work()),
            *_serving(server, size, "a library that lets other threads run", _library_work()),
            _bursts(server, size),
            _columns(server, size),
            *(_sustained(server, size, prove=prove) for prove in (False, True)),
            _sustained_columns(server, size),
        ]
    report("emit", results, as_json=arguments.json)


@contextmanager
def _emitting(server: Served, policy: Policy | None = None) -> Iterator[tuple[Emitter, Binding]]:
    """An emitter with a binding, warm; everything that is emitted must arrive."""
    with Emitter(server.address, ledger=server.verifier_key, key=server.key, policy=policy) as emitter:
        binding = emitter.bind(bytes(32))
        binding.emit(_INPUT, _OUTPUT)
        emitter.flush(30)
        yield emitter, binding
        if not emitter.flush(120) or emitter.statistics.lost:
            raise SystemExit(f"not everything was acknowledged: {emitter.statistics}")


# -- a loop that serves -------------------------------------------------------------------------------------------


def _python_work() -> Callable[[], object]:
    """A request's work of some 35 us in Python, which holds the interpreter's lock throughout."""
    turns = 1_000
    for _ in range(5):
        turns = max(10, turns * _WORK_NS // _median_ns(lambda: sum(range(turns))))  # noqa: B023  # called at once
    return lambda: sum(range(turns))


def _library_work() -> Callable[[], object]:
    """The same in a call that releases the lock, as libraries of models do."""
    data = bytes(16_384)
    for _ in range(5):
        data = bytes(max(4_096, len(data) * _WORK_NS // _median_ns(lambda: hashlib.sha256(data))))  # noqa: B023
    return lambda: hashlib.sha256(data)


def _median_ns(work: Callable[[], object]) -> int:
    times = []
    for _ in range(201):
        begin_ns = time.perf_counter_ns()
        work()
        times.append(time.perf_counter_ns() - begin_ns)
    return int(statistics.median(times))


def _serving(server: Served, size: Size, work_in: str, work: Callable[[], object]) -> Iterator[Result]:
    """What a loop that serves feels: its requests without an emitter and with one, in turn, and its calls of `emit`.

    With it, all of the emitter's threads are at work, and the server beside them. What reading the clock takes is
    subtracted from single calls.
    """
    percentiles = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
    without: dict[str, list[float]] = {name: [] for name in percentiles}
    with_it: dict[str, list[float]] = {name: [] for name in percentiles}
    calls: dict[str, list[float]] = {"median": [], "p99.9": []}
    for _ in range(size.runs):
        gc.collect()
        alone = _serve_alone(work, size.requests)
        with _emitting(server) as (_, binding):
            gc.collect()
            requests, emits = _serve_and_emit(work, size.requests, binding)
        for name, share in percentiles.items():
            without[name].append(_at(alone, share) / 1e3)
            with_it[name].append(_at(requests, share) / 1e3)
        overhead_ns = _median_ns(int)
        calls["median"].append(max(0.0, _at(emits, 0.5) - overhead_ns))
        calls["p99.9"].append(max(0.0, _at(emits, 0.999) - overhead_ns))
    params = {"entry_bytes": _ENTRY_BYTES, "request_id_bytes": 16, "requests": size.requests, "work_in": work_in}
    loop = "serving loop of 35 us" + ("" if work_in == "Python" else ", work in a library")
    calling = "emit, calling thread, {} call of a serving loop" + ("" if work_in == "Python" else ", work in a library")
    for name, values in calls.items():
        yield Result.of(calling.format(name), "ns", values, **params)
    for name in percentiles:
        yield Result.of(f"{loop}, {name} without an emitter", "us", without[name], **params)
        yield Result.of(f"{loop}, {name} with an emitter", "us", with_it[name], **params)
        rises = [(after - before) / 1e3 for before, after in zip(without[name], with_it[name], strict=True)]
        yield Result.of(f"{loop}, {name}, rise by an emitter", "ms", rises, **params)


def _serve_alone(work: Callable[[], object], requests: int) -> list[int]:
    clock, times = time.perf_counter_ns, []
    for _ in range(requests):
        begin_ns = clock()
        work()
        times.append(clock() - begin_ns)
    return times


def _serve_and_emit(work: Callable[[], object], requests: int, binding: Binding) -> tuple[list[int], list[int]]:
    clock, emit, times, calls = time.perf_counter_ns, binding.emit, [], []
    for _ in range(requests):
        begin_ns = clock()
        work()
        call_ns = clock()
        emit(_INPUT, _OUTPUT, request_id=_REQUEST_ID, duration_us=35)
        end_ns = clock()
        times.append(end_ns - begin_ns)
        calls.append(end_ns - call_ns)
    return times, calls


def _at(values: Sequence[int], share: float) -> float:
    return sorted(values)[int(len(values) * share)]


# -- single calls -------------------------------------------------------------------------------------------------


def _bursts(server: Served, size: Size) -> Result:
    """Nanoseconds a call in bursts at full speed that fit the ring, the loop itself subtracted.

    The caller then also waits for the interpreter's lock, while the emitter's threads seal and send, and for a core.
    """
    burst = 10_000
    values = []
    with _emitting(server, Policy(max_pending_entries=1 << 16)) as (emitter, binding):
        emit = binding.emit
        for _ in range(size.runs * 5):
            gc.collect()
            start_ns = time.perf_counter_ns()
            for _ in range(burst):
                pass
            loop_ns = time.perf_counter_ns() - start_ns
            start_ns = time.perf_counter_ns()
            for _ in range(burst):
                emit(_INPUT, _OUTPUT, request_id=_REQUEST_ID, duration_us=1_000)
            values.append((time.perf_counter_ns() - start_ns - loop_ns) / burst)
            emitter.flush(30)
    return Result.of(
        "emit, calling thread, mean call of bursts", "ns", values,
        entry_bytes=_ENTRY_BYTES, request_id_bytes=16, burst=burst,
    )  # fmt: skip


def _columns(server: Served, size: Size) -> Result:
    """Nanoseconds for each entry of an `emit_many` that fits the ring."""
    count = 16_384
    commitments, request_ids = _INPUT * count, _REQUEST_ID * count
    values = []
    with _emitting(server) as (emitter, binding):
        for _ in range(size.runs * 5):
            start_ns = time.perf_counter_ns()
            binding.emit_many(commitments, commitments, request_ids=request_ids, durations_us=1_000)
            values.append((time.perf_counter_ns() - start_ns) / count)
            emitter.flush(30)
    return Result.of(
        "emit_many, calling thread, per entry", "ns", values,
        entry_bytes=_ENTRY_BYTES, request_id_bytes=16, entries=count,
    )  # fmt: skip


def _commitments(size: Size) -> Iterator[Result]:
    """Nanoseconds for a commitment and the key of it: single calls, and one call for many."""
    key, count = os.urandom(32), 4_096
    for value_bytes in (100, 1_000):
        values = [os.urandom(value_bytes) for _ in range(count)]
        counters = [os.urandom(24) for _ in range(count)]
        single, many = [], []
        for _ in range(size.runs * 3):
            start_ns = time.perf_counter_ns()
            for value, counter in zip(values, counters, strict=True):
                commit(value, derive_key(key, counter, "input"))
            single.append((time.perf_counter_ns() - start_ns) / count)
            start_ns = time.perf_counter_ns()
            commit_many(values, key, counters, "input")
            many.append((time.perf_counter_ns() - start_ns) / count)
        params = {"value_bytes": value_bytes, "counter_bytes": 24}
        yield Result.of(f"commit and derive_key, {value_bytes:,} bytes", "ns", single, **params)
        yield Result.of(f"commit_many, {value_bytes:,} bytes, per value", "ns", many, entries=count, **params)


# -- the whole way ------------------------------------------------------------------------------------------------


def _sustained(server: Served, size: Size, *, prove: bool) -> Result:
    """Predictions a second from one emitting thread to acknowledged: synced, and under a verified checkpoint."""

    def emit_all(binding: Binding) -> None:
        emit = binding.emit
        for _ in range(size.entries):
            emit(_INPUT, _OUTPUT, request_id=_REQUEST_ID, duration_us=1_000)

    name = f"emit to acknowledged{' with proof' if prove else ''}, one thread"
    return _acknowledged(server, size, name, emit_all, prove=prove)


def _sustained_columns(server: Served, size: Size) -> Result:
    """The same from calls of `emit_many`."""
    count = 16_384
    commitments, request_ids = _INPUT * count, _REQUEST_ID * count

    def emit_all(binding: Binding) -> None:
        for left in itertools.takewhile(lambda left: left > 0, itertools.count(size.entries, -count)):
            rows = min(left, count) * 32
            binding.emit_many(
                commitments[:rows], commitments[:rows], request_ids=request_ids[: rows // 2], durations_us=1_000
            )

    return _acknowledged(server, size, "emit_many to acknowledged, one thread", emit_all, prove=False)


def _acknowledged(server: Served, size: Size, name: str, emit_all: Callable[[Binding], None], *, prove: bool) -> Result:
    policy = Policy(when_full="block", max_pending_entries=1 << 16, prove=prove)
    values = []
    for _ in range(size.runs):
        with _emitting(server, policy) as (emitter, binding):
            start_s = time.perf_counter()
            emit_all(binding)
            if not emitter.flush(120):
                raise SystemExit(f"not everything was acknowledged: {emitter.statistics}")
            values.append(size.entries / (time.perf_counter() - start_s))
    return Result.of(
        name, "predictions/s", values,
        entry_bytes=_ENTRY_BYTES, batch=policy.max_batch_entries, streams=1, entries=size.entries,
        durability=_DURABILITY,
    )  # fmt: skip


if __name__ == "__main__":
    main()
