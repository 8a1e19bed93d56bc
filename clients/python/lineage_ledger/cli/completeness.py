"""`lineage completeness`: how many predictions there are, and that none is missing."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from lineage_ledger.chain_receipts import ChainTally, VerifiedChain
from lineage_ledger.cli import audit_view, completeness_view
from lineage_ledger.cli.audit import open_source, read_checkpoint
from lineage_ledger.cli.options import Access, access_options, examples, output_option
from lineage_ledger.cli.output import Output, Unchecked
from lineage_ledger.cli.receipt import write_new_file
from lineage_ledger.cli.text import plural
from lineage_ledger.cli.types import CHAIN_ID, DIGEST, FILE, FOLDER, HASH, TIME
from lineage_ledger.completeness import MEANING_OF_AUDIT, MEANING_OF_RECEIPTS, Window
from lineage_ledger.errors import LineageError, RpcError, SettingsError
from lineage_ledger.history import block_time
from lineage_ledger.v1 import entry_pb2
from lineage_ledger.web import WebError

if TYPE_CHECKING:
    from lineage_ledger.audit import TotalsObserver

SUFFIX: Final = ".chain-receipt"
_DAY_S: Final = 86_400


@click.command(
    epilog=examples(
        "lineage completeness --data ledger --chain 8f5e2c0d9a1b4c7e8f5e2c0d9a1b4c7e",
        "lineage completeness --data ledger --producer 1f0c…9e --from 2026-03-01 --until 2026-04-01 -o receipts",
        "lineage completeness --url https://ledger.example.com/log --verifier-key ledger.vkey --deployment 5df6…88",
        "lineage completeness --data ledger --model sha256:9b1c…04 --json",
    )
    + "\n\nExit status: 0 if it is proven, 1 if something contradicts it, 2 if it could not be checked."
)
@click.option(
    "--chain", "chain_ids", multiple=True, type=CHAIN_ID, metavar="CHAIN_ID", help="A chain, 32 hex digits; repeatable."
)
@click.option("--producer", type=HASH, metavar="PUBLIC_KEY", help="All chains of this key, 64 hex digits.")
@click.option("--deployment", type=HASH, metavar="LEAF_HASH", help="Count predictions of this deployment only.")
@click.option("--model", type=DIGEST, metavar="DIGEST", help="Count predictions of this model's deployments only.")
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
@click.option("--audit", "with_audit", is_flag=True, help="Audit the whole ledger for the answer, whatever is asked.")
@click.option("--folder", type=FOLDER, help="Audit the folder that `lineage export` wrote.")
@click.option("--url", metavar="URL", help="Audit what is served there: such a folder, or `lineage serve --http`.")
@click.option(
    "--checkpoint",
    type=FILE,
    help="With an audit: a checkpoint that somebody else kept; without one nobody can tell that the newest entries "
    "were cut off.",
)
@click.option("-o", "--output", type=FOLDER, help="Folder to keep the chain receipts in; made if need be.")
@access_options
@output_option
@click.pass_context
def completeness(
    context: click.Context,
    chain_ids: tuple[bytes, ...],
    producer: bytes | None,
    deployment: bytes | None,
    model: entry_pb2.Digest | None,
    since: int,
    until: int,
    abandoned_after_s: int,
    with_audit: bool,
    folder: Path | None,
    url: str | None,
    checkpoint: Path | None,
    output: Path | None,
    access: Access,
    out: Output,
) -> None:
    """Count predictions, and show that no number is missing.

    For chains, and for a producer, the answer is proven by chain receipts: all seals, one after the other. `lineage
    verify` checks the ones that are kept with -o, offline. That there is no other chain only an audit shows; so
    totals for a deployment or a model alone, and those of a folder or URL, come with an audit of the whole ledger.
    """
    if not (chain_ids or producer or deployment or model):
        raise click.UsageError("give --chain, --producer, --deployment or --model")
    if until and until <= since:
        raise click.UsageError("--until is not after --from")
    if folder and url:
        raise click.UsageError("give one of --folder and --url")
    wanted = _Wanted(chain_ids, producer or b"", deployment or b"", model, Window(since, until), abandoned_after_s)
    is_audit = with_audit or folder or url or model or not (chain_ids or producer)
    if is_audit and output is not None:
        raise click.UsageError("-o keeps chain receipts, which an audit does without")
    if checkpoint is not None and not is_audit:
        raise click.UsageError("--checkpoint is for an audit: give --audit, too")
    try:
        if is_audit:
            context.exit(_from_audit(wanted, folder, url, access, read_checkpoint(checkpoint), out))
        _from_receipts(wanted, output, access, out)
    except (RpcError, WebError, SettingsError, OSError) as error:
        # Who cannot be asked contradicts nothing, and a wrong file does not, either.
        raise Unchecked(LineageError(str(error)), as_json=out.as_json) from error


class _Wanted(NamedTuple):
    """What is asked for."""

    chain_ids: tuple[bytes, ...]
    public_key: bytes
    deployment_hash: bytes
    model: entry_pb2.Digest | None
    window: Window
    abandoned_after_s: int

    def abandoned_before_unix_ns(self, newest_block_unix_ns: int) -> int:
        """When the last seal of an abandoned chain was on record, at the latest."""
        return max(0, newest_block_unix_ns - self.abandoned_after_s * 1_000_000_000)


def _from_audit(
    wanted: _Wanted, folder: Path | None, url: str | None, access: Access, known_checkpoint: bytes | None, out: Output
) -> int:
    """Over a whole ledger; the audit's exit status."""
    from lineage_ledger.audit import TotalsObserver, audit

    observer = TotalsObserver(
        wanted.window,
        chain_ids=wanted.chain_ids,
        public_key=wanted.public_key,
        deployment_hash=wanted.deployment_hash,
        model=wanted.model,
    )
    chosen = "folder" if folder else "url" if url else "server"
    with out.counting() as progress, contextlib.closing(open_source(chosen, folder, url, access)) as source:
        show = partial(progress, "log") if progress is not None else None
        report = audit(source, access.verifier, known_checkpoint, show, observer)
    report.source = f"{chosen} {folder or url or access.endpoint.target}"
    if not report.exit_status:
        _check_known(wanted, observer, out)
    chains = observer.chains
    abandoned_before = wanted.abandoned_before_unix_ns(observer.newest_block_time_unix_ns)
    evidence = {
        "origin": report.origin,
        "checkpoint": {"tree_size": report.size},
        "supported_by": "audit",
        "meaning": MEANING_OF_AUDIT,
        "audit": report.document(),
    }
    support = f"an audit of all {report.size:,} entries of {report.source}"
    views = completeness_view.views(chains, wanted.window, abandoned_before, support, MEANING_OF_AUDIT)
    out.show(
        completeness_view.document(chains, wanted.window, abandoned_before, evidence),
        *(() if report.exit_status else views),
        *audit_view.verdict(report),
    )
    return report.exit_status


