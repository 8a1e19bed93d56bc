"""How fast a ledger takes predictions as it grows, what it weighs then, and how long looking something up takes.

python -m benchmarks.growth [--quick] [--json] [--data FOLDER] [--entries N] [--keep]

Sealed batches of 4,096 over one stream to a real server, request ids indexed, to 100 million predictions (with --quick
to 10 million or for as long as fits into a quick run). Batches are sealed ahead, a million predictions at a time; while
that is done the server stands still (SIGSTOP), so that its indexes gain nothing by it. With --data a run that was
killed goes on from what is in the folder; what is there is removed at the end, unless told to --keep it.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from benchmarks import audited, stored_log, timed_serve
from benchmarks.bodies import Bodies, Sample, sealed
from benchmarks.feed import Feed
from benchmarks.growth_state import State, Stretch
from benchmarks.report import Result, report
from benchmarks.served import Served, served
from lineage_ledger.client import Client

_BATCH = 4_096
_MARKS = (10_000_000, 50_000_000, 100_000_000)
_AT = 5  # stretches that a rate "at" a size is the median of
_SAMPLES = 20
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PARAMETERS = {
    "batch": _BATCH,
    "streams": 1,
    "in_flight": 8,
    "durability": "synced, under a signed checkpoint",
    "checks": "every acknowledgement checked; the ledger passed its audit, indexes included",
    "index": "request ids",
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How far it goes."""

    entries: int
    stretch_batches: int = 245
    """A million predictions, in batches."""
    intake_s: float = float("inf")
    """Intake ends then, however far it has come."""
    lookups: int = 2_000
    catch_up_s: float = 3_600.0


FULL = Sizes(entries=100_000_000)
QUICK = Sizes(entries=10_000_000, intake_s=14.0, lookups=200, catch_up_s=20.0)


def main(argv: Sequence[str] | None = None, sizes: Sizes | None = None) -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="to 10 million, or as far as it comes")
    parser.add_argument("--data", type=Path, help="folder on the disk to measure (default: a temporary one)")
    parser.add_argument("--entries", type=int, help="to so many predictions")
    parser.add_argument("--keep", action="store_true", help="leave the ledger in --data")
    arguments = parser.parse_args(argv)
    sizes = sizes or (QUICK if arguments.quick else FULL)
    if arguments.entries:
        sizes = Sizes(arguments.entries, sizes.stretch_batches, sizes.intake_s, sizes.lookups, sizes.catch_up_s)
    if arguments.keep and not arguments.data:
        parser.error("--keep needs --data")
    with ExitStack() as stack:
        if arguments.data:
            folder = arguments.data / "lineage-growth"
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lineage-bench-")))
        results = measure(folder, sizes)
    if arguments.data and not arguments.keep:
        shutil.rmtree(folder)
    report("growth", results, as_json=arguments.json)


def measure(folder: Path, sizes: Sizes) -> list[Result]:
    """Go on with what is in `folder`, to the end."""
    state = State.load(folder / "growth.json")
    root = folder / "ledger"
    stored_log.check_free_disk(folder, max(0, sizes.entries - state.measured), _BATCH)
    times = timed_serve.HandlerTimes(folder / "handler-times")
    times.path.write_bytes(b"")
    with (
        served(root, command=timed_serve.command(times.path)) as server,
        Client(f"unix:{root / 'admin.sock'}", ledger=server.verifier_key) as admin,
    ):
        if state.stretches:
            _say(f"going on from {state.measured:,} predictions that were measured before")
        bodies = Bodies(_BATCH)
        with Feed(server) as feed:
            if not state.deployment_hash:
                state.deployment_hash = feed.record_lineage().hex()
                state.save()
            _grow(server, admin, feed, bodies, state, sizes)
        lag, caught_up_s = _catch_up(admin, sizes.catch_up_s)
        parameters: dict[str, object] = {**_PARAMETERS, "entry_bytes": bodies.entry_bytes}
        results = [
            *_rates(state, parameters),
            Result.of("index lag at the end", "entries", [lag], **parameters),
            Result.of("until the indexes are caught up", "s", [caught_up_s], **parameters),
            Result.of("memory of the server at the end", "MiB", [_anonymous_bytes(server.pid) / 2**20], **parameters),
            *_weights(root, admin, parameters),
            *_lookups(server, state, times, sizes.lookups, parameters),
        ]
        _, checkpoint = admin.signed_checkpoint()
    _say("auditing")
    audited.must_pass(root, server.verifier_key, checkpoint)
    return results


def _grow(server: Served, admin: Client, feed: Feed, bodies: Bodies, state: State, sizes: Sizes) -> None:
    """Stretch after stretch; each is on record before the next one begins."""
    samples: list[Sample] = []
    batches = sealed(feed.sealer, bodies, bytes.fromhex(state.deployment_hash), samples)
    until_s = time.monotonic() + sizes.intake_s
    chosen = random.Random(state.measured)
    while state.measured < sizes.entries and time.monotonic() < until_s:
        samples.clear()
        with _standing(server.pid):
            stretch = list(islice(batches, sizes.stretch_batches))
        cpu_s = _cpu_s(server.pid)
        sent = feed.send(stretch)
        cpu_s = _cpu_s(server.pid) - cpu_s
        after = admin.statistics()
        lag = after.tree_size - after.indexed_size
        state.stretches.append(Stretch(after.tree_size, sent.entries, sent.seconds, cpu_s, lag))
        state.add_samples(chosen.sample(samples, min(_SAMPLES, len(samples))))
        state.save()
        _say(f"{after.tree_size:>13,} entries  {sent.rate:>11,.0f}/s  index behind by {lag:,}")


