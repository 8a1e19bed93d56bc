"""The ring: numbers and slots, cuts, losses, holes, and what happens when it is closed over a thread."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from itertools import chain

import pytest

from lineage_ledger.emitter.ring import MAX_LOST_RANGES, Ring

MANY, LARGE = 1 << 20, 1 << 30


def _put(ring: Ring, entry: bytes) -> int:
    number = ring.take()
    if number < ring.limit:
        ring.slots[number & ring.mask] = entry
    else:
        ring.refuse(number)
    return number


def test_entries_come_out_in_the_order_of_their_numbers() -> None:
    ring = Ring(b"c" * 16, 8)
    for turn in range(5):
        assert [_put(ring, b"%d" % place) for place in range(6)] == list(range(turn * 6, turn * 6 + 6))
        packed = b""
        while (cut := ring.cut(4, LARGE)).entries:
            assert cut.next_number - cut.first_number == cut.entries and not cut.lost
            packed += cut.packed
        assert packed == b"012345"


def test_a_cut_keeps_to_its_bounds() -> None:
    ring = Ring(b"c" * 16, 64)
    for _ in range(20):
        _put(ring, b"x" * 10)
    assert ring.cut(7, LARGE).entries == 7
    assert ring.cut(MANY, 35).entries == 3
    assert ring.cut(MANY, 100).entries == 10
    assert ring.cut(MANY, LARGE) == (20, 20, b"", 0, [])


def test_what_has_no_slot_is_lost_as_one_range_between_what_has() -> None:
    ring = Ring(b"c" * 16, 8)
    for _ in range(12):
        _put(ring, b"a")
    first = ring.cut(8, LARGE)
    assert (first.entries, first.lost) == (8, [])
    for _ in range(2):
        _put(ring, b"b")
    cut = ring.cut(MANY, LARGE)
    assert (cut.packed, cut.lost, cut.first_number, cut.next_number) == (b"bb", [(8, 12)], 8, 14)
    assert ring.lost_count == 4


def test_a_cut_has_no_more_ranges_than_a_seal_may() -> None:
    ring = Ring(b"c" * 16, 1 << 12)
    for place in range(MAX_LOST_RANGES * 2 + 20):
        number = ring.take()
        if place % 2:
            ring.refuse(number)
        else:
            ring.slots[number & ring.mask] = b"x"
    cut = ring.cut(MANY, LARGE)
    assert len(cut.lost) == MAX_LOST_RANGES
    assert len(ring.cut(MANY, LARGE).lost) == 10


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2), (2, 0, 3, 1)])
def test_losses_join_in_whatever_order_they_are_told(order: tuple[int, ...]) -> None:
    ring = Ring(b"c" * 16, 8)
    numbers = [ring.take() for _ in range(4)]
    for place in order:
        ring.refuse(numbers[place])
    assert ring.cut(MANY, LARGE).lost == [(0, 4)]


def test_a_hole_holds_back_what_is_behind_it() -> None:
    ring = Ring(b"c" * 16, 8)
    _put(ring, b"a")
    hole = ring.take()
    _put(ring, b"c")
    assert ring.cut(MANY, LARGE).packed == b"a"
    assert ring.cut(MANY, LARGE).entries == 0
    ring.slots[hole & ring.mask] = b"b"
    assert ring.cut(MANY, LARGE).packed == b"bc"


def test_closing_declares_holes_lost_and_tells_their_threads() -> None:
    ring = Ring(b"c" * 16, 8)
    kept = _put(ring, b"a")
    early, late = ring.take(), ring.take()
    after = _put(ring, b"d")
    ring.close()
    ring.slots[early & ring.mask] = b"b"  # In time: the slot was not looked at yet.
    cut = ring.cut(MANY, LARGE)
    assert (cut.packed, cut.lost) == (b"abd", [(late, late + 1)])
    ring.slots[late & ring.mask] = b"c"  # Too late.
    assert [ring.is_kept(number) for number in (kept, early, late, after)] == [True, True, False, True]
    assert ring.is_exhausted and ring.numbered() == 4
    beyond = ring.take()
    assert beyond >= ring.limit and not ring.is_kept(beyond)
    assert ring.cut(MANY, LARGE).next_number == 4


def test_adjacent_holes_become_one_range() -> None:
    ring = Ring(b"c" * 16, 8)
    for _ in range(4):
        ring.take()
    _put(ring, b"e")
    ring.close()
    cut = ring.cut(MANY, LARGE)
    assert (cut.lost, cut.packed, ring.lost_count) == ([(0, 4)], b"e", 4)


def test_waiting_for_room_ends_with_room_or_with_the_ring() -> None:
    ring = Ring(b"c" * 16, 8)
    for _ in range(8):
        _put(ring, b"x")
    number = ring.take()
    assert not ring.wait_for_room(number, 0.01)
    results: list[bool] = []
    waiter = threading.Thread(target=lambda: results.append(ring.wait_for_room(number, 5)))
    waiter.start()
    ring.cut(1, LARGE)
    waiter.join()
    other = threading.Thread(target=lambda: results.append(ring.wait_for_room(number + 100, 5)))
    other.start()
    ring.close()
    other.join()
    assert results == [True, False]


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_threads")
def test_eight_threads_and_a_cutter_account_for_every_number() -> None:
    ring = Ring(b"c" * 16, 256)
    each = 4_000
    filled: list[list[int]] = [[] for _ in range(8)]

    def work(mine: list[int]) -> None:
        for _ in range(each):
            number = ring.take()
            if number < ring.limit:
                ring.slots[number & ring.mask] = number.to_bytes(8, "big")
                mine.append(number)
            else:
                ring.refuse(number)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in filled]
    for thread in threads:
        thread.start()
    packed, lost, reached = b"", 0, 0
    while any(thread.is_alive() for thread in threads) or ring.taken() > ring.drained:
        cut = ring.cut(100, LARGE)
        assert cut.first_number == reached
        reached = cut.next_number
        packed += cut.packed
        lost += sum(end - first for first, end in cut.lost)
    numbers = [int.from_bytes(packed[at : at + 8], "big") for at in range(0, len(packed), 8)]
    assert numbers == sorted(numbers) == sorted(chain.from_iterable(filled))
    assert lost == ring.lost_count == 8 * each - len(numbers)
