"""Appends statements at once: a chain that opens, seals them in one batch, and closes.

The emitter would do it too, but goes on trying where a person wants to be told.
"""

from __future__ import annotations

from collections.abc import Sequence

from lineage_ledger.emitter.acknowledgements import AcknowledgementChecker
from lineage_ledger.emitter.emitter import LoggedStatement
from lineage_ledger.emitter.errors import UnderPromisedError
from lineage_ledger.emitter.ring import Cut
from lineage_ledger.emitter.sealer import ChainSealer, SealedBatch
from lineage_ledger.formats import merkle, packed
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Verifier
from lineage_ledger.rpc import methods
from lineage_ledger.rpc.connection import Connection
from lineage_ledger.v1 import append_pb2


def append_statements(
    connection: Connection, verifier: Verifier, key: SigningKey, entries: Sequence[bytes]
) -> list[LoggedStatement]:
    """Append `entries`, sealed with the producer's `key`, and wait for the acknowledgement; in order.

    Raises `RpcError` for what the ledger refuses, `OtherOriginError` before anything is sent to another ledger,
    `VerificationError` for an acknowledgement that does not hold, `UnderPromisedError` if the ledger cannot publish.
    """
    sealer, checker = ChainSealer(verifier.name, key), AcknowledgementChecker(verifier)
    checker.check_ledger(connection.call(methods.GET_LEDGER, append_pb2.GetLedgerRequest()))
    outcome = "Nothing was recorded; try again when they are back"
    try:
        _send(connection, checker, sealer.open(None))
        cut = Cut(0, len(entries), packed.pack(entries), len(entries), [])
        outcome = "It is on the ledger's disk, and published when they are back: do not record it again"
        first_index = _send(connection, checker, sealer.seal(cut, ()))
        _send(connection, checker, sealer.close())
    except UnderPromisedError as error:
        raise UnderPromisedError(f"the ledger waits for a quorum of its witnesses to publish. {outcome}") from error
    return [LoggedStatement(first_index + place, merkle.leaf_hash(entry)) for place, entry in enumerate(entries)]


def _send(connection: Connection, checker: AcknowledgementChecker, batch: SealedBatch) -> int:
    """Index of the batch's first entry, as acknowledged."""
    request = append_pb2.AppendBatchRequest(packed_batch=batch.packed or b"", options=checker.begin())
    answer = connection.call(methods.APPEND_BATCH, request)
    checkpoint = checker.check_checkpoint(answer.checkpoint, answer.consistency_proof)
    checker.check(batch, batch.leaf_hashes, answer.acknowledgement, checkpoint)
    return answer.acknowledgement.first_index
