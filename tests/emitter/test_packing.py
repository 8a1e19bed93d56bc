"""What `emit` makes of its arguments, whatever they are: both kinds of bindings leave, and lose, the same."""

from __future__ import annotations

import array
import gc
import sys
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lineage_ledger import kernel
from lineage_ledger.emitter.ring import Bounds
from lineage_ledger.formats.packed import frame
from lineage_ledger.formats.prediction import PredictionId, encode_prediction
from tests.emitter.kinds import KINDS, LARGE, nothing

CHAIN = b"c" * 16
TIME = 1_790_000_000_123_456_789


class Recorder:
    """Stands in for the emitter: notes what is refused, and gives its number."""

    _wait_s = 0.0

    def __init__(self, kind: str) -> None:
        self.lane = KINDS[kind]()
        self.ring = self.lane.begin_ring(CHAIN, Bounds(1 << 12, 1 << 12, LARGE), nothing, nothing)
        self.lane.use(self.ring)
        self.refusals: list[str] = []

    def bind(self, row: int) -> Any:
        return self.lane.begin_binding(self, row, bytes(32))  # type: ignore[arg-type]

    def _place(self, framed: bytes) -> tuple[bytes, int]:
        return self._settle(self.ring, framed, self.ring.place(framed, 0.0))

    def _settle(self, ring: Any, framed: bytes, placed: Any) -> tuple[bytes, int]:
        assert placed.is_kept
        return CHAIN, placed.number

    def _refuse(self, input_commitment: object, error: Exception) -> PredictionId:
        self.refusals.append(f"{type(error).__name__}: {error}")
        return PredictionId(CHAIN, self.ring.lose(), b"lost")

    def _refuse_many(self, inputs: object, error: Exception) -> list[PredictionId]:
        return [self._refuse(inputs, error)]


class OwnBytes(bytes):
    pass


class LyingBytes(bytes):
    def __len__(self) -> int:
        return 32


class OwnInt(int):
    def __index__(self) -> int:
        raise ValueError("no index")


class Indexed:
    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value

    def __repr__(self) -> str:
        return f"Indexed({self.value})"


ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, "text", 1.5, [], {}, object, OwnInt(3), array.array("B", bytes(32))]
)
BYTES = st.binary(max_size=70) | st.binary(min_size=32, max_size=32)
COMMITMENTS = st.one_of(
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32),
    BYTES,
    BYTES.map(bytearray),
    BYTES.map(lambda data: memoryview(data)),
    BYTES.map(OwnBytes),
    ODD,
)
NUMBERS = st.one_of(
    st.integers(0, 1 << 33),
    st.integers(-1, 17),
    st.integers(-(1 << 70), 1 << 70),
    st.sampled_from([(1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64, -1]),
    st.booleans(),
    st.integers(0, 20).map(Indexed),
    st.integers(0, 20).map(OwnInt),
    ODD,
)


@pytest.mark.skipif("c" not in KINDS, reason="there is no C kernel")
@settings(max_examples=600, deadline=None)
@given(st.integers(1, 255), COMMITMENTS, COMMITMENTS, COMMITMENTS, NUMBERS, NUMBERS, NUMBERS)
@example(1, bytes(32), b"", b"", TIME, 0, 16)
@example(1, bytes(32), b"", b"", TIME, 0, 0)
@example(1, bytes(32), bytes(32), b"", TIME, 0, 17)
@example(255, bytes(32), bytes(32), bytes(64), TIME, 1 << 40, 16)
@example(128, bytes(32), bytes(32), bytes(65), TIME, 1, 0)
def test_whatever_comes_both_kinds_do_the_same(
    row: int, inputs: Any, outputs: Any, request_id: Any, start: Any, duration: Any, status: Any
) -> None:
    said = []
    for kind in KINDS:
        recorder = Recorder(kind)
        named = {"request_id": request_id, "duration_us": duration, "status_code": status}
        # 0 and the like are now, which differs; TIME is the same for both.
        given_id = recorder.bind(row).emit(inputs, outputs, start_time_unix_ns=start or TIME, **named)
        cut = recorder.ring.cut()
        said.append((given_id, cut, recorder.refusals))
    assert said[0] == said[1]
    assert type(said[0][0]) is type(said[1][0]) is PredictionId
    if said[0][1].entries:
        kernel.scan(said[0][1].packed)  # which refuses what a server would


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 5, 32, 64, 70_000])
@pytest.mark.parametrize("status", [0, 13])
def test_bytes_that_lie_about_their_length_make_nothing_malformed(kind: str, size: int, status: int) -> None:
    lying, honest = LyingBytes(bytes(size)), bytes(32)
    for arguments in [(lying, honest, b""), (honest, lying, b""), (honest, honest, lying)]:
        recorder = Recorder(kind)
        recorder.bind(1).emit(*arguments[:2], request_id=arguments[2], status_code=status, duration_us=1)
        cut = recorder.ring.cut()
        assert cut.entries + len(recorder.refusals) == 1
        kernel.scan(cut.packed)


