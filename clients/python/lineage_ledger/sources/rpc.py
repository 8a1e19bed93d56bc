"""A ledger that a gRPC server serves: its entries as they are, without tiles."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from lineage_ledger import kernel
from lineage_ledger.errors import LineageError, ProofError, RpcError
from lineage_ledger.formats.packed import LENGTH_BYTES
from lineage_ledger.formats.strict_rules import MAX_ENTRY_BYTES
from lineage_ledger.formats.tiles import TILE_WIDTH
from lineage_ledger.rpc import methods
from lineage_ledger.rpc.status import REFUSALS
from lineage_ledger.sources.bounds import RUN_BUNDLES, Absences, size_said
from lineage_ledger.sources.read_ahead import ReadAhead
from lineage_ledger.sources.tiled import CHECKPOINT_PATH
from lineage_ledger.v1 import entries_pb2, proofs_pb2

if TYPE_CHECKING:
    from lineage_ledger.rpc.connection import Connection
    from lineage_ledger.rpc.endpoint import Endpoint

_THREADS = 4
_CALL_BUNDLES = 8
"""Bundles of one call: enough that the call costs little, few enough that their longest entries fit into memory."""
_ATTEMPTS = 4
_WAIT_FIRST_S = 0.25
_PASSING = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")
_CORRUPT = "DATA_LOSS"

T = TypeVar("T")


class RpcSource:
    """The `LogSource` over a server, under its checkpoint when this is opened, or `note`. Raises `OSError`.

    With `is_witnessed` that checkpoint is the newest one with the cosignatures of the server's witness policy.
    """

    has_tiles = False

    def __init__(
        self, endpoint: Endpoint, note: bytes | None = None, *, is_witnessed: bool = False, in_runs: bool = False
    ) -> None:
        from lineage_ledger.rpc.connection import Connection  # Late: it imports grpc, which takes 0.1 s.

        self._connection: Connection = Connection(endpoint)
        self.note = _answered(lambda: self._checkpoint(is_witnessed)) if note is None else note
        self.checkpoints = [(CHECKPOINT_PATH, self.note)]
        self.size = size_said(self.note)
        self.reopen: Callable[[], RpcSource] = partial(RpcSource, endpoint, self.note, in_runs=True)
        self._bundles = (self.size + TILE_WIDTH - 1) // TILE_WIDTH
        runs = (self._bundles + _CALL_BUNDLES - 1) // _CALL_BUNDLES
        stride = RUN_BUNDLES // _CALL_BUNDLES if in_runs else None
        self._ahead = ReadAhead(self._run, runs, lambda bundles: sum(map(len, bundles)), _THREADS, stride)
        self._held: tuple[int, list[bytes]] = -1, []
        self._absences = Absences()

    def bundle(self, number: int) -> tuple[None, bytes]:
        """See `LogSource.bundle`. What the server refuses to give because it is corrupt is missing."""
        run, place = divmod(number, _CALL_BUNDLES)
        if self._held[0] != run:
            try:
                self._held = run, self._ahead.get(run)
            except LineageError:
                self._held = -1, []
                return None, self._alone(number)
        self._absences.found()
        return None, self._held[1][place]

    def _alone(self, number: int) -> bytes:
        """A bundle whose neighbour may be the one to blame for a call that failed."""
        try:
            (packed,) = self._range(number, number + 1)
        except LineageError:
            self._absences.missing()
            raise
        self._absences.found()
        return packed

    def tile_hashes(self, level: int, number: int, width: int) -> bytes:
        """See `LogSource.tile_hashes`; there are none."""
        raise LineageError(f"no tile ({level}, {number}, {width}): the server gives entries alone")

    def consistency_proof(self, old_size: int) -> tuple[bytes, ...]:
        """What the server gives to prove that its tree goes on from its first `old_size` entries; unchecked.

        Raises `ProofError` if it refuses, and `OSError`.
        """
        request = proofs_pb2.GetConsistencyProofRequest(old_size=old_size, new_size=self.size)
        try:
            return _answered(lambda: tuple(self._connection.call(methods.GET_CONSISTENCY_PROOF, request).hashes))
        except ConnectionError as error:
            if isinstance(error.__cause__, RpcError) and error.__cause__.status in REFUSALS:
                raise ProofError(str(error)) from error
            raise

    def close(self) -> None:
        """Disconnect."""
        self._ahead.close()
        self._connection.close()

    def _run(self, number: int) -> list[bytes]:
        first = number * _CALL_BUNDLES
        return self._range(first, min(first + _CALL_BUNDLES, self._bundles))

    def _range(self, first: int, end: int) -> list[bytes]:
        """The bundles [first, end), packed."""
        start, stop = first * TILE_WIDTH, min(end * TILE_WIDTH, self.size)
        packed = _answered(lambda: self._packed(start, stop))
        offsets = kernel.entry_offsets(packed, 0, TILE_WIDTH)
        if len(offsets) < end - first:
            raise LineageError(f"the server sent fewer entries than the {stop - start} that begin at {start}")
        ends = [*offsets[1 : end - first], len(packed)]
        return [packed[offset:until] for offset, until in zip(offsets, ends, strict=False)]

    def _packed(self, start: int, stop: int) -> bytes:
        request = entries_pb2.StreamEntriesRequest(start=start, end=stop)
        timeout_s = self._connection.endpoint.timeout_s
        packed, at = bytearray(), start
        for response in self._connection.stream(methods.STREAM_ENTRIES, request, timeout_s=timeout_s):
            packed += response.packed
            at_most = (stop - start) * (LENGTH_BYTES + MAX_ENTRY_BYTES)
            if response.first_index != at or not response.count or len(packed) > at_most:
                raise LineageError(
                    f"the server goes on with {response.count} entries at {response.first_index}, where {at} was next"
                )
            at += response.count
        if at != stop:
            raise LineageError(f"the server's entries end at {at}, where {stop} was asked for")
        return bytes(packed)

    def _checkpoint(self, is_witnessed: bool) -> bytes:
        request = proofs_pb2.GetCheckpointRequest(witnessed=is_witnessed)
        return self._connection.call(methods.GET_CHECKPOINT, request).checkpoint


def _answered(call: Callable[[], T]) -> T:
    """What `call` returns, tried anew while the server is away or busy. Raises `ConnectionError` if that did not help.

    That the server found its own bytes corrupt is no matter of trying: raises that `RpcError`.
    """
    wait_s = _WAIT_FIRST_S
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return call()
        except RpcError as error:
            if error.status == _CORRUPT:
                raise
            if error.status not in _PASSING or attempt == _ATTEMPTS:
                raise ConnectionError(str(error)) from error
        time.sleep(wait_s)
        wait_s *= 2
    raise AssertionError("the last attempt returns or raises")
