"""Audits of what an operator shows: of the log in files, as anybody may, and of his own data folder."""

from __future__ import annotations

from pathlib import Path

from lineage_ledger.audit import Report, audit
from lineage_ledger.formats.note import Verifier
from lineage_ledger.sources.folder import open_folder
from lineage_ledger_server.audit.data_dir import audit_data_dir
from lineage_ledger_server.data_dir import DataDir
from tests.attacks.operator import Operator


def audited_folder(folder: Path, verifier: Verifier, kept: bytes | None = None) -> Report:
    """`lineage audit --folder`, with `kept` as `--checkpoint`."""
    return audit(open_folder(folder), verifier, kept)


def audited_data(data: Path, verifier: Verifier, kept: bytes | None = None) -> Report:
    """`lineage audit --data`, indexes and all."""
    return audit_data_dir(DataDir(data), verifier, kept)


def audited(operator: Operator, root: Path, verifier: Verifier, kept: bytes | None = None) -> Report:
    """What an audit says of the operator's log in files; one of his data folder must say no less."""
    report = audited_folder(operator.export(root / "public"), verifier, kept)
    inside = audited_data(operator.write(root / "private"), verifier, kept)
    assert {finding.kind for finding in report.findings} <= {finding.kind for finding in inside.findings}
    return report