@given(
    st.integers(1, 255),
    st.binary(min_size=32, max_size=32),
    st.none() | st.binary(min_size=32, max_size=32),
    st.binary(max_size=64),
    st.integers(1, (1 << 64) - 1),
    st.integers(0, (1 << 64) - 1),
    st.integers(0, 16),
)
@settings(deadline=None)
def test_what_is_well_formed_is_packed_as_the_contract_has_it(
    row: int, inputs: bytes, output: bytes | None, request_id: bytes, start: int, duration: int, status: int
) -> None:
    outputs = output if output is not None and status else inputs
    entry = encode_prediction(
        binding_row=row,
        input_commitment=inputs,
        output_commitment=outputs,
        request_id=request_id,
        start_time_unix_ns=start,
        duration_us=duration,
        status_code=status,
    )
    for kind in KINDS:
        recorder = Recorder(kind)
        given_id = recorder.bind(row).emit(
            inputs,
            outputs,
            request_id=request_id,
            start_time_unix_ns=start,
            duration_us=duration,
            status_code=status,
        )
        assert recorder.ring.cut().packed == frame(entry)
        assert given_id == (CHAIN, 0, inputs[:4]) and not recorder.refusals


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_ids(kind: str) -> None:
    given_id = Recorder(kind).bind(1).emit(bytes(range(32)), bytes(32))
    chain_id, number, prefix = given_id
    assert type(given_id) is PredictionId and given_id == PredictionId(chain_id, number, prefix)
    assert hash(given_id) == hash(PredictionId(CHAIN, 0, bytes(range(4))))
    assert PredictionId.parse(str(given_id)) == given_id
    assert given_id.number == 0 and given_id.chain_id is not None and given_id.input_prefix == bytes(range(4))


@pytest.mark.parametrize("kind", KINDS)
def test_how_it_is_called(kind: str) -> None:
    recorder = Recorder(kind)
    binding = recorder.bind(1)
    both = {"input_commitment": bytes(32), "output_commitment": bytes(32)}
    binding.emit(**both)
    binding.emit(bytes(32), output_commitment=bytes(32))
    binding.emit(**{name.encode().decode(): value for name, value in both.items()})  # Names that are not interned.
    for arguments, named in [
        ((), {}),
        ((), {"output_commitment": bytes(32)}),
        ((bytes(32),) * 3, {}),
        ((bytes(32),), {"input_commitment": bytes(32)}),
        ((bytes(32),), {"reqest_id": b""}),
        ((bytes(32),), {"": b""}),
    ]:
        with pytest.raises(TypeError):
            binding.emit(*arguments, **named)
    assert recorder.ring.taken() == recorder.ring.cut().entries == 3


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_behind(kind: str) -> None:
    """Neither by predictions that are emitted, nor by calls that are refused."""
    recorder = Recorder(kind)
    binding = recorder.bind(1)

    def use() -> None:
        for _ in range(300):
            binding.emit(bytes(32), bytes(32), request_id=bytes(16), duration_us=1)
            binding.emit(bytes(32), status_code=3, start_time_unix_ns=TIME)
            binding.emit(bytearray(32), bytes(32))
            binding.emit(b"short")
            with pytest.raises(TypeError):
                binding.emit(bytes(32), what=1)
        ids = binding.emit_many(bytes(3_200), bytes(3_200), request_ids=[b"1", bytearray(2), *[b"2"] * 98])
        assert len(ids) == 100
        while recorder.ring.cut().entries:
            pass
        recorder.refusals.clear()

    for _ in range(3):
        use()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(10):
        use()
    gc.collect()
    assert sys.getallocatedblocks() - before < 300  # 18,000 calls and more.
