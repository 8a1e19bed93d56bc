"""What is sealed and on its way: kept in memory and spool, sent, and let go of when it is acknowledged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lineage_ledger.checkpoint_file import CheckpointFile
from lineage_ledger.emitter.acknowledgements import AcknowledgementChecker
from lineage_ledger.emitter.checkpoint_memory import SparingMemory
from lineage_ledger.emitter.errors import EmitterError, NotAcknowledgedError, SpoolError
from lineage_ledger.emitter.policy import Policy, WhenFull
from lineage_ledger.emitter.reports import Reporter
from lineage_ledger.emitter.sealer import ChainSealer, Predecessor, SealedBatch
from lineage_ledger.emitter.sender import Sender
from lineage_ledger.emitter.spool import ChainSpool, Spool
from lineage_ledger.emitter.waiters import Waiters
from lineage_ledger.emitter.window import Window
from lineage_ledger.errors import CheckpointFileError, LineageError, MalformedError, VerificationError
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.witness_policy import WitnessPolicy
from lineage_ledger.rpc.endpoint import Endpoint
from lineage_ledger.v1 import append_pb2

# Answers that say something wrong, and a memory that is needed to tell: nothing is acknowledged by them.
_MISMATCHES = (VerificationError, MalformedError, CheckpointFileError)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who emits, and to which ledger."""

    endpoint: Endpoint
    verifier: Verifier
    """The ledger's; its name is the origin."""
    key: SigningKey
    witness_policy: WitnessPolicy | None = None
    """Who must have cosigned what the ledger says is witnessed; None: that is the ledger's word."""


@dataclass(frozen=True, slots=True)
class Places:
    """What an emitter keeps on disk; None: nothing."""

    spool: Path | None = None
    """A folder."""
    checkpoint_file: Path | None = None


