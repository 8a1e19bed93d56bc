"""`lineage show`: one entry, verified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lineage_ledger.cli import entry_view
from lineage_ledger.cli.lineage import parse_subject
from lineage_ledger.cli.options import Access, access_options, examples, output_option
from lineage_ledger.cli.output import Fields, Output
from lineage_ledger.errors import MalformedError, VerificationError
from lineage_ledger.formats.describe import describe
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.formats.strict import parse_entry
from lineage_ledger.v1 import entries_pb2

if TYPE_CHECKING:
    from lineage_ledger.cli.verified import VerifiedReader
    from lineage_ledger.trace import SealedEntry
    from lineage_ledger.v1.entries_pb2 import LoggedPrediction


@click.command(
    epilog=examples(
        "lineage show --data ledger 8f5e2c0d9a1b4c7e8f5e2c0d9a1b4c7e-12-a1b2c3d4",
        "lineage show --data ledger 0 --json",
    )
)
@click.argument("what", metavar="ID|INDEX")
@access_options
@output_option
def show(what: str, access: Access, out: Output) -> None:
    """Show one prediction by its id, or any entry by its index.

    The entry is shown after it is verified: that it is in the tree that the pinned key signed and, for a prediction,
    that the producer's seal covers it.
    """
    from lineage_ledger.cli.verified import VerifiedReader
    from lineage_ledger.rpc import methods

    subject = parse_subject(what)
    with access.connect() as connection:
        reader = VerifiedReader(connection, access.verifier)
        if isinstance(subject, PredictionId):
            request = entries_pb2.GetPredictionRequest(prediction_id=str(subject))
            found = connection.call(methods.GET_PREDICTION, request).prediction
            document = prediction_document(verified_prediction(reader, found, subject))
        elif isinstance(subject, int):
            entry = reader.entry(subject)
            document = {"index": subject, "entry": describe(entry)}
        else:
            raise MalformedError("show takes a prediction's id or an index; `lineage trace` takes a digest too")
        checkpoint = reader.checkpoint
    document |= {
        "verified": True,
        "origin": reader.origin,
        "checkpoint": {"tree_size": checkpoint.size, "root": checkpoint.root.hex()},
    }
    described = document["entry"]
    rows = [
        (name, str(document[name]))
        for name in ("prediction_id", "index", "seal_index", "public_key", "deployment_hash")
        if name in document
    ]
    out.show(
        document,
        (
            (entry_view.title(described), "bold"),
            ("  verified", "green"),
            (f" in a tree of {checkpoint.size:,} entries", ""),
        ),
        Fields([*rows, ("leaf_hash", described["leaf_hash"]), *entry_view.flat(described[described["kind"]])]),
    )


def verified_prediction(
    reader: VerifiedReader, found: LoggedPrediction, asked: PredictionId | None = None
) -> SealedEntry:
    """Check a prediction that the server sent against tree and seal. Raises `VerificationError`."""
    sealed = reader.sealed(found.index, found.entry, found.seal_index)
    entry = parse_entry(sealed.entry)
    if not entry.HasField("prediction"):
        raise VerificationError(f"entry {found.index} is no prediction, as the server says")
    if sealed.prediction_id(entry.prediction) != (asked or PredictionId.parse(found.prediction_id)):
        raise VerificationError(f"entry {found.index} is another prediction than the server says")
    return sealed


def prediction_document(sealed: SealedEntry) -> dict[str, Any]:
    """A verified prediction as plain data; what it says is from the entry and the seal, not from the server."""
    prediction = parse_entry(sealed.entry).prediction
    return {
        "prediction_id": str(sealed.prediction_id(prediction)),
        "index": sealed.index,
        "seal_index": sealed.seal_index,
        "public_key": sealed.seal.body.public_key.hex(),
        "deployment_hash": sealed.deployment_hash(prediction).hex(),
        "entry": describe(sealed.entry),
    }
