"""Everything that an emitter has in one process: the current chain, the thread that cuts and seals, the sender.

A forked child drops the whole of it, without touching any of its locks, and makes its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from lineage_ledger.emitter.errors import EmitterError, NotAcknowledgedError
from lineage_ledger.emitter.lanes import Lane
from lineage_ledger.emitter.outbox import Identity, Outbox, Places
from lineage_ledger.emitter.policy import Policy, WhenFull
from lineage_ledger.emitter.reports import Reporter, Statistics
from lineage_ledger.emitter.ring import Bounds, Cut, Ring
from lineage_ledger.emitter.sealer import ChainSealer, Predecessor, SealedBatch
from lineage_ledger.emitter.spool import ChainSpool

_TICK_S = 0.005
_FULL_WAIT_S = 1.0
_AFTER_ERROR_S = 1.0
_NO_THREAD = "no thread can be started to seal and send what is emitted; each emit tries it again"


@dataclass(slots=True, eq=False)
class _Chain:
    ring: Ring
    sealer: ChainSealer
    spool: ChainSpool | None = None
    predecessor: Predecessor | None = None
    handed_over: int = 0
    """Numbers below are sealed and in the window, or were."""


class Life:
    """One process' part of an emitter's existence. Its thread starts when there is something to do."""

    def __init__(
        self,
        identity: Identity,
        policy: Policy,
        places: Places,
        lane: Lane,
        deployments: Sequence[bytes],
        reporter: Reporter,
    ) -> None:
        self._identity = identity
        self._policy = policy
        self._lane = lane
        self._bounds = Bounds(
            policy.max_pending_entries,
            policy.max_batch_entries,
            policy.max_batch_bytes,
            drops=not policy.fail_closed and policy.when_full in (WhenFull.DROP, WhenFull.SPOOL),
        )
        self._deployments = deployments
        self._reporter = reporter
        self._outbox = Outbox(identity, policy, places, reporter, lambda: self._wake.set(), self._distrust)
        self._window = self._outbox.window
        self._sender = self._outbox.sender
        self.waiters = self._outbox.waiters
        self._mutex = threading.RLock()
        self._thread: threading.Thread | None = None
        self._claim = threading.Lock()
        self._wake = _Wake()
        self._urgent = False
        self._closing = False
        self._hole = (-1, 0.0)
        self._retired: list[Ring] = []
        self._chain = self._new_chain()
        lane.use(self._chain.ring)

    # -- for any thread --------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Have the thread look at the ring."""
        if self._thread is None:
            self._start()
        self._wake.set()

    def _start(self) -> None:
        """Have a thread, unless all is closed.

        If this is interrupted, or a signal's handler emits within it, there may be two (`_run`).
        """
        with self._mutex:
            if self._thread is not None or self._chain.ring.closed:
                return
            thread = threading.Thread(target=self._run, name="lineage-emitter", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # The process has too many, or ends.
                self._reporter.report("thread", EmitterError(f"{_NO_THREAD}: {error}"))
                return
            if self._thread is None:
                self._thread = thread

    def attend(self) -> None:
        """`wake`, and raise if the ledger cannot be believed and the policy is to fail then."""
        self.wake()
        if self._policy.fail_closed:
            self.check_ledger()

    def check_ledger(self) -> None:
        """Raise if the ledger's last answer was refused, or nobody can send; what was emitted is kept for later."""
        if self._thread is None:
            raise EmitterError(f"whether the prediction will be on record is not known: {_NO_THREAD}")
        mismatch = self._outbox.mismatch
        if mismatch is not None:
            raise EmitterError(
                f"whether the prediction is on record is not known: the ledger's answer was refused: {mismatch}"
            ) from mismatch

    def spend(self, ring: Ring) -> int:
        """Take a number for an entry that cannot be recorded, and declare it lost."""
        number = ring.lose()
        self.wake()
        return number

    def hurry(self) -> None:
        """Have what was emitted so far sealed at once."""
        self._urgent = True
        self.wake()

    @property
    def mismatch(self) -> Exception | None:
        """Why the ledger's last answer was refused, if it was."""
        return self._outbox.mismatch

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was emitted before the call is acknowledged; False if the time was over first.

        Raises what the ledger's answer was refused for: at once if that comes meanwhile, else when the time is over.
        """
        chain = self._chain
        number = chain.ring.taken()
        if number == 0 and self._window.is_empty:
            return True

        def is_done() -> bool:
            return chain.handed_over >= number and not self._window.holds(chain.sealer.chain_id, number)

        deadline_s = time.monotonic() + timeout_s
        mismatches = self._outbox.mismatches
        with self._window.changed:
            while not is_done():
                self.hurry()
                left_s = deadline_s - time.monotonic()
                mismatch = self._outbox.mismatch
                # One from before the call may be over when the batch is sent again.
                if mismatch is not None and (left_s <= 0 or self._outbox.mismatches != mismatches):
                    raise mismatch.with_traceback(None)
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
        if thread is None:  # None can be started: seal here, so that a spool has it.
            self._run()
        elif thread is not threading.current_thread():
            thread.join(timeout_s)
        with self._window.changed:
            self._window.changed.wait_for(lambda: self._window.is_empty, max(0.0, deadline_s - time.monotonic()))
            complete = self._window.is_empty and not (thread is not None and thread.is_alive())
        self._outbox.close()
        self.waiters.fail_all(NotAcknowledgedError("the emitter was closed before the ledger acknowledged the entry"))
        return complete

    def statistics(self) -> Statistics:
        """Counts as of now."""
        rings = (*self._retired, self._chain.ring)
        emitted = sum(ring.numbered() for ring in rings)
        lost = sum(ring.lost_count for ring in rings) + self._outbox.abandoned_entries
        return Statistics(
            emitted=emitted,
            acknowledged=self._outbox.acknowledged_entries,
            lost=lost,
            pending=max(0, emitted - self._outbox.acknowledged_entries - lost),
            recovered=self._outbox.recovered_entries,
            unacknowledged_bytes=self._window.held_bytes,
            spool_bytes=self._outbox.spool_bytes,
            mismatches=self._outbox.mismatches,
            last_error=self._reporter.last_error,
        )

    def _is_refusing(self) -> bool:
        """Whether `emit` is to raise, since the ledger's answers cannot be believed."""
        return self._policy.fail_closed and self._outbox.mismatch is not None

    def _distrust(self) -> None:
        """The ledger's answer was refused: with `fail_closed`, have every `emit` look at it."""
        self._lane.ring.attention = self._lane.ring.attention or self._policy.fail_closed

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
        self._outbox.forget()

    # -- the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        if not self._claim.acquire(blocking=False):
            return  # Two that cut and seal one chain would tear it.
        with self._mutex:
            self._thread = threading.current_thread()
        try:
            self._chain.predecessor = self._outbox.adopt_orphans()
            if self._chain.predecessor is not None:
                self._open(self._chain)
        except Exception as error:  # noqa: BLE001  (what an earlier process left must not stop this one)
            self._reporter.report("spool", error)
        while True:
            try:
                self._wait()
                if self._outbox.ended:
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
            ring.attention = self._is_refusing()
            if not is_woken and self._chain.sealer.next_sequence and self._window.is_empty:
                self._hand_over(self._chain, self._chain.sealer.heartbeat())
        deadline_s = time.monotonic() + self._policy.linger_ms / 1e3
        while not self._urgent and not ring.has_batch():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                break
            self._wake.wait(left_s if ring.announces_batches else min(left_s, _TICK_S))
            self._wake.clear()
        with self._window.changed:
            while self._outbox.is_full() and not self._closing and not self._outbox.ended:
                self._window.changed.wait(_FULL_WAIT_S)

    def _drain(self) -> None:
        urgent, self._urgent = self._urgent, False
        chain = self._chain
        while not self._outbox.is_full() and self._seal_next(chain):
            if not urgent and not chain.ring.has_batch():
                break
        if not self._window.is_empty:
            self._sender.wake()  # In case that it could not be started.

    def _seal_next(self, chain: _Chain) -> bool:
        """Cut, seal and hand over one batch; False if nothing can be cut."""
        if chain.ring.numbered() == chain.ring.drained:
            return False
        self._open(chain)  # First: what was cut is nowhere else, and whatever fails must not lose it.
        cut = chain.ring.cut()
        if cut.next_number == cut.first_number:
            return False
        try:
            batch = chain.sealer.seal(cut, self._deployments)
        except Exception as error:  # noqa: BLE001  (no memory, say; the rest must go on)
            # Not what is in an entry, since each is checked before it is placed.
            self._reporter.report("sealing", error)
            self._outbox.abandoned_entries += cut.entries
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
        chain.spool = self._outbox.begin_spool(chain.sealer.chain_id)
        self._hand_over(chain, chain.sealer.open(chain.predecessor))

    def _hand_over(self, chain: _Chain, batch: SealedBatch) -> None:
        self._outbox.put(batch, chain.spool)
        with self._window.changed:
            chain.handed_over = batch.next_number
            self._window.changed.notify_all()
        self._sender.wake()

    def _watch_for_holes(self) -> None:
        ring = self._chain.ring
        hole = -1 if self._outbox.is_full() else ring.hole()
        if hole < 0:
            self._hole = (-1, 0.0)
        elif self._hole[0] != hole:
            self._hole = (hole, time.monotonic())
        elif time.monotonic() - self._hole[1] > self._policy.hole_timeout_s:
            self._reporter.report(
                "hole",
                EmitterError(
                    f"number {hole} of chain {ring.chain_id.hex()} was taken and not used for "
                    f"{self._policy.hole_timeout_s:g} s (a thread died in emit?); it is declared lost"
                ),
            )
            self._end_chain(self._chain, self._switch())

    def _new_chain(self) -> _Chain:
        sealer = ChainSealer(self._identity.verifier.name, self._identity.key)
        return _Chain(self._lane.begin_ring(sealer.chain_id, self._bounds, self.wake, self.attend), sealer)

    def _switch(self) -> _Chain:
        """Have all that is emitted from now on go into a new chain; returns it. The old ring is closed, not empty."""
        old, new = self._chain, self._new_chain()
        self._retired.append(old.ring)
        self._chain = new
        self._lane.use(new.ring)
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
        ended, self._outbox.ended = self._outbox.ended, set()
        old = self._chain
        if old.sealer.chain_id not in ended:
            return
        new = self._switch()
        new.predecessor = Predecessor(old.sealer.chain_id, old.sealer.next_number)
        while (cut := old.ring.cut()).next_number > cut.first_number:
            self._outbox.abandoned_entries += cut.entries
        with self._window.changed:
            # Sealed for a chain that had ended without our knowing.
            for batch in self._window.abandon(old.sealer.chain_id):
                self._outbox.abandoned_entries += batch.count
            old.handed_over = old.ring.taken()
        self.waiters.fail_chain(
            old.sealer.chain_id, NotAcknowledgedError("the chain ended before the entry was sealed; append it again")
        )

    def _finish(self) -> None:
        chain = self._chain
        chain.ring.close()
        self._end_chain(chain, None)


class _Wake:
    """An event that is over once it was waited for.

    To set it is one step, and waits for nobody: a signal's handler, or a finaliser, may emit while its thread does.
    """

    __slots__ = ("_unset",)

    def __init__(self) -> None:
        self._unset = threading.Lock()
        self._unset.acquire()

    def set(self) -> None:
        with suppress(RuntimeError):  # It is set.
            self._unset.release()

    def clear(self) -> None:
        self._unset.acquire(blocking=False)

    def wait(self, timeout_s: float) -> bool:
        return self._unset.acquire(timeout=timeout_s)


def _whole(cut: Cut) -> list[tuple[int, int]]:
    return [(cut.first_number, cut.next_number)]
