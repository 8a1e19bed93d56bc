"""The audit of a data directory: its log, its rows, its head record and its derived indexes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from lineage_ledger.audit import AuditState, Report, Since, audit
from lineage_ledger.errors import LineageError
from lineage_ledger.formats.note import Verifier
from lineage_ledger_server.audit.indexes import check_index
from lineage_ledger_server.audit.rows import RowCheck
from lineage_ledger_server.audit.source import DataDirSource, read_head_record
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.store.log_store import TABLES
from lineage_ledger_server.store.raw_tables import RawEnvironment


def audit_data_dir(
    data_dir: DataDir,
    verifier: Verifier,
    known_checkpoint: bytes | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    *,
    with_index: bool = True,
    since: Since | None = None,
    processes: int | None = 1,
) -> Report:
    """Audit the ledger in `data_dir` as it is now; a server may go on writing it.

    Does not raise: what cannot be opened is a failure in the report. `with_index` off leaves the derived indexes out,
    which are not evidence, and which take as long again; so does an audit state, and the rows of batches and blocks
    before it are not looked at either. `since` and `processes` are those of `audit`. `progress` is told what is checked
    ("log", "indexes"), how many of its entries are done, and how many there are.
    """
    try:
        # The head comes first: what it is over was committed before it, and so is in the tables read afterwards.
        slots, findings = read_head_record(data_dir.head)
        log = RawEnvironment(data_dir.log, TABLES)
    except LineageError as error:
        return Report(origin=verifier.name, failures=[f"the ledger cannot be opened: {error}"])
    try:
        with log.tables() as tables:
            source = DataDirSource(tables, slots, data_dir.log)
            source.findings += findings
            show = partial(progress, "log") if progress is not None else None
            rows = RowCheck(tables, source)
            report = audit(source, verifier, known_checkpoint, show, rows, since=since, processes=processes)
        if with_index and not isinstance(since, AuditState):
            show = partial(progress, "indexes") if progress is not None else None
            check_index(data_dir.index, log.log_store(), data_dir.head, report, show)
        else:
            report.not_checked.append("derived indexes: left out")
    except Exception as error:  # noqa: BLE001  (whatever it is, a check that broke off must not count as passed)
        return Report(origin=verifier.name, failures=[f"the audit broke off: {type(error).__name__}: {error}"])
    finally:
        log.close()
    return report


def audit_folder(
    root: Path,
    verifier: Verifier,
    known_checkpoint: bytes | None,
    progress: Callable[[str, int, int], None] | None,
    *,
    head: Path | None,
    with_index: bool,
    since: Since | None,
    processes: int | None,
) -> Report:
    """`audit_data_dir` as `lineage audit --data` calls it: of the folder `root`, with the head record in `head`."""
    data_dir = DataDir(root, head)
    return audit_data_dir(
        data_dir, verifier, known_checkpoint, progress, with_index=with_index, since=since, processes=processes
    )
