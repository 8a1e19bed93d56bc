"""What an audit of a data folder costs: entries a second and memory, with one process and with several.

python -m benchmarks.audit [--quick] [--json] [--data FOLDER]

Memory is that of all processes together at its greatest, without the pages of the ledger's own files, which the system
keeps as long as it has no better use for the room. The derived indexes are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import stored_log
from benchmarks.report import Result, report
from lineage_ledger_server.logs import configure_logs

_AUDIT = """
import json, sys
from pathlib import Path
from lineage_ledger.formats.note import Verifier
from lineage_ledger_server.audit.data_dir import audit_data_dir
from lineage_ledger_server.data_dir import DataDir
if __name__ == "__main__":
    root, key, processes = sys.argv[1:]
    report = audit_data_dir(DataDir(Path(root)), Verifier.parse(key), with_index=False, processes=int(processes))
    print(json.dumps({"status": report.exit_status, "rate": report.entries_per_second, "entries": report.entries_read}))
"""
_SAMPLE_S = 0.02


class _Log(NamedTuple):
    """A ledger to audit."""

    root: Path
    verifier_key: str
    batch: int


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="1 million entries instead of 10, and fewer runs")
    parser.add_argument("--data", type=Path, help="folder on the disk to measure (default: a temporary one)")
    arguments = parser.parse_args()
    configure_logs("console")
    runs, entries = (3, 1_000_000) if arguments.quick else (5, 10_000_000)
    with tempfile.TemporaryDirectory(prefix="lineage-bench-", dir=arguments.data) as folder:
        script = Path(folder) / "audit.py"
        script.write_text(_AUDIT)
        results = [
            result
            for name, size, batch, kernel in (
                ("large batches", entries, 4_096, ""),
                ("large batches, Python kernel", entries // 2 if arguments.quick else entries // 5, 4_096, "python"),
                ("small batches", entries // 4 if arguments.quick else entries // 10, 16, ""),
            )
            for result in _measure(script, _log(Path(folder) / f"{name} {size}", size, batch), name, kernel, runs)
        ]
    report("audit", results, as_json=arguments.json)


def _log(root: Path, entries: int, batch: int) -> _Log:
    stored_log.check_free_disk(root.parent, entries, batch)
    return _Log(root, str(stored_log.make(root, entries, batch)), batch)


def _measure(script: Path, log: _Log, name: str, kernel: str, runs: int) -> Iterator[Result]:
    """Rate and memory of audits of one ledger, by one process and by as many as there are CPUs."""
    for processes in sorted({1, min(os.cpu_count() or 1, 8)}):
        found = [_run(script, log, processes, kernel) for _ in range(runs)]
        parameters = {
            "entries": found[0][0],
            "entry_bytes": stored_log.ENTRY_BYTES,
            "batch": log.batch,
            "processes": processes,
            "kernel": kernel or "default",
            "durability": "every commit synced; only read here",
            "checks": "all that an audit checks but the derived indexes",
        }
        title = f"audit, {name}, {processes} process{'es' if processes > 1 else ''}"
        yield Result.of(title, "entries/s", [rate for _, rate, _ in found], **parameters)
        yield Result.of(f"{title}, memory", "MiB", [peak / 2**20 for _, _, peak in found], **parameters)


def _run(script: Path, log: _Log, processes: int, kernel: str) -> tuple[int, float, int]:
    """Entries, entries a second, and the greatest memory in bytes."""
    environment = {**os.environ, **({"LINEAGE_KERNEL": kernel} if kernel else {})}
    command = [sys.executable, str(script), str(log.root), log.verifier_key, str(processes)]
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        while process.poll() is None:
            peak = max(peak, _anonymous_bytes(process.pid))
            time.sleep(_SAMPLE_S)
        assert process.stdout is not None
        found = json.loads(process.stdout.read() or '{"status": 2}')
    if found["status"]:
        raise SystemExit("the audit was no pass; the figure would be of something else")
    return found["entries"], found["rate"], peak


def _anonymous_bytes(pid: int) -> int:
    """Of a process and all below it, now; 0 where the system does not say."""
    total = 0
    waiting = [pid]
    while waiting:
        folder = Path("/proc") / str(waiting.pop())
        try:
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
            children = [(task / "children").read_text().split() for task in (folder / "task").iterdir()]
        except OSError:
            continue
        total += int(status.get("RssAnon", "0 kB").split()[0]) * 1024
        waiting += [int(child) for each in children for child in each]
    return total


if __name__ == "__main__":
    main()
