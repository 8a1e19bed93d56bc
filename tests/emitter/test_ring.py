"""Rings of both kinds: numbers, cuts, losses, waiting, and what happens when one is closed over a thread."""

from __future__ import annotations

import gc
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest

from lineage_ledger.emitter.ring import MAX_LOST_RANGES, Bounds, Ring
from tests.emitter.kinds import KINDS, LARGE, make_ring, nothing, put

ENTRY = b"\0\1x"


def _cut_all(ring: Ring) -> Iterator[Any]:
    while (cut := ring.cut()).next_number > cut.first_number:
        yield cut


def test_entries_come_out_in_the_order_of_their_numbers(kind: str) -> None:
    ring = make_ring(kind, 8, batch_entries=4)
    for turn in range(5):
        assert [put(ring, b"%03d" % place) for place in range(6)] == list(range(turn * 6, turn * 6 + 6))
        packed = b""
        for cut in _cut_all(ring):
            assert cut.next_number - cut.first_number == cut.entries and not cut.lost
            packed += cut.packed
        assert packed == b"000001002003004005"
        assert ring.drained == ring.taken() == turn * 6 + 6


def test_a_cut_keeps_to_its_number_of_entries(kind: str) -> None:
    ring = make_ring(kind, 64, batch_entries=7)
    for _ in range(20):
        put(ring, b"x" * 10)
    assert ring.has_batch()
    assert [cut.entries for cut in _cut_all(ring)] == [7, 7, 6]
    assert ring.cut() == (20, 20, b"", 0, []) and not ring.has_batch()


