"""Many predictions in one call: the same as one after the other."""

from __future__ import annotations

import array
import hashlib
import pickle
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage_ledger.emitter import Emitter, EmitterFullError, PredictionIds, WhenFull
from lineage_ledger.errors import MalformedEntryError
from lineage_ledger.formats.prediction import PredictionId
from tests.emitter.fake_ledger import FakeLedger
from tests.emitter.kinds import KINDS
from tests.emitter.test_packing import TIME, Recorder

MakeEmitter = Callable[..., Emitter]
pytestmark = pytest.mark.usefixtures("kind")


def _commitments(count: int, what: str = "input") -> bytes:
    return b"".join(hashlib.sha256(b"%d %s" % (place, what.encode())).digest() for place in range(count))


def _rows(commitments: bytes) -> list[bytes]:
    return [commitments[at : at + 32] for at in range(0, len(commitments), 32)]


def test_each_id_leads_to_its_own_payload(ledger: FakeLedger, make_emitter: MakeEmitter) -> None:
    count = 10_000
    emitter = make_emitter()
    inputs, outputs = _commitments(count), _commitments(count, "output")
    request_ids = b"".join(place.to_bytes(16, "big") for place in range(count))
    starts = array.array("q", range(TIME, TIME + count))
    durations = array.array("q", range(count))
    ids = emitter.bind(bytes(32)).emit_many(
        inputs, outputs, request_ids=request_ids, start_times_unix_ns=starts, durations_us=durations
    )
    assert len(ids) == count and len(set(ids)) == count
    assert emitter.flush(20)
    logged = ledger.resolver()
    assert len(logged) == count
    for place, (one, commitment, output) in enumerate(zip(ids, _rows(inputs), _rows(outputs))):
        prediction = logged[one]
        assert (prediction.input_commitment, prediction.output_commitment) == (commitment, output)
        assert prediction.request_id == place.to_bytes(16, "big")
        assert (prediction.start_time_unix_ns, prediction.duration_us) == (TIME + place, place)
    assert ids.runs == ((ids[0].chain_id, 0, count),)


