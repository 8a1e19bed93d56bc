"""Many predictions at once: what `emit_many` takes, and the ids that it gives."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from operator import index
from time import time_ns
from typing import TYPE_CHECKING, NamedTuple, SupportsIndex, TypeAlias, cast, overload

from lineage_ledger.errors import MalformedEntryError
from lineage_ledger.formats.prediction import COMMITMENT_BYTES, INPUT_PREFIX_BYTES, PredictionId

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from lineage_ledger.emitter.binding import Binding

RequestIds: TypeAlias = "ReadableBuffer | Sequence[bytes] | None"
Numbers: TypeAlias = "ReadableBuffer | int"

_INT64_BYTES = 8
_INT64_FORMATS = frozenset({"q", "l", "<q", "<l", "=q", "@q", "@l"})


class Run(NamedTuple):
    """Predictions of one chain whose numbers follow each other."""

    chain_id: bytes
    """16 bytes."""
    first_number: int
    count: int  # type: ignore[assignment]  # tuple.count is of no use here


class PredictionIds(Sequence[PredictionId]):
    """The ids of predictions that were emitted together, in order; each is made when it is asked for.

    Most often it is one run. There are more if the emitter had to begin a new chain meanwhile, or other threads
    emitted in between.
    """

    __slots__ = ("_ends", "_inputs", "_runs")

    def __init__(self, inputs: ReadableBuffer) -> None:
        """`inputs`: 32 bytes for each."""
        self._inputs = bytes(inputs)  # Those of a caller's array may change.
        self._runs: list[Run] = []
        self._ends: list[int] = []

    @property
    def runs(self) -> tuple[Run, ...]:
        """The chains and numbers, in the order in which the predictions were given."""
        return tuple(self._runs)

    def add(self, chain_id: bytes, first_number: int, count: int) -> None:
        """The numbers of the next `count` predictions."""
        if not count:
            return
        self._ends.append(len(self) + count)
        if self._runs:
            last = self._runs[-1]
            if last.chain_id == chain_id and last.first_number + last.count == first_number:
                self._runs[-1] = Run(chain_id, last.first_number, last.count + count)
                del self._ends[-2]
                return
        self._runs.append(Run(chain_id, first_number, count))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, place: int) -> PredictionId: ...
    @overload
    def __getitem__(self, place: slice) -> list[PredictionId]: ...
    def __getitem__(self, place: int | slice) -> PredictionId | list[PredictionId]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        at = index(place)
        if at < 0:
            at += len(self)
        if not 0 <= at < len(self):
            raise IndexError(f"there are {len(self)} ids, and none at {place}")
        run_place = bisect_right(self._ends, at)
        run = self._runs[run_place]
        number = run.first_number + run.count - (self._ends[run_place] - at)
        begin = at * COMMITMENT_BYTES
        prefix = self._inputs[begin : begin + INPUT_PREFIX_BYTES].ljust(INPUT_PREFIX_BYTES, b"\0")
        return PredictionId(run.chain_id, number, prefix)

    def __iter__(self) -> Iterator[PredictionId]:
        return map(self.__getitem__, range(len(self)))

    def __repr__(self) -> str:
        return f"<{len(self)} prediction ids: {', '.join(f'{c.hex()}-{n} and {k - 1} more' for c, n, k in self._runs)}>"


class Columns(NamedTuple):
    """What `emit_many` was given, checked to fit together; not that each prediction is well-formed."""

    inputs: memoryview
    outputs: memoryview
    request_ids: memoryview | tuple[object, ...] | None
    starts: memoryview | int
    durations: memoryview | int
    status_code: int
    count: int  # type: ignore[assignment]  # tuple.count is of no use here

    @classmethod
    def read(
        cls,
        inputs: ReadableBuffer,
        outputs: ReadableBuffer,
        request_ids: RequestIds,
        starts: Numbers,
        durations: Numbers,
        status_code: int,
    ) -> Columns:
        """Raises `MalformedEntryError`, or TypeError, where they do not fit together."""
        input_bytes = _bytes_of("input_commitments", inputs)
        count, rest = divmod(len(input_bytes), COMMITMENT_BYTES)
        if rest:
            raise MalformedEntryError(
                f"input_commitments: {len(input_bytes)} bytes are not commitments of {COMMITMENT_BYTES} bytes"
            )
        output_bytes = _bytes_of("output_commitments", outputs)
        if len(output_bytes) not in (0, len(input_bytes)):
            raise MalformedEntryError(
                f"output_commitments: there are {len(output_bytes)} bytes, and {len(input_bytes)} of input_commitments"
            )
        return cls(
            input_bytes,
            output_bytes,
            _request_ids(request_ids, count),
            _numbers("start_times_unix_ns", starts, count) or time_ns(),
            _numbers("durations_us", durations, count),
            index(status_code),
            count,
        )

    @property
    def all(
        self,
    ) -> tuple[memoryview, memoryview, memoryview | tuple[object, ...] | None, memoryview | int, memoryview | int, int]:
        """As `Binding.leave_rows` takes them."""
        return self[:6]

    def emit(self, binding: Binding, place: int) -> PredictionId:
        """Emit one of them by itself."""
        begin, end = place * COMMITMENT_BYTES, (place + 1) * COMMITMENT_BYTES
        request_id: object = b""
        if isinstance(self.request_ids, tuple):
            request_id = self.request_ids[place]
        elif self.request_ids is not None:
            size = len(self.request_ids) // self.count
            request_id = bytes(self.request_ids[place * size : (place + 1) * size])
        return binding.emit(
            bytes(self.inputs[begin:end]),
            bytes(self.outputs[begin:end]),
            request_id=cast("bytes", request_id),  # Whatever it is, packing looks at it.
            start_time_unix_ns=_number_at(self.starts, place),
            duration_us=_number_at(self.durations, place),
            status_code=self.status_code,
        )


def _bytes_of(name: str, column: ReadableBuffer) -> memoryview:
    view = memoryview(column)
    if not view.c_contiguous:
        raise MalformedEntryError(f"{name}: the array has gaps; make a contiguous copy of it")
    return view.cast("B") if view.nbytes else memoryview(b"")


def _request_ids(column: RequestIds, count: int) -> memoryview | tuple[object, ...] | None:
    if column is None:
        return None
    if isinstance(column, list | tuple):
        if len(column) != count:
            raise MalformedEntryError(f"request_ids: there are {len(column)} for {count} predictions")
        return tuple(column)
    view = _bytes_of("request_ids", cast("ReadableBuffer", column))
    if not len(view):
        return None
    if not count or len(view) % count:
        raise MalformedEntryError(f"request_ids: {len(view)} bytes are not {count} ids of one length")
    return view


def _numbers(name: str, column: Numbers, count: int) -> memoryview | int:
    if hasattr(column, "__index__") and not getattr(column, "shape", None):
        return index(cast("SupportsIndex", column))
    view = memoryview(cast("ReadableBuffer", column))
    if view.format not in _INT64_FORMATS or view.itemsize != _INT64_BYTES or view.shape != (count,):
        raise MalformedEntryError(
            f"{name}: is an array of shape {view.shape} and format {view.format!r}; "
            f"it must be one number, or {count} signed integers of 64 bits"
        )
    return _bytes_of(name, view)


def _number_at(column: memoryview | int, place: int) -> int:
    if isinstance(column, int):
        return column
    return int.from_bytes(column[place * _INT64_BYTES : (place + 1) * _INT64_BYTES], sys.byteorder, signed=True)
