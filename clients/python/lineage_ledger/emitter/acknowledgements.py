"""Holds what the server acknowledges against what was sent, and against what it signed before."""

from __future__ import annotations

from lineage_ledger.emitter.sealer import SealedBatch
from lineage_ledger.errors import VerificationError
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Verifier
from lineage_ledger.v1 import append_pb2


class AcknowledgementChecker:
    """Remembers the newest checkpoint for as long as the process lives, across connections and chains."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self.newest: Checkpoint | None = None
        """The newest checkpoint that was verified."""

    def check_checkpoint(self, signed: bytes) -> Checkpoint:
        """Verify a checkpoint: signed by the pinned key, of its origin, never smaller than or beside one seen before.

        Raises `VerificationError` or `MalformedError`. What lies between two sizes is for an audit to check: it needs
        the role that reads, an emitter has the role that appends.
        """
        checkpoint = Checkpoint.open(signed, self._verifier)
        newest = self.newest
        if newest is not None:
            if checkpoint.size < newest.size:
                raise VerificationError(
                    f"{checkpoint.origin} signed a tree of {checkpoint.size} entries after one of {newest.size}: the "
                    "ledger was restored from an old copy, or shows different histories; keep both checkpoints"
                )
            if checkpoint.size == newest.size and checkpoint.root != newest.root:
                raise VerificationError(
                    f"{checkpoint.origin} signed two different trees of {checkpoint.size} entries: it shows different "
                    "histories; keep both checkpoints"
                )
        self.newest = checkpoint
        return checkpoint

    def check(self, batch: SealedBatch, said: append_pb2.Acknowledgement, checkpoint: Checkpoint) -> None:
        """Whether `said`, under `checkpoint`, acknowledges `batch`. Raises `VerificationError`."""
        if (said.chain_id, said.batch_sequence) != (batch.chain_id, batch.sequence):
            raise VerificationError(
                f"the server acknowledged batch {said.batch_sequence} of chain {said.chain_id.hex()[:64]} when batch "
                f"{batch.sequence} of chain {batch.chain_id.hex()} was next"
            )
        if said.seal_index - said.first_index != batch.count:
            raise VerificationError(
                f"the server gave batch {batch.sequence} of chain {batch.chain_id.hex()}, which has {batch.count} "
                f"entries, the indexes {said.first_index} to {said.seal_index}"
            )
        if said.promise < append_pb2.PROMISE_PUBLISHED or checkpoint.size <= said.seal_index:
            raise VerificationError(
                f"the server acknowledged batch {batch.sequence} of chain {batch.chain_id.hex()} at index "
                f"{said.seal_index}, which its checkpoint of size {checkpoint.size} does not cover"
            )