@given(
    st.lists(
        st.tuples(
            st.binary(min_size=32, max_size=32),
            st.binary(max_size=70) | st.sampled_from([None, "text", bytearray(b"b"), 3]),
            st.integers(-2, 3) | st.integers(-(1 << 63), (1 << 63) - 1),
            st.integers(-2, 3) | st.integers(-(1 << 63), (1 << 63) - 1),
        ),
        max_size=12,
    ),
    st.integers(-1, 17) | st.sampled_from([1 << 64, True]),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_it_is_as_one_by_one(rows: list[tuple[bytes, Any, int, int]], status: int, has_output: bool) -> None:
    inputs = b"".join(row[0] for row in rows)
    starts = array.array("q", [row[2] or TIME for row in rows])  # 0 is now, which is never the same.
    durations = array.array("q", [row[3] for row in rows])
    for kind in KINDS:
        one, many = Recorder(kind), Recorder(kind)
        singles = [
            one.bind(3).emit(
                commitment,
                commitment if has_output else b"",
                request_id=request_id,
                start_time_unix_ns=start,
                duration_us=duration,
                status_code=int(status),
            )
            for (commitment, request_id, _, _), start, duration in zip(rows, starts, durations)
        ]
        ids = many.bind(3).emit_many(
            inputs,
            inputs if has_output else b"",
            request_ids=[row[1] for row in rows],
            start_times_unix_ns=starts,
            durations_us=durations,
            status_code=status,
        )
        assert one.ring.cut() == many.ring.cut()
        assert one.refusals == many.refusals
        kept = [place for place, single in enumerate(singles) if single.input_prefix != b"lost"]
        assert [ids[place] for place in kept] == [singles[place] for place in kept]
        assert [identifier.number for identifier in ids] == list(range(len(rows)))


@pytest.mark.parametrize("scalar", [-1, 1 << 64, 1 << 70])
def test_numbers_out_of_range_for_all(scalar: int) -> None:
    for kind in KINDS:
        recorder = Recorder(kind)
        ids = recorder.bind(1).emit_many(bytes(96), bytes(96), start_times_unix_ns=scalar)
        assert len(ids) == 3 and recorder.ring.cut().lost == [(0, 3)] and len(recorder.refusals) == 3


def test_without_ids_times_and_outputs(ledger: FakeLedger, make_emitter: MakeEmitter) -> None:
    emitter = make_emitter()
    before_ns = time.time_ns()
    binding = emitter.bind(bytes(32))
    assert list(binding.emit_many(b"")) == []
    ids = [*binding.emit_many(bytearray(64), memoryview(bytes(64))), *binding.emit_many(bytes(64), status_code=4)]
    assert emitter.flush(5)
    logged = [ledger.resolve(one) for one in ids]
    assert [one.status_code for one in logged if one] == [0, 0, 4, 4]
    assert all(one and before_ns <= one.start_time_unix_ns <= time.time_ns() and not one.request_id for one in logged)


FITTING: dict[str, Any] = {"request_ids": bytes(3 * 16), "start_times_unix_ns": array.array("q", [1, 2, 3])}


@pytest.mark.parametrize(
    ("inputs", "outputs", "named", "count"),
    [
        (bytes(95), bytes(96), {}, 3),
        (bytes(96), bytes(64), {}, 3),
        (bytes(96), bytes(96), {"request_ids": bytes(50)}, 3),
        (bytes(96), bytes(96), {"request_ids": [b"1", b"2"]}, 3),
        (bytes(96), bytes(96), {"request_ids": 3}, 3),
        (bytes(96), bytes(96), {"durations_us": array.array("q", [1, 2])}, 3),
        (bytes(96), bytes(96), {"durations_us": array.array("i", [1, 2, 3])}, 3),
        (bytes(96), bytes(96), {"durations_us": array.array("d", [1, 2, 3])}, 3),
        (bytes(96), bytes(96), {"durations_us": [1, 2, 3]}, 3),
        (bytes(96), bytes(96), {"start_times_unix_ns": 1.5}, 3),
        (bytes(96), bytes(96), {"status_code": "0"}, 3),
        (memoryview(bytes(192))[::2], bytes(96), {}, 3),
        (None, bytes(96), {}, 1),
        ("text", b"", {}, 1),
    ],
)
def test_columns_that_do_not_fit_are_lost_as_a_whole(
    ledger: FakeLedger, make_emitter: MakeEmitter, inputs: Any, outputs: Any, named: dict[str, Any], count: int
) -> None:
    emitter = make_emitter()
    ids = emitter.bind(bytes(32)).emit_many(inputs, outputs, **{**FITTING, **named})
    assert len(ids) == count and len(set(ids)) == count and all(len(one.input_prefix) == 4 for one in ids)
    assert emitter.flush(5)
    assert emitter.statistics.lost == emitter.statistics.emitted == count
    assert sum(lost.count for body in ledger.bodies() for lost in body.lost) == count
    closed = make_emitter(fail_closed=True)
    with pytest.raises(MalformedEntryError):
        closed.bind(bytes(32)).emit_many(inputs, outputs, **{**FITTING, **named})
    assert closed.statistics.emitted == 0


def test_what_finds_no_room_is_dropped_and_counted(make_emitter: MakeEmitter) -> None:
    emitter = make_emitter(target="127.0.0.1:1", max_pending_entries=1_024, max_unacknowledged_bytes=128 * 1024)
    ids = emitter.bind(bytes(32)).emit_many(_commitments(20_000), _commitments(20_000))
    statistics = emitter.statistics
    assert len(ids) == statistics.emitted == 20_000 and len(set(ids)) == 20_000
    assert 10_000 < statistics.lost < 20_000


def test_what_finds_no_room_waits_for_it(ledger: FakeLedger, make_emitter: MakeEmitter) -> None:
    emitter = make_emitter(max_pending_entries=256, max_batch_entries=64, when_full=WhenFull.BLOCK)
    ids = emitter.bind(bytes(32)).emit_many(_commitments(5_000), _commitments(5_000))
    assert emitter.flush(20)
    assert set(ledger.resolver()) == set(ids) and emitter.statistics.lost == 0


def test_what_finds_no_room_raises(make_emitter: MakeEmitter) -> None:
    emitter = make_emitter(
        target="127.0.0.1:1", max_pending_entries=64, max_unacknowledged_bytes=128 * 1024, when_full=WhenFull.RAISE
    )
    with pytest.raises(EmitterFullError, match="declared lost"):
        emitter.bind(bytes(32)).emit_many(_commitments(20_000), _commitments(20_000))
    statistics = emitter.statistics
    assert statistics.lost == 1 and 64 <= statistics.pending == statistics.emitted - 1 < 20_000


def test_threads_share_an_emitter(ledger: FakeLedger, make_emitter: MakeEmitter) -> None:
    emitter = make_emitter(when_full="block", max_pending_entries=4_096)
    binding = emitter.bind(bytes(32))
    found: list[list[tuple[PredictionId, bytes]]] = [[] for _ in range(8)]

    def work(worker: int) -> None:
        for turn in range(10):
            inputs = _commitments(99, f"{worker}/{turn}")
            found[worker] += zip(binding.emit_many(inputs, inputs), _rows(inputs))
            alone = hashlib.sha256(inputs).digest()
            found[worker].append((binding.emit(alone, alone), alone))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert emitter.flush(20)
    logged = ledger.resolver()
    assert len(logged) == 8_000
    assert all(logged[one].input_commitment == commitment for mine in found for one, commitment in mine)
    assert sorted(one.number for mine in found for one, _ in mine) == list(range(8_000))


def test_ids_are_a_sequence() -> None:
    inputs = bytearray(_commitments(6))
    ids = PredictionIds(inputs)
    for chain, number, count in [(b"a", 5, 2), (b"a", 7, 0), (b"a", 7, 1), (b"b", 0, 2), (b"b", 3, 1)]:
        ids.add(chain, number, count)
    wanted = [(b"a", 5), (b"a", 6), (b"a", 7), (b"b", 0), (b"b", 1), (b"b", 3)]
    assert ids.runs == ((b"a", 5, 3), (b"b", 0, 2), (b"b", 3, 1))
    inputs[:] = bytes(len(inputs))  # The caller's to use again.
    assert list(ids) == [(*one, row[:4]) for one, row in zip(wanted, _rows(_commitments(6)))]
    assert ids[-1] == ids[5] and ids[1:3] == [ids[1], ids[2]] and ids[::-5] == [ids[5], ids[0]]
    assert ids[2] in ids and ids.index(ids[4]) == 4 and next(reversed(ids)) == ids[5]
    for beyond in (6, -7):
        with pytest.raises(IndexError):
            ids[beyond]
    assert list(pickle.loads(pickle.dumps(ids))) == list(ids)
