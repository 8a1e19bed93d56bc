"""How many entries a second a server takes: sealed batches over streams, synced, acknowledged, every answer checked.

python -m benchmarks.append [--quick] [--json] [--data FOLDER]

Batches are sealed beforehand; client and server share the machine. A stream has at most 1 MiB under way, and at most
256 batches of it; small ones that are ready go together in one message, as any producer may send them. After the last
run the ledger is audited, indexes included. The ceiling is in `benchmarks.ceiling`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import audited, load
from benchmarks.report import Result, report
from benchmarks.served import served
from lineage_ledger import kernel

_STATEMENT_BYTES = 300
_IN_FLIGHT_BYTES = 1 << 20
_MAX_IN_FLIGHT = 256
_MIN_IN_FLIGHT = 8
DURABILITY = "synced, under a signed checkpoint"
CHECKS = "every acknowledgement checked: signed checkpoint, place; request ids indexed meanwhile"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured: `seconds` a run, about."""

    runs: int
    seconds: float
    shapes: Sequence[tuple[int, int]]
    """Entries a batch, and streams."""


FULL = Sizes(5, 4.0, [(batch, streams) for batch in (1, 16, 64, 512, 4_096) for streams in (1, 8, 64, 256)])
QUICK = Sizes(3, 0.3, [(4_096, 1), (512, 1), (64, 1), (64, 64), (1, 64)])


def shape_of(batch: int, streams: int, entries: int, statement_bytes: int = 0) -> load.Shape:
    """A load of so many entries in all."""
    batch_bytes = (statement_bytes or load.ENTRY_BYTES) * batch + 400
    in_flight = max(_MIN_IN_FLIGHT, min(_MAX_IN_FLIGHT, _IN_FLIGHT_BYTES // batch_bytes))
    return load.Shape(
        streams=streams,
        batch_entries=batch,
        batches=max(in_flight, entries // batch // streams),
        in_flight=max(1, in_flight // max(1, streams // 8)),
        per_message=max(1, (256 << 10) // batch_bytes),
        statement_bytes=statement_bytes,
    )


def main(argv: Sequence[str] | None = None, sizes: Sizes | None = None) -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer shapes, and shorter runs")
    parser.add_argument("--data", type=Path, help="folder on the disk to measure (default: a temporary one)")
    arguments = parser.parse_args(argv)
    sizes = sizes or (QUICK if arguments.quick else FULL)
    with tempfile.TemporaryDirectory(prefix="lineage-bench-", dir=arguments.data) as folder:
        results = [*_measure(Path(folder) / "c", sizes, sizes.shapes, "c" if kernel.KERNEL == "c" else "python")]
        # What takes longer to index than to append is waited for before the audit, so there is less of it.
        less = replace(sizes, seconds=sizes.seconds / 4)
        results += _measure(Path(folder) / "statements", less, [(4_096, 1)], kernel.KERNEL, _STATEMENT_BYTES)
        if kernel.KERNEL == "c":
            results += _measure(Path(folder) / "python", less, [(4_096, 1)], "python")
    report("append", results, as_json=arguments.json)


def _measure(
    data: Path, sizes: Sizes, shapes: Sequence[tuple[int, int]], kernel_name: str, statement_bytes: int = 0
) -> Iterator[Result]:
    """A server of its own with that kernel; every shape in turn, so many times."""
    rates: dict[tuple[int, int], list[float]] = {shape: [] for shape in shapes}
    environment = {"LINEAGE_KERNEL": kernel_name}
    expected: Mapping[tuple[int, int], float] = {}
    with served(data, environment=environment) as server:
        for run in range(sizes.runs + 1):
            for batch, streams in shapes:
                rate = expected.get((batch, streams), 0.0) or _guess(batch)
                # The first run says how fast it is, and is not counted.
                entries = int(rate * (sizes.seconds if run else min(sizes.seconds, 0.2)))
                shape = shape_of(batch, streams, entries, statement_bytes)
                sent = load.send(server, load.make_chains(server, shape), shape)
                expected = {**expected, (batch, streams): sent.rate}
                if run:
                    rates[batch, streams].append(sent.rate)
        checkpoint = audited.last_checkpoint(server)
    audited.must_pass(data, server.verifier_key, checkpoint)
    for (batch, streams), values in rates.items():
        yield Result.of(
            "append", "entries/s", values,
            entry_bytes=statement_bytes or load.ENTRY_BYTES, batch=batch, streams=streams, kernel=kernel_name,
            durability=DURABILITY, checks=CHECKS,
        )  # fmt: skip


def _guess(batch: int) -> float:
    """Entries a second, before anything was measured."""
    return min(600_000.0, 4_000.0 * batch)


if __name__ == "__main__":
    main()
