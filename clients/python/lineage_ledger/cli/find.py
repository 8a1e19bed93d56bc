"""`lineage find`: predictions by what is known of them."""

from __future__ import annotations

from itertools import islice
from typing import Any

import click

from lineage_ledger.cli.entry_view import STATUS_NAMES
from lineage_ledger.cli.options import Access, access_options, examples, output_option
from lineage_ledger.cli.output import Output, Table
from lineage_ledger.cli.show import prediction_document
from lineage_ledger.cli.text import bytes_as_text, duration, plural
from lineage_ledger.cli.types import HASH, TIME
from lineage_ledger.formats.describe import describe_message

PAGE_SIZE = 500
_COLUMNS = ("prediction", "index", "started", "took", "status", "request id")


@click.command(
    epilog=examples(
        "lineage find --data ledger --request-id 7f3a-91",
        "lineage find --data ledger --from 2026-03-01 --until 2026-03-02T12:00:00Z --limit 20",
        "lineage find --data ledger --deployment 5df6e0e2…88 --json",
    )
)
@click.option("--request-id", help="Id of the request, 1 to 64 bytes; hex:… for one that is not text.")
@click.option("--from", "since", type=TIME, default=0, help="From this time on, by the ledger's clock (RFC 3339).")
@click.option("--until", type=TIME, default=0, help="Before this time, by the ledger's clock (RFC 3339).")
@click.option("--producer", type=HASH, metavar="PUBLIC_KEY", help="Sealed by this key, 64 hex digits.")
@click.option("--deployment", type=HASH, metavar="LEAF_HASH", help="Made with the deployment of this leaf hash.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="Most predictions to show; 0: all.",
)
@access_options
@output_option
def find(
    request_id: str | None,
    since: int,
    until: int,
    producer: bytes | None,
    deployment: bytes | None,
    limit: int,
    access: Access,
    out: Output,
) -> None:
    """Find predictions, oldest first. All criteria that are given must hold.

    Each one is verified before it is shown. That there are no others cannot be shown by an answer, only by an audit.
    """
    if not (request_id or since or until or producer or deployment):
        raise click.UsageError("give at least one of --request-id, --from, --until, --producer, --deployment")
    criteria: dict[str, Any] = {
        "request_id": _request_id(request_id or ""),
        "from_time_unix_ns": since,
        "until_time_unix_ns": until,
        "public_key": producer or b"",
        "deployment_hash": deployment or b"",
    }
    documents: list[dict[str, Any]] = []
    with access.client() as client:
        found = client.find_predictions(**criteria)
        while page := list(islice(found, min(PAGE_SIZE, limit - len(documents)) if limit else PAGE_SIZE)):
            described = [{**prediction_document(one), "prediction": describe_message(one.prediction)} for one in page]
            documents += described
            out.view(Table(_COLUMNS, [_row(document) for document in described]))
    more = bool(limit) and len(documents) == limit
    out.show({"predictions": documents, "limited": more})
    if not out.as_json:
        out.remark(f"{plural(len(documents), 'prediction')}" + ("; there may be more: raise --limit" if more else ""))


def _request_id(text: str) -> bytes:
    if not text.startswith("hex:"):
        return text.encode(errors="surrogateescape")
    try:
        return bytes.fromhex(text.removeprefix("hex:"))
    except ValueError:
        raise click.UsageError("--request-id hex:… must go on with hex digits, two for a byte") from None


def _row(document: dict[str, Any]) -> tuple[str, ...]:
    prediction = document["prediction"]
    status = prediction["status_code"]
    return (
        document["prediction_id"],
        str(document["index"]),
        f"{prediction['start_time_unix_ns'][:23]}Z",
        duration(prediction["duration_us"]) if prediction.get("duration_us") else "",
        STATUS_NAMES[status],
        bytes_as_text(prediction.get("request_id", "")),
    )
