"""`lineage completeness`: how many predictions there are, and that none is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from lineage_ledger.chain_receipts import VerifiedChain
from lineage_ledger.cli import completeness_view
from lineage_ledger.cli.options import Access, access_options, examples, output_option
from lineage_ledger.cli.output import Output, Unchecked
from lineage_ledger.cli.receipt import write_new_file
from lineage_ledger.cli.text import plural
from lineage_ledger.cli.types import CHAIN_ID, FOLDER, HASH, TIME
from lineage_ledger.completeness import ChainTally, Window
from lineage_ledger.errors import LineageError

if TYPE_CHECKING:
    from lineage_ledger.client import Client

SUFFIX: Final = ".chain-receipt"
_DAY_S: Final = 86_400


@click.command(
    epilog=examples(
        "lineage completeness --data ledger --chain 8f5e2c0d9a1b4c7e8f5e2c0d9a1b4c7e",
        "lineage completeness --data ledger --producer 1f0c…9e --from 2026-03-01 --until 2026-04-01",
        "lineage completeness --data ledger --producer 1f0c…9e -o receipts --json",
    )
)
@click.option("--chain", "chain_ids", multiple=True, type=CHAIN_ID, metavar="CHAIN_ID", help="32 hex digits.")
@click.option("--producer", type=HASH, metavar="PUBLIC_KEY", help="All chains of this key, 64 hex digits.")
@click.option("--deployment", type=HASH, metavar="LEAF_HASH", help="Only predictions of this deployment are counted.")
@click.option("--from", "since", type=TIME, default=0, help="Predictions that started from this time on (RFC 3339).")
@click.option("--until", type=TIME, default=0, help="Predictions that started before this time (RFC 3339).")
@click.option(
    "--abandoned-after-s",
    type=click.IntRange(min=1),
    default=_DAY_S,
    show_default=True,
    metavar="SECONDS",
    help="An open chain without a seal for so long, by the ledger's clock, is taken to be abandoned.",
)
@click.option("-o", "--output", "folder", type=FOLDER, help="Folder to keep the chain receipts in; made if need be.")
@access_options
@output_option
def completeness(
    chain_ids: tuple[bytes, ...],
    producer: bytes | None,
    deployment: bytes | None,
    since: int,
    until: int,
    abandoned_after_s: int,
    folder: Path | None,
    access: Access,
    out: Output,
) -> None:
    """Count predictions, and show that no number is missing.

    Each chain is proven by receipts: all its seals, one after the other. `lineage verify` checks the ones that are kept
    with -o, offline. The server says which chains a producer has, and which have predictions of a deployment; that it
    named all of them is shown by an audit: `lineage audit --totals`.
    """
    if not (chain_ids or producer or deployment):
        raise click.UsageError("give --chain, --producer or --deployment")
    window = Window(since, until)
    if until and until <= since:
        raise click.UsageError("--until is not after --from")
    with access.client() as client:
        wanted = list(dict.fromkeys(chain_ids or _listed(client, producer, deployment)))
        tallies = [ChainTally(window, (deployment,) if deployment else ()) for _ in wanted]
        for chain_id, tally in zip(wanted, tallies, strict=True):
            for data, run in client.chain_receipts(chain_id):
                tally.add(run)
                if folder is not None:
                    _keep(folder, run, data)
        checkpoint = client.checkpoint()
        newest_block = client.get_entry(checkpoint.size - 1).entry.block
    abandoned_before = newest_block.time_unix_ns - abandoned_after_s * 1_000_000_000
    chains = [tally.totals for tally in tallies if tally.totals is not None]
    if not chains:
        raise Unchecked(LineageError("there is no such chain on record"), as_json=out.as_json)
    if deployment and not chain_ids:
        chains = [chain for chain in chains if chain.by_deployment]
    evidence = {
        "origin": checkpoint.origin,
        "checkpoint": {"tree_size": checkpoint.size, "root": checkpoint.root.hex()},
        "supported_by": "receipts",
    }
    support = f"{plural(len(chains), 'chain')} proven by receipts; that there is no other, by an audit alone"
    out.show(
        completeness_view.document(chains, window, abandoned_before, evidence),
        *completeness_view.views(chains, window, abandoned_before, support),
    )


def _listed(client: Client, producer: bytes | None, deployment: bytes | None) -> Iterator[bytes]:
    """Ids of the chains that the server names."""
    for chain in client.chains(public_key=producer or b"", deployment_hash=deployment or b""):
        yield chain.chain_id


def _keep(folder: Path, run: VerifiedChain, data: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    first = run.seals[0].seal.body.batch_sequence
    write_new_file(folder / f"{run.chain_id.hex()}-{first}{SUFFIX}", data, force=True)
