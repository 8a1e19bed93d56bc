"""`lineage find`: predictions by what is known of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from lineage_ledger.cli.entry_view import STATUS_NAMES
from lineage_ledger.cli.options import Access, access_options, examples, output_option
from lineage_ledger.cli.output import Output, Table
from lineage_ledger.cli.show import prediction_document, verified_prediction
from lineage_ledger.cli.text import bytes_as_text, duration
from lineage_ledger.cli.types import HASH, TIME
from lineage_ledger.v1 import entries_pb2

if TYPE_CHECKING:
    from lineage_ledger.rpc.connection import Connection

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
    from lineage_ledger.cli.verified import VerifiedReader

    request = entries_pb2.FindPredictionsRequest(
        request_id=_request_id(request_id or ""),
        from_time_unix_ns=since,
        until_time_unix_ns=until,
        public_key=producer or b"",
        deployment_hash=deployment or b"",
    )
    documents: list[dict[str, Any]] = []
    more, searched = False, 0
    with access.connect() as connection:
        reader = VerifiedReader(connection, access.verifier)
        for answer in _pages(connection, request, limit):
            page = [prediction_document(verified_prediction(reader, found)) for found in answer.predictions]
            documents += page if out.as_json else []
            searched = answer.indexed_size
            if page:
                out.view(Table(_COLUMNS, [_row(document) for document in page]))
            more = bool(answer.next_page_token)
    out.show({"predictions": documents, "more": more, "searched_size": searched})
    if not out.as_json:
        out.remark(f"searched {searched:,} entries" + ("; there may be more: raise --limit" if more else ""))


def _pages(
    connection: Connection, request: entries_pb2.FindPredictionsRequest, limit: int
) -> Iterator[entries_pb2.FindPredictionsResponse]:
    """Pages until there is no more or `limit` is reached."""
    from lineage_ledger.rpc import methods

    left = limit
    while True:
        request.page_size = min(PAGE_SIZE, left) if limit else PAGE_SIZE
        answer = connection.call(methods.FIND_PREDICTIONS, request)
        left -= len(answer.predictions)
        yield answer
        request.page_token = answer.next_page_token
        if not request.page_token or (limit and left <= 0):
            return


def _request_id(text: str) -> bytes:
    if not text.startswith("hex:"):
        return text.encode(errors="surrogateescape")
    try:
        return bytes.fromhex(text.removeprefix("hex:"))
    except ValueError:
        raise click.UsageError("--request-id hex:… must go on with hex digits, two for a byte") from None


def _row(document: dict[str, Any]) -> tuple[str, ...]:
    prediction = document["entry"]["prediction"]
    status = prediction["status_code"]
    return (
        document["prediction_id"],
        str(document["index"]),
        f"{prediction['start_time_unix_ns'][:23]}Z",
        duration(prediction["duration_us"]) if prediction.get("duration_us") else "",
        STATUS_NAMES[status],
        bytes_as_text(prediction.get("request_id", "")),
    )