@contextmanager
def _standing(pid: int) -> Iterator[None]:
    """While the process stands still."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _catch_up(admin: Client, patience_s: float) -> tuple[int, float]:
    """Entries that were not indexed when intake ended, and seconds until all were."""
    start_s = time.monotonic()
    at_first = None
    while True:
        now = admin.statistics()
        lag = now.tree_size - now.indexed_size
        at_first = lag if at_first is None else at_first
        if lag <= 0:
            return at_first, time.monotonic() - start_s
        if time.monotonic() - start_s > patience_s:
            raise SystemExit(f"the indexes are still {lag:,} entries behind after {patience_s:g} s")
        time.sleep(0.02)


def _rates(state: State, parameters: Mapping[str, object]) -> Iterator[Result]:
    """Of every stretch, and at the sizes that are asked about."""
    stretches = list(state.stretches)
    for each in stretches:
        yield Result.of(
            "rate of a stretch", "entries/s", [each.rate],
            **parameters, size=each.size, entries=each.entries, index_lag=each.index_lag,
        )  # fmt: skip
    first, last = stretches[0], stretches[-_AT:] if len(stretches) > _AT else stretches[-1:]
    reached = stretches[-1].size
    for mark in _MARKS:
        if reached < mark:
            break
        rates = [each.rate for each in stretches if each.size - each.entries < mark][-_AT:]
        at = f"{mark // 1_000_000} million"
        yield Result.of(f"rate at {at}", "entries/s", rates, **parameters)
        yield Result.of(f"rate, {at} / first million", "", [rate / first.rate for rate in rates], **parameters)
    yield Result.of("rate of the first million", "entries/s", [first.rate], **parameters)
    yield Result.of("rate at the end", "entries/s", [each.rate for each in last], **parameters, size=reached)
    yield Result.of("rate, end / first million", "", [each.rate / first.rate for each in last], **parameters)
    if first.server_cpu_s:  # a stretch may be shorter than a tick of the system's clock
        yield Result.of(
            "server's CPU time, end / first million", "",
            [each.server_cpu_s / each.entries / (first.server_cpu_s / first.entries) for each in last], **parameters,
        )  # fmt: skip


def _weights(root: Path, admin: Client, parameters: Mapping[str, object]) -> Iterator[Result]:
    """Bytes on disk for each prediction: what is allocated to the files, with all that belongs to a prediction."""
    now = admin.statistics()
    entry_bytes = parameters["entry_bytes"]
    assert isinstance(entry_bytes, int)
    counted = {**parameters, "entries": now.tree_size, "predictions": now.predictions}
    parts = {"log": root / "log", "index": root / "index", "everything": root}
    for name, folder in parts.items():
        size = sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())
        yield Result.of(f"on disk, {name}", "bytes/entry", [size / now.predictions], **counted)
        if name == "everything":
            ratio = size / now.predictions / entry_bytes
            yield Result.of("on disk, everything / bytes of the entry", "", [ratio], **counted)
    for name, use in (("log", now.log_use), ("index", now.index_use)):
        for field in use.DESCRIPTOR.fields:
            part = f"on disk, {name}, {field.name.replace('_', ' ')}"
            yield Result.of(part, "bytes/entry", [getattr(use, field.name) / now.predictions], **counted)


def _lookups(
    server: Served, state: State, times: timed_serve.HandlerTimes, calls: int, parameters: Mapping[str, object]
) -> Iterator[Result]:
    """By request id, and lineage receipts: in the server's handler, and until a client has verified the answer."""
    samples = list(state.all_samples())
    random.Random(1).shuffle(samples)
    asked = {"lookup by request id": ("FindPredictions", _find), "lineage receipt": ("GetReceipt", _receipt)}
    for name, (method, ask) in asked.items():
        with Client(server.address, ledger=server.verifier_key) as client:
            ask(client, samples[0])
            times.new(method)
            seen_ms = sorted(_clocked_ms(client, samples[call % len(samples)], ask) for call in range(calls))
            handled = times.new(method)
        asked_for = {**parameters, "calls": calls, "predictions": len(samples), "size": state.stretches[-1].size}
        for percent in (50, 99):
            place = calls * percent // 100
            yield Result.of(f"{name}, in the server, p{percent}", "ms", [handled.taken_ms[place]], **asked_for)
            yield Result.of(f"{name}, CPU time in the server, p{percent}", "ms", [handled.cpu_ms[place]], **asked_for)
            yield Result.of(f"{name}, seen by a client, p{percent}", "ms", [seen_ms[place]], **asked_for)


def _clocked_ms(client: Client, sample: Sample, ask: Callable[[Client, Sample], object]) -> float:
    start_s = time.perf_counter()
    ask(client, sample)
    return (time.perf_counter() - start_s) * 1e3


def _find(client: Client, sample: Sample) -> None:
    found = [each.prediction_id for each in client.find_predictions(request_id=sample.request_id)]
    if found != [sample.prediction_id]:
        raise SystemExit(f"the request id {sample.request_id.hex()} led to {found}, not to {sample.prediction_id}")


def _receipt(client: Client, sample: Sample) -> None:
    client.receipt(sample.prediction_id)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _anonymous_bytes(pid: int) -> int:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) * 1024


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
