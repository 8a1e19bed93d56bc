"""What a client asks and how it checks the answers, without saying how a call is made.

Each operation is a generator: it yields calls and is sent their responses, so the synchronous client and the one for
asyncio run the same code. Everything that a server says is proven before it is returned: entries by inclusion under a
checkpoint of the pinned key, checkpoints by consistency with the newest one seen, predictions by their seal.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from lineage_ledger import answers, kernel
from lineage_ledger.agreement import Agreement, Steps, ask
from lineage_ledger.answers import LoggedEntry, LoggedPrediction
from lineage_ledger.chain_receipts import VerifiedChain, verify_chain_receipt
from lineage_ledger.errors import MalformedEntryError, ProofError, VerificationError
from lineage_ledger.formats import admin, merkle, seal, strict
from lineage_ledger.formats.chain_receipt import ChainReceipt
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.digest import sha256_digest
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.formats.receipt import Receipt
from lineage_ledger.formats.tlog_proof import TlogProof
from lineage_ledger.receipts import verify_receipt
from lineage_ledger.rpc import methods
from lineage_ledger.trace import SealedEntry, digest_key
from lineage_ledger.v1 import admin_pb2, entries_pb2, entry_pb2, proofs_pb2, trace_pb2

if TYPE_CHECKING:
    from pathlib import Path

_KEPT_SEALS: Final = 1_024


class Page(NamedTuple):
    """Some items, and the token of the page after them; empty: there is none."""

    items: Sequence[Any]
    next_page_token: str


class Operations(Agreement):
    """The operations on one ledger; each answer agrees with the newest checkpoint that was seen. See `Agreement`."""

    def __init__(
        self, verifier: Verifier, *, checkpoint_file: Path | str | None = None, max_block_age_s: float | None = None
    ) -> None:
        super().__init__(verifier, checkpoint_file=checkpoint_file, max_block_age_s=max_block_age_s)
        self._seals: dict[int, seal.ParsedSeal] = {}

    def entry(self, index: int) -> Steps[LoggedEntry]:
        response = yield from ask(methods.GET_ENTRY, entries_pb2.GetEntryRequest(index=index))
        return (yield from self.proven(index, response.entry))

    def proven(self, index: int, data: bytes) -> Steps[LoggedEntry]:
        """What the server said is at `index`, once it has proven it."""
        proof = yield from self.inclusion_proof(index)
        if merkle.leaf_hash(data) != proof.leaf_hash:
            raise ProofError(f"the server gave bytes for index {index} that are not what its tree holds there")
        return LoggedEntry(index, data, proof.checkpoint)

    def packed(self, first_index: int, count: int, packed: bytes) -> Steps[bytes]:
        """Packed entries from `first_index` on, once the server has proven all of them: two proofs span the range."""
        hashes = kernel.leaf_hashes(packed)
        if len(hashes) != count * merkle.HASH_SIZE:
            raise VerificationError(f"the server said {count} entries and sent {len(hashes) // merkle.HASH_SIZE}")
        leaves = {
            first_index + place: hashes[place * 32 : (place + 1) * 32]
            for place in range(len(hashes) // merkle.HASH_SIZE)
        }
        if leaves:
            last = yield from self.inclusion_proof(max(leaves))
            first = last
            if len(leaves) > 1:
                first = yield from self.inclusion_proof(first_index, last.checkpoint)
            size = last.checkpoint.size
            outside = (*reversed(answers.siblings(first, left=True)), *answers.siblings(last, left=False))
            if merkle.multiproof_root(leaves, size, outside) != last.checkpoint.root:
                raise ProofError(f"the entries from index {first_index} on are not what the server's tree holds there")
        return packed

    # -- predictions -----------------------------------------------------------------------------------------

    def prediction(self, prediction_id: PredictionId) -> Steps[LoggedPrediction]:
        request = entries_pb2.GetPredictionRequest(prediction_id=str(prediction_id))
        response = yield from ask(methods.GET_PREDICTION, request)
        found = yield from self._proven_prediction(response.prediction)
        if found.prediction_id != prediction_id:
            raise VerificationError(f"the server gave the prediction {found.prediction_id} for {prediction_id}")
        return found

    def find(self, criteria: entries_pb2.FindPredictionsRequest, after: int = -1) -> Steps[Page]:
        """A page of predictions, ascending by index, all above the index `after`."""
        response = yield from ask(methods.FIND_PREDICTIONS, criteria)
        if response.next_page_token and response.next_page_token == criteria.page_token:
            raise VerificationError("the server's answer leads to the same page again")
        found: list[LoggedPrediction] = []
        for said in response.predictions:
            prediction = yield from self._proven_prediction(said)
            answers.check_criteria(criteria, prediction)
            if prediction.index <= (found[-1].index if found else after):
                raise VerificationError(f"the server gave the prediction at {prediction.index} twice, or out of order")
            found.append(prediction)
        return Page(found, response.next_page_token)

    def _proven_prediction(self, said: entries_pb2.LoggedPrediction) -> Steps[LoggedPrediction]:
        logged = yield from self.proven(said.index, said.entry)
        closing = yield from self._seal(said.seal_index)
        sealed = SealedEntry(said.index, said.entry, said.seal_index, closing)
        if not 0 <= sealed.place < closing.body.count or logged.entry.WhichOneof("kind") != "prediction":
            raise VerificationError(f"the seal at {said.seal_index} closes no prediction at index {said.index}")
        batch_proof = tuple(said.batch_proof)
        merkle.verify_inclusion(
            merkle.leaf_hash(said.entry), sealed.place, closing.body.count, batch_proof, closing.body.root
        )
        body = closing.body
        if seal.chain_id(self.verifier.name, body.public_key, said.chain_nonce) != body.chain_id:
            raise VerificationError(
                f"the prediction at {said.index} was sealed by the key {body.public_key.hex()}, and the server does "
                f"not show that the chain {body.chain_id.hex()} is that key's"
            )
        prediction = logged.entry.prediction
        found = LoggedPrediction(
            sealed.prediction_id(prediction),
            said.index,
            prediction,
            said.seal_index,
            closing.body.public_key,
            sealed.deployment_hash(prediction),
        )
        if not found.deployment_hash:
            raise VerificationError(f"the seal at {said.seal_index} binds the prediction at {said.index} to nothing")
        told = (said.prediction_id, said.public_key, said.deployment_hash)
        if told != (str(found.prediction_id), found.public_key, found.deployment_hash):
            raise VerificationError(f"what the server said of the prediction at {said.index} contradicts its seal")
        return found

    def _seal(self, index: int) -> Steps[seal.ParsedSeal]:
        known = self._seals.get(index)
        if known is None:
            logged = yield from self.entry(index)
            known = seal.parse_seal(logged.data)
            seal.check_seal(known, self.verifier.name)
            if len(self._seals) >= _KEPT_SEALS:
                self._seals.clear()
            self._seals[index] = known
        return known

    # -- lineage ---------------------------------------------------------------------------------------------

    def receipt(self, subject: PredictionId | int, *, witnessed: bool = False) -> Steps[bytes]:
        known = yield from self._newest()
        if isinstance(subject, int):
            response = yield from ask(
                methods.GET_RECEIPT, proofs_pb2.GetReceiptRequest(index=subject, witnessed=witnessed)
            )
            logged = yield from self.entry(subject)
            proof = TlogProof.parse(response.receipt)
            yield from self._opened(proof.checkpoint)
            proof.verify(logged.data, self.history.keys)
            is_right, signed = proof.index == subject, proof.checkpoint
        else:
            request = proofs_pb2.GetReceiptRequest(prediction_id=str(subject), witnessed=witnessed)
            response = yield from ask(methods.GET_RECEIPT, request)
            is_right = verify_receipt(response.receipt, self.verifier).prediction_id == subject
            signed = Receipt.parse(response.receipt).checkpoint
        if not is_right:
            raise VerificationError(f"the server gave a receipt for something else than {subject}")
        yield from self._agreed(signed, known, may_be_older=witnessed)
        return response.receipt

    def chain_receipt(self, chain_id: bytes, first_sequence: int) -> Steps[tuple[bytes, VerifiedChain]]:
        known = yield from self._newest()
        wanted = proofs_pb2.ChainRange(chain_id=chain_id, first_sequence=first_sequence)
        response = yield from ask(methods.GET_RECEIPT, proofs_pb2.GetReceiptRequest(chain=wanted))
        run = verify_chain_receipt(response.receipt, self.verifier)
        if (run.chain_id, run.seals[0].seal.body.batch_sequence) != (chain_id, first_sequence):
            raise VerificationError(f"the server gave a receipt for another run than {chain_id.hex()}/{first_sequence}")
        yield from self._agreed(ChainReceipt.parse(response.receipt).checkpoint, known)
        return response.receipt, run

    def trace(self, request: trace_pb2.TraceRequest, expected: int = 0) -> Steps[Page]:
        """A page that begins with the node of ordinal `expected`, which for 0 is the subject."""
        known = yield from self._newest()
        response = yield from ask(methods.TRACE, request)
        yield from self._agreed(response.checkpoint, known)
        if [node.ordinal for node in response.nodes] != list(range(expected, expected + len(response.nodes))):
            raise VerificationError(f"the server's nodes do not go on with {expected} in order")
        if not response.nodes and (not expected or response.next_page_token):
            raise VerificationError("the server's answer holds no node")
        for node in response.nodes:
            if node.resolved:
                logged = yield from self.proven(node.index, node.entry)
                if node.deployment_hash and merkle.leaf_hash(logged.data) != node.deployment_hash:
                    raise VerificationError(f"the entry at {node.index} is not the deployment that was referred to")
                answers.check_digest(node, logged)
        if not expected:
            yield from self._check_subject(request, response.nodes[0])
        return Page(tuple(response.nodes), response.next_page_token)

    def _check_subject(self, request: trace_pb2.TraceRequest, node: trace_pb2.TraceNode) -> Steps[None]:
        """That a lineage begins with what was asked for."""
        subject = request.WhichOneof("subject")
        if subject == "artifact_digest":
            wanted = digest_key(sha256_digest(request.artifact_digest))
            is_it = answers.node_key(node) == wanted
        elif subject == "prediction_id":
            found = yield from self.prediction(PredictionId.parse(request.prediction_id))
            is_it = node.resolved and node.index == found.index
        else:
            is_it = node.resolved and node.index == request.index
        if not is_it:
            raise VerificationError("the server gave the lineage of something else than was asked for")

    # -- administration --------------------------------------------------------------------------------------

    def register(self, public_key: bytes, name: str, possession_signature: bytes, admin_key: SigningKey) -> Steps[int]:
        entry = admin.build_registration(
            self.verifier.name,
            public_key=public_key,
            name=name,
            possession_signature=possession_signature,
            time_unix_ns=time.time_ns(),
            admin_key=admin_key,
        )
        response = yield from ask(methods.REGISTER_PRODUCER, admin_pb2.RegisterProducerRequest(entry=entry))
        return (yield from self._logged(response.index, response.checkpoint))

    def retire(self, public_key: bytes, last_block: int, admin_key: SigningKey) -> Steps[int]:
        entry = admin.build_retirement(
            self.verifier.name,
            public_key=public_key,
            last_block=last_block,
            time_unix_ns=time.time_ns(),
            admin_key=admin_key,
        )
        response = yield from ask(methods.RETIRE_PRODUCER, admin_pb2.RetireProducerRequest(entry=entry))
        return (yield from self._logged(response.index, response.checkpoint))

    def compromise(self, public_key: bytes, suspect_since_unix_ns: int, admin_key: SigningKey) -> Steps[int]:
        entry = admin.build_compromise(
            self.verifier.name,
            public_key=public_key,
            suspect_since_unix_ns=suspect_since_unix_ns,
            time_unix_ns=time.time_ns(),
            admin_key=admin_key,
        )
        response = yield from ask(methods.COMPROMISE_PRODUCER, admin_pb2.CompromiseProducerRequest(entry=entry))
        return (yield from self._logged(response.index, response.checkpoint))

    def change_ledger_key(self, entry: bytes) -> Steps[int]:
        response = yield from ask(methods.CHANGE_LEDGER_KEY, admin_pb2.ChangeLedgerKeyRequest(entry=entry))
        change = entry_pb2.LedgerKeyChange.FromString(strict.parse_entry(entry).ledger_key.body)
        # By the new key, which whoever signed the entry believes already.
        size = Checkpoint.open(response.checkpoint, Verifier(self.verifier.name, change.new_public_key)).size
        return _covered(response.index, size)

    def _logged(self, index: int, signed: bytes) -> Steps[int]:
        """The index, if a checkpoint of the ledger's key covers it. Who administers need not be allowed to read."""
        size = (yield from self._opened(signed)).size
        return _covered(index, size)


def _covered(index: int, size: int) -> int:
    if size <= index:
        raise VerificationError(f"the server's checkpoint of size {size} does not cover the new entry at {index}")
    return index


def parsed(prediction_id: PredictionId | str) -> PredictionId:
    """The id, whichever way it was given. Raises `MalformedError`."""
    return PredictionId.parse(prediction_id) if isinstance(prediction_id, str) else prediction_id


def subject_of(subject: PredictionId | int | bytes) -> trace_pb2.TraceRequest:
    """A trace's request: a prediction's id, an entry's index, or an artifact's SHA-256 of 32 bytes."""
    if isinstance(subject, PredictionId):
        return trace_pb2.TraceRequest(prediction_id=str(subject))
    if isinstance(subject, int):
        return trace_pb2.TraceRequest(index=subject)
    if len(subject) != merkle.HASH_SIZE:
        raise MalformedEntryError(f"an artifact is traced by its SHA-256 of 32 bytes, not {len(subject)}")
    return trace_pb2.TraceRequest(artifact_digest=subject)
