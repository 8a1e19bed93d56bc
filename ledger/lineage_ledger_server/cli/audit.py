"""`lineage audit --data`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lineage_ledger.audit import Report


@click.command(
    epilog="""\b
Exit status: 0 all that could be checked is right, 1 something is wrong, 2 the audit could not be carried out.

\b
Examples:
  lineage audit --data ledger --key "$(cat ledger/verifier.key)"
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
@click.option("--key", "vkey", required=True, metavar="VKEY", help="Verifier key of the ledger, as you pinned it.")
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
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def audit(
    context: click.Context,
    data: Path,
    vkey: str,
    checkpoint: Path | None,
    head: Path | None,
    no_index: bool,
    as_json: bool,
) -> None:
    """Re-hash a whole ledger and check every link and signature, from its files alone.

    Every entry, hash, seal, block and row is derived anew and compared with what is stored and with what the ledger
    signed. What does not check is named by its index, or its tile's level and number.
    """
    from lineage_ledger.audit import Report
    from lineage_ledger.errors import InvalidKeyError
    from lineage_ledger.formats.note import Verifier
    from lineage_ledger_server.audit_data import audit_data_dir
    from lineage_ledger_server.data_dir import DataDir

    try:
        verifier = Verifier.parse(vkey)
        known = checkpoint.read_bytes() if checkpoint is not None else None
    except (InvalidKeyError, OSError) as error:
        report = Report(failures=[str(error)])
    else:
        with _progress(hidden=as_json) as progress:
            report = audit_data_dir(DataDir(data, head), verifier, known, progress, with_index=not no_index)
    click.echo(report.to_json() if as_json else _text(report))
    context.exit(report.exit_status)


@contextmanager
def _progress(*, hidden: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar with rate and remaining time on a terminal; nothing elsewhere."""
    if hidden or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("auditing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.speed:,.0f} entries/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("auditing", total=None)
        # Drawing is a thread's of its own; a call here costs more than hashing a bundle, so not every one is passed on.
        calls = 0

        def show(done: int, size: int) -> None:
            nonlocal calls
            calls += 1
            if calls % 64 == 0 or done == size:
                bar.update(task, completed=done, total=size)

        yield show


def _text(report: Report) -> str:
    """The report for people: what was found, what was counted, what could not be checked, and the verdict last."""
    lines = [f"finding: {finding}" for finding in report.findings]
    if len(report.findings) < report.finding_count:
        lines.append(f"… and {report.finding_count - len(report.findings):,} more findings")
    counts = report.counts
    table = {
        "origin": report.origin,
        "entries under the checkpoint": f"{report.size:,}",
        "entries behind it, not signed yet": f"{report.unsigned:,}",
        "predictions": f"{counts.predictions:,}",
        "statements": f"{counts.statements:,}",
        "seals": f"{counts.seals:,}",
        "chains": f"{counts.chains:,}",
        "blocks": f"{counts.blocks:,}",
        "producers": f"{counts.producers:,}",
        "conflicts": f"{counts.conflicts:,}",
        "predictions declared lost": f"{counts.lost:,}",
        "checked": f"{report.entries_per_second:,.0f} entries/s, {report.seconds:.1f} s",
    }
    width = max(map(len, table))
    lines += [f"{name:<{width}}  {value}" for name, value in table.items()]
    lines += [f"not checked: {line}" for line in report.not_checked]
    lines += [f"failed: {line}" for line in report.failures]
    lines.append(
        {
            0: "All entries, hashes, links and signatures check.",
            1: f"Findings: {report.finding_count:,}. This ledger is not as it was written.",
            2: "The audit could not be carried out; this is not a pass.",
        }[report.exit_status]
    )
    return "\n".join(lines)
