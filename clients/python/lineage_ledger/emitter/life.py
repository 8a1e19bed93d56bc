"""Everything that an emitter has in one process: the current chain, the thread that cuts and seals, the sender.

A forked child drops the whole of it, without touching any of its locks, and makes its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lineage_ledger.emitter.acknowledgements import AcknowledgementChecker
from lineage_ledger.emitter.errors import EmitterError, NotAcknowledgedError, SpoolError
from lineage_ledger.emitter.policy import Policy, WhenFull
from lineage_ledger.emitter.reports import Reporter, Statistics
from lineage_ledger.emitter.ring import Cut, Ring
from lineage_ledger.emitter.sealer import ChainSealer, Predecessor, SealedBatch
from lineage_ledger.emitter.sender import Sender
from lineage_ledger.emitter.spool import ChainSpool, Spool
from lineage_ledger.emitter.waiters import Waiters
from lineage_ledger.emitter.window import Window
from lineage_ledger.errors import LineageError
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Verifier
from lineage_ledger.rpc.endpoint import Endpoint
from lineage_ledger.v1 import append_pb2

_TICK_S = 0.005
_FULL_WAIT_S = 1.0
_AFTER_ERROR_S = 1.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Who emits, and to which ledger."""

    endpoint: Endpoint
    verifier: Verifier
    """The ledger's; its name is the origin."""
    key: SigningKey


@dataclass(slots=True, eq=False)
class _Chain:
    ring: Ring
    sealer: ChainSealer
    spool: ChainSpool | None = None
    predecessor: Predecessor | None = None
    handed_over: int = 0
    """Numbers below are sealed and in the window, or were."""


class Lane:
    """Where emitting threads find the ring to use now."""

    __slots__ = ("ring",)

    ring: Ring


