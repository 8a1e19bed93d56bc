"""Answers that are signed or proven each for itself, and yet not what was asked, or not what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from lineage_ledger import answers
from lineage_ledger.agreement import Steps
from lineage_ledger.errors import ForkError, LineageError, ProofError, RpcError, VerificationError
from lineage_ledger.formats import merkle, packed
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.tlog_proof import TlogProof
from lineage_ledger.operations import Operations, subject_of
from lineage_ledger.rpc import methods
from lineage_ledger.v1 import entries_pb2, entry_pb2, proofs_pb2, trace_pb2
from tests.trace.graphs import Demo, demo
from tests.trace.small_ledger import Leaves, commitment

Lie = Callable[[Any, Any], None]


class Server:
    """Answers for the entries of a ledger, signed with its key; `lie` changes a response, given the request."""

    def __init__(self, it: Demo) -> None:
        self.it = it
        self.entries = list(it.ledger.entries)
        self.size = len(self.entries)
        self.grows = 0
        self.lie: Lie = lambda request, response: None
        self.calls = 0

    @property
    def leaves(self) -> Leaves:
        return Leaves([merkle.leaf_hash(entry) for entry in self.entries])

    def note(self, size: int) -> bytes:
        origin = self.it.ledger.signer.name
        return Checkpoint(origin, size, merkle.root_of(size, self.leaves)).sign(self.it.ledger.signer)

    def run(self, steps: Steps[Any]) -> Any:
        """What the client makes of the answers."""
        go_on = partial(steps.send, None)
        while True:
            try:
                call = go_on()
            except StopIteration as done:
                return done.value
            self.calls += 1
            assert self.calls < 200, "the client asks for ever"
            response = self._answer(call.method, call.request)
            try:
                self.lie(call.request, response)
                go_on = partial(steps.send, response)
            except RpcError as error:  # As the clients do it.
                go_on = partial(steps.throw, error)

    def _answer(self, method: Any, request: Any) -> Any:
        size = self.size
        self.size = min(len(self.entries), size + self.grows)
        if method is methods.GET_INCLUSION_PROOF:
            size = request.tree_size or size
            return proofs_pb2.GetInclusionProofResponse(
                tree_size=size,
                hashes=merkle.inclusion_proof(request.index, size, self.leaves),
                leaf_hash=merkle.leaf_hash(self.entries[request.index]),
                checkpoint=b"" if request.tree_size else self.note(size),
            )
        if method is methods.GET_CHECKPOINT:
            return proofs_pb2.GetCheckpointResponse(checkpoint=self.note(size))
        if method is methods.GET_CONSISTENCY_PROOF:
            proof = merkle.consistency_proof(request.old_size, request.new_size, self.leaves)
            return proofs_pb2.GetConsistencyProofResponse(hashes=proof)
        if method is methods.GET_ENTRY:
            return entries_pb2.GetEntryResponse(entry=self.entries[request.index])
        if method is methods.GET_PREDICTION:
            place = [str(each) for each in self.it.predictions].index(request.prediction_id)
            return entries_pb2.GetPredictionResponse(prediction=self.prediction(place))
        if method is methods.FIND_PREDICTIONS:
            return entries_pb2.FindPredictionsResponse(predictions=[self.prediction(7)])
        if method is methods.GET_RECEIPT:
            proof = merkle.inclusion_proof(request.index, size, self.leaves)
            note = self.note(size)
            return proofs_pb2.GetReceiptResponse(receipt=TlogProof(request.index, tuple(proof), note).encode())
        assert method is methods.TRACE
        index = self.it.statements["model"] if request.artifact_digest else self.it.first_prediction + 7
        node = trace_pb2.TraceNode(resolved=True, index=index, entry=self.entries[index])
        if request.artifact_digest:
            node.digest = entry_pb2.Entry.FromString(node.entry).artifact.digest.SerializeToString()
        return trace_pb2.TraceResponse(nodes=[node], checkpoint=self.note(size))

    def prediction(self, place: int) -> entries_pb2.LoggedPrediction:
        index = self.it.first_prediction + place
        sealed = self.it.ledger.sealed[index]
        first = index - place
        leaves = Leaves(self.leaves.leaves[first : sealed.seal_index])
        return entries_pb2.LoggedPrediction(
            prediction_id=str(self.it.predictions[place]),
            index=index,
            entry=self.entries[index],
            seal_index=sealed.seal_index,
            public_key=sealed.seal.body.public_key,
            deployment_hash=self.it.deployment_hash,
            batch_proof=merkle.inclusion_proof(place, sealed.seal.body.count, leaves),
            chain_nonce=self.it.server.nonce,
        )


@pytest.fixture
def server() -> Server:
    return Server(demo())


@pytest.fixture
def operations(server: Server) -> Operations:
    return Operations(server.it.ledger.verifier)


def test_a_prediction_that_the_operator_put_into_a_sealed_batch_is_refused(
    server: Server, operations: Operations
) -> None:
    """Whoever has the ledger's key proves any tree; that the producer sealed the entry takes the producer's root."""
    asked = server.it.predictions[7]
    assert server.run(Operations(operations.verifier).prediction(asked)).index == server.it.first_prediction + 7
    index = server.it.first_prediction + 7
    forged = entry_pb2.Entry.FromString(server.entries[index])
    forged.prediction.output_commitment = commitment("what it did not answer")
    server.entries[index] = forged.SerializeToString()
    with pytest.raises(ProofError, match="inclusion proof of index 7"):
        server.run(operations.prediction(asked))


def test_a_range_is_proven_while_the_ledger_grows(server: Server, operations: Operations) -> None:
    server.size, server.grows = 100, 1
    part = packed.pack(server.entries[3:9])
    assert server.run(operations.packed(3, 6, part)) == part
    assert server.calls < 5


@pytest.mark.parametrize("subject", ["id", "index", "digest"])
def test_the_lineage_of_something_else_is_refused(subject: str, server: Server, operations: Operations) -> None:
    it = server.it
    right: Any = {
        "id": it.predictions[7],
        "index": it.first_prediction + 7,
        "digest": commitment("model"),
    }[subject]
    wrong: Any = {"id": it.predictions[8], "index": it.first_prediction + 8, "digest": commitment("raw")}[subject]
    assert server.run(Operations(operations.verifier).trace(subject_of(right))).items
    with pytest.raises(VerificationError, match="something else"):
        server.run(operations.trace(subject_of(wrong)))


def _node(change: Callable[[Any], None]) -> Lie:
    def lie(request: Any, response: Any) -> None:
        if isinstance(request, trace_pb2.TraceRequest):
            change(response)

    return lie


@pytest.mark.parametrize(
    "change",
    [
        lambda response: response.nodes.pop(),
        lambda response: setattr(response.nodes[0], "ordinal", 1),
        lambda response: setattr(response.nodes[0], "digest", b"\xff"),
        lambda response: setattr(response.nodes[0], "digest", b"\x08\xac\x02"),
        lambda response: setattr(response.nodes[0], "index", 12),
        lambda response: setattr(response.nodes[0], "resolved", False),
        lambda response: setattr(response, "checkpoint", b""),
    ],
    ids=["none", "ordinal", "no digest", "strange digest", "index", "unresolved", "checkpoint"],
)
def test_a_lineage_that_was_changed_is_refused(
    change: Callable[[Any], None], server: Server, operations: Operations
) -> None:
    server.lie = _node(change)
    with pytest.raises(LineageError):
        server.run(operations.trace(subject_of(server.it.predictions[7])))


def test_a_page_that_leads_to_itself_or_back_is_refused(server: Server, operations: Operations) -> None:
    criteria = entries_pb2.FindPredictionsRequest(request_id=b"req-7", page_token="here")
    index = server.it.first_prediction + 7
    assert [each.index for each in server.run(operations.find(criteria, index - 1)).items] == [index]
    with pytest.raises(VerificationError, match="twice"):
        server.run(operations.find(criteria, index))

    def round_again(request: Any, response: Any) -> None:
        if isinstance(request, entries_pb2.FindPredictionsRequest):
            response.next_page_token = request.page_token

    server.lie = round_again
    with pytest.raises(VerificationError, match="same page"):
        server.run(operations.find(criteria))


def test_a_receipt_under_a_forked_checkpoint_is_refused(server: Server, operations: Operations) -> None:
    """All else is of the history that the client knows."""
    forked = Server(server.it)
    forked.entries[7] = forked.entries[8]

    def fork(request: Any, response: Any) -> None:
        if isinstance(request, proofs_pb2.GetReceiptRequest):
            response.receipt = forked.run(Operations(operations.verifier).receipt(5))

    assert server.run(operations.receipt(5))
    server.lie = fork
    with pytest.raises(ForkError, match="same size"):
        server.run(operations.receipt(5))


@pytest.mark.parametrize(("first", "count", "expected"), [(3, 0, 3), (4, 1, 3), (2, 1, 3)])
def test_a_stream_that_does_not_go_on_is_refused(first: int, count: int, expected: int) -> None:
    with pytest.raises(VerificationError):
        answers.check_place(expected, entries_pb2.StreamEntriesResponse(first_index=first, count=count))


def test_a_stream_that_ends_elsewhere_is_refused() -> None:
    answers.check_end(9, 9)
    for reached in (8, 10):
        with pytest.raises(VerificationError):
            answers.check_end(reached, 9)
