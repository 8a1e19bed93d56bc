"""What the extension holds; `emit_kernel` and `emitter.byte_ring` say what it is for."""

from collections.abc import Callable, Sequence
from typing import Any, Self

from _typeshed import ReadableBuffer

from lineage_ledger.formats.prediction import PredictionId

def hmac_sha256(key: ReadableBuffer, value: ReadableBuffer, /) -> bytes: ...
def commitments(
    period_key: bytes,
    context: bytes,
    counters: Sequence[ReadableBuffer] | ReadableBuffer,
    values: Sequence[ReadableBuffer] | ReadableBuffer,
    count: int,
    /,
) -> bytes: ...

class Ring:
    attention: bool
    def __new__(
        cls,
        chain_id: bytes,
        capacity: int,
        batch_entries: int,
        batch_bytes: int,
        attend: Callable[[], object],
        drops: bool,
        /,
    ) -> Self: ...
    @property
    def chain_id(self) -> bytes: ...
    @property
    def drained(self) -> int: ...
    @property
    def lost_count(self) -> int: ...
    @property
    def closed(self) -> bool: ...
    def try_place(self, framed: bytes, /) -> int: ...
    def lose(self) -> int: ...
    def take_batch(self) -> tuple[int, int, bytes, int, list[tuple[int, int]]] | None: ...
    def taken(self) -> int: ...
    def has_batch(self) -> bool: ...
    def close(self) -> None: ...

class Lane:
    ring: Any
    def __new__(cls, prediction_id: type[PredictionId], /) -> Self: ...

class Packer:
    def __new__(cls, lane: Lane, row: int, /) -> Self: ...
    def emit(
        self,
        input_commitment: bytes,
        output_commitment: bytes = b"",
        *,
        request_id: bytes = b"",
        start_time_unix_ns: int = 0,
        duration_us: int = 0,
        status_code: int = 0,
    ) -> PredictionId: ...
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
        /,
    ) -> tuple[bytes, int, int]: ...
