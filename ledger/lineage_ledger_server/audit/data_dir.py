"""The audit of a data directory: its log, its rows, its head and cosigned records and its derived indexes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from lineage_ledger.audit import AuditState, Finding, Report, Since, audit
from lineage_ledger.errors import LineageError
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.witness_policy import WitnessPolicy
from lineage_ledger_server.audit.indexes import check_index
from lineage_ledger_server.audit.rows import RowCheck
from lineage_ledger_server.audit.source import DataDirSource, Slot, read_record
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.errors import CorruptValueError
from lineage_ledger_server.publication import Rule, read_rule
from lineage_ledger_server.store.log_store import TABLES
from lineage_ledger_server.store.raw_tables import RawEnvironment

COSIGNED_RECORD: Final = "cosigned record"
"""What findings call it."""


def audit_data_dir(
    data_dir: DataDir,
    verifier: Verifier,
    known_checkpoint: bytes | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    *,
    with_index: bool = True,
    since: Since | None = None,
    processes: int | None = 1,
    witness_policy: WitnessPolicy | None = None,
) -> Report:
    """Audit the ledger in `data_dir` as it is now; a server may go on writing it.

    Does not raise: what cannot be opened is a failure in the report. `with_index` off leaves the derived indexes out,
    which are not evidence, and which take as long again; so does an audit state, and the rows of batches and blocks
    before it are not looked at either. `since`, `processes` and `witness_policy` are those of `audit`. `progress` is
    told what is checked ("log", "indexes"), how many of its entries are done, and how many there are.
    """
    try:
        # In this order: what was cosigned was signed before, and what was signed is in the tables read afterwards.
        cosigned, findings = _read_cosigned(data_dir)
        slots, head_findings = read_record(data_dir.head, "head record")
        log = RawEnvironment(data_dir.log, TABLES)
    except LineageError as error:
        return Report(origin=verifier.name, failures=[f"the ledger cannot be opened: {error}"])
    try:
        with log.tables() as tables:
            source = DataDirSource(tables, [*slots, *cosigned], data_dir.log)
            source.findings += [*head_findings, *findings, *_ahead(slots, cosigned)]
            show = partial(progress, "log") if progress is not None else None
            rows = RowCheck(tables, source)
            report = audit(
                source,
                verifier,
                known_checkpoint,
                show,
                rows,
                since=since,
                processes=processes,
                witness_policy=witness_policy,
            )
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


def _read_cosigned(data_dir: DataDir) -> tuple[list[Slot], list[Finding]]:
    """The slots of the cosigned record, newest first, and what is wrong with it or with the rule that goes with it.

    Raises StoreError if a file cannot be read.
    """
    findings = []
    is_asked = False
    try:
        is_asked = read_rule(data_dir).rule is not Rule.SIGNED
    except CorruptValueError as error:
        findings.append(Finding("publication", "publication", str(error), "a rule and since which size"))
    if not data_dir.cosigned.exists():
        if is_asked:
            found = "is not there, though witnesses are asked: what they cosigned was taken away"
            findings.append(Finding("cosigned_record", COSIGNED_RECORD, found, "as it was written"))
        return [], findings
    slots, wrong = read_record(data_dir.cosigned, COSIGNED_RECORD)
    return slots, [*findings, *wrong]


def _ahead(signed: list[Slot], cosigned: list[Slot]) -> Iterator[Finding]:
    """What was signed comes before what was cosigned."""
    if signed and cosigned and signed[0].size < cosigned[0].size:
        found = f"is over {signed[0].size} entries, and witnesses cosigned {cosigned[0].size}: it was put back"
        yield Finding("checkpoint", signed[0].name, found, "a checkpoint over as many entries or more")


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
    witness_policy: WitnessPolicy | None,
) -> Report:
    """`audit_data_dir` as `lineage audit --data` calls it: of the folder `root`, with the head record in `head`."""
    data_dir = DataDir(root, head)
    return audit_data_dir(
        data_dir,
        verifier,
        known_checkpoint,
        progress,
        with_index=with_index,
        since=since,
        processes=processes,
        witness_policy=witness_policy,
    )
