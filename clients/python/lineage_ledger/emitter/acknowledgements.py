"""Holds what the server acknowledges against what was sent, and against what it signed before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lineage_ledger.emitter.checkpoint_memory import SparingMemory
from lineage_ledger.emitter.errors import UnderPromisedError
from lineage_ledger.emitter.sealer import SealedBatch
from lineage_ledger.errors import HistoryError, LineageError, OtherOriginError, ProofError, VerificationError
from lineage_ledger.formats import merkle
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.ledger_keys import LedgerKeys, follow_history
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.witness_policy import WitnessPolicy
from lineage_ledger.history import History, SignedCheckpoint
from lineage_ledger.v1 import append_pb2

PROMISE_NAMES: Final = {
    append_pb2.PROMISE_DURABLE: "durable",
    append_pb2.PROMISE_PUBLISHED: "published",
    append_pb2.PROMISE_WITNESSED: "witnessed",
}


class AcknowledgementChecker:
    """Remembers the newest checkpoint across connections and chains: in `memory`, else as long as it lives.

    With `prove`, the server must show of each batch that it is in the one tree, and of each checkpoint that it goes on
    from the one before. Without, a checkpoint is only held against the size of the one before. An acknowledgement that
    promises less than `wait_for` is none. That a checkpoint is witnessed is the server's word, unless there is a
    `witness_policy`: then the cosignatures of its quorum must be on it. For one thread.
    """

    def __init__(
        self,
        verifier: Verifier,
        *,
        prove: bool = True,
        wait_for: append_pb2.Promise = append_pb2.PROMISE_PUBLISHED,
        memory: SparingMemory | None = None,
        witness_policy: WitnessPolicy | None = None,
    ) -> None:
        self._pinned = verifier
        self._witness_policy = witness_policy
        self._witnessed_note = b""
        self._prove = prove
        self._wait_for = wait_for
        self._memory = memory
        self._history: History | None = None
        self._keys: LedgerKeys | None = None
        self._known: SignedCheckpoint | None = None
        self._evidence: tuple[bytes, ...] = ()

    @property
    def needs_leaf_hashes(self) -> bool:
        """Whether `check` looks at them."""
        return self._prove

    @property
    def history(self) -> History:
        """Made when it is first needed: what is wrong with the memory must not keep a server from starting.

        Raises `CheckpointFileError`, or `ForkError` if the memory holds one.
        """
        if self._history is None:
            self._history = History(self._pinned, self._memory)
        return self._history

    def check_ledger(self, ledger: append_pb2.GetLedgerResponse) -> None:
        """Whether this is the ledger that is pinned; follows changes of its key. To be asked before anything is sent.

        Raises `OtherOriginError`, and as `history` does.
        """
        try:
            keys = self._follow(ledger)
        except LineageError as error:
            raise OtherOriginError(
                f"the server's ledger is {ledger.origin[:512]!r} with the key {ledger.verifier_key[:512]!r}, and the "
                f"one that was pinned is {self._pinned}: nothing is sent to it. Is the address right, and the verifier "
                f"key? ({error})",
                evidence=(),
            ) from error
        if keys is not None:
            self.history.keys = self._keys = keys

    def _follow(self, ledger: append_pb2.GetLedgerResponse) -> LedgerKeys | None:
        """The ledger's keys, if it ever had another one than the pinned one. Raises `LineageError`."""
        if ledger.origin != self._pinned.name:
            raise VerificationError("the origin is another one")
        if ledger.verifier_key == str(self._pinned) and not ledger.key_history.changes and self._keys is None:
            return None
        keys = follow_history(self._pinned, ledger.key_history)
        if ledger.verifier_key != str(keys.newest):
            raise VerificationError("the changes of its key do not lead to the key that it names")
        if self._keys is not None and not keys.extends(self._keys):
            raise VerificationError("the changes of its key are not those that it named before")
        return keys

    def begin(self) -> append_pb2.AcknowledgementOptions:
        """What to ask for in a new conversation, whose first response is then held against the newest checkpoint.

        Raises as `history` does.
        """
        if not self._prove:
            return append_pb2.AcknowledgementOptions(wait_for=self._wait_for)
        self._known = self.history.newest
        known_size = self._known.size if self._known is not None else 0
        return append_pb2.AcknowledgementOptions(prove=True, known_tree_size=known_size, wait_for=self._wait_for)

    def end(self) -> None:
        """The conversation is over: keep what was verified. Raises as `history` does."""
        if self._memory is not None:
            self._memory.save()

    def published(self, response: append_pb2.AppendStreamResponse) -> bool:
        """Whether all that a response acknowledges is published; then others may be held to its checkpoint.

        Raises as `history` does.
        """
        if any(said.promise < append_pb2.PROMISE_PUBLISHED for said in response.acknowledgements):
            return False
        if self._memory is not None:
            self._memory.published()
        return True

    def check_checkpoint(self, signed: bytes, proof: Sequence[bytes]) -> Checkpoint:
        """Verify the next response's checkpoint: signed by the ledger's key, and of the history seen before.

        Raises `MalformedError`, `VerificationError` (`HistoryError` with the evidence), or `CheckpointFileError`.
        """
        history, known = self.history, self._known
        if self._prove:
            opened = history.accept(signed, known, proof)
        else:
            opened = history.open(signed)
            history.check_pinned(opened)
            if known is not None and opened.size <= known.size:
                history.check(known, opened, ())
        self._known = opened
        self._evidence = (signed,) if known is None else (known.note, signed)
        return opened.checkpoint

    def check(
        self, batch: SealedBatch, leaf_hashes: bytes, said: append_pb2.Acknowledgement, checkpoint: Checkpoint
    ) -> None:
        """Whether `said`, under `checkpoint`, acknowledges `batch`, whose entries and seal have these leaf hashes.

        `leaf_hashes` are 32 bytes each, and looked at with `prove` only. Raises `VerificationError`, or
        `UnderPromisedError`.
        """
        name = f"batch {batch.sequence} of chain {batch.chain_id.hex()}"
        if (said.chain_id, said.batch_sequence) != (batch.chain_id, batch.sequence):
            raise VerificationError(
                f"the server acknowledged batch {said.batch_sequence} of chain {said.chain_id.hex()[:64]} when {name} "
                "was next"
            )
        if said.seal_index - said.first_index != batch.count:
            raise VerificationError(
                f"the server gave {name}, which has {batch.count} entries, the indexes {said.first_index} to "
                f"{said.seal_index}"
            )
        if said.promise not in PROMISE_NAMES:
            raise VerificationError(f"the server acknowledged {name} with a promise that there is not: {said.promise}")
        if said.promise < self._wait_for:
            raise UnderPromisedError(
                f"the server says that {name} is {PROMISE_NAMES[said.promise]}, and it is to be "
                f"{PROMISE_NAMES[self._wait_for]}; it is sent again later"
            )
        if said.promise == append_pb2.PROMISE_WITNESSED and self._witness_policy is not None:
            self._check_witnesses(self._witness_policy)
        if said.promise == append_pb2.PROMISE_DURABLE:
            return  # All that was asked for; there may be no tree yet to prove it in.
        if checkpoint.size <= said.seal_index:
            raise VerificationError(
                f"the server acknowledged {name} at index {said.seal_index}, which its checkpoint of size "
                f"{checkpoint.size} does not cover"
            )
        if self._prove:
            self._check_range(name, leaf_hashes, said, checkpoint)

    def _check_witnesses(self, policy: WitnessPolicy) -> None:
        """Whether the newest checkpoint has its quorum; looked at once for all batches that it acknowledges."""
        signed = self._evidence[-1]
        if signed != self._witnessed_note:
            policy.check(signed, self._pinned)
            self._witnessed_note = signed

    def _check_range(
        self, name: str, leaf_hashes: bytes, said: append_pb2.Acknowledgement, checkpoint: Checkpoint
    ) -> None:
        """Whether the tree holds the batch, all of it, just where the server says."""
        try:
            root = merkle.range_root(leaf_hashes, said.first_index, checkpoint.size, said.range_proof)
            if root != checkpoint.root:
                raise ProofError("the proof does not lead to the root")
        except ProofError as error:
            failure = HistoryError(
                f"the server acknowledged {name} at the indexes {said.first_index} to {said.seal_index}, but does not "
                f"show that its tree of {checkpoint.size:,} entries holds it there: the ledger lost or changed the "
                f"batch, or shows different histories ({error})",
                evidence=self._evidence,
                proof=tuple(said.range_proof),
            )
            if self._memory is not None:
                self._memory.refuse(failure)
            raise failure from error
