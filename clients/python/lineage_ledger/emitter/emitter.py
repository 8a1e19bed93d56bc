"""The emitter: what a serving process holds to put its predictions on record."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from lineage_ledger.emitter import forking
from lineage_ledger.emitter.binding import Binding
from lineage_ledger.emitter.columns import PredictionIds
from lineage_ledger.emitter.errors import EmitterClosedError, EmitterError, EmitterFullError, NotAcknowledgedError
from lineage_ledger.emitter.lanes import new_lane
from lineage_ledger.emitter.life import Life
from lineage_ledger.emitter.outbox import Identity, Places
from lineage_ledger.emitter.policy import Policy, WaitFor, WhenFull
from lineage_ledger.emitter.reports import Reporter, Statistics
from lineage_ledger.emitter.ring import Placed, Ring
from lineage_ledger.emitter.waiters import Waiter
from lineage_ledger.errors import LineageError, MalformedEntryError, SettingsError
from lineage_ledger.formats import merkle, strict
from lineage_ledger.formats.keys import SigningKey, read_signing_key
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.packed import frame
from lineage_ledger.formats.prediction import (
    COMMITMENT_BYTES,
    INPUT_PREFIX_BYTES,
    MAX_BINDING_ROW,
    PredictionId,
)
from lineage_ledger.formats.witness_policy import WitnessPolicy
from lineage_ledger.rpc.endpoint import Endpoint
from lineage_ledger.v1 import entry_pb2

_HASH_BYTES = 32
_DEPLOYMENT = 5
_STATEMENTS = frozenset({3, 4, 5, 6})


@dataclass(frozen=True, slots=True)
class LoggedStatement:
    """A statement that is in the ledger."""

    index: int
    leaf_hash: bytes
    """32 bytes; what refers to the statement, such as a binding, refers to this."""


class Emitter:
    """Signs and sends what a process emits, in its own background thread. Thread-safe; survives forks.

    `ledger` is the ledger's verifier key as text, whose name is the ledger's origin: seals are made for exactly that
    ledger, and acknowledgements must be signed by that key. `key` is the producer's, or the path of its file. The
    newest checkpoint that was verified is kept in `checkpoint_file`, so that the next process goes on from it. What is
    `witnessed` must have the cosignatures of `witness_policy`; without one that is the ledger's word.
    """

    def __init__(
        self,
        target: str | Endpoint,
        *,
        ledger: str,
        key: SigningKey | str | Path,
        deployment: bytes | None = None,
        spool: str | Path | None = None,
        checkpoint_file: str | Path | None = None,
        witness_policy: WitnessPolicy | None = None,
        policy: Policy | None = None,
        on_error: Callable[[Exception], None] | None = None,
    ) -> None:
        """Makes no connection. Raises `SettingsError`, `InvalidKeyError` or `SpoolError`."""
        self._policy = policy or Policy()
        if self._policy.when_full is WhenFull.SPOOL and spool is None:
            raise SettingsError('when_full="spool" needs a spool: give its folder')
        if checkpoint_file is not None and not self._policy.prove:
            raise SettingsError("a checkpoint_file needs proofs: set prove, or leave checkpoint_file out")
        if checkpoint_file is not None and not Path(checkpoint_file).parent.is_dir():
            raise SettingsError(f"checkpoint_file: there is no folder {Path(checkpoint_file).parent}")
        if witness_policy is not None and self._policy.wait_for is not WaitFor.WITNESSED:
            raise SettingsError('a witness_policy is held against what is witnessed: set wait_for="witnessed"')
        self._identity = Identity(
            target if isinstance(target, Endpoint) else Endpoint(target),
            Verifier.parse(ledger),
            key if isinstance(key, SigningKey) else read_signing_key(key)[1],
            witness_policy,
        )
        self._places = Places(
            Path(spool) if spool is not None else None,
            Path(checkpoint_file) if checkpoint_file is not None else None,
        )
        self._reporter = Reporter(on_error)
        self._deployments: list[bytes] = []
        self._bindings: dict[bytes, Binding] = {}
        self._lane = new_lane()
        self._wait_s = None if self._policy.when_full is WhenFull.BLOCK else 0.0
        self._deployment = deployment
        self._closed = False
        self._life = self._begin()
        if spool is not None:
            self._life.wake()  # To send what an earlier process left there.
        forking.register(self)
        atexit.register(self._at_exit)

    @classmethod
    def from_settings(cls, path: str | Path | None = None) -> Emitter:
        """An emitter as LINEAGE_… variables and a TOML file say (`lineage_ledger.emitter.settings`)."""
        from lineage_ledger.emitter.settings import EmitterSettings

        return EmitterSettings.read(path).emitter()

    @property
    def policy(self) -> Policy:
        """Its bounds, and what it does when it reaches them."""
        return self._policy

    @property
    def origin(self) -> str:
        """The ledger's name, which seals are made for."""
        return self._identity.verifier.name

    @property
    def public_key(self) -> bytes:
        """The producer's; 32 bytes."""
        return self._identity.key.public_key

    @property
    def statistics(self) -> Statistics:
        """Counts as of now."""
        return self._life.statistics()

    def bind(self, deployment: bytes | None = None) -> Binding:
        """The binding for a deployment, given as its entry or the 32-byte leaf hash of that; one for each.

        Without an argument it is the deployment that the emitter was made with. It need not be logged yet. Raises
        `MalformedEntryError` if the entry is no deployment, `SettingsError` if there is none, `EmitterError` for a
        256th one.
        """
        if deployment is None:
            deployment = self._deployment
        if deployment is None:
            raise SettingsError("there is no deployment to bind to: give its leaf hash, or set LINEAGE_DEPLOYMENT")
        if len(deployment) == _HASH_BYTES:
            deployment_hash = bytes(deployment)
        elif strict.check_entry(deployment) == _DEPLOYMENT:
            deployment_hash = merkle.leaf_hash(deployment)
        else:
            raise MalformedEntryError("a binding is made of a deployment's entry, or of its leaf hash")
        with forking.LOCK:
            binding = self._bindings.get(deployment_hash)
            if binding is None:
                if len(self._deployments) == MAX_BINDING_ROW:
                    raise EmitterError(f"an emitter has at most {MAX_BINDING_ROW} bindings; use another emitter")
                binding = self._lane.begin_binding(self, len(self._deployments) + 1, deployment_hash)
                self._deployments.append(deployment_hash)
                self._bindings[deployment_hash] = binding
        return binding

    def append(self, entry: bytes | entry_pb2.Entry, timeout_s: float = 30.0) -> LoggedStatement:
        """Append a statement (artifact, run, deployment or attestation) and wait until it is in the ledger.

        Raises `MalformedEntryError` before anything is sent, `NotAcknowledgedError` when the time is over, and
        `EmitterFullError` or `EmitterClosedError`.
        """
        data = entry if isinstance(entry, bytes) else entry.SerializeToString()
        if strict.check_entry(data) not in _STATEMENTS:
            raise MalformedEntryError(
                "only artifacts, runs, deployments and attestations are appended; predictions are emitted"
            )
        waiter = Waiter()
        chain_id, number = self._place_statement(frame(data), waiter, timeout_s)
        self._life.hurry()
        if not waiter.event.wait(timeout_s):
            self._life.waiters.drop(chain_id, number)
            last = self._reporter.last_error
            raise NotAcknowledgedError(
                f"the ledger did not acknowledge the statement within {timeout_s:g} s; it may yet do so"
                + (f" (last error: {last})" if last else "")
            ) from self._life.mismatch
        if waiter.error is not None:
            raise waiter.error
        return LoggedStatement(waiter.index, merkle.leaf_hash(data))

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait until everything emitted so far is in the ledger; False if the time was over first.

        Raises what the ledger's answer was refused for, if it was: `VerificationError` (`HistoryError` with evidence;
        `OtherOriginError` if it is not the ledger that was pinned), `MalformedError` or `CheckpointFileError`. What was
        emitted is kept, and sent again later.
        """
        return self._life.flush(timeout_s)

    def close(self, timeout_s: float = 30.0) -> bool:
        """Send what is left and close the chain; False if the time was over first (a spool then keeps the rest)."""
        if self._closed:
            return True
        self._closed = True
        atexit.unregister(self._at_exit)
        complete = self._life.close(timeout_s)
        if not complete:
            left = self._life.statistics().pending
            where = "they stay in the spool" if self._places.spool is not None else "they are lost"
            self._reporter.report(
                "close",
                EmitterError(f"{left} entries were not acknowledged within {timeout_s:g} s of closing; {where}"),
            )
        return complete

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- when the hot path cannot go on by itself ------------------------------------------------------------

    def _place(self, framed: bytes) -> tuple[bytes, int]:
        """Leave a framed prediction in the ring, as the policy says; its chain and number."""
        ring = self._lane.ring
        return self._settle(ring, framed, ring.place(framed, self._wait_s))

    def _settle(self, ring: Ring, framed: bytes, placed: Placed | None) -> tuple[bytes, int]:
        """What is to be done after a prediction was left in `ring`, or could not be; its chain and number."""
        while placed is None and self._lane.ring is not ring:
            # The ring was closed over it; use the one that followed.
            ring = self._lane.ring
            placed = ring.place(framed, self._wait_s)
        if placed is None or (self._closed and not placed.is_kept):
            error = EmitterClosedError("the emitter was closed before the prediction was emitted; it is not on record")
            if self._policy.fail_closed:
                raise error
            self._reporter.report("closed", error)
            return ring.chain_id, ring.lose() if placed is None else placed.number
        if not placed.is_kept and (self._policy.fail_closed or self._policy.when_full is WhenFull.RAISE):
            raise EmitterFullError(
                f"{self._policy.max_pending_entries:,} entries wait to be sealed and more cannot be taken; "
                f"number {placed.number} of chain {ring.chain_id.hex()} is declared lost"
            )
        if self._policy.fail_closed:
            self._life.check_ledger()
        return ring.chain_id, placed.number

    def _place_statement(self, framed: bytes, waiter: Waiter, timeout_s: float) -> tuple[bytes, int]:
        """Leave a statement in the ring; its chain and number, which the waiter waits for."""
        waiters = self._life.waiters
        while True:
            ring = self._lane.ring
            told: list[int] = []

            def tell(number: int, ring: Ring = ring, told: list[int] = told) -> None:
                told.append(number)
                waiters.add(ring.chain_id, number, waiter)

            placed = ring.place(framed, timeout_s, tell)
            if placed is not None and placed.is_kept:
                return ring.chain_id, placed.number
            for number in told:
                waiters.drop(ring.chain_id, number)
            if self._closed:
                raise EmitterClosedError("the emitter was closed")
            if placed is not None:
                raise EmitterFullError(f"the emitter had no room for the statement within {timeout_s:g} s")

    def _refuse(self, input_commitment: object, error: Exception) -> PredictionId:
        """What was to be emitted is no prediction: a number is spent on it, and declared lost."""
        if self._policy.fail_closed:
            if isinstance(error, LineageError):
                raise error
            raise MalformedEntryError(f"the prediction cannot be packed: {error}") from error
        self._reporter.report("malformed prediction", error)
        ring = self._lane.ring
        number = self._life.spend(ring)
        prefix = input_commitment[:INPUT_PREFIX_BYTES] if isinstance(input_commitment, bytes) else b""
        return PredictionId(ring.chain_id, number, prefix.ljust(INPUT_PREFIX_BYTES, b"\0"))

    def _refuse_many(self, input_commitments: object, error: Exception) -> PredictionIds:
        """What was to be emitted does not fit together: as many numbers are spent as can be told were meant."""
        try:
            inputs = bytes(memoryview(input_commitments))  # type: ignore[arg-type]  # whatever it is
        except (TypeError, ValueError, BufferError):
            inputs = b""
        count = -(-len(inputs) // COMMITMENT_BYTES) or 1
        if self._policy.fail_closed:
            if isinstance(error, LineageError):
                raise error
            raise MalformedEntryError(f"the predictions cannot be packed: {error}") from error
        self._reporter.report("malformed predictions", error)
        ids = PredictionIds(inputs)
        ring = self._lane.ring
        for _ in range(count):
            ids.add(ring.chain_id, ring.lose(), 1)
        self._life.wake()
        return ids

    # -- life and death --------------------------------------------------------------------------------------

    def _begin(self) -> Life:
        return Life(self._identity, self._policy, self._places, self._lane, self._deployments, self._reporter)

    def _before_fork(self) -> bool:
        return self._life.before_fork()

    def _after_fork_in_parent(self) -> None:
        self._life.after_fork_in_parent()

    def _after_fork_in_child(self) -> None:
        self._life.after_fork_in_child()
        self._reporter = self._reporter.renewed()
        self._life = self._begin()

    def _at_exit(self) -> None:
        self.close(self._policy.exit_timeout_s)
