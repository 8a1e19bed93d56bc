"""Where bindings find the ring to use now; and the choice between the two kinds of rings and bindings there are."""

from __future__ import annotations

import functools
from collections.abc import Callable
from time import time_ns
from typing import TYPE_CHECKING, Protocol

from lineage_ledger import emit_kernel
from lineage_ledger.emitter.binding import Binding
from lineage_ledger.emitter.ring import Bounds, Ring
from lineage_ledger.emitter.slot_ring import SlotRing
from lineage_ledger.formats.prediction import PredictionId, PredictionPacker

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from lineage_ledger.emitter.emitter import Emitter

# What PredictionId(...) does, without the Python function that a NamedTuple's constructor is: half the time.
_prediction_id: Callable[[tuple[bytes, int, bytes]], PredictionId] = functools.partial(tuple.__new__, PredictionId)


class Lane(Protocol):
    """What all bindings of an emitter share. The ring changes with the chain; whoever changes it closes the old one."""

    @property
    def ring(self) -> Ring: ...

    def use(self, ring: Ring) -> None:
        """Have all that is emitted from now on go into `ring`, one of those that it began."""

    def begin_ring(
        self, chain_id: bytes, bounds: Bounds, wake: Callable[[], None], attend: Callable[[], object]
    ) -> Ring:
        """A ring for a new chain. `wake` has somebody cut; `attend` does that too, and may raise into `emit`."""

    def begin_binding(self, emitter: Emitter, row: int, deployment_hash: bytes) -> Binding:
        """A binding that emits into whatever ring is in use."""


def new_lane() -> Lane:
    """A lane of the kind that the kernel is of."""
    if emit_kernel.KERNEL == "c":
        from lineage_ledger.emitter.byte_ring import ByteLane

        return ByteLane()
    return SlotLane()


class SlotLane:
    """The lane of rings and bindings in Python."""

    __slots__ = ("ring",)

    ring: SlotRing

    def use(self, ring: Ring) -> None:
        """See `Lane.use`."""
        assert isinstance(ring, SlotRing)
        self.ring = ring

    def begin_ring(
        self, chain_id: bytes, bounds: Bounds, wake: Callable[[], None], attend: Callable[[], object]
    ) -> SlotRing:
        """See `Lane.begin_ring`; bindings call `attend` by way of their emitter."""
        del attend
        return SlotRing(chain_id, bounds, wake)

    def begin_binding(self, emitter: Emitter, row: int, deployment_hash: bytes) -> Binding:
        """See `Lane.begin_binding`."""
        return SlotBinding(self, emitter, row, deployment_hash)


class SlotBinding(Binding):
    """A binding in Python."""

    def __init__(self, lane: SlotLane, emitter: Emitter, row: int, deployment_hash: bytes) -> None:
        super().__init__(emitter, row, deployment_hash)
        self._lane = lane
        self._pack = PredictionPacker(row).pack

    def leave_rows(
        self,
        inputs: ReadableBuffer,
        outputs: ReadableBuffer,
        request_ids: ReadableBuffer | tuple[object, ...] | None,
        starts: ReadableBuffer | int,
        durations: ReadableBuffer | int,
        status_code: int,
        first: int,
        end: int,
    ) -> tuple[bytes, int, int]:
        """None: each is emitted by itself."""
        del inputs, outputs, request_ids, starts, durations, status_code, first, end
        return self._lane.ring.chain_id, 0, 0

    def emit(
        self,
        input_commitment: bytes,
        output_commitment: bytes = b"",
        *,
        request_id: bytes = b"",
        start_time_unix_ns: int = 0,
        duration_us: int = 0,
        status_code: int = 0,
    ) -> PredictionId:
        """See `Binding.emit`."""
        try:
            framed = self._pack(
                input_commitment,
                output_commitment,
                request_id,
                start_time_unix_ns or time_ns(),
                duration_us,
                status_code,
            )
        except Exception as error:  # noqa: BLE001  (no argument, however wrong, may fail a prediction)
            return self.emitter._refuse(input_commitment, error)
        ring = self._lane.ring
        number = ring.take()
        if number < ring.limit:
            ring.slots[number & ring.mask] = framed
            if not ring.attention:
                return _prediction_id((ring.chain_id, number, input_commitment[:4]))
            placed = ring.settle(number)
        else:
            placed = ring.place_late(number, framed, self.emitter._wait_s)
        return PredictionId(*self.emitter._settle(ring, framed, placed), bytes(input_commitment[:4]))
