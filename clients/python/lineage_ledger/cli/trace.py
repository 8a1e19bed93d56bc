"""`lineage trace`: what something came from."""

from __future__ import annotations

import click

from lineage_ledger.cli import lineage_view
from lineage_ledger.cli.lineage import fetch, parse_subject
from lineage_ledger.cli.options import Access, access_options, examples, output_option
from lineage_ledger.cli.output import Output


@click.command(
    epilog=examples(
        "lineage trace --data ledger 8f5e2c0d9a1b4c7e8f5e2c0d9a1b4c7e-12-a1b2c3d4",
        "lineage trace --data ledger 1203",
        "lineage trace --server ledger.example.com:7461 --ca-file ca.pem --verifier-key ledger.vkey sha256:2c26…ae",
    )
)
@click.argument("what", metavar="ID|INDEX|DIGEST")
@access_options
@output_option
def trace(what: str, access: Access, out: Output) -> None:
    """Show all that a prediction or an artifact came from.

    From a prediction: its deployment, the model's files, the run that trained it with parameters and environment, the
    datasets and the code. Each entry is printed after it is verified: that it is in the tree that the pinned key
    signed, and sealed by the producer shown. What is referred to and not on record is marked; so is, from a prediction,
    what is suspect because its producer's key was declared compromised. From an artifact nothing is said of that: the
    admin's `lineage producers list` names such keys.
    """
    subject = parse_subject(what)
    with access.client() as client:
        lineage = fetch(client, subject)
    out.show(
        lineage_view.document(lineage),
        lineage_view.tree(lineage),
        (("", ""),),
        lineage_view.summary(lineage),
        *lineage_view.doubts(lineage),
        *lineage_view.limits(lineage),
    )