def _check_known(wanted: _Wanted, observer: TotalsObserver, out: Output) -> None:
    """That what was named is in the ledger: nothing found is not nothing lost."""
    unknown = [f"chain {chain_id.hex()}" for chain_id in wanted.chain_ids if not observer.knows_chain(chain_id)]
    if wanted.public_key and not observer.knows_producer(wanted.public_key):
        unknown.append(f"producer {wanted.public_key.hex()}")
    if unknown:
        raise Unchecked(LineageError(f"the ledger has no {unknown[0]}"), as_json=out.as_json)


def _from_receipts(wanted: _Wanted, output: Path | None, access: Access, out: Output) -> None:
    """From a server, chain by chain."""
    with access.client() as client:
        # Asked for before the receipts, so that each of them is under this tree or a larger one.
        checkpoint = client.checkpoint()
        newest_block_unix_ns = block_time(client.get_entry(checkpoint.size - 1).data)
        named = (chain.chain_id for chain in client.chains(public_key=wanted.public_key)) if wanted.public_key else ()
        chain_ids = list(dict.fromkeys(wanted.chain_ids or named))
        tallies = [ChainTally(wanted.window) for _ in chain_ids]
        for chain_id, tally in zip(chain_ids, tallies, strict=True):
            for data, run in client.chain_receipts(chain_id):
                tally.add(run)
                if output is not None:
                    _keep(output, run, data)
            if tally.goes_on:
                raise Unchecked(
                    LineageError(f"the server leaves out the end of chain {chain_id.hex()}"), as_json=out.as_json
                )
    chains = [tally.totals for tally in tallies if tally.totals is not None]
    if wanted.public_key:
        chains = [chain for chain in chains if chain.public_key == wanted.public_key]
    if not chains:
        raise Unchecked(LineageError("the server names no such chain"), as_json=out.as_json)
    if wanted.deployment_hash:
        for chain in chains:
            chain.narrow((wanted.deployment_hash,))
    evidence = {
        "origin": checkpoint.origin,
        "checkpoint": {"tree_size": checkpoint.size, "root": checkpoint.root.hex()},
        "supported_by": "receipts",
        "meaning": MEANING_OF_RECEIPTS,
    }
    support = f"{plural(len(chains), 'chain')} proven by receipts; that this is all, by an audit alone (--audit)"
    abandoned_before = wanted.abandoned_before_unix_ns(newest_block_unix_ns)
    out.show(
        completeness_view.document(chains, wanted.window, abandoned_before, evidence),
        *completeness_view.views(chains, wanted.window, abandoned_before, support, MEANING_OF_RECEIPTS),
    )


def _keep(folder: Path, run: VerifiedChain, data: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    first = run.seals[0].seal.body.batch_sequence
    write_new_file(folder / f"{run.chain_id.hex()}-{first}{SUFFIX}", data, force=True)
