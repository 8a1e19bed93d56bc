"""ProofService: checkpoints, proofs and receipts, each verified before it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lineage_ledger.formats.tlog_proof import TlogProof
from lineage_ledger.v1 import proofs_pb2, proofs_pb2_grpc
from lineage_ledger_server.errors import IndexOutOfRangeError, NotWitnessedError, RefusedError
from lineage_ledger_server.services.chains import Chains
from lineage_ledger_server.services.entries import parse_prediction_id
from lineage_ledger_server.services.errors import Caller, check_active
from lineage_ledger_server.services.key_history import key_history
from lineage_ledger_server.services.receipt import make_receipt

if TYPE_CHECKING:
    from collections.abc import Callable

    from lineage_ledger_server.head import Head
    from lineage_ledger_server.index.lookup import Lookup
    from lineage_ledger_server.reading.log_reader import LogReader


def no_witnesses() -> Head:
    """For a ledger without a witness policy. Raises NotWitnessedError."""
    raise NotWitnessedError("this ledger has no witness policy")


class ProofService(proofs_pb2_grpc.ProofServiceServicer):
    """Needs the log and its indexes only, so it can run in another process than the sequencer.

    `witnessed` gives the newest head that the witnesses cosigned.
    """

    def __init__(self, reader: LogReader, lookup: Lookup, witnessed: Callable[[], Head] = no_witnesses) -> None:
        self._reader = reader
        self._witnessed = witnessed
        self._lookup = lookup
        self._chains = Chains(reader, lookup)

    def GetCheckpoint(
        self, request: proofs_pb2.GetCheckpointRequest, context: Caller
    ) -> proofs_pb2.GetCheckpointResponse:
        head = self._witnessed() if request.witnessed else self._reader.head()
        response = proofs_pb2.GetCheckpointResponse(checkpoint=head.note)
        if request.with_key_history:
            response.key_history.CopyFrom(key_history(self._reader, head.size, with_proof=True))
        return response

    def GetInclusionProof(
        self, request: proofs_pb2.GetInclusionProofRequest, context: Caller
    ) -> proofs_pb2.GetInclusionProofResponse:
        head = self._reader.head()
        size = request.tree_size or head.size
        return proofs_pb2.GetInclusionProofResponse(
            tree_size=size,
            hashes=self._reader.inclusion_proof(request.index, size),
            leaf_hash=self._reader.leaf_hash(request.index),
            checkpoint=head.note if size == head.size else b"",
        )

    def GetConsistencyProof(
        self, request: proofs_pb2.GetConsistencyProofRequest, context: Caller
    ) -> proofs_pb2.GetConsistencyProofResponse:
        head = self._reader.head()
        size = request.new_size or head.size
        if not 1 <= request.old_size <= size:
            raise RefusedError(f"old_size is {request.old_size}; it must be 1 to {size}", reason="INVALID_ARGUMENT")
        return proofs_pb2.GetConsistencyProofResponse(
            new_size=size,
            hashes=self._reader.consistency_proof(request.old_size, size),
            checkpoint=head.note if size == head.size else b"",
        )

    def GetReceipt(self, request: proofs_pb2.GetReceiptRequest, context: Caller) -> proofs_pb2.GetReceiptResponse:
        try:
            head = self._witnessed() if request.witnessed else self._reader.head()
            receipt = self._receipt(request, head, lambda: check_active(context))
        except IndexOutOfRangeError as error:
            if request.witnessed and error.size < self._reader.head().size:
                raise NotWitnessedError(f"{error}, which is where the newest witnessed checkpoint ends") from error
            raise
        return proofs_pb2.GetReceiptResponse(receipt=receipt)

    def _receipt(self, request: proofs_pb2.GetReceiptRequest, head: Head, check: Callable[[], None]) -> bytes:
        subject = request.WhichOneof("subject")
        if subject == "prediction_id":
            prediction_id = parse_prediction_id(request.prediction_id)
            return make_receipt(self._reader, self._lookup, prediction_id, check, head)
        if subject == "index":
            hashes = self._reader.inclusion_proof(request.index, head.size)
            return TlogProof(request.index, tuple(hashes), head.note).encode()
        if subject == "chain":
            return self._chains.receipt(request.chain, head, check)
        raise RefusedError("no subject is set; set prediction_id, index or chain", reason="INVALID_ARGUMENT")

    def ListChains(self, request: proofs_pb2.ListChainsRequest, context: Caller) -> proofs_pb2.ListChainsResponse:
        return self._chains.page(request, lambda: check_active(context))
