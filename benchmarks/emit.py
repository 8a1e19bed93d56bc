"""What emitting costs: the calling thread, and the whole way to an acknowledgement by a real server.

python -m benchmarks.emit [--quick] [--json] [--data FOLDER]
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.report import Result, report
from lineage_ledger import Client, Emitter, Policy, SigningKey, read_signing_key
from lineage_ledger.formats import admin

_ENTRY_BYTES = 104
_INPUT, _OUTPUT, _REQUEST_ID = hashlib.sha256(b"input").digest(), hashlib.sha256(b"output").digest(), bytes(range(16))
_SERVE = "from lineage_ledger_server.cli.serve import serve; serve()"


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    parser.add_argument("--data", type=Path, help="folder on the disk to measure (default: a temporary one)")
    arguments = parser.parse_args()
    runs, entries = (3, 600_000) if arguments.quick else (7, 2_000_000)
    with (
        tempfile.TemporaryDirectory(prefix="lineage-bench-", dir=arguments.data) as folder,
        _server(Path(folder) / "ledger") as (address, verifier_key, key),
    ):
        results = [
            *_serving(address, verifier_key, key, runs),
            _bursts(address, verifier_key, key, runs),
            *(_sustained(address, verifier_key, key, runs, entries, prove=prove) for prove in (False, True)),
        ]
    report("emit", results, as_json=arguments.json)


@contextmanager
def _server(data: Path) -> Iterator[tuple[str, str, SigningKey]]:
    """A real `lineage serve` process; its address, its verifier key and the key of a registered producer."""
    command = [sys.executable, "-c", _SERVE, "--data", str(data), "--listen", "127.0.0.1:0"]
    with (data.parent / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        verifier_key = process.stdout.readline().removeprefix("verifier key: ").strip()
        address = process.stdout.readline().partition(" on ")[2].partition(",")[0]
        key = SigningKey.generate()
        with Client(f"unix:{data / 'admin.sock'}", ledger=verifier_key) as client:
            client.producers_add(
                key.public_key,
                "benchmark",
                possession_signature=admin.prove_possession(client.origin, key),
                admin_key=read_signing_key(data / "keys" / "admin.key")[1],
            )
        yield address, verifier_key, key
    finally:
        process.terminate()
        process.wait(30)


def _serving(address: str, verifier_key: str, key: SigningKey, runs: int) -> list[Result]:
    """Nanoseconds that single calls keep a serving thread: a request's work of some 35 us, one emit, and so on.

    All of the emitter's threads and the server are at work beside it. What reading the clock takes is subtracted.
    """
    requests, work = 20_000, bytes(24_000)
    medians, tails = [], []
    with Emitter(address, ledger=verifier_key, key=key) as emitter:
        emit, clock = emitter.bind(bytes(32)).emit, time.perf_counter_ns
        for _ in range(runs):
            overheads, calls = [], []
            for _ in range(requests):
                hashlib.sha256(work).digest()
                before = clock()
                start = clock()
                emit(_INPUT, _OUTPUT, request_id=_REQUEST_ID, duration_us=35)
                end = clock()
                overheads.append(start - before)
                calls.append(end - start)
            overhead = statistics.median(overheads)
            calls.sort()
            medians.append(calls[requests // 2] - overhead)
            tails.append(calls[requests * 999 // 1_000] - overhead)
            emitter.flush(30)
        if emitter.statistics.lost:
            raise SystemExit("entries were lost; the figure would be of emitting into nothing")
    parameters = {"entry_bytes": _ENTRY_BYTES, "request_id_bytes": 16, "requests": requests}
    return [
        Result.of("emit, calling thread, median call of a serving loop", "ns", medians, **parameters),
        Result.of("emit, calling thread, p99.9 call of a serving loop", "ns", tails, **parameters),
    ]


def _bursts(address: str, verifier_key: str, key: SigningKey, runs: int) -> Result:
    """Nanoseconds a call in bursts at full speed that fit the ring, the loop itself subtracted.

    The caller then also waits for the interpreter's lock, while the emitter's threads seal and send, and for a core.
    """
    burst = 10_000
    policy = Policy(max_pending_entries=1 << 16)
    values = []
    with Emitter(address, ledger=verifier_key, key=key, policy=policy) as emitter:
        emit = emitter.bind(bytes(32)).emit
        for _ in range(runs * 5):
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
        if emitter.statistics.lost:
            raise SystemExit("entries were lost; the figure would be of emitting into nothing")
    return Result.of(
        "emit, calling thread, mean call of bursts", "ns", values,
        entry_bytes=_ENTRY_BYTES, request_id_bytes=16, burst=burst,
    )  # fmt: skip


def _sustained(address: str, verifier_key: str, key: SigningKey, runs: int, entries: int, *, prove: bool) -> Result:
    """Predictions a second from one emitting thread to acknowledged: synced, and under a verified checkpoint."""
    policy = Policy(when_full="block", max_pending_entries=1 << 16, prove=prove)
    values = []
    for _ in range(runs):
        with Emitter(address, ledger=verifier_key, key=key, policy=policy) as emitter:
            emit = emitter.bind(bytes(32)).emit
            emit(_INPUT, _OUTPUT)
            emitter.flush(30)
            start_s = time.perf_counter()
            for _ in range(entries):
                emit(_INPUT, _OUTPUT, request_id=_REQUEST_ID, duration_us=1_000)
            if not emitter.flush(120) or emitter.statistics.lost:
                raise SystemExit(f"not everything was acknowledged: {emitter.statistics}")
            values.append(entries / (time.perf_counter() - start_s))
    return Result.of(
        f"emit to acknowledged{' with proof' if prove else ''}, one thread",
        "predictions/s",
        values,
        entry_bytes=_ENTRY_BYTES,
        batch=policy.max_batch_entries,
        streams=1,
        entries=entries,
        durability="synced, under a signed checkpoint",
    )


if __name__ == "__main__":
    main()
