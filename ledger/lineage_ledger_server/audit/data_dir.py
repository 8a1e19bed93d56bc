"""The audit of a data directory: its log, its rows, its head record and its derived indexes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lineage_ledger.audit import Report, audit
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
) -> Report:
    """Audit the ledger in `data_dir` as it is now; a server may go on writing it.

    Does not raise: what cannot be opened is a failure in the report. `with_index` off leaves the derived indexes out,
    which are not evidence, and which take as long again. `progress` is told what is checked ("log", "indexes"), how
    many of its entries are done, and how many there are.
    """
    try:
        # The head comes first: what it is over was committed before it, and so is in the tables read afterwards.
        slots, findings = read_head_record(data_dir.head)
        log = RawEnvironment(data_dir.log, TABLES)
    except LineageError as error:
        return Report(origin=verifier.name, failures=[f"the ledger cannot be opened: {error}"])
    try:
        with log.tables() as tables:
            source = DataDirSource(tables, slots)
            source.findings += findings
            show = partial(progress, "log") if progress is not None else None
            report = audit(source, verifier, known_checkpoint, show, RowCheck(tables, source))
        if with_index:
            show = partial(progress, "indexes") if progress is not None else None
            check_index(data_dir.index, log.log_store(), data_dir.head, report, show)
        else:
            report.not_checked.append("derived indexes: left out")
    except Exception as error:  # noqa: BLE001  (whatever it is, a check that broke off must not count as passed)
        return Report(origin=verifier.name, failures=[f"the audit broke off: {type(error).__name__}: {error}"])
    finally:
        log.close()
    return report
