"""Verifies a lineage receipt, from its bytes and the ledger's verifier key alone: no server, no network.

What is shown then: the ledger that holds the key signed a tree; in it are the prediction and all statements of the
receipt, each sealed by a producer that an admin of that ledger had registered before; and each statement is one that
the prediction leads to. What cannot be shown is in `VerifiedReceipt.limits`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from lineage_ledger.formats import merkle, seal
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.formats.receipt import Receipt
from lineage_ledger.formats.statement import check_attestation_signature
from lineage_ledger.formats.witness_policy import Cosignature, WitnessPolicy
from lineage_ledger.proven_entries import ProvenEntries, ReceiptError, Signer
from lineage_ledger.trace import STATEMENT_KINDS, Node, SealedEntry, digest_key, subject_of_index, walk
from lineage_ledger.v1 import entry_pb2

MAX_FAN_OUT: Final = 16
"""Runs that generated an artifact, and attestations about it, that a receipt carries at most: the first ones."""

LIMITS: Final = (
    "Absence: further runs and attestations, and entries that ended a key, may be on record and not in this file.",
    "Time: who sealed is shown by keys; that a key was in its owner's hands at the time is not.",
    "Truth: that a producer said it is shown, that it is so is not.",
)


class Suspicion(StrEnum):
    """Whether an entry was put on record when its key may have been in other hands; it is evidence all the same."""

    NONE = "none"
    """By what is shown: its key was not declared compromised, or is suspect only since later."""
    SUSPECT = "suspect"
    """Its key was declared compromised, and the entry's block is not before the time since when that is suspect."""
    UNKNOWN = "unknown"
    """Its key was declared compromised; the entry's block, which gives its time, is not in the receipt."""


@dataclass(frozen=True, slots=True)
class VerifiedReceipt:
    """What a receipt shows. Every entry in it was proven; nodes that are unresolved are not in the receipt."""

    prediction_id: PredictionId
    origin: str
    checkpoint: Checkpoint
    nodes: tuple[Node, ...]
    """The lineage, the prediction first, breadth first."""
    entries: Mapping[int, entry_pb2.Entry]
    """The prediction and the statements, by index."""
    sealed: Mapping[int, SealedEntry]
    """The same, as carried, each with the seal that closes its batch."""
    signers: Mapping[bytes, Signer]
    """By public key."""
    block_index: int
    block_number: int
    block_time_unix_ns: int
    """The ledger's clock: the prediction was on record by then."""
    cosignatures: tuple[Cosignature, ...] = ()
    """Of witnesses on the checkpoint, if a policy was given; they satisfy it."""
    limits: tuple[str, ...] = LIMITS

    @property
    def prediction(self) -> entry_pb2.Prediction:
        return self.entries[self._prediction_index].prediction

    @property
    def unresolved(self) -> tuple[Node, ...]:
        """What is referred to and not in the receipt."""
        return tuple(node for node in self.nodes if node.index is None)

    def signer_of(self, index: int) -> Signer:
        """Who sealed the entry at `index`."""
        return self.signers[self.sealed[index].seal.body.public_key]

    def suspicion(self, index: int) -> Suspicion:
        """Of the prediction or a statement, by the ledger's time of its block: producers' clocks say nothing here.

        The receipt's block is the prediction's. It is that of everything in the prediction's batch; what lies before
        it was on record by then, what comes after it was not, for the times of blocks never go back.
        """
        signer = self.signer_of(index)
        if not signer.compromised_index:
            return Suspicion.NONE
        is_since = self.block_time_unix_ns >= signer.suspect_since_unix_ns
        if self.sealed[index].seal_index == self.sealed[self._prediction_index].seal_index or (
            is_since == (index > self.block_index)
        ):
            return Suspicion.SUSPECT if is_since else Suspicion.NONE
        return Suspicion.UNKNOWN

    @property
    def _prediction_index(self) -> int:
        index = self.nodes[0].index
        assert index is not None  # verify_receipt walks from an index
        return index


def verify_receipt(data: bytes, verifier: Verifier, policy: WitnessPolicy | None = None) -> VerifiedReceipt:
    """Check a lineage receipt with the ledger's verifier key, which must come from elsewhere than the receipt.

    With a policy, its checkpoint must have the cosignatures of a quorum of witnesses, too.

    Raises a `LineageError` (`MalformedError` for the form, `VerificationError` for what does not prove) if anything in
    it does not check, is missing, or does not belong there.
    """
    receipt = Receipt.parse(data)
    verified = _Contents(receipt, ProvenEntries(receipt.entries, receipt.tree, receipt.checkpoint, verifier)).verified()
    if policy is None:
        return verified
    return replace(verified, cosignatures=policy.check(receipt.checkpoint, verifier))


