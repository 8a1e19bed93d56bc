"""How long one prediction takes to be on record: on an idle ledger, beside other load, and on many streams at once.

python -m benchmarks.latency [--quick] [--json] [--data FOLDER]

One call at a time, each on a clock of its own, against a real server. `flush` is the whole way: emit, seal, send, sync,
sign, acknowledge, check. AppendBatch is the same without the emitter. The load is a process that sends batches at half
of the rate that was measured before it; it seals them as it goes.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import audited, load
from benchmarks.bodies import Bodies, sealed
from benchmarks.driven import Driven
from benchmarks.report import Result, report
from benchmarks.served import Served, served
from lineage_ledger import Emitter
from lineage_ledger.emitter.acknowledgements import AcknowledgementChecker
from lineage_ledger.emitter.sealer import ChainSealer, SealedBatch
from lineage_ledger.formats.note import Verifier
from lineage_ledger.rpc.connection import Connection
from lineage_ledger.rpc.endpoint import Endpoint
from lineage_ledger.rpc.methods import APPEND_BATCH
from lineage_ledger.v1 import append_pb2

_INPUT, _OUTPUT, _REQUEST_ID = hashlib.sha256(b"input").digest(), hashlib.sha256(b"output").digest(), bytes(range(16))
_LOAD_BATCH = 512
_PERCENTILES = ((50.0, "p50"), (99.0, "p99"), (99.9, "p99.9"))
_CHECKS = "every acknowledgement checked: signed checkpoint, place; the ledger passed its audit, indexes included"
_PARAMETERS = {
    "entry_bytes": load.ENTRY_BYTES,
    "batch": 1,
    "streams": 1,
    "durability": "synced, under a signed checkpoint",
    "checks": _CHECKS,
}
_STREAMS = 30


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    runs: int
    idle_calls: int
    """Of a run."""
    loaded_calls: int
    run_s: float
    """A run ends then, however many calls it had."""
    load_s: float
    """How long the full rate is measured, of which the load is half."""
    stream_batches: int
    """Of each of the streams that are measured together."""


FULL = Sizes(runs=5, idle_calls=4_000, loaded_calls=4_000, run_s=60.0, load_s=5.0, stream_batches=1_000)
QUICK = Sizes(runs=3, idle_calls=1_000, loaded_calls=1_000, run_s=1.6, load_s=2.0, stream_batches=50)


def main(argv: Sequence[str] | None = None, sizes: Sizes | None = None) -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    parser.add_argument("--data", type=Path, help="folder on the disk to measure (default: a temporary one)")
    arguments = parser.parse_args(argv)
    sizes = sizes or (QUICK if arguments.quick else FULL)
    with tempfile.TemporaryDirectory(prefix="lineage-bench-", dir=arguments.data) as folder:
        root = Path(folder) / "ledger"
        with served(root) as server:
            results = [*_idle(server, sizes), *_loaded(server, sizes), *_streams(server, sizes)]
            checkpoint = audited.last_checkpoint(server)
        audited.must_pass(root, server.verifier_key, checkpoint)
    report("latency", results, as_json=arguments.json)


def _idle(server: Served, sizes: Sizes) -> Iterator[Result]:
    yield from _both(server, "idle ledger", sizes.idle_calls, sizes, {"load_entries_per_s": 0})


def _loaded(server: Served, sizes: Sizes) -> Iterator[Result]:
    """Beside half of the rate that there is without anything else."""
    with Driven("benchmarks.intake", server) as intake:
        intake.ask(batch=_LOAD_BATCH)
        intake.ask(prepare=int(sizes.load_s * 1_000_000 / _LOAD_BATCH))
        intake.ask(entries_per_s=0)
        time.sleep(sizes.load_s)
        full = intake.ask(stop=True)
        full_rate = full["entries"] / full["seconds"]
        intake.ask(entries_per_s=full_rate / 2)
        time.sleep(0.5)
        parameters: dict[str, object] = {
            "load_batch": _LOAD_BATCH,
            "load_full_entries_per_s": round(full_rate),
            "load_entries_per_s": round(full_rate / 2),
        }
        results = list(_both(server, "50% load", sizes.loaded_calls, sizes, parameters))
        beside = intake.ask(stop=True)
    loaded_rate = beside["entries"] / beside["seconds"]
    yield from results
    yield Result.of(
        "load beside the calls, of the full rate",
        "",
        [loaded_rate / full_rate],
        **{**_PARAMETERS, "batch": _LOAD_BATCH},
    )


def _both(server: Served, where: str, calls: int, sizes: Sizes, parameters: dict[str, object]) -> Iterator[Result]:
    """Runs of either way in turn."""
    ways = {"emit + flush": _flushing, "AppendBatch": _appending}
    times: dict[str, list[list[float]]] = {name: [] for name in ways}
    for _ in range(sizes.runs):
        for name, way in ways.items():
            with way(server) as call:
                times[name].append(_timed(call, calls, sizes.run_s))
    for name, runs in times.items():
        yield from _percentiles(f"{name}, {where}", runs, {**_PARAMETERS, **parameters})


def _timed(call: Callable[[], object], calls: int, run_s: float) -> list[float]:
    """Milliseconds of each call, ascending."""
    for _ in range(20):
        call()
    found: list[float] = []
    until_s = time.perf_counter() + run_s
    while len(found) < calls and time.perf_counter() < until_s:
        start_s = time.perf_counter()
        call()
        found.append((time.perf_counter() - start_s) * 1e3)
    return sorted(found)


def _percentiles(name: str, runs: Sequence[Sequence[float]], parameters: dict[str, object]) -> Iterator[Result]:
    """Each percentile of each run, by the nearest rank; the runs are sorted."""
    calls = sum(len(run) for run in runs)
    for percent, text in _PERCENTILES:
        values = [run[min(len(run) - 1, int(len(run) * percent / 100))] for run in runs]
        yield Result.of(f"{name}, {text}", "ms", values, **parameters, calls=calls)


@contextmanager
def _flushing(server: Served) -> Iterator[Callable[[], object]]:
    """One prediction by an emitter, until the emitter says that it is on record."""
    with Emitter(server.address, ledger=server.verifier_key, key=server.key) as emitter:
        emit = emitter.bind(bytes(32)).emit

        def call() -> None:
            emit(_INPUT, _OUTPUT, request_id=_REQUEST_ID, duration_us=1_000)
            if not emitter.flush(30):
                raise SystemExit("a prediction was not acknowledged")

        yield call


@contextmanager
def _appending(server: Served) -> Iterator[Callable[[], object]]:
    """One sealed batch of one prediction by AppendBatch, its acknowledgement checked; sealing is in the time."""
    checker = AcknowledgementChecker(Verifier.parse(server.verifier_key), prove=False)
    sealer = ChainSealer(server.origin, server.key)
    with Connection(Endpoint(server.address)) as connection:

        def append(batch: SealedBatch) -> None:
            request = append_pb2.AppendBatchRequest(packed_batch=batch.packed or b"", options=checker.begin())
            response = connection.call(APPEND_BATCH, request)
            checkpoint = checker.check_checkpoint(response.checkpoint, response.consistency_proof)
            checker.check(batch, b"", response.acknowledgement, checkpoint)

        append(sealer.open(None))
        batches = sealed(sealer, Bodies(1), bytes(32), [])
        yield lambda: append(next(batches))


def _streams(server: Served, sizes: Sizes) -> Iterator[Result]:
    """Many producers at once, each with one entry a batch and the next only when the last is proven."""
    shape = load.Shape(_STREAMS, 1, sizes.stream_batches, in_flight=1, prove=True)
    runs = [load.send(server, load.make_chains(server, shape), shape) for _ in range(sizes.runs)]
    parameters = {
        **_PARAMETERS,
        "streams": _STREAMS,
        "in_flight": 1,
        "checks": "every acknowledgement proven and verified: range proof, consistency proof, signed checkpoint; "
        "the ledger passed its audit, indexes included",
    }
    name = f"{_STREAMS} streams, one entry a batch, proven"
    yield Result.of(name, "entries/s", [run.rate for run in runs], **parameters)
    yield from _percentiles(name, [sorted(run.latencies_ms) for run in runs], parameters)


if __name__ == "__main__":
    main()
