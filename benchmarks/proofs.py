"""What proofs cost in a small and in a large ledger: inclusion proofs and lineage receipts, asked of a real server.

python -m benchmarks.proofs [--quick] [--json] [--data FOLDER]

Each figure is of calls for places spread over the whole log, the answer verified by the client; the sizes are those of
what is kept. Both ledgers are asked in turn, so that whatever else the machine does is shared.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import stored_log
from benchmarks.report import Result, report
from lineage_ledger.client import Client
from lineage_ledger.formats import packed, seal
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger_server.logs import configure_logs

_SMALL = 10_000
_BATCH = 512
_SEAL_TAG = 0x12
_SERVE = "from lineage_ledger_server.cli.serve import serve; serve()"
_INDEXED_S = 120.0
_PARAMETERS = {
    "entry_bytes": stored_log.ENTRY_BYTES,
    "batch": _BATCH,
    "durability": "every commit synced; only read here",
    "checks": "every answer verified by the client",
}


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="1 million entries instead of 10 in the large ledger")
    parser.add_argument("--data", type=Path, help="folder on the disk to measure (default: a temporary one)")
    arguments = parser.parse_args()
    configure_logs("console")
    large, runs, calls = (1_000_000, 5, 40) if arguments.quick else (10_000_000, 9, 100)
    with tempfile.TemporaryDirectory(prefix="lineage-bench-", dir=arguments.data) as folder, ExitStack() as stack:
        asked = [_Asked(stack.enter_context(_served(Path(folder) / str(size), size)), size) for size in (_SMALL, large)]
        results = [
            result for kind in ("inclusion proof", "lineage receipt") for result in _compare(asked, kind, runs, calls)
        ]
    report("proofs", results, as_json=arguments.json)


@contextmanager
def _served(root: Path, entries: int) -> Iterator[Client]:
    """A ledger of so many entries, served by a process of its own, its indexes up to date."""
    stored_log.check_free_disk(root.parent, entries, _BATCH)
    verifier = stored_log.make(root, entries, _BATCH)
    command = [sys.executable, "-c", _SERVE, "--data", str(root), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            while "serving" not in (line := process.stdout.readline()):
                if not line:
                    raise SystemExit("the server did not start")
            with Client(f"unix:{root / 'admin.sock'}", ledger=str(verifier)) as client:
                until = time.monotonic() + _INDEXED_S
                while client.statistics().indexed_size < entries:
                    if time.monotonic() > until:
                        raise SystemExit("the indexes did not catch up")
                    time.sleep(0.1)
                yield client
        finally:
            process.terminate()
            process.wait(60)


class _Asked:
    """A ledger, with places in it to ask for."""

    def __init__(self, client: Client, entries: int) -> None:
        self.client = client
        self.entries = entries
        self._random = random.Random(entries)
        self._size = client.checkpoint().size

    def ask(self, kind: str) -> tuple[float, int]:
        """Seconds that one call took, and bytes of what it gave."""
        index = self._random.randrange(64, self._size - 2 * _BATCH)
        if kind == "inclusion proof":
            start_s = time.perf_counter()
            size = 32 * len(self.client.inclusion_proof(index).hashes)
            return time.perf_counter() - start_s, size
        prediction_id = self._prediction_at(index)
        start_s = time.perf_counter()
        size = len(self.client.receipt(prediction_id))
        return time.perf_counter() - start_s, size

    def _prediction_at(self, index: int) -> PredictionId:
        """The first prediction of the batch that follows the entry at `index`."""
        (_, entries), *_ = self.client.stream_entries(index, index + 2 * _BATCH)
        index, entry = next(found for found in enumerate(packed.iterate(entries), index) if found[1][0] == _SEAL_TAG)
        body = seal.parse_seal(entry).body
        first = index - body.count
        prediction = self.client.get_entry(first).entry.prediction
        return PredictionId(body.chain_id, body.first_number, prediction.input_commitment[:4])


def _compare(asked: list[_Asked], kind: str, runs: int, calls: int) -> Iterator[Result]:
    """Time and size of both, run by run in turn, and the ratio of the large one to the small."""
    times: dict[int, list[float]] = {each.entries: [] for each in asked}
    sizes: dict[int, list[float]] = {each.entries: [] for each in asked}
    for each in asked:
        each.ask(kind)
    for _ in range(runs):
        for each in asked:
            answers = [each.ask(kind) for _ in range(calls)]
            times[each.entries].append(sorted(time_s for time_s, _ in answers)[calls // 2])
            sizes[each.entries].append(max(size for _, size in answers))
    small, large = (each.entries for each in asked)
    for entries in (small, large):
        parameters = {**_PARAMETERS, "entries": entries, "calls": calls}
        yield Result.of(f"{kind}, {entries:,} entries", "us", [each * 1e6 for each in times[entries]], **parameters)
        yield Result.of(f"{kind}, {entries:,} entries, size", "bytes", sizes[entries], **parameters)
    for what, found in (("time", times), ("size", sizes)):
        ratios = [many / few for few, many in zip(found[small], found[large], strict=True)]
        yield Result.of(f"{kind}, {what}, ratio", "", ratios, **_PARAMETERS, small=small, large=large)


if __name__ == "__main__":
    main()
