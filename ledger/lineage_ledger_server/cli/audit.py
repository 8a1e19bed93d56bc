"""`lineage audit --data`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lineage_ledger.cli.options import output_option
from lineage_ledger.cli.output import Fields, Output, View
from lineage_ledger.errors import LineageError
from lineage_ledger.formats.note import Verifier
from lineage_ledger_server.data_dir import DataDir

if TYPE_CHECKING:
    from lineage_ledger.audit import Report


@click.command(
    epilog="""\b
Exit status: 0 all that could be checked is right, 1 something is wrong, 2 the audit could not be carried out.

\b
Examples:
  lineage audit --data ledger --key ledger.vkey
  lineage audit --data ledger --key example.com/prod+1a2b3c4d+AQ… --checkpoint kept-last-week.txt
  lineage audit --data ledger --key "$KEY" --json | jq .findings
"""
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder of the ledger. It may be served meanwhile.",
)
@click.option(
    "--key",
    "--verifier-key",
    "verifier_key",
    required=True,
    metavar="VKEY",
    envvar="LINEAGE_VERIFIER_KEY",
    show_envvar=True,
    help="Verifier key of the ledger, as you pinned it: its text, or a file.",
)
@click.option(
    "--checkpoint",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A checkpoint that somebody else kept; without one nobody can tell that the newest entries were cut off.",
)
@click.option(
    "--head",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of the head record, if it is not in the folder.",
)
@click.option("--no-index", is_flag=True, help="Leave out the derived indexes; they are not evidence.")
@output_option
@click.pass_context
def audit(
    context: click.Context,
    data: Path,
    verifier_key: str,
    checkpoint: Path | None,
    head: Path | None,
    no_index: bool,
    out: Output,
) -> None:
    """Re-hash a whole ledger and check every link and signature, from its files alone.

    Every entry, hash, seal, block and row is derived anew and compared with what is stored and with what the ledger
    signed. What does not check is named by its index, or its tile's level and number.
    """
    from lineage_ledger.audit import Report
    from lineage_ledger.cli.types import parse_verifier_key
    from lineage_ledger_server.audit.data_dir import audit_data_dir

    try:
        verifier = parse_verifier_key(verifier_key)
        known = checkpoint.read_bytes() if checkpoint is not None else None
    except (LineageError, OSError) as error:
        report = Report(failures=[str(error)])
    else:
        with out.counting() as progress:
            report = audit_data_dir(DataDir(data, head), verifier, known, progress, with_index=not no_index)
        if report.findings:
            _ask_about_the_key(DataDir(data), verifier, report)
    out.show(report.document(), *_views(report))
    context.exit(report.exit_status)


def _ask_about_the_key(data_dir: DataDir, verifier: Verifier, report: Report) -> None:
    """With the key of another ledger nothing checks; say so before somebody believes the findings."""
    with contextlib.suppress(OSError, UnicodeDecodeError, LineageError):
        said = Verifier.parse(data_dir.verifier_key.read_text().strip())
        if said != verifier:
            report.not_checked.append(
                f"whether this is the right key: {verifier} was given, the folder says that its ledger has {said}; "
                "was it the key of another ledger?"
            )


def _views(report: Report) -> Iterator[View]:
    """The report for people: what was found, what was counted, what could not be checked, and the verdict last."""
    for finding in report.findings:
        yield (("finding: ", "bold red"), (str(finding), ""))
    if len(report.findings) < report.finding_count:
        yield ((f"… and {report.finding_count - len(report.findings):,} more findings", ""),)
    if report.counts.entries or not report.failures:
        yield _counted(report)
    for line in report.not_checked:
        yield (("not checked: ", "yellow"), (line, ""))
    for line in report.failures:
        yield (("failed: ", "bold red"), (line, ""))
    yield {
        0: (("All entries, hashes, links and signatures check.", "bold green"),),
        1: ((f"Findings: {report.finding_count:,}. This ledger is not as it was written.", "bold red"),),
        2: (("The audit could not be carried out; this is not a pass.", "bold red"),),
    }[report.exit_status]


def _counted(report: Report) -> Fields:
    counts = report.counts
    return Fields(
        [
            ("origin", report.origin),
            ("entries under the checkpoint", f"{report.size:,}"),
            ("entries behind it, not signed yet", f"{report.unsigned:,}"),
            ("predictions", f"{counts.predictions:,}"),
            ("statements", f"{counts.statements:,}"),
            ("seals", f"{counts.seals:,}"),
            ("chains", f"{counts.chains:,}"),
            ("blocks", f"{counts.blocks:,}"),
            ("producers", f"{counts.producers:,}"),
            ("conflicts", f"{counts.conflicts:,}"),
            ("predictions declared lost", f"{counts.lost:,}"),
            ("checked", f"{report.entries_per_second:,.0f} entries/s, {report.seconds:.1f} s"),
        ]
    )
