"""Reads and intake, each alone and with the other at full rate: at the writer's own address, and at that of readers.

python -m benchmarks.reads [--quick] [--json] [--data FOLDER] [--readers N]

As many processes ask as there are readers, each one question after the other, and each answer is verified. Intake is
batches of 4,096 over one stream by one more process. Phases take turns, and before each the indexes are caught up, so
that what is measured alone is alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import socket
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from benchmarks import audited, stored_log
from benchmarks.bodies import Bodies, Sample, sealed
from benchmarks.driven import Driven
from benchmarks.feed import Feed
from benchmarks.report import Result, report
from benchmarks.served import Served, served
from lineage_ledger.client import Client
from lineage_ledger.errors import RpcError

_BATCH = 4_096
_KINDS = (
    "inclusion proof", "prediction receipt", "lineage receipt", "trace", "find by request id", "stream of entries",
)  # fmt: skip
_PREPARED_PER_S = 1_500_000
_READY_S = 30.0
_INDEXED_S = 120.0
_PARAMETERS = {
    "batch": _BATCH,
    "streams": 1,
    "durability": "synced, under a signed checkpoint",
    "checks": "every answer verified, every acknowledgement checked; the ledger passed its audit, indexes included",
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    entries: int
    """In the ledger before."""
    rounds: int
    phase_s: float


FULL = Sizes(entries=5_000_000, rounds=3, phase_s=0.8)
QUICK = Sizes(entries=500_000, rounds=1, phase_s=0.3)


class Figures:
    """Values of the rounds, by name and unit, and of how many calls they are."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._calls: Counter[tuple[str, str]] = Counter()

    def add(self, name: str, unit: str, value: float, calls: int = 0) -> None:
        """Another round's."""
        self._values[name, unit].append(value)
        self._calls[name, unit] += calls

    def results(self, **parameters: object) -> Iterator[Result]:
        """All of them, in the order in which they came first."""
        for (name, unit), values in self._values.items():
            calls = self._calls[name, unit]
            yield Result.of(name, unit, values, **parameters, **({"calls": calls} if calls else {}))


def main(argv: Sequence[str] | None = None, sizes: Sizes | None = None) -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="one short round, in a small ledger")
    parser.add_argument("--data", type=Path, help="folder on the disk to measure (default: a temporary one)")
    parser.add_argument("--readers", type=int, default=1, help="reader processes, and processes that ask (default: 1)")
    arguments = parser.parse_args(argv)
    if arguments.readers < 1:
        parser.error("--readers must be 1 or more")
    sizes = sizes or (QUICK if arguments.quick else FULL)
    with tempfile.TemporaryDirectory(prefix="lineage-bench-", dir=arguments.data) as folder:
        results = _measure(Path(folder), arguments.readers, sizes)
    report("reads", results, as_json=arguments.json)


def _measure(folder: Path, readers: int, sizes: Sizes) -> list[Result]:
    phases = 2 * sizes.rounds * 2 * len(_KINDS)
    stored_log.check_free_disk(folder, sizes.entries + int(phases * sizes.phase_s * _PREPARED_PER_S), _BATCH)
    root = folder / "ledger"
    address = _free_address()
    options = ("--readers", str(readers), "--readers-listen", address)
    figures = Figures()
    with (
        served(root, *options) as server,
        Client(f"unix:{root / 'admin.sock'}", ledger=server.verifier_key) as admin,
        ExitStack() as stack,
    ):
        samples, size, entry_bytes = _filled(server, sizes.entries)
        _wait_until_indexed(admin)
        _wait_until_served(address, server)
        endpoints = {"writer's address": server, "readers' address": dataclasses.replace(server, address=address)}
        askers = {
            name: [stack.enter_context(Driven("benchmarks.asker", each)) for _ in range(readers)]
            for name, each in endpoints.items()
        }
        told = {"samples": [(each.request_id.hex(), str(each.prediction_id)) for each in samples], "size": size}
        for each in [asker for some in askers.values() for asker in some]:
            each.ask(**told)
        intake = stack.enter_context(Driven("benchmarks.intake", server))
        intake.ask(batch=_BATCH)
        for _ in range(sizes.rounds):
            for name, some in askers.items():
                _round(name, some, intake, admin, figures, sizes.phase_s)
        checkpoint = audited.last_checkpoint(server)
    audited.must_pass(root, server.verifier_key, checkpoint)
    parameters = {**_PARAMETERS, "entry_bytes": entry_bytes, "readers": readers, "askers": readers, "size": size}
    return list(figures.results(**parameters))


