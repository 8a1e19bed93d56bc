"""A lineage whose every entry is proven: out of a server's answer, or out of a receipt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from lineage_ledger.errors import MalformedError, RpcError, VerificationError
from lineage_ledger.formats import merkle, strict
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.digest import format_digest, parse_digest
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.formats.text import parse_decimal
from lineage_ledger.receipts import StatementsAtHand, Suspicion, VerifiedReceipt, verify_receipt
from lineage_ledger.trace import MAX_NODES, Node, SealedEntry, Target, subject_of_digest, subject_of_index, walk
from lineage_ledger.v1 import entry_pb2, trace_pb2

if TYPE_CHECKING:
    from lineage_ledger.client import Client

Subject: TypeAlias = PredictionId | int | entry_pb2.Digest

SHOWN_LIMITS = (
    "Absence: what the server leaves out of its answer is not seen; an audit sees it.",
    "Producers: who sealed is shown by key; the key's name and standing are not, `lineage receipt` proves them.",
    "Truth: that a producer said it is shown, that it is so is not.",
)


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a subject came from. Entries are in the checkpoint's tree, and sealed by the keys they are shown with."""

    origin: str
    checkpoint: Checkpoint
    nodes: tuple[Node, ...]
    """The subject first, breadth first."""
    sealed: Mapping[int, SealedEntry]
    """By index: the nodes' entries, each with its seal."""
    producer_names: Mapping[bytes, str]
    """By public key."""
    limits: tuple[str, ...]
    """What is not shown."""
    suspicion: Mapping[int, Suspicion] = field(default_factory=dict)
    """By index; empty where nothing shows how keys stand."""

    @classmethod
    def of_receipt(cls, receipt: VerifiedReceipt) -> Lineage:
        """The lineage that a verified receipt proves, producers' names included."""
        names = {public_key: signer.name for public_key, signer in receipt.signers.items()}
        suspicion = {index: receipt.suspicion(index) for index in receipt.sealed}
        return cls(receipt.origin, receipt.checkpoint, receipt.nodes, receipt.sealed, names, receipt.limits, suspicion)


def parse_subject(text: str) -> Subject:
    """What `ID|INDEX|DIGEST` means. Raises `MalformedError`."""
    if text.isdecimal():
        return parse_decimal(text)
    if len(text) == 2 * merkle.HASH_SIZE and "-" not in text:
        raise MalformedError(
            f"{text!r} is a hash and does not say of what; for an artifact's content write sha256:{text}, and for a "
            "statement give its index, which was printed with its leaf hash"
        )
    return parse_digest(text) if ":" in text else PredictionId.parse(text)


def fetch(client: Client, subject: Subject) -> Lineage:
    """Ask the server for the lineage and check it: each entry's place and seal, and that each belongs to the subject.

    The graph is walked again here, over what was proven; of the server's answer only the entries are used. Raises
    `VerificationError` or `RpcError`.
    """
    from lineage_ledger.cli.seals import SealReader

    answered = _ask(client, subject)
    seals = SealReader(client)
    sealed, names, entries, leaves = {}, {}, {}, {}
    for node in answered:
        if node.resolved:
            found = seals.sealed(node.index, node.entry, node.seal_index)
            sealed[node.index] = found
            names[found.seal.body.public_key] = node.producer_name
            entries[node.index] = strict.parse_entry(node.entry)
            leaves[node.index] = merkle.leaf_hash(node.entry)
    start = _start(subject, answered[0], sealed)
    if start.index is not None and start.index not in sealed:
        raise VerificationError(f"the server left entry {start.index} out of its own lineage")
    nodes = walk(StatementsAtHand(entries, leaves, sealed), start)
    unrelated = sealed.keys() - {node.index for node in nodes}
    if unrelated:
        raise VerificationError(f"the server sent entry {min(unrelated)}, to which the subject does not lead")
    suspicion = standing(client, subject) if isinstance(subject, PredictionId) else {}
    return Lineage(client.origin, client.checkpoint(), tuple(nodes), sealed, names, SHOWN_LIMITS, suspicion)


def standing(client: Client, subject: PredictionId) -> Mapping[int, Suspicion]:
    """What the prediction's receipt shows of the keys that sealed it and what it came from; empty if there is none."""
    try:
        receipt = verify_receipt(client.receipt(subject), client.verifier)
    except RpcError:  # Such as a lineage that is too large for a receipt.
        return {}
    return {index: receipt.suspicion(index) for index in receipt.sealed}


def _start(subject: Subject, first: trace_pb2.TraceNode, sealed: Mapping[int, SealedEntry]) -> Target:
    if isinstance(subject, entry_pb2.Digest):
        return subject_of_digest(subject)
    if isinstance(subject, PredictionId):
        found = sealed.get(first.index) if first.resolved else None
        prediction = None if found is None else strict.parse_entry(found.entry)
        if found is None or prediction is None or not prediction.HasField("prediction"):
            raise VerificationError(f"the server's answer does not begin with the prediction {subject}")
        if found.prediction_id(prediction.prediction) != subject:
            raise VerificationError(f"the server answered with another prediction than {subject}")
        return subject_of_index(first.index)
    return subject_of_index(subject)


def _ask(client: Client, subject: Subject) -> list[trace_pb2.TraceNode]:
    """All nodes of the server's answer, each proven to be in the tree."""
    if isinstance(subject, entry_pb2.Digest):
        if subject.algorithm != entry_pb2.DIGEST_ALGORITHM_SHA256:
            raise MalformedError(f"{format_digest(subject)[:80]}: artifacts are traced by their sha256, or an index")
        nodes = client.trace(subject.value)
    else:
        nodes = client.trace(subject)
    answered = list(islice(nodes, MAX_NODES + 1))
    if not 1 <= len(answered) <= MAX_NODES:
        raise VerificationError(f"the server answered with {len(answered):,} nodes; there are 1 to {MAX_NODES:,}")
    return answered
