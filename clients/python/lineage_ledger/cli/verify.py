"""`lineage verify`: checks a receipt from its file and a key alone. Imports nothing that could reach a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import click

from lineage_ledger.chain_receipts import ChainTally, verify_chain_receipt
from lineage_ledger.cli import completeness_view, cosignatures, entry_view, lineage_view
from lineage_ledger.cli.lineage import Lineage
from lineage_ledger.cli.options import examples, output_option, witness_policy_option
from lineage_ledger.cli.output import Fields, Output, Unchecked
from lineage_ledger.cli.receipt import ENTRY_SUFFIX
from lineage_ledger.cli.types import FILE, VERIFIER_KEYS
from lineage_ledger.completeness import MEANING_OF_RECEIPTS, Window
from lineage_ledger.errors import LineageError, MalformedError, OtherKeyError
from lineage_ledger.formats import chain_receipt, tlog_proof
from lineage_ledger.formats import receipt as receipt_format
from lineage_ledger.formats.describe import describe, format_time
from lineage_ledger.formats.ledger_keys import UnknownPinError
from lineage_ledger.formats.merkle import leaf_hash
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.strict_rules import MAX_ENTRY_BYTES
from lineage_ledger.formats.witness_policy import Cosignature, WitnessPolicy
from lineage_ledger.receipts import verify_receipt

_LIMIT = (
    "Absence and truth: the file proves that this entry is in the tree, not that there is no other, or that it is so."
)


T = TypeVar("T")
_Keys: TypeAlias = tuple[Verifier, ...]


class UncheckableError(LineageError):
    """What could not be checked, which is neither a yes nor a no."""


@click.command(
    epilog=examples(
        "lineage verify loan.receipt --key 'example.com/ledger/prod+8f5e2c0d+AZ…='",
        "lineage verify loan.receipt --key ledger.vkey",
        "lineage verify entry.tlog-proof --entry entry.tlog-proof.entry --key ledger.vkey",
        "lineage verify loan.receipt --key ledger.vkey --witness-policy witnesses.policy",
    )
)
@click.argument("file", type=FILE)
@click.option(
    "--key",
    "--verifier-key",
    "verifier_keys",
    type=VERIFIER_KEYS,
    required=True,
    metavar="VKEY",
    envvar="LINEAGE_VERIFIER_KEY",
    show_envvar=True,
    help="The ledger's verifier key, or the file that holds it; from elsewhere than the receipt. Several, as from "
    "before and after a change of the key: a line each.",
)
@click.option("--entry", type=FILE, help="The entry's bytes, for a tlog-proof. [default: FILE.entry]")
@witness_policy_option("Witnesses of which a quorum must have cosigned the checkpoint, too (C2SP tlog-policy).")
@output_option
def verify(
    file: Path,
    verifier_keys: tuple[Verifier, ...],
    entry: Path | None,
    witness_policy: WitnessPolicy | None,
    out: Output,
) -> None:
    """Check a receipt offline.

    No server and no network are needed, only the file and the ledger's key. With a witness policy, the receipt proves
    nothing unless a quorum of its witnesses saw the same history as everybody else.

    Exit status: 0 if it proves what is printed, 1 if it does not, 2 if it could not be checked.
    """
    try:
        data = _read(file, receipt_format.MAX_RECEIPT_BYTES)
        if data.startswith(tlog_proof.HEADER.encode()):
            proven = _read(entry or file.with_name(file.name + ENTRY_SUFFIX), MAX_ENTRY_BYTES)
            _verify_proof(data, proven, verifier_keys, witness_policy, out)
        elif data.startswith(chain_receipt.HEADER.encode()):
            _verify_chain(data, verifier_keys, witness_policy, out)
        else:
            _verify_lineage(data, verifier_keys, witness_policy, out)
    except UncheckableError as error:
        raise Unchecked(error, as_json=out.as_json) from error


def _with_any(keys: _Keys, check: Callable[[Verifier], T]) -> T:
    """What the first of the keys shows that the file is signed by, or leads to."""
    for key in keys[:-1]:
        with suppress(OtherKeyError, UnknownPinError):
            return check(key)
    return check(keys[-1])


def _verify_lineage(data: bytes, keys: _Keys, policy: WitnessPolicy | None, out: Output) -> None:
    verified = _with_any(keys, lambda key: verify_receipt(data, key, policy))
    lineage = Lineage.of_receipt(verified)
    block_time = format_time(verified.block_time_unix_ns)
    document = {
        "prediction_id": str(verified.prediction_id),
        "block": {"number": verified.block_number, "time": block_time},
        **lineage_view.document(lineage),
    } | _witnesses(verified.cosignatures, policy)
    out.show(
        document,
        lineage_view.tree(lineage),
        (("", ""),),
        lineage_view.summary(lineage),
        *lineage_view.doubts(lineage),
        ((f"on record since {block_time}, block {verified.block_number:,}, by the ledger's clock", ""),),
        *cosignatures.lines(verified.cosignatures),
        *lineage_view.limits(lineage),
    )


def _verify_chain(data: bytes, keys: _Keys, policy: WitnessPolicy | None, out: Output) -> None:
    verified = _with_any(keys, lambda key: verify_chain_receipt(data, key, policy))
    chains = [ChainTally(Window()).add(verified)]
    checkpoint = verified.checkpoint
    evidence = {
        "verified": True,
        "origin": verified.origin,
        "checkpoint": {"tree_size": checkpoint.size, "root": checkpoint.root.hex()},
        "supported_by": "receipt",
        "meaning": MEANING_OF_RECEIPTS,
        "limits": list(verified.limits),
    } | _witnesses(verified.cosignatures, policy)
    support = f"this receipt, under the tree of {checkpoint.size:,} entries that {verified.origin} signed"
    out.show(
        completeness_view.document(chains, Window(), 0, evidence),
        *completeness_view.views(chains, Window(), 0, support, MEANING_OF_RECEIPTS),
        *cosignatures.lines(verified.cosignatures),
        *(((f"not shown: {limit}", "dim"),) for limit in verified.limits),
    )


def _witnesses(found: Sequence[Cosignature], policy: WitnessPolicy | None) -> dict[str, Any]:
    return {} if policy is None else {"cosignatures": cosignatures.document(found)}


def _verify_proof(data: bytes, entry: bytes, keys: _Keys, policy: WitnessPolicy | None, out: Output) -> None:
    proof = tlog_proof.TlogProof.parse(data)
    checkpoint = _with_any(keys, lambda key: proof.verify(entry, key, policy))
    cosigned = () if policy is None else policy.cosignatures(proof.checkpoint)
    document = {
        "verified": True,
        "origin": checkpoint.origin,
        "checkpoint": {"tree_size": checkpoint.size, "root": checkpoint.root.hex()},
        "index": proof.index,
        "leaf_hash": leaf_hash(entry).hex(),
        "limits": [_LIMIT],
    } | _witnesses(cosigned, policy)
    try:
        described = describe(entry)
    except MalformedError:
        # Proven all the same: a kind that this version does not know.
        name, rows = "entry of an unknown kind", []
    else:
        document["entry"] = described
        name, rows = entry_view.title(described), list(entry_view.flat(described[described["kind"]]))
    out.show(
        document,
        Fields([("entry", name), ("index", str(proof.index)), ("leaf_hash", leaf_hash(entry).hex()), *rows]),
        (
            ("verified", "bold green"),
            (f": entry {proof.index} of the tree of {checkpoint.size:,} entries that {checkpoint.origin} signed", ""),
        ),
        *cosignatures.lines(cosigned),
        ((f"not shown: {_LIMIT}", "dim"),),
    )


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        hint = "; a tlog-proof proves an entry's bytes: give them with --entry" if path.suffix == ENTRY_SUFFIX else ""
        raise UncheckableError(f"cannot read {path}: {error.strerror}{hint}") from error
    if len(data) > limit:
        raise MalformedError(f"{path} has more than {limit:,} bytes, which is more than any of its kind")
    return data
