"""The ledger that a benchmark wrote, audited: a figure is of something only if what was written is right."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.served import Served
from lineage_ledger import Client

_INDEXED_S = 300.0
_AUDIT = """
import os, sys, time
from pathlib import Path
from lineage_ledger.formats.note import Verifier
from lineage_ledger_server.audit.data_dir import audit_data_dir
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.logs import configure_logs
said_s = time.monotonic()
def say(what, done, of):
    global said_s
    if time.monotonic() > said_s + 10:
        said_s = time.monotonic()
        print(f"audit of the {what}: {done:,} of {of:,} entries", file=sys.stderr)
if __name__ == "__main__":
    configure_logs("console")
    root, key, known = sys.argv[1:]
    report = audit_data_dir(
        DataDir(Path(root)), Verifier.parse(key), Path(known).read_bytes(), say, processes=os.cpu_count()
    )
    for problem in [*report.failures, *map(str, report.findings)]:
        print(problem, file=sys.stderr)
    complete = report.covered.rows and report.covered.indexes
    sys.exit(report.exit_status or not complete)
"""


def last_checkpoint(server: Served) -> bytes:
    """The newest signed checkpoint, once all that is under it is indexed."""
    until_s = time.monotonic() + _INDEXED_S
    with Client(f"unix:{server.data / 'admin.sock'}", ledger=server.verifier_key) as client:
        while (found := client.statistics()).indexed_size < found.tree_size:
            if time.monotonic() > until_s:
                raise SystemExit(f"the indexes of {server.data} did not follow within {_INDEXED_S:.0f} s")
            time.sleep(0.1)
        return client.signed_checkpoint()[1]


def must_pass(root: Path, verifier_key: str, checkpoint: bytes) -> None:
    """Audit the data folder `root`, rows and indexes included, and that all under a signed checkpoint is in it.

    `checkpoint` is the note that the server showed last. Ends the benchmark unless the audit is a pass.
    """
    script, known = root.parent / "audit.py", root.parent / "known-checkpoint"
    script.write_text(_AUDIT)
    known.write_bytes(checkpoint)
    command = [sys.executable, str(script), str(root), verifier_key, str(known)]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"the ledger in {root} did not pass its audit; what was measured is worth nothing")
