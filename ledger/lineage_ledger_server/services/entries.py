"""EntryService: entries and predictions, as they are on record."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lineage_ledger.errors import MalformedError
from lineage_ledger.formats.merkle import HASH_SIZE
from lineage_ledger.formats.prediction import MAX_REQUEST_ID_BYTES, PredictionId
from lineage_ledger.trace import SealedEntry
from lineage_ledger.v1 import entries_pb2, entries_pb2_grpc, entry_pb2
from lineage_ledger_server.errors import RefusedError
from lineage_ledger_server.services.batch_proofs import BatchProofs
from lineage_ledger_server.services.errors import Caller, check_active
from lineage_ledger_server.services.find import Criteria, PredictionSearch
from lineage_ledger_server.services.pages import decode_token, encode_token, page_size
from lineage_ledger_server.services.pieces import split_pieces

if TYPE_CHECKING:
    from collections.abc import Callable

    from lineage_ledger_server.index.lookup import Lookup
    from lineage_ledger_server.reading.log_reader import LogReader

MAX_MESSAGE_BYTES = 2 * 1024 * 1024
MAX_PAGE_SIZE = 1_000
DEFAULT_PAGE_SIZE = 100
INDEX_WAIT_S = 0.5
"""How long an answer waits for the indexes to reach the head that was published when the call came."""
SEARCH_S = 5.0
"""How long a page is searched for, if the caller's deadline does not end it before."""
ANSWER_S = 0.2
"""What is kept of a deadline to send the answer in."""


class EntryService(entries_pb2_grpc.EntryServiceServicer):
    """Needs the log and its indexes only, so it can run in another process than the sequencer."""

    def __init__(self, reader: LogReader, lookup: Lookup) -> None:
        self._reader = reader
        self._lookup = lookup
        self._search = PredictionSearch(reader, lookup)

    def GetEntry(self, request: entries_pb2.GetEntryRequest, context: Caller) -> entries_pb2.GetEntryResponse:
        return entries_pb2.GetEntryResponse(entry=self._reader.entry(request.index))

    def StreamEntries(
        self, request: entries_pb2.StreamEntriesRequest, context: Caller
    ) -> Iterator[entries_pb2.StreamEntriesResponse]:
        end = request.end or self._reader.head().size
        if request.start > end:
            raise RefusedError(f"the range begins at {request.start}, behind its end {end}", reason="INVALID_ARGUMENT")
        first_index, count, parts, held_bytes = request.start, 0, list[bytes](), 0
        for run_index, run_count, packed in self._reader.packed_range(request.start, end):
            check_active(context)
            pieces = list(split_pieces(run_index, packed, MAX_MESSAGE_BYTES))
            ends = [index for index, _ in pieces[1:]] + [run_index + run_count]
            for (piece_index, piece), piece_end in zip(pieces, ends, strict=True):
                if held_bytes + len(piece) > MAX_MESSAGE_BYTES:
                    yield _packed(first_index, count, parts)
                    first_index, count, parts, held_bytes = piece_index, 0, [], 0
                parts.append(piece)
                held_bytes += len(piece)
                count += piece_end - piece_index
        if count:
            yield _packed(first_index, count, parts)

    def GetPrediction(
        self, request: entries_pb2.GetPredictionRequest, context: Caller
    ) -> entries_pb2.GetPredictionResponse:
        located = self._reader.locate(parse_prediction_id(request.prediction_id))
        sealed = SealedEntry(located.index, located.entry, located.seal_index, located.seal)
        return entries_pb2.GetPredictionResponse(prediction=_Predictions(self._reader).logged(sealed))

    def FindPredictions(
        self, request: entries_pb2.FindPredictionsRequest, context: Caller
    ) -> entries_pb2.FindPredictionsResponse:
        criteria = _criteria(request)
        start = decode_token(request.page_token, request, 1)[0] if request.page_token else 0
        self._lookup.wait_for(self._reader.head().size, min(INDEX_WAIT_S, _time_left_s(context)))
        page = self._search.find(
            criteria, start, page_size(request.page_size, DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE), _budget(context)
        )
        answer = _Predictions(self._reader)
        return entries_pb2.FindPredictionsResponse(
            predictions=(answer.logged(sealed) for sealed in page.predictions),
            next_page_token="" if page.next_index is None else encode_token(request, (page.next_index,)),
            indexed_size=page.searched_size,
        )


def parse_prediction_id(text: str) -> PredictionId:
    """Raises RefusedError (INVALID_ID)."""
    try:
        return PredictionId.parse(text)
    except MalformedError as error:
        raise RefusedError(str(error), reason="INVALID_ID") from None


def _criteria(request: entries_pb2.FindPredictionsRequest) -> Criteria:
    if len(request.request_id) > MAX_REQUEST_ID_BYTES:
        raise RefusedError(
            f"request_id has {len(request.request_id)} bytes; it has 1 to {MAX_REQUEST_ID_BYTES}",
            reason="INVALID_ARGUMENT",
        )
    for name in ("public_key", "deployment_hash"):
        if len(getattr(request, name)) not in (0, HASH_SIZE):
            raise RefusedError(
                f"{name} has {len(getattr(request, name))} bytes; it has {HASH_SIZE}", reason="INVALID_ARGUMENT"
            )
    criteria = Criteria(
        request.request_id,
        request.from_time_unix_ns,
        request.until_time_unix_ns,
        request.public_key,
        request.deployment_hash,
    )
    if criteria == Criteria(b"", 0, 0, b"", b""):
        raise RefusedError(
            "no criterion is set; set request_id, a time, public_key or deployment_hash", reason="INVALID_ARGUMENT"
        )
    if 0 < criteria.until_time_unix_ns <= criteria.from_time_unix_ns:
        raise RefusedError("until_time_unix_ns is not after from_time_unix_ns", reason="INVALID_ARGUMENT")
    return criteria


def _packed(first_index: int, count: int, parts: list[bytes]) -> entries_pb2.StreamEntriesResponse:
    return entries_pb2.StreamEntriesResponse(first_index=first_index, packed=b"".join(parts), count=count)


class _Predictions:
    """Those of one answer, with what proves them; what several have in common is read once."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        self._proofs = BatchProofs(reader)
        self._nonces: dict[bytes, bytes] = {}

    def logged(self, sealed: SealedEntry) -> entries_pb2.LoggedPrediction:
        prediction = entry_pb2.Entry.FromString(sealed.entry).prediction
        body = sealed.seal.body
        if body.chain_id not in self._nonces:
            self._nonces[body.chain_id] = self._reader.opening_seal(body.chain_id)[1].body.chain_nonce
        return entries_pb2.LoggedPrediction(
            prediction_id=str(sealed.prediction_id(prediction)),
            index=sealed.index,
            entry=sealed.entry,
            seal_index=sealed.seal_index,
            public_key=body.public_key,
            deployment_hash=sealed.deployment_hash(prediction),
            batch_proof=self._proofs.inclusion(sealed),
            chain_nonce=self._nonces[body.chain_id],
        )


def _time_left_s(context: Caller) -> float:
    left_s: float | None = context.time_remaining()  # None: no deadline, which the stubs do not say
    return SEARCH_S if left_s is None else max(0.0, left_s - ANSWER_S)


def _budget(context: Caller) -> Callable[[], bool]:
    """Whether a search may go on: there is time, and somebody waits for it."""
    until = time.monotonic() + min(SEARCH_S, _time_left_s(context))

    def may_go_on() -> bool:
        check_active(context)
        return time.monotonic() < until

    return may_go_on