@pytest.mark.parametrize("size", [10, 158, 40_000, 65_537])
def test_a_cut_keeps_to_its_number_of_bytes(kind: str, size: int) -> None:
    bound = 128 * 1024
    ring = make_ring(kind, 1 << 16, batch_bytes=bound)
    most = bound // size
    for place in range(3 * most + 1):
        put(ring, place.to_bytes(4, "big").ljust(size, b"x"))
    cuts = list(_cut_all(ring))
    assert all(len(cut.packed) == cut.entries * size <= bound for cut in cuts)
    # A batch may end where a usual prediction would not have found room any more.
    assert all(cut.entries >= most - 158 // size - 1 for cut in cuts[:-1])
    packed = b"".join(cut.packed for cut in cuts)
    assert [int.from_bytes(packed[at : at + 4], "big") for at in range(0, len(packed), size)] == list(
        range(3 * most + 1)
    )


def test_what_finds_no_room_is_lost_as_one_range_between_what_does(kind: str) -> None:
    ring = make_ring(kind, 8, batch_entries=8)
    placed = [ring.place(ENTRY, 0.0) for _ in range(12)]
    assert [one is not None and one.is_kept for one in placed] == [True] * 8 + [False] * 4
    cuts = [ring.cut()]
    for _ in range(2):
        put(ring, b"\0\1b")
    cuts += _cut_all(ring)
    assert b"".join(cut.packed for cut in cuts) == ENTRY * 8 + b"\0\1b" * 2
    assert list(chain.from_iterable(cut.lost for cut in cuts)) == [(8, 12)]
    assert [cut.next_number for cut in cuts[:-1]] == [cut.first_number for cut in cuts[1:]]
    assert ring.lost_count == 4 and ring.drained == 14


def test_numbers_that_are_lost_lie_between_entries(kind: str) -> None:
    ring = make_ring(kind, 64)
    for turn in range(3):
        put(ring, ENTRY)
        assert [ring.lose(), ring.lose()] == [turn * 3 + 1, turn * 3 + 2]
    cut = ring.cut()
    assert (cut.first_number, cut.next_number, cut.entries) == (0, 9, 3)
    assert cut.lost == [(1, 3), (4, 6), (7, 9)] and ring.lost_count == 6


def test_a_cut_has_no_more_ranges_than_a_seal_may(kind: str) -> None:
    ring = make_ring(kind, 1 << 12)
    for place in range(MAX_LOST_RANGES * 2 + 20):
        if place % 2:
            ring.lose()
        else:
            put(ring, ENTRY)
    cuts = list(_cut_all(ring))
    assert [len(cut.lost) for cut in cuts] == [MAX_LOST_RANGES, 10]
    assert [cut.next_number for cut in cuts] == [cuts[1].first_number, MAX_LOST_RANGES * 2 + 20]


def test_nothing_but_losses_is_a_cut_too(kind: str) -> None:
    ring = make_ring(kind, 8)
    for _ in range(5):
        ring.lose()
    assert ring.cut() == (0, 5, b"", 0, [(0, 5)])


def test_a_closed_ring_takes_no_more_and_gives_what_it_has(kind: str) -> None:
    ring = make_ring(kind, 8)
    put(ring, ENTRY)
    ring.close()
    assert ring.closed and ring.place(ENTRY, 0.0) is None and ring.place(ENTRY, None) is None
    beyond = ring.lose()
    assert beyond >= 1 and ring.numbered() == 1 and ring.lost_count == 0
    cut = ring.cut()
    assert (cut.first_number, cut.next_number, cut.packed, cut.lost) == (0, 1, ENTRY, [])
    assert ring.cut().next_number == ring.cut().first_number == 1
    ring.close()
    assert ring.numbered() == 1


def test_waiting_for_room_ends_with_room_or_with_the_ring(kind: str) -> None:
    woken: list[None] = []
    ring = make_ring(kind, 8, batch_entries=1, wake=lambda: woken.append(None))
    for _ in range(8):
        put(ring, ENTRY)
    before_s, before = time.monotonic(), len(woken)
    timed_out = ring.place(ENTRY, 0.05)
    assert timed_out is not None and not timed_out.is_kept and timed_out.number == 8
    assert time.monotonic() - before_s >= 0.04 and len(woken) > before
    results: list[Any] = []
    waiter = threading.Thread(target=lambda: results.append(ring.place(b"\0\1w", 60)))
    waiter.start()
    time.sleep(0.02)
    for _ in range(2):  # The second is the loss, in Python a cut of its own.
        ring.cut()
    waiter.join(10)
    (placed,) = results  # Long before its time was over: it was told.
    assert placed.is_kept and placed.number == 9
    while (placed := ring.place(ENTRY, 0.0)) is not None and placed.is_kept:
        pass
    other = threading.Thread(target=lambda: results.append(ring.place(ENTRY, None)))
    other.start()
    time.sleep(0.02)
    ring.close()
    other.join()
    assert results[1] is None


def test_a_number_is_told_before_its_entry_can_be_cut(kind: str) -> None:
    ring = make_ring(kind, 1 << 12)
    known: set[int] = set()
    unknown: list[int] = []
    stop = threading.Event()

    def cut() -> None:
        while not stop.is_set():
            found = ring.cut()
            unknown.extend(number for number in range(found.first_number, found.next_number) if number not in known)

    cutter = threading.Thread(target=cut)
    cutter.start()

    def tell(number: int) -> None:
        time.sleep(1e-4)
        known.add(number)

    for _ in range(300):
        ring.place(ENTRY, None, tell)
    stop.set()
    cutter.join()
    assert not unknown and known == set(range(300))


def test_whoever_sleeps_is_told(kind: str) -> None:
    woken: list[None] = []
    ring = make_ring(kind, 64, batch_entries=4, wake=lambda: woken.append(None))
    put(ring, ENTRY)
    assert len(woken) == 1  # Nobody has looked at the ring yet.
    ring.attention = False
    put(ring, ENTRY)
    put(ring, ENTRY)
    assert len(woken) == 1
    put(ring, ENTRY)
    assert len(woken) == 1 + ring.announces_batches


@pytest.mark.skipif("c" not in KINDS, reason="there is no C kernel")
@pytest.mark.parametrize(("entries", "size", "wanted"), [(4, LARGE, [4, 8, 12]), (1 << 12, 65_537, [618, 1_235])])
def test_emit_tells_of_a_batch_that_ended_by_its_number_or_its_bytes(
    entries: int, size: int, wanted: list[int]
) -> None:
    from lineage_ledger.emitter.byte_ring import ByteLane

    told: list[int] = []
    lane = ByteLane()
    ring = lane.begin_ring(b"c" * 16, Bounds(1 << 12, entries, size), nothing, lambda: told.append(ring.taken()))
    lane.use(ring)
    ring.attention = False
    binding: Any = lane.begin_binding(None, 1, bytes(32))  # type: ignore[arg-type]
    for _ in range(wanted[-1]):
        binding.emit(bytes(32), bytes(32), request_id=bytes(16), duration_us=1)
    assert told == wanted


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_threads")
def test_eight_threads_and_a_cutter_account_for_every_number(kind: str) -> None:
    ring = make_ring(kind, 256, batch_entries=100)
    each = 3_000
    filled: list[list[tuple[int, bytes]]] = [[] for _ in range(8)]

    def work(worker: int) -> None:
        for place in range(each):
            entry = b"%d/%06d" % (worker, place)
            placed = ring.place(entry, 0.0)
            assert placed is not None
            if placed.is_kept:
                filled[worker].append((placed.number, entry))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    found: dict[int, bytes] = {}
    lost, reached = 0, 0
    while any(thread.is_alive() for thread in threads) or ring.taken() > ring.drained:
        cut = ring.cut()
        assert cut.first_number == reached
        reached = cut.next_number
        missing = set(chain.from_iterable(range(*one) for one in cut.lost))
        numbers = [number for number in range(cut.first_number, cut.next_number) if number not in missing]
        assert len(numbers) == cut.entries
        found.update((number, cut.packed[at * 8 : at * 8 + 8]) for at, number in enumerate(numbers))
        lost += len(missing)
    assert found == dict(chain.from_iterable(filled))
    assert lost == ring.lost_count == 8 * each - len(found)


def test_a_ring_that_calls_whoever_holds_it_is_collected(kind: str) -> None:
    class Holder:
        def __init__(self) -> None:
            self.ring = make_ring(kind, 8, wake=self.wake)

        def wake(self) -> None: ...

    holder = weakref.ref(Holder())
    gc.collect()
    assert holder() is None


# -- slots alone have holes -------------------------------------------------------------------------------------


def _slots(capacity: int = 8) -> Any:
    return make_ring("python", capacity, batch_entries=LARGE)


@pytest.mark.skipif("c" not in KINDS, reason="the C kernel is not built")
def test_a_number_that_is_sealed_as_lost_is_not_taken_for_none() -> None:
    """Whoever is told that the ring was closed emits again, and a loss would be on record that is none."""
    from lineage_ledger.emitter.byte_ring import ByteRing

    class ClosedMeanwhile(ByteRing):
        def lose(self) -> int:
            number = super().lose()
            closer = threading.Thread(target=self.close)
            closer.start()
            closer.join(0.1)
            return number

    ring = ClosedMeanwhile(b"c" * 16, Bounds(1, LARGE, LARGE), nothing, nothing)
    put(ring, ENTRY)
    assert ring.place(ENTRY, 0.0) == (1, False) and ring.lost_count == 1
    assert [cut.lost for cut in _cut_all(ring)] == [[(1, 2)]]
    deadline_s = time.monotonic() + 5
    while not ring.closed:
        assert time.monotonic() < deadline_s
        time.sleep(0.001)
    assert ring.place(ENTRY, 0.0) is None and ring.lost_count == 1


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2), (2, 0, 3, 1)])
def test_losses_join_in_whatever_order_they_are_told(order: tuple[int, ...]) -> None:
    ring = _slots()
    numbers = [ring.take() for _ in range(4)]
    for place in order:
        ring.refuse(numbers[place])
    assert ring.cut().lost == [(0, 4)]


