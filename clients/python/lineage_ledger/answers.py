"""What a client answers with, and what is held against a server's answers without asking it more.

Pure; what takes further calls is in `operations`.
"""

from __future__ import annotations

from dataclasses import dataclass

from lineage_ledger.agreement import InclusionProof
from lineage_ledger.errors import VerificationError
from lineage_ledger.formats import strict
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.trace import digest_key
from lineage_ledger.v1 import entries_pb2, entry_pb2, trace_pb2


@dataclass(frozen=True, slots=True)
class LoggedEntry:
    """Proven: these bytes are the entry at `index` under `checkpoint`."""

    index: int
    data: bytes
    checkpoint: Checkpoint

    @property
    def entry(self) -> entry_pb2.Entry:
        """The entry taken apart. Raises `MalformedEntryError`."""
        return strict.parse_entry(self.data)


@dataclass(frozen=True, slots=True)
class LoggedPrediction:
    """Proven: the prediction with this id is at `index`, sealed by `public_key`, made with `deployment_hash`.

    The chain of the id is that key's. That the key is a registered producer's is for a receipt and an audit to show.
    """

    prediction_id: PredictionId
    index: int
    prediction: entry_pb2.Prediction
    seal_index: int
    public_key: bytes
    """The producer's; 32 bytes."""
    deployment_hash: bytes
    """Leaf hash of the deployment's entry; 32 bytes."""


def check_place(expected: int, response: entries_pb2.StreamEntriesResponse) -> None:
    """Raises `VerificationError` if a stream's part does not go on where the one before ended, or is empty."""
    if response.first_index != expected or not response.count:
        raise VerificationError(
            f"the server's stream goes on with {response.count} entries at {response.first_index}, "
            f"where {expected} was next"
        )


def check_end(reached: int, end: int) -> None:
    """Raises `VerificationError` if a stream stopped early, or went on too far."""
    if reached != end:
        raise VerificationError(f"the server's stream stopped at {reached}, and not at {end}")


def check_criteria(criteria: entries_pb2.FindPredictionsRequest, found: LoggedPrediction) -> None:
    """Whether a hit is one. Times are the blocks', which would take proofs of their own, and are not checked."""
    for wanted, is_so in (
        (criteria.request_id, found.prediction.request_id),
        (criteria.public_key, found.public_key),
        (criteria.deployment_hash, found.deployment_hash),
    ):
        if wanted and wanted != is_so:
            raise VerificationError(f"the prediction {found.prediction_id} is not what was searched for")


def siblings(proof: InclusionProof, *, left: bool) -> list[bytes]:
    """The hashes of an inclusion proof that are on one side of the leaf, from leaf to root (RFC 9162, 2.1.3.2)."""
    node, last = proof.index, proof.checkpoint.size - 1
    found = []
    for value in proof.hashes:
        is_left = bool(node & 1) or node == last
        if is_left == left:
            found.append(value)
        if is_left:
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        node, last = node >> 1, last >> 1
    return found


def node_key(node: trace_pb2.TraceNode) -> bytes:
    """The key of the digest that a node has. Raises `MalformedEntryError` if it is none."""
    strict.check_message(entry_pb2.Digest, node.digest)
    return digest_key(entry_pb2.Digest.FromString(node.digest))


def check_digest(node: trace_pb2.TraceNode, logged: LoggedEntry) -> None:
    """A node with a digest is that artifact. Raises `VerificationError`."""
    if node.digest and node_key(node) != digest_key(logged.entry.artifact.digest):
        raise VerificationError(f"the entry at {node.index} is not the artifact that was referred to")
