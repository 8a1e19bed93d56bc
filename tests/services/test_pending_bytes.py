"""What waits in memory is bounded over all streams, and given out in the order of asking."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest

from lineage_ledger_server.services.pending import PendingBytes


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 10))


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_who_wants_more_than_is_left_waits_and_who_comes_later_waits_behind() -> None:
    async def test() -> None:
        pending = PendingBytes(100)
        await pending.reserve(60)
        large = asyncio.create_task(pending.reserve(50))
        small = asyncio.create_task(pending.reserve(1))
        await settled()
        # The small one would fit: it would, for ever, and the large one never.
        assert (large.done(), small.done(), pending.reserved) == (False, False, 60)
        pending.release(20)
        await settled()
        assert (large.done(), small.done(), pending.reserved) == (True, True, 91)

    run(test())


def test_one_that_is_larger_than_all_there_is_gets_all_there_is() -> None:
    async def test() -> None:
        pending = PendingBytes(100)
        await pending.reserve(1)
        larger = asyncio.create_task(pending.reserve(300))
        await settled()
        assert not larger.done()
        pending.release(1)
        await larger
        behind = asyncio.create_task(pending.reserve(1))
        await settled()
        assert not behind.done()
        pending.release(300)
        await behind
        assert pending.reserved == 1

    run(test())


def test_one_that_gives_up_leaves_its_place_to_the_next() -> None:
    async def test() -> None:
        pending = PendingBytes(100)
        await pending.reserve(60)
        gives_up = asyncio.create_task(pending.reserve(90))
        behind = asyncio.create_task(pending.reserve(40))
        await settled()
        gives_up.cancel()
        await settled()
        assert (behind.done(), pending.reserved) == (True, 100)

    run(test())


def test_one_that_gives_up_just_as_its_turn_comes_holds_nothing() -> None:
    async def test() -> None:
        pending = PendingBytes(100)
        await pending.reserve(100)
        waits = asyncio.create_task(pending.reserve(10))
        await settled()
        pending.release(100)
        waits.cancel()
        await settled()
        assert pending.reserved == 0

    run(test())


@pytest.mark.parametrize("seed", range(5))
def test_never_more_than_there_is_and_everybody_has_a_turn(seed: int) -> None:
    """Streams that always want more: between two turns of one, every other has its own."""

    async def test() -> None:
        chance = random.Random(seed)
        pending = PendingBytes(1_000)
        turns = [0] * 20

        async def stream(number: int) -> None:
            for _ in range(50):
                size = chance.randint(1, 400)
                await pending.reserve(size)
                turns[number] += 1
                assert pending.reserved <= 1_000
                assert turns[number] - min(turns) <= 2
                asyncio.get_running_loop().call_later(chance.random() / 10_000, pending.release, size)
                await asyncio.sleep(0)

        await asyncio.gather(*(stream(number) for number in range(len(turns))))

    run(test())
