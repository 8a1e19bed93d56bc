"""Makes a response of what became of batches: under which checkpoint, with which proofs, and what is promised.

The work is for each response and each batch, never for an entry, and is done on the thread that answers.
"""

from __future__ import annotations

from collections.abc import Sequence

from lineage_ledger.v1 import append_pb2
from lineage_ledger_server.errors import RefusedError
from lineage_ledger_server.head import Head
from lineage_ledger_server.ledger import Ledger
from lineage_ledger_server.sequencer.submissions import Appended


class Acknowledger:
    """Answers one stream, or one call, as its client's `options` ask. For one thread at a time.

    Raises RefusedError for a promise that there is not.
    """

    def __init__(self, ledger: Ledger, options: append_pb2.AcknowledgementOptions) -> None:
        if options.wait_for not in append_pb2.Promise.values():
            raise RefusedError(
                f"wait_for is {options.wait_for}, which is no promise; there are "
                f"{', '.join(append_pb2.Promise.keys()[1:])}",
                reason="INVALID_ARGUMENT",
            )
        # Published or not: what is acknowledged was signed.
        self._reader = ledger.signed_reader
        self._witnesses = witnesses = ledger.witnesses
        # What is published at once is waited for by whoever says so, the rest by all who do not say otherwise.
        required = witnesses is not None and witnesses.required
        self._unwitnessed = append_pb2.PROMISE_DURABLE if required else append_pb2.PROMISE_PUBLISHED
        wait_for = options.wait_for
        self.waits = witnesses is not None and (wait_for > self._unwitnessed or (required and not wait_for))
        """Whether `respond` may wait for witnesses; then it is called on a thread that has nothing else to do."""
        self._proves = options.prove
        self._known_size = options.known_tree_size

    def respond(self, outcomes: Sequence[Appended]) -> append_pb2.AppendStreamResponse:
        """One response for batches (at least one) in the order in which they were taken.

        Raises CorruptValueError, HeadMismatchError or StoreError where the stored tree does not give the proofs.
        """
        head, promise = self._settled(outcomes[-1].head)
        response = append_pb2.AppendStreamResponse(
            acknowledgements=[outcome.acknowledgement for outcome in outcomes], checkpoint=head.note
        )
        for acknowledgement in response.acknowledgements:
            acknowledgement.promise = promise
        if self._proves:
            self._prove(response, head)
        return response

    def _settled(self, head: Head) -> tuple[Head, append_pb2.Promise]:
        """The head to answer under, at least as new as `head`, and what holds of all that is under it."""
        witnesses = self._witnesses
        if witnesses is None:
            return head, append_pb2.PROMISE_PUBLISHED
        witnessed = witnesses.wait(head.size) if self.waits else witnesses.witnessed
        if witnessed is None or witnessed.size < head.size:
            return head, self._unwitnessed
        return witnessed, append_pb2.PROMISE_WITNESSED

    def _prove(self, response: append_pb2.AppendStreamResponse, head: Head) -> None:
        """In the tree of `head`, whatever was published since."""
        tree = self._reader.tree()
        for batch in response.acknowledgements:
            batch.range_proof.extend(tree.range_proof(batch.first_index, batch.seal_index + 1, head.size))
        if 0 < self._known_size < head.size:
            response.consistency_proof.extend(tree.consistency_proof(self._known_size, head.size))
        self._known_size = head.size