class _Contents:
    """Entries that are proven to be in the tree; what they say is checked here."""

    def __init__(self, receipt: Receipt, proven: ProvenEntries) -> None:
        self._receipt = receipt
        self._proven = proven
        self._origin = proven.origin
        self._entries = proven.parsed
        self._by_kind = proven.by_kind

    def verified(self) -> VerifiedReceipt:
        signers = self._proven.signers
        sealed = self._sealed()
        self._check_signers(signers, sealed)
        nodes = self._check_lineage(signers, sealed)
        block = self._check_block(signers, sealed)
        self._proven.check_kinds("block", "seal", "prediction", *STATEMENT_KINDS)
        return VerifiedReceipt(
            prediction_id=self._receipt.prediction_id,
            origin=self._origin,
            checkpoint=self._proven.checkpoint,
            nodes=tuple(nodes),
            entries={index: self._entries[index] for index in sealed},
            sealed=sealed,
            signers=signers,
            block_index=self._by_kind["block"][0],
            block_number=block.number,
            block_time_unix_ns=block.time_unix_ns,
        )

    def _sealed(self) -> dict[int, SealedEntry]:
        """Every entry that producers sealed, with its seal; each batch's proof is checked."""
        seals = [index for index in self._by_kind.get("seal", []) if index in self._receipt.batches]
        if list(self._receipt.batches) != seals:
            raise ReceiptError("the receipt has a line 'batch' for an index at which it has no seal")
        wanted = self._proven.of_kind(*STATEMENT_KINDS, "prediction")
        sealed: dict[int, SealedEntry] = {}
        for seal_index in seals:
            parsed = seal.parse_seal(self._receipt.entries[seal_index])
            seal.check_seal(parsed, self._origin)
            first = seal_index - parsed.body.count
            here = [index for index in wanted if first <= index < seal_index]
            if first <= 0 or not here:
                raise ReceiptError(f"the seal at index {seal_index} closes no entry of the receipt")
            leaves = {index - first: self._proven.leaves[index] for index in here}
            if merkle.multiproof_root(leaves, parsed.body.count, self._receipt.batches[seal_index]) != parsed.body.root:
                raise ReceiptError(f"the entries of the batch at index {seal_index} do not lead to its seal's root")
            for index in here:
                if index in sealed:
                    raise ReceiptError(f"entry {index} is closed by two seals")
                sealed[index] = SealedEntry(index, self._receipt.entries[index], seal_index, parsed)
        if len(sealed) != len(wanted):
            raise ReceiptError(f"entry {min(set(wanted) - set(sealed))} has no seal in the receipt")
        return sealed

    def _check_opening(self, signers: Mapping[bytes, Signer], closing: seal.ParsedSeal) -> None:
        """The key that sealed the prediction opened its chain: the chain's id is a hash over that key."""
        openings = [index for index in self._by_kind["seal"] if index not in self._receipt.batches]
        if len(openings) != 1:
            raise ReceiptError(f"the receipt must hold one seal without a line 'batch', not {len(openings)}")
        parsed = seal.parse_seal(self._receipt.entries[openings[0]])
        seal.check_seal(parsed, self._origin)
        body = parsed.body
        if body.batch_sequence != 0 or body.chain_id != closing.body.chain_id:
            raise ReceiptError(f"the seal at index {openings[0]} does not open the prediction's chain")
        if body.public_key != closing.body.public_key:
            raise ReceiptError("the prediction was sealed by another key than the one that opened its chain")
        signer = signers[body.public_key]
        if signer.registered_index >= openings[0] or 0 < signer.retired_index < openings[0]:
            raise ReceiptError(f"the chain was opened at index {openings[0]} by a key that might not")

    def _check_signers(self, signers: Mapping[bytes, Signer], sealed: Mapping[int, SealedEntry]) -> None:
        """Each batch's key was registered, and not declared compromised, before the batch's first entry."""
        for entry in sealed.values():
            signer = signers.get(entry.seal.body.public_key)
            first = entry.seal_index - entry.seal.body.count
            if signer is None or signer.registered_index >= first:
                raise ReceiptError(f"the key that sealed entry {entry.index} is not registered before it")
            if 0 < signer.compromised_index < first:
                raise ReceiptError(f"the key that sealed entry {entry.index} was declared compromised before it")
        if signers.keys() - {entry.seal.body.public_key for entry in sealed.values()}:
            raise ReceiptError("the receipt holds the registration of a key that sealed nothing in it")

    def _check_lineage(self, signers: Mapping[bytes, Signer], sealed: Mapping[int, SealedEntry]) -> list[Node]:
        """The prediction is the one of the id, and leads to every statement."""
        predictions = self._by_kind.get("prediction", [])
        if len(predictions) != 1:
            raise ReceiptError(f"the receipt must hold one prediction, not {len(predictions)}")
        index = predictions[0]
        prediction = self._entries[index].prediction
        if sealed[index].prediction_id(prediction) != self._receipt.prediction_id:
            raise ReceiptError("the receipt's prediction has another id than the receipt says")
        if not sealed[index].deployment_hash(prediction):
            raise ReceiptError("the prediction's binding row is not in its seal's table")
        body = sealed[index].seal.body
        self._check_opening(signers, sealed[index].seal)
        started = prediction.start_time_unix_ns
        if not body.earliest_start_time_unix_ns <= started <= body.latest_start_time_unix_ns:
            raise ReceiptError("the prediction started outside of the range of times that its seal gives")
        for place in self._by_kind.get("attestation", ()):
            check_attestation_signature(self._entries[place].attestation, self._origin)
        nodes = walk(StatementsAtHand(self._entries, self._proven.leaves, sealed), subject_of_index(index))
        if unrelated := sealed.keys() - {node.index for node in nodes}:
            raise ReceiptError(f"the prediction does not lead to entry {min(unrelated)}; it does not belong here")
        return nodes

    def _check_block(self, signers: Mapping[bytes, Signer], sealed: Mapping[int, SealedEntry]) -> entry_pb2.Block:
        """The one block comes after the prediction; that it is the first to do so cannot be seen from here."""
        blocks = self._by_kind.get("block", [])
        prediction = sealed[self._by_kind["prediction"][0]]
        seal_index, closing = prediction.seal_index, prediction.seal
        if len(blocks) != 1 or blocks[0] <= seal_index:
            raise ReceiptError("the receipt must hold one block, which comes after the prediction's seal")
        block = self._entries[blocks[0]].block
        signer = signers[closing.body.public_key]
        if 0 < signer.retired_index < seal_index - closing.body.count and block.number > signer.last_block:
            raise ReceiptError(f"the prediction's key was retired as of block {signer.last_block}, and this is later")
        return block