def test_a_hole_holds_back_what_is_behind_it() -> None:
    ring = _slots()
    put(ring, b"a")
    hole = ring.take()
    assert ring.hole() == -1
    put(ring, b"c")
    assert ring.cut().packed == b"a"
    assert ring.hole() == hole
    assert ring.cut().entries == 0
    ring.slots[hole & ring.mask] = b"b"
    assert ring.hole() == -1
    assert ring.cut().packed == b"bc"


def test_closing_declares_holes_lost_and_tells_their_threads() -> None:
    ring = _slots()
    kept = put(ring, b"a")
    early, late = ring.take(), ring.take()
    after = put(ring, b"d")
    ring.close()
    ring.slots[early & ring.mask] = b"b"  # In time: the slot was not looked at yet.
    cut = ring.cut()
    assert (cut.packed, cut.lost) == (b"abd", [(late, late + 1)])
    ring.slots[late & ring.mask] = b"c"  # Too late.
    assert [ring.is_kept(number) for number in (kept, early, late, after)] == [True, True, False, True]
    assert ring.settle(late) is None and ring.numbered() == 4
    beyond = ring.take()
    assert beyond >= ring.limit and not ring.is_kept(beyond)
    assert ring.cut().next_number == 4


def test_adjacent_holes_become_one_range() -> None:
    ring = _slots()
    for _ in range(4):
        ring.take()
    put(ring, b"e")
    ring.close()
    cut = ring.cut()
    assert (cut.lost, cut.packed, ring.lost_count) == ([(0, 4)], b"e", 4)


# -- in C alone: what Python could do to it -----------------------------------------------------------------------


@pytest.mark.skipif("c" not in KINDS, reason="there is no C kernel")
class TestInC:
    @pytest.mark.parametrize("framed", [b"", b"xx", bytes(65_538), bytearray(10), "text", None])
    def test_what_is_no_framed_entry_is_refused(self, framed: Any) -> None:
        ring = make_ring("c", 8)
        with pytest.raises((ValueError, TypeError)):
            ring.place(framed, 0.0)
        assert ring.taken() == 0

    @pytest.mark.parametrize(
        "bounds", [(0, 1, LARGE), (1, 0, LARGE), (1, 1, 65_536), (1 << 25, 1, LARGE), (-1, 1, LARGE)]
    )
    def test_bounds_that_cannot_be(self, bounds: tuple[int, int, int]) -> None:
        with pytest.raises(ValueError, match="cannot be"):
            make_ring("c", *bounds)

    def test_a_lane_takes_rings_only_and_a_packer_lanes(self) -> None:
        from lineage_ledger import _kernel_emit
        from lineage_ledger.emitter.byte_ring import ByteLane

        lane = ByteLane()
        with pytest.raises(AttributeError, match="no ring yet"):
            _ = lane.ring
        for wrong in (None, 1, lane, object()):
            with pytest.raises(TypeError):
                lane.ring = wrong
        with pytest.raises(TypeError):
            del lane.ring
        for arguments in [(None, 1), (make_ring("c", 8), 1), (lane, 0), (lane, 256), (lane,), (lane, "1")]:
            with pytest.raises((TypeError, ValueError)):
                _kernel_emit.Packer(*arguments)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            _kernel_emit.Lane(int)  # type: ignore[arg-type]
        packer: Any = _kernel_emit.Packer(lane, 1)
        with pytest.raises(AttributeError, match="emit_slowly"):
            packer.emit(bytes(32), bytes(32))  # There is no ring, and no Python to go to.