class Outbox:
    """Window, spool and sender of one process. `on_ended` is called when a chain takes no more (`ended`).

    `on_mismatch` is called when an answer of the ledger was refused (`mismatch`).
    """

    def __init__(
        self,
        identity: Identity,
        policy: Policy,
        places: Places,
        reporter: Reporter,
        on_ended: Callable[[], None],
        on_mismatch: Callable[[], None],
    ) -> None:
        self._identity = identity
        self._policy = policy
        self._reporter = reporter
        self._on_ended = on_ended
        self._on_mismatch = on_mismatch
        self._spool = Spool(places.spool, policy.max_spool_bytes) if places.spool is not None else None
        self._adopted: dict[bytes, int] = {}
        self.waiters = Waiters()
        self.window = Window(policy.max_unacknowledged_bytes, policy.max_batches_in_flight)
        memory = SparingMemory(CheckpointFile(places.checkpoint_file)) if places.checkpoint_file is not None else None
        self._checker = AcknowledgementChecker(
            identity.verifier,
            prove=policy.prove,
            wait_for=policy.promise,
            memory=memory,
            witness_policy=identity.witness_policy,
        )
        self.sender = Sender(identity.endpoint, self.window, self._checker, self, self._read_spooled, policy.backoff)
        self.ended: set[bytes] = set()
        """Chains that the ledger takes nothing more of, until somebody has seen to it."""
        self.acknowledged_entries = 0
        self.abandoned_entries = 0
        """Entries that were sealed, or were to be, in a chain that ended."""
        self.recovered_entries = 0
        self.mismatches = 0
        self.mismatch: Exception | None = None
        """Why the ledger's last answer was refused; None once it acknowledges something again."""

    @property
    def spool_bytes(self) -> int:
        """Bytes in the spool."""
        return self._spool.size_bytes if self._spool is not None else 0

    def begin_spool(self, chain_id: bytes) -> ChainSpool | None:
        """The spool of a new chain; None if there is none, or it cannot be had."""
        if self._spool is not None:
            try:
                return self._spool.begin(chain_id)
            except SpoolError as error:
                self._reporter.report("spool", error)
        return None

    def put(self, batch: SealedBatch, spool: ChainSpool | None) -> None:
        """Take a sealed batch, into the spool first."""
        if not self._policy.prove:
            batch.leaf_hashes = b""
        self.window.put(batch, in_spool=self._keep(spool, batch))

    def adopt_orphans(self) -> Predecessor | None:
        """Send what earlier processes left in the spool; returns the chain that the next one should go on from."""
        predecessor: Predecessor | None = None
        for _, batches in self._spool.adopt() if self._spool is not None else ():
            last = batches[-1]
            self._adopted[last.chain_id] = last.sequence
            for batch in batches:
                self.window.put(batch, in_spool=True)
            if last.closing:
                continue
            orphan = Predecessor(last.chain_id, last.next_number)
            if predecessor is None:
                predecessor = orphan
            else:
                # A chain has one predecessor, so each further orphan gets a short chain that does nothing else.
                successor = ChainSealer(self._identity.verifier.name, self._identity.key)
                self.window.put(successor.open(orphan), in_spool=False)
                self.window.put(successor.close(), in_spool=False)
        if not self.window.is_empty:
            self.sender.wake()
        return predecessor

    def close(self) -> None:
        """Stop sending; what is in the spool stays there."""
        self.sender.quiesce()
        try:
            self._checker.end()
        except LineageError as error:
            self._reporter.report("checkpoint file", error)
        if self._spool is not None:
            self._spool.close()

    def forget(self) -> None:
        """In a forked child: drop what belongs to the parent. Takes no lock: who held it is not here."""
        if self._spool is not None:
            self._spool.forget()

    def _keep(self, spool: ChainSpool | None, batch: SealedBatch) -> bool:
        """Put a batch into the spool; if that cannot be, it goes on in memory, and a crash would lose it."""
        if self._spool is None or spool is None:
            return False
        try:
            if not self._spool.has_room(batch.size):
                raise SpoolError(
                    f"the spool is full: it holds {self._spool.size_bytes:,} of {self._policy.max_spool_bytes:,} bytes"
                )
            spool.append(batch)
        except SpoolError as error:
            self._reporter.report("spool", error)
            return False
        return True

    def is_full(self) -> bool:
        """Whether nothing more should be sealed for now."""
        if not self.window.is_full:
            return False
        spool, policy = self._spool, self._policy
        return not (
            policy.when_full is WhenFull.SPOOL and spool is not None and spool.has_room(2 * policy.max_batch_bytes)
        )

    # -- what the sender says --------------------------------------------------------------------------------

    def acknowledged(self, batch: SealedBatch, acknowledgement: append_pb2.Acknowledgement) -> None:
        """A batch is in the ledger (`Outcomes`)."""
        self.mismatch = None
        if batch.chain_id in self._adopted:
            self.recovered_entries += batch.count
        else:
            self.acknowledged_entries += batch.count
        for number, place in batch.statements:
            self.waiters.done(batch.chain_id, number, acknowledgement.first_index + place)
        if self._spool is not None:
            if batch.closing or self._adopted.get(batch.chain_id) == batch.sequence:
                self._spool.end(batch.chain_id)
            else:
                self._spool.acknowledge(batch)

    def abandoned(self, batch: SealedBatch, batches: list[SealedBatch], error: LineageError) -> None:
        """The chain of `batch` takes nothing more (`Outcomes`)."""
        lost = sum(dropped.count for dropped in batches)
        chain = batch.chain_id.hex()
        failure = EmitterError(
            f"the ledger refused batch {batch.sequence} of chain {chain} for good; {lost} of its entries are lost "
            f"and the emitter goes on in a new chain: {error}"
        )
        self._reporter.report("chain ended", failure)
        for dropped in batches:
            for number, _ in dropped.statements:
                self.waiters.fail(batch.chain_id, number, NotAcknowledgedError(str(failure)))
        if batch.chain_id not in self._adopted:
            self.abandoned_entries += lost
        if self._spool is not None:
            self._spool.end(batch.chain_id)
        self.ended.add(batch.chain_id)
        self._on_ended()

    def failed(self, error: Exception) -> None:
        """A connection ended, and there will be another (`Outcomes`)."""
        if isinstance(error, _MISMATCHES):
            self._reporter.report(f"refused answer: {type(error).__name__}", error)
            with self.window.changed:  # whoever flushes is to be told
                self.mismatches += 1
                self.mismatch = error
                self.window.changed.notify_all()
            self._on_mismatch()
            return
        self._reporter.report(f"sending {getattr(error, 'reason', '') or getattr(error, 'status', '')}".rstrip(), error)

    def _read_spooled(self, batch: SealedBatch) -> bytes:
        if self._spool is None:
            raise SpoolError("there is no spool")
        return self._spool.read(batch)