def _filled(server: Served, entries: int) -> tuple[list[Sample], int, int]:
    """Puts so many predictions into the ledger; some of them, the ledger's size, and the bytes of one."""
    bodies, samples = Bodies(_BATCH), list[Sample]()
    with Feed(server) as feed:
        batches = sealed(feed.sealer, bodies, feed.record_lineage(), samples)
        feed.send(islice(batches, max(1, entries // _BATCH)))
    with Client(server.address, ledger=server.verifier_key) as client:
        return samples, client.checkpoint().size, bodies.entry_bytes


def _round(
    where: str, askers: Sequence[Driven], intake: Driven, admin: Client, figures: Figures, phase_s: float
) -> None:
    """Of each kind: intake alone, questions alone, then both."""
    for kind in _KINDS:
        _begin_intake(intake, admin, phase_s)
        time.sleep(phase_s)
        alone = _rate(intake.ask(stop=True))
        figures.add("intake, nobody asks", "entries/s", alone)
        _wait_until_indexed(admin)
        _asked(f"{kind}, {where}, no intake", kind, askers, figures, phase_s)
        _begin_intake(intake, admin, phase_s)
        _asked(f"{kind}, {where}, intake at full rate", kind, askers, figures, phase_s)
        beside = _rate(intake.ask(stop=True))
        figures.add(f"intake beside {kind}, {where}", "entries/s", beside)
        figures.add(f"intake beside {kind}, {where}, of that with nobody asking", "", beside / alone)


def _begin_intake(intake: Driven, admin: Client, phase_s: float) -> None:
    intake.ask(prepare=int(phase_s * _PREPARED_PER_S / _BATCH) + 1)
    _wait_until_indexed(admin)
    intake.ask(entries_per_s=0)


def _asked(name: str, kind: str, askers: Sequence[Driven], figures: Figures, phase_s: float) -> None:
    """All ask at the same time."""
    for asker in askers:
        asker.tell(ask=kind, seconds=phase_s)
    answers = [asker.answer() for asker in askers]
    is_stream = kind == "stream of entries"
    rate = sum(answer["count"] / answer["seconds"] for answer in answers)
    times_ms = sorted(ms for answer in answers for ms in answer["times_ms"])
    calls = len(times_ms)
    figures.add(name, "entries/s" if is_stream else "calls/s", rate, calls)
    for percent in () if is_stream else (50, 99):
        figures.add(f"{name}, p{percent}", "ms", times_ms[calls * percent // 100], calls)


def _rate(sent: Mapping[str, float]) -> float:
    return sent["entries"] / sent["seconds"]


def _wait_until_indexed(admin: Client) -> None:
    until_s = time.monotonic() + _INDEXED_S
    while (now := admin.statistics()).indexed_size < now.tree_size:
        if time.monotonic() > until_s:
            raise SystemExit(f"the indexes did not catch up in {_INDEXED_S:g} s")
        time.sleep(0.02)


def _wait_until_served(address: str, server: Served) -> None:
    until_s = time.monotonic() + _READY_S
    while True:
        try:
            with Client(address, ledger=server.verifier_key) as client:
                client.checkpoint()
            return
        except RpcError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.1)


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return f"127.0.0.1:{one.getsockname()[1]}"


if __name__ == "__main__":
    main()