class Life:
    """One process' part of an emitter's existence. Its thread starts when there is something to do."""

    def __init__(
        self,
        identity: Identity,
        policy: Policy,
        spool_folder: Path | None,
        lane: Lane,
        deployments: Sequence[bytes],
        reporter: Reporter,
    ) -> None:
        self._identity = identity
        self._policy = policy
        self._lane = lane
        self._deployments = deployments
        self._reporter = reporter
        self._spool = Spool(spool_folder, policy.max_spool_bytes) if spool_folder is not None else None
        self.waiters = Waiters()
        self._window = Window(policy.max_unacknowledged_bytes, policy.max_batches_in_flight)
        self._sender = Sender(
            identity.endpoint,
            self._window,
            AcknowledgementChecker(identity.verifier),
            self,
            self._read_spooled,
            policy.backoff,
        )
        self._mutex = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._urgent = False
        self._closing = False
        self._ended: set[bytes] = set()
        self._hole = (-1, 0.0)
        self._retired: list[Ring] = []
        self._adopted: dict[bytes, int] = {}
        self._acknowledged = self._abandoned = self._recovered = 0
        self._chain = self._new_chain()
        lane.ring = self._chain.ring

    # -- for any thread --------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Have the thread look at the ring."""
        if self._thread is None:
            with self._mutex:
                if self._thread is None:
                    thread = threading.Thread(target=self._run, name="lineage-emitter", daemon=True)
                    thread.start()
                    self._thread = thread
        self._wake.set()

    def spend(self, ring: Ring) -> int:
        """Take a number for an entry that cannot be recorded, and declare it lost."""
        number = ring.take()
        ring.refuse(number)
        self.wake()
        return number

    def hurry(self) -> None:
        """Have what was emitted so far sealed at once."""
        self._urgent = True
        self.wake()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was emitted before the call is acknowledged; False if the time was over first."""
        chain = self._chain
        number = chain.ring.taken()
        if number == 0 and self._window.is_empty:
            return True

        def is_done() -> bool:
            return chain.handed_over >= number and not self._window.holds(chain.sealer.chain_id, number)

        deadline_s = time.monotonic() + timeout_s
        with self._window.changed:
            while not is_done():
                self.hurry()
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    return False
                # A hole can keep a part back, so what comes free must be hurried again.
                self._window.changed.wait(min(left_s, 0.1))
        return True

    def close(self, timeout_s: float) -> bool:
        """Seal and send what is left, end the chain, stop; whether all was acknowledged in time."""
        deadline_s = time.monotonic() + timeout_s
        self._closing = True
        if self._chain.ring.taken() == 0 and self._thread is None:
            self._lane.ring.close()
            return True
        self.hurry()
        with self._window.changed:
            self._window.changed.notify_all()  # The thread may wait for room in it.
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)
        with self._window.changed:
            self._window.changed.wait_for(lambda: self._window.is_empty, max(0.0, deadline_s - time.monotonic()))
            complete = self._window.is_empty and not (thread is not None and thread.is_alive())
        self._sender.quiesce()
        if self._spool is not None:
            self._spool.close()
        self.waiters.fail_all(NotAcknowledgedError("the emitter was closed before the ledger acknowledged the entry"))
        return complete

    def statistics(self) -> Statistics:
        """Counts as of now."""
        rings = (*self._retired, self._chain.ring)
        emitted = sum(ring.numbered() for ring in rings)
        lost = sum(ring.lost_count for ring in rings) + self._abandoned
        return Statistics(
            emitted=emitted,
            acknowledged=self._acknowledged,
            lost=lost,
            pending=max(0, emitted - self._acknowledged - lost),
            recovered=self._recovered,
            unacknowledged_bytes=self._window.held_bytes,
            spool_bytes=self._spool.size_bytes if self._spool is not None else 0,
            last_error=self._reporter.last_error,
        )

    # -- around a fork ---------------------------------------------------------------------------------------

    def before_fork(self) -> bool:
        """End the connection and its threads: gRPC must hold no lock and no thread while the process is copied.

        Whether there was one.
        """
        return self._sender.quiesce()

    def after_fork_in_parent(self) -> None:
        """Go on where it was."""
        self._sender.resume()
        if not self._closing and not self._window.is_empty:
            self._sender.wake()

    def after_fork_in_child(self) -> None:
        """Drop what belongs to the parent. Takes no lock: the thread that held it is not here."""
        if self._spool is not None:
            self._spool.forget()

    # -- what the sender says --------------------------------------------------------------------------------

    def acknowledged(self, batch: SealedBatch, acknowledgement: append_pb2.Acknowledgement) -> None:
        """A batch is in the ledger (`Outcomes`)."""
        if batch.chain_id in self._adopted:
            self._recovered += batch.count
        else:
            self._acknowledged += batch.count
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
            self._abandoned += lost
        if self._spool is not None:
            self._spool.end(batch.chain_id)
        self._ended.add(batch.chain_id)
        self._wake.set()

    def failed(self, error: Exception) -> None:
        """A connection ended, and there will be another (`Outcomes`)."""
        self._reporter.report(f"sending {getattr(error, 'reason', '') or getattr(error, 'status', '')}".rstrip(), error)

    def _read_spooled(self, batch: SealedBatch) -> bytes:
        if self._spool is None:
            raise SpoolError("there is no spool")
        return self._spool.read(batch)

    # -- the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._adopt_orphans()
        except Exception as error:  # noqa: BLE001  (what an earlier process left must not stop this one)
            self._reporter.report("spool", error)
        while True:
            try:
                self._wait()
                if self._ended:
                    self._leave_ended_chain()
                if self._closing:
                    self._finish()
                    return
                self._drain()
                self._watch_for_holes()
            except Exception as error:  # noqa: BLE001  (the thread must outlive whatever happens: nobody else seals)
                self._reporter.report("emitter thread", error)
                if self._closing:
                    return
                time.sleep(_AFTER_ERROR_S)

    def _wait(self) -> None:
        """Until a batch is there, the oldest entry lingered long enough, or somebody is in a hurry."""
        ring = self._chain.ring
        if not self._urgent and ring.taken() == ring.drained:
            ring.attention = True
            is_woken = ring.taken() != ring.drained or self._wake.wait(self._policy.heartbeat_s)
            self._wake.clear()
            ring.attention = False
            if not is_woken and self._chain.sealer.next_sequence and self._window.is_empty:
                self._hand_over(self._chain, self._chain.sealer.heartbeat())
        deadline_s = time.monotonic() + self._policy.linger_ms / 1e3
        while not self._urgent and not ring.has_batch(self._policy.max_batch_entries):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                break
            self._wake.wait(min(left_s, _TICK_S))
            self._wake.clear()
        with self._window.changed:
            while self._is_full() and not self._closing and not self._ended:
                self._window.changed.wait(_FULL_WAIT_S)

    def _drain(self) -> None:
        urgent, self._urgent = self._urgent, False
        chain = self._chain
        while not self._is_full() and self._seal_next(chain):
            if not urgent and not chain.ring.has_batch(self._policy.max_batch_entries):
                break

    def _seal_next(self, chain: _Chain) -> bool:
        """Cut, seal and hand over one batch; False if nothing can be cut."""
        cut = chain.ring.cut(self._policy.max_batch_entries, self._policy.max_batch_bytes)
        if cut.next_number == cut.first_number:
            return False
        self._open(chain)
        try:
            batch = chain.sealer.seal(cut, self._deployments)
        except LineageError as error:
            # Cannot be, since every entry is checked before it is placed; if it is, the rest must go on.
            self._reporter.report("sealing", error)
            self._abandoned += cut.entries
            batch = chain.sealer.seal(Cut(cut.first_number, cut.next_number, b"", 0, _whole(cut)), ())
        self._hand_over(chain, batch)
        if cut.lost:
            lost = sum(end - first for first, end in cut.lost)
            self._reporter.report(
                "lost", EmitterError(f"{lost} entries of chain {chain.sealer.chain_id.hex()} are lost")
            )
        return True

    def _open(self, chain: _Chain) -> None:
        """Begin the chain in the ledger, if it was not."""
        if chain.sealer.next_sequence:
            return
        if self._spool is not None:
            try:
                chain.spool = self._spool.begin(chain.sealer.chain_id)
            except SpoolError as error:
                self._reporter.report("spool", error)
        self._hand_over(chain, chain.sealer.open(chain.predecessor))

    def _hand_over(self, chain: _Chain, batch: SealedBatch) -> None:
        self._window.put(batch, in_spool=self._keep(chain, batch))
        with self._window.changed:
            chain.handed_over = batch.next_number
            self._window.changed.notify_all()
        self._sender.wake()

    def _keep(self, chain: _Chain, batch: SealedBatch) -> bool:
        """Put a batch into the spool; if that cannot be, it goes on in memory, and a crash would lose it."""
        if self._spool is None or chain.spool is None:
            return False
        try:
            if not self._spool.has_room(batch.size):
                raise SpoolError(
                    f"the spool is full: it holds {self._spool.size_bytes:,} of {self._policy.max_spool_bytes:,} bytes"
                )
            chain.spool.append(batch)
        except SpoolError as error:
            self._reporter.report("spool", error)
            return False
        return True

    def _is_full(self) -> bool:
        if not self._window.is_full:
            return False
        spool, policy = self._spool, self._policy
        return not (
            policy.when_full is WhenFull.SPOOL and spool is not None and spool.has_room(2 * policy.max_batch_bytes)
        )

    def _watch_for_holes(self) -> None:
        ring = self._chain.ring
        if ring.taken() == ring.drained or self._is_full() or ring.has_batch(1):
            self._hole = (-1, 0.0)
        elif self._hole[0] != ring.drained:
            self._hole = (ring.drained, time.monotonic())
        elif time.monotonic() - self._hole[1] > self._policy.hole_timeout_s:
            self._reporter.report(
                "hole",
                EmitterError(
                    f"number {ring.drained} of chain {ring.chain_id.hex()} was taken and not used for "
                    f"{self._policy.hole_timeout_s:g} s (a thread died in emit?); it is declared lost"
                ),
            )
            self._end_chain(self._chain, self._switch())

    def _new_chain(self) -> _Chain:
        sealer = ChainSealer(self._identity.verifier.name, self._identity.key)
        return _Chain(Ring(sealer.chain_id, self._policy.max_pending_entries), sealer)

    def _switch(self) -> _Chain:
        """Have all that is emitted from now on go into a new chain; returns it. The old ring is closed, not empty."""
        old, new = self._chain, self._new_chain()
        self._retired.append(old.ring)
        self._chain = new
        self._lane.ring = new.ring
        old.ring.close()
        return new

    def _end_chain(self, old: _Chain, successor: _Chain | None) -> None:
        """Seal what a closed ring holds, and close its chain."""
        while self._seal_next(old):
            pass
        if old.sealer.next_sequence:
            self._hand_over(old, old.sealer.close())
            if successor is not None:
                successor.predecessor = Predecessor(old.sealer.chain_id, old.sealer.next_number)

    def _leave_ended_chain(self) -> None:
        """The ledger takes nothing more in the current chain: what was not sealed of it is lost with it."""
        ended, self._ended = self._ended, set()
        old = self._chain
        if old.sealer.chain_id not in ended:
            return
        new = self._switch()
        new.predecessor = Predecessor(old.sealer.chain_id, old.sealer.next_number)
        while (
            cut := old.ring.cut(self._policy.max_batch_entries, self._policy.max_batch_bytes)
        ).next_number > cut.first_number:
            self._abandoned += cut.entries
        with self._window.changed:
            # Sealed for a chain that had ended without our knowing.
            for batch in self._window.abandon(old.sealer.chain_id):
                self._abandoned += batch.count
            old.handed_over = old.ring.taken()
        self.waiters.fail_chain(
            old.sealer.chain_id, NotAcknowledgedError("the chain ended before the entry was sealed; append it again")
        )

    def _finish(self) -> None:
        chain = self._chain
        chain.ring.close()
        self._end_chain(chain, None)

    def _adopt_orphans(self) -> None:
        """Send what earlier processes left in the spool, and say which chains this one goes on from."""
        if self._spool is None:
            return
        for spool, batches in self._spool.adopt():
            last = batches[-1]
            self._adopted[last.chain_id] = last.sequence
            for batch in batches:
                self._window.put(batch, in_spool=spool is not None)
            predecessor = Predecessor(last.chain_id, last.next_number)
            if last.closing:
                continue
            if self._chain.predecessor is None and not self._chain.sealer.next_sequence:
                self._chain.predecessor = predecessor
                self._open(self._chain)
            else:
                # A chain has one predecessor, so each further orphan gets a short chain that does nothing else.
                successor = ChainSealer(self._identity.verifier.name, self._identity.key)
                self._window.put(successor.open(predecessor), in_spool=False)
                self._window.put(successor.close(), in_spool=False)
        if not self._window.is_empty:
            self._sender.wake()


def _whole(cut: Cut) -> list[tuple[int, int]]:
    return [(cut.first_number, cut.next_number)]
