"""`lineage show`: one entry, verified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lineage_ledger.cli import entry_view
from lineage_ledger.cli.lineage import parse_subject, standing
from lineage_ledger.cli.options import Access, access_options, examples, output_option
from lineage_ledger.cli.output import Fields, Output
from lineage_ledger.errors import MalformedError
from lineage_ledger.formats.describe import describe
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.v1 import entry_pb2

if TYPE_CHECKING:
    from lineage_ledger.answers import LoggedPrediction


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
    that the producer's seal covers it; and whether it is suspect, because the producer's key was declared compromised.
    """
    subject = parse_subject(what)
    if isinstance(subject, entry_pb2.Digest):
        raise MalformedError("show takes a prediction's id or an index; `lineage trace` takes a digest too")
    with access.client() as client:
        place: dict[str, Any] = {}
        if isinstance(subject, PredictionId):
            prediction = client.get_prediction(subject)
            doubt = standing(client, subject).get(prediction.index)
            subject, place = prediction.index, prediction_document(prediction)
            place |= {} if doubt is None else {"suspicion": str(doubt)}
        logged = client.get_entry(subject)
    described = describe(logged.data)
    size = logged.checkpoint.size
    document = {
        "index": logged.index,
        **place,
        "entry": described,
        "verified": True,
        "origin": client.origin,
        "checkpoint": {"tree_size": size, "root": logged.checkpoint.root.hex()},
    }
    rows = [(name, str(value)) for name, value in ({"index": logged.index} | place).items()]
    out.show(
        document,
        ((entry_view.title(described), "bold"), ("  verified", "green"), (f" in a tree of {size:,} entries", "")),
        Fields([*rows, ("leaf_hash", described["leaf_hash"]), *entry_view.flat(described[described["kind"]])]),
    )


def prediction_document(found: LoggedPrediction) -> dict[str, Any]:
    """Where a proven prediction is, as plain data."""
    return {
        "prediction_id": str(found.prediction_id),
        "index": found.index,
        "seal_index": found.seal_index,
        "public_key": found.public_key.hex(),
        "deployment_hash": found.deployment_hash.hex(),
    }
