"""What other ways of putting the same predictions on record cost, on this machine, in one run, run by run in turn.

python -m benchmarks.peers [--quick] [--json] [--only NAME] [--data FOLDER]
python -m benchmarks.peers --install [--only NAME]

All get the same entries and sync them to disk before they acknowledge; after each run what is on record is counted,
and a wrong count ends the benchmark. Environments are installed in .cache/peers, by --install or when they are first
needed. A peer that cannot be had on this machine is reported with the reason.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from benchmarks.peers import decision_provenance, environments, handle, immudb, mlflow, nats, ours, postgresql, pymerkle
from benchmarks.peers.callers import WrongCountError
from benchmarks.peers.contract import Case, NotRunError, Peer
from benchmarks.peers.entries import write_entries
from benchmarks.peers.rounds import Entrant, params_of, results_of, run_all
from benchmarks.report import Result, report

PEERS = (
    pymerkle.PEER,
    decision_provenance.PEER,
    mlflow.PEER,
    postgresql.PEER,
    nats.PEER,
    immudb.PEER,
)
_NAMES = (ours.NAME, *(peer.name for peer in PEERS))


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rounds: int
    run_s: float
    pool_entries: int
    """More are taken from the first again."""
    quick: bool = False

    def cases(self, cases: Sequence[Case]) -> Sequence[Case]:
        """Those that are measured."""
        return [case for case in cases if case.quick or not self.quick]


FULL = Sizes(rounds=7, run_s=2.0, pool_entries=1 << 20)
QUICK = Sizes(rounds=3, run_s=0.2, pool_entries=1 << 18, quick=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="3 rounds of short runs")
    parser.add_argument("--only", choices=_NAMES, action="append", help="this one alone; may be given again")
    parser.add_argument("--data", type=Path, help="folder on the disk to measure (default: a temporary one)")
    parser.add_argument("--install", action="store_true", help="make the environments anew, and measure nothing")
    arguments = parser.parse_args(argv)
    names = arguments.only or _NAMES
    peers = [peer for peer in PEERS if peer.name in names]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    if arguments.install:
        for name, reason in _install(peers).items():
            print(f"not installed: {name}: {reason}", file=sys.stderr)
        return
    results, not_run = _measure(peers, ours.NAME in names, arguments.data, QUICK if arguments.quick else FULL)
    report("peers", results, as_json=arguments.json, not_run=not_run)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    """Ends the benchmark, and with it what it started."""
    raise SystemExit("stopped")


def _install(peers: Sequence[Peer]) -> dict[str, str]:
    refused = {}
    for peer in peers:
        try:
            environments.prepare(peer, again=True)
        except NotRunError as error:
            refused[peer.name] = str(error)
    return refused


def _measure(
    peers: Sequence[Peer], with_ours: bool, data: Path | None, sizes: Sizes
) -> tuple[list[Result], dict[str, str]]:
    """Results, and why peers have none."""
    not_run: dict[str, str] = {}
    prepared = []
    for peer in peers:
        try:
            prepared.append((peer, environments.prepare(peer)))
        except NotRunError as error:
            not_run[peer.name] = str(error)
    with tempfile.TemporaryDirectory(prefix="lineage-bench-", dir=data) as name, ExitStack() as stack:
        root = Path(name)
        # A server that may not run as root has to reach its own folder in it.
        root.chmod(0o711)
        pool = root / "entries"
        entry_bytes = write_entries(pool, sizes.pool_entries)
        opening = []
        for peer, environment in prepared:
            folder = root / peer.name
            folder.mkdir()
            opening.append(stack.enter_context(handle.worker(peer, environment, folder, pool, entry_bytes)))
        entrants = []
        caught_up: Mapping[str, Sequence[float]] = {}
        try:
            if with_ours:
                own = root / ours.NAME
                own.mkdir()
                measured = stack.enter_context(ours.opened(own, pool, entry_bytes))
                caught_up = measured.indexed_after_s
                entrants.append(Entrant(ours.NAME, ours.TITLE, ours.CLAIMS, ours.CASES, measured))
            for worker in opening:
                peer = worker.peer
                try:
                    worker.opened()
                except NotRunError as error:
                    not_run[peer.name] = str(error)
                else:
                    entrants.append(Entrant(peer.name, peer.title, peer.claims, sizes.cases(peer.cases), worker))
            rates = run_all(entrants, sizes.rounds, sizes.run_s)
        except (handle.PeerError, WrongCountError) as error:
            raise SystemExit(f"nothing is reported: {error}") from None
        finally:
            for worker in opening:
                worker.finish()
        results = results_of(entrants, rates, entry_bytes)
        results += [
            Result.of(
                f"{entrant.name}, {case.name}, indexes caught up after",
                "s",
                caught_up[case.name],
                **params_of(entrant, case, entry_bytes),
            )
            for entrant in entrants
            if entrant.name == ours.NAME
            for case in entrant.cases
        ]
        return results, not_run


if __name__ == "__main__":
    main()