class StatementsAtHand:
    """A `StatementSource` for walks over proven entries alone, such as those of a receipt; all three by index."""

    def __init__(
        self, entries: Mapping[int, entry_pb2.Entry], leaves: Mapping[int, bytes], sealed: Mapping[int, SealedEntry]
    ) -> None:
        self._sealed = sealed
        self._statements: dict[bytes, int] = {}
        self._artifacts: dict[bytes, int] = {}
        self._runs: dict[bytes, list[int]] = {}
        self._attestations: dict[bytes, list[int]] = {}
        for index in sorted(sealed):
            entry = entries[index]
            self._statements.setdefault(leaves[index], index)
            if entry.HasField("artifact"):
                self._artifacts.setdefault(digest_key(entry.artifact.digest), index)
            elif entry.HasField("run"):
                for key in {digest_key(output.digest) for output in entry.run.outputs}:
                    self._runs.setdefault(key, []).append(index)
            elif entry.HasField("attestation"):
                body = entry_pb2.AttestationBody.FromString(entry.attestation.body)
                self._attestations.setdefault(digest_key(body.subject), []).append(index)

    def sealed_entry(self, index: int) -> SealedEntry:
        return self._sealed[index]

    def statement_index(self, leaf_hash: bytes) -> int | None:
        return self._statements.get(leaf_hash)

    def artifact_index(self, digest: entry_pb2.Digest) -> int | None:
        return self._artifacts.get(digest_key(digest))

    def generating_runs(self, digest: entry_pb2.Digest) -> Iterable[int]:
        return self._runs.get(digest_key(digest), ())

    def attestations(self, digest: entry_pb2.Digest) -> Iterable[int]:
        return self._attestations.get(digest_key(digest), ())
