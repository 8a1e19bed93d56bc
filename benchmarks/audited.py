"""The ledger that a benchmark wrote, audited: a figure is of something only if what was written is right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_AUDIT = """
import os, sys
from pathlib import Path
from lineage_ledger.formats.note import Verifier
from lineage_ledger_server.audit.data_dir import audit_data_dir
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.logs import configure_logs
if __name__ == "__main__":
    configure_logs("console")
    root, key, known = sys.argv[1:]
    report = audit_data_dir(
        DataDir(Path(root)), Verifier.parse(key), Path(known).read_bytes(), processes=os.cpu_count()
    )
    for problem in [*report.failures, *map(str, report.findings)]:
        print(problem, file=sys.stderr)
    complete = report.covered.rows and report.covered.indexes
    sys.exit(report.exit_status or not complete)
"""


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
