"""The ring and the bindings in C (`_kernel_hot_path.c`), and what they leave to Python: waiting.

`emit` takes a number and packs its prediction into the bytes of the batch that is being filled, in one step: nothing
is done for an entry after that, there are no holes, and what waits takes no more memory than its bytes. Importing this
module needs the extension.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from lineage_ledger import _kernel_emit
from lineage_ledger.emitter.binding import Binding
from lineage_ledger.emitter.ring import Bounds, Cut, Placed, Ring
from lineage_ledger.formats.prediction import PredictionId

if TYPE_CHECKING:
    from lineage_ledger.emitter.emitter import Emitter


class ByteRing(_kernel_emit.Ring):
    """Bytes of up to `bounds.capacity` entries of one chain (`ring.Ring`)."""

    __slots__ = ("_room", "_waiting", "_wake")

    announces_batches = True

    def __new__(
        cls, chain_id: bytes, bounds: Bounds, wake: Callable[[], None], attend: Callable[[], object]
    ) -> ByteRing:
        """`wake` has somebody cut; `attend` is what `emit` calls for an entry that must be told of, and may raise."""
        del wake
        return super().__new__(
            cls, chain_id, bounds.capacity, bounds.batch_entries, bounds.batch_bytes, attend, bounds.drops
        )

    def __init__(self, chain_id: bytes, bounds: Bounds, wake: Callable[[], None], attend: Callable[[], object]) -> None:
        del chain_id, bounds, attend
        self._wake = wake
        self._room = threading.Condition()
        self._waiting = 0

    def place(self, framed: bytes, wait_s: float | None, told: Callable[[int], None] | None = None) -> Placed | None:
        """See `Ring.place`."""
        number = self._try(framed, told)
        if number < 0 and not self.closed:
            self._wake()
            if wait_s != 0:
                number = self._wait(framed, wait_s, told)
        if number < 0:
            with self._room:  # Which closing needs, too.
                return None if self.closed else Placed(self.lose(), False)
        if self.attention or self.has_batch():
            self._wake()
        return Placed(number, True)

    def _try(self, framed: bytes, told: Callable[[int], None] | None) -> int:
        if told is None:
            return self.try_place(framed)
        with self._room:  # Which cutting needs, too.
            number = self.try_place(framed)
            if number >= 0:
                told(number)
        return number

    def _wait(self, framed: bytes, wait_s: float | None, told: Callable[[int], None] | None) -> int:
        number = -1

        def is_over() -> bool:
            nonlocal number
            number = self.try_place(framed)
            return number >= 0 or self.closed

        with self._room:
            self._waiting += 1
            try:
                self._room.wait_for(is_over, wait_s)
            finally:
                self._waiting -= 1
            if number >= 0 and told is not None:
                told(number)
        return number

    def numbered(self) -> int:
        """See `Ring.numbered`."""
        return self.taken()

    def hole(self) -> int:
        """There are none."""
        return -1

    def cut(self) -> Cut:
        """See `Ring.cut`."""
        with self._room:
            taken = self.take_batch()
            if self._waiting:
                self._room.notify_all()
        return Cut(self.drained, self.drained, b"", 0, []) if taken is None else Cut._make(taken)

    def close(self) -> None:
        """See `Ring.close`."""
        with self._room:
            super().close()
            self._room.notify_all()


class ByteLane(_kernel_emit.Lane):
    """See `lanes.Lane`."""

    __slots__ = ()

    def __new__(cls) -> ByteLane:
        return super().__new__(cls, PredictionId)

    def use(self, ring: Ring) -> None:
        """See `Lane.use`."""
        self.ring = ring

    def begin_ring(
        self, chain_id: bytes, bounds: Bounds, wake: Callable[[], None], attend: Callable[[], object]
    ) -> ByteRing:
        """See `Lane.begin_ring`."""
        return ByteRing(chain_id, bounds, wake, attend)

    def begin_binding(self, emitter: Emitter, row: int, deployment_hash: bytes) -> ByteBinding:
        """See `Lane.begin_binding`."""
        return ByteBinding(self, emitter, row, deployment_hash)


class ByteBinding(_kernel_emit.Packer, Binding):
    """A binding whose `emit` is in C, and comes here for what is out of the ordinary (`emit_slowly`)."""

    def __new__(cls, lane: ByteLane, emitter: Emitter, row: int, deployment_hash: bytes) -> ByteBinding:
        del emitter, deployment_hash
        return super().__new__(cls, lane, row)

    def __init__(self, lane: ByteLane, emitter: Emitter, row: int, deployment_hash: bytes) -> None:
        del lane
        Binding.__init__(self, emitter, row, deployment_hash)
