"""What an audit says, for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lineage_ledger.cli.output import Fields, View
from lineage_ledger.cli.text import plural
from lineage_ledger.formats.describe import format_time

if TYPE_CHECKING:
    from lineage_ledger.audit import Report
    from lineage_ledger.audit.suspects import Suspect


def views(report: Report) -> Iterator[View]:
    """What was found, what was counted, what could not be checked, and the verdict last."""
    for finding in report.findings:
        yield (("finding: ", "bold red"), (str(finding), ""))
    if len(report.findings) < report.finding_count:
        yield ((f"… and {report.finding_count - len(report.findings):,} more findings", ""),)
    if report.counts.entries or not report.failures:
        yield _counted(report)
    for suspect in report.suspect:
        yield _suspect(suspect)
    yield from verdict(report)


def _suspect(suspect: Suspect) -> View:
    """What a compromised key sealed, which is no finding: it is what was logged."""
    sealed = f"{plural(suspect.predictions, 'prediction')} and {plural(suspect.statements, 'statement')}"
    since = format_time(suspect.suspect_since_unix_ns)
    return (("suspect: ", "bold yellow"), (f"{sealed} of the key {suspect.public_key}, compromised since {since}", ""))


def verdict(report: Report) -> Iterator[View]:
    """What could not be checked, and whether it is a pass."""
    for line in (*report.covered.remarks(), *report.not_checked):
        yield (("not checked: ", "yellow"), (line, ""))
    for line in report.failures:
        yield (("failed: ", "bold red"), (line, ""))
    yield {
        0: ((_passed(report), "bold green"),),
        1: ((f"Findings: {report.finding_count:,}. This ledger is not as it was written.", "bold red"),),
        2: (("The audit could not be carried out; this is not a pass.", "bold red"),),
    }[report.exit_status]


def _passed(report: Report) -> str:
    covered = report.covered
    if covered.entries_from:
        return f"All entries, hashes, links and signatures from index {covered.entries_from:,} on check."
    if covered.signatures_from:
        return f"All entries, hashes and links check, and signatures from index {covered.signatures_from:,} on."
    return "All entries, hashes, links and signatures check."


def _compared(report: Report) -> Iterator[str]:
    """What was stored beside the entries and compared with them."""
    yield "checkpoint"
    covered = report.covered
    for name, is_so in (("stored hashes", covered.tiles), ("rows", covered.rows), ("derived indexes", covered.indexes)):
        if is_so:
            yield name


def _shared(report: Report) -> str:
    return f"{report.processes} processes" if report.processes > 1 else "1 process"


def _counted(report: Report) -> Fields:
    counts = report.counts
    return Fields(
        [
            ("origin", report.origin),
            ("audited", report.source),
            ("compared with the entries", ", ".join(_compared(report))),
            ("entries under the checkpoint", f"{report.size:,}"),
            ("entries behind it, not signed yet", f"{report.unsigned:,}"),
            *([("entries cosigned by a quorum", f"{report.witnessed:,}")] if report.witnessed is not None else []),
            ("predictions", f"{counts.predictions:,}"),
            ("statements", f"{counts.statements:,}"),
            ("seals", f"{counts.seals:,}"),
            ("chains", f"{counts.chains:,}"),
            ("blocks", f"{counts.blocks:,}"),
            ("producers", f"{counts.producers:,}"),
            ("conflicts", f"{counts.conflicts:,}"),
            ("predictions declared lost", f"{counts.lost:,}"),
            ("checked", f"{report.entries_per_second:,.0f} entries/s, {report.seconds:.1f} s, {_shared(report)}"),
        ]
    )
