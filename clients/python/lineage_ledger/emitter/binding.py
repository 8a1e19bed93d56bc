"""What users emit predictions with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from time import time_ns
from typing import TYPE_CHECKING

from lineage_ledger.emitter.columns import Columns, Numbers, PredictionIds, RequestIds
from lineage_ledger.formats.packed import frame
from lineage_ledger.formats.prediction import INPUT_PREFIX_BYTES, PredictionId, encode_prediction

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from lineage_ledger.emitter.emitter import Emitter

_ROWS_AT_ONCE = 4_096
"""Rows after which other threads get a chance to run: some 50 us."""


class Binding(ABC):
    """What predictions are made with: a deployment, known to the emitter by its row (`Emitter.bind`)."""

    def __init__(self, emitter: Emitter, row: int, deployment_hash: bytes) -> None:
        self.emitter = emitter
        """The emitter that it belongs to."""
        self.row = row
        """1 to 255."""
        self.deployment_hash = deployment_hash
        """Leaf hash of the deployment's entry; 32 bytes."""

    @abstractmethod
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
        """Put one prediction on record; returns its id at once, without a lock or I/O.

        Commitments are 32 bytes (`lineage_ledger.commit`); that of the output may be left out if `status_code`, a
        google.rpc.Code, says that the prediction failed. `request_id` is at most 64 bytes. A `start_time_unix_ns` of 0
        means now, a `duration_us` of 0 not measured.

        Raises nothing: what cannot be recorded is logged, counted, and where it got a number, sealed as lost. With
        `fail_closed` it raises `MalformedEntryError` or `EmitterError`, and with `WhenFull.RAISE` `EmitterFullError`.
        """

    def emit_many(
        self,
        input_commitments: ReadableBuffer,
        output_commitments: ReadableBuffer = b"",
        *,
        request_ids: RequestIds = None,
        start_times_unix_ns: Numbers = 0,
        durations_us: Numbers = 0,
        status_code: int = 0,
    ) -> PredictionIds:
        """Put as many predictions on record as there are input commitments; what `emit` does with each, in order.

        Commitments are contiguous buffers of 32 bytes each: bytes, views, arrays of numpy. `request_ids` is a list of
        bytes, or one buffer of ids of the same length. Times and durations are one number for all, or a buffer of
        64-bit integers. Returns the ids, in little memory.

        A prediction that is malformed is declared lost, and the others go on; where the columns do not fit together,
        all are. Raises as `emit` does: then the predictions before the one that could not be recorded are on record,
        and those after it got no number.
        """
        try:
            columns = Columns.read(
                input_commitments, output_commitments, request_ids, start_times_unix_ns, durations_us, status_code
            )
        except Exception as error:  # noqa: BLE001  (no argument, however wrong, may fail a prediction)
            return self.emitter._refuse_many(input_commitments, error)
        ids = PredictionIds(columns.inputs)
        row = 0
        while row < columns.count:
            end = min(row + _ROWS_AT_ONCE, columns.count)
            chain_id, number, placed = self.leave_rows(*columns.all, row, end)
            ids.add(chain_id, number, placed)
            row += placed
            if row < end:  # One that is out of the ordinary.
                one = columns.emit(self, row)
                ids.add(one.chain_id, one.number, 1)
                row += 1
        return ids

    @abstractmethod
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
        """Leave rows in the ring until one is out of the ordinary: chain id, number of the first, how many.

        The numbers of these follow each other.
        """

    def emit_slowly(
        self,
        input_commitment: bytes,
        output_commitment: bytes,
        request_id: bytes,
        start_time_unix_ns: int,
        duration_us: int,
        status_code: int,
    ) -> PredictionId:
        """`emit` of whatever it may be, in whatever state the ring is."""
        try:
            framed = frame(
                encode_prediction(
                    binding_row=self.row,
                    input_commitment=input_commitment,
                    output_commitment=output_commitment,
                    request_id=request_id,
                    start_time_unix_ns=start_time_unix_ns or time_ns(),
                    duration_us=duration_us,
                    status_code=status_code,
                )
            )
        except Exception as error:  # noqa: BLE001  (no argument, however wrong, may fail a prediction)
            return self.emitter._refuse(input_commitment, error)
        return PredictionId(*self.emitter._place(framed), bytes(input_commitment[:INPUT_PREFIX_BYTES]))
