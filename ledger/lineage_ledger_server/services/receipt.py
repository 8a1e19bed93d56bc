"""Makes lineage receipts (`lineage_ledger.formats.receipt`) from the log and its indexes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lineage_ledger.errors import MalformedError
from lineage_ledger.formats.receipt import MAX_RECEIPT_BYTES, Receipt
from lineage_ledger.receipts import MAX_FAN_OUT
from lineage_ledger.trace import subject_of_index, walk
from lineage_ledger_server.errors import IndexOutOfRangeError, LimitError
from lineage_ledger_server.index.lookup import LogStatements
from lineage_ledger_server.services.batch_proofs import BatchProofs
from lineage_ledger_server.services.receipt_entries import (
    INDEX_WAIT_S,
    index_behind,
    ledger_entries,
    producer_entries,
)

if TYPE_CHECKING:
    from lineage_ledger.formats.prediction import PredictionId
    from lineage_ledger_server.head import Head
    from lineage_ledger_server.index.lookup import Lookup
    from lineage_ledger_server.reading.log_reader import LogReader


def make_receipt(
    reader: LogReader,
    lookup: Lookup,
    prediction_id: PredictionId,
    check: Callable[[], None] = lambda: None,
    head: Head | None = None,
) -> bytes:
    """The lineage receipt of a prediction under `head`, by default the newest; one checkpoint, one receipt.

    `check` is called now and then, and raises to end the work. Raises NotFoundError, PredictionLostError, LimitError
    for a lineage that does not fit into a receipt, RefusedError (INDEX_BEHIND) if the indexes do not reach the
    checkpoint, IndexOutOfRangeError for a prediction beyond `head`.
    """
    located = reader.locate(prediction_id)
    head = head or reader.head()
    if located.seal_index >= head.size:
        raise IndexOutOfRangeError(f"prediction {prediction_id} is beyond the size {head.size}", size=head.size)
    if not lookup.wait_for(head.size, INDEX_WAIT_S):
        raise index_behind(head.size)
    source = LogStatements(reader, lookup, head.size, check)
    nodes = walk(source, subject_of_index(located.index), max_fan_out=MAX_FAN_OUT)
    sealed = [source.sealed_entry(node.index) for node in nodes if node.index is not None]
    seals = {entry.seal_index: entry.seal for entry in sealed}
    proofs = BatchProofs(reader)
    batches: dict[int, tuple[bytes, ...]] = {}
    for seal_index, seal in sorted(seals.items()):
        check()
        entries = {entry.place: entry.entry for entry in sealed if entry.seal_index == seal_index}
        batches[seal_index] = tuple(proofs.multiproof(seal_index, seal, entries))
    indexes = ledger_entries(reader, head.size)
    indexes |= producer_entries(reader, {seal.body.public_key for seal in seals.values()}, head.size)
    opening_index, _ = reader.opening_seal(prediction_id.chain_id)
    indexes |= {opening_index, reader.block_after(located.seal_index, head.size), *seals}
    indexes.update(entry.index for entry in sealed)
    receipt = Receipt(
        prediction_id,
        {index: reader.entry(index) for index in sorted(indexes)},
        batches,
        tuple(reader.multiproof(sorted(indexes), head.size)),
        head.note,
    )
    try:
        return receipt.encode()
    except MalformedError as error:
        raise LimitError(
            f"the lineage does not fit into a receipt: {error}; prove its entries one by one",
            limit="max_receipt_bytes",
            value=MAX_RECEIPT_BYTES,
        ) from None
