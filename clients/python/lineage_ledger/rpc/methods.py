"""The contract's methods, typed. Imports no grpc, so that logic can name a call without making it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from google.protobuf.message import Message

from lineage_ledger.v1 import admin_pb2, append_pb2, entries_pb2, proofs_pb2, trace_pb2

Request = TypeVar("Request", bound=Message, contravariant=True)
Response = TypeVar("Response", bound=Message, covariant=True)


class _Parser(Protocol[Response]):
    def __call__(self, data: bytes, /) -> Response: ...


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Response]):
    """One method: its path, and the types that cross the wire."""

    path: str
    request: type[Request]
    parse_response: _Parser[Response]


def _method(name: str, request: type[Request], response: type[Response]) -> Method[Request, Response]:
    return Method(f"/lineage_ledger.v1.{name}", request, response.FromString)


APPEND_STREAM = _method("AppendService/AppendStream", append_pb2.AppendStreamRequest, append_pb2.AppendStreamResponse)
APPEND_BATCH = _method("AppendService/AppendBatch", append_pb2.AppendBatchRequest, append_pb2.AppendBatchResponse)
GET_CHAIN = _method("AppendService/GetChain", append_pb2.GetChainRequest, append_pb2.GetChainResponse)
GET_LEDGER = _method("AppendService/GetLedger", append_pb2.GetLedgerRequest, append_pb2.GetLedgerResponse)

GET_ENTRY = _method("EntryService/GetEntry", entries_pb2.GetEntryRequest, entries_pb2.GetEntryResponse)
STREAM_ENTRIES = _method(
    "EntryService/StreamEntries", entries_pb2.StreamEntriesRequest, entries_pb2.StreamEntriesResponse
)
GET_PREDICTION = _method(
    "EntryService/GetPrediction", entries_pb2.GetPredictionRequest, entries_pb2.GetPredictionResponse
)
FIND_PREDICTIONS = _method(
    "EntryService/FindPredictions", entries_pb2.FindPredictionsRequest, entries_pb2.FindPredictionsResponse
)

GET_CHECKPOINT = _method(
    "ProofService/GetCheckpoint", proofs_pb2.GetCheckpointRequest, proofs_pb2.GetCheckpointResponse
)
GET_INCLUSION_PROOF = _method(
    "ProofService/GetInclusionProof", proofs_pb2.GetInclusionProofRequest, proofs_pb2.GetInclusionProofResponse
)
GET_CONSISTENCY_PROOF = _method(
    "ProofService/GetConsistencyProof", proofs_pb2.GetConsistencyProofRequest, proofs_pb2.GetConsistencyProofResponse
)
GET_RECEIPT = _method("ProofService/GetReceipt", proofs_pb2.GetReceiptRequest, proofs_pb2.GetReceiptResponse)
LIST_CHAINS = _method("ProofService/ListChains", proofs_pb2.ListChainsRequest, proofs_pb2.ListChainsResponse)

TRACE = _method("TraceService/Trace", trace_pb2.TraceRequest, trace_pb2.TraceResponse)

REGISTER_PRODUCER = _method(
    "AdminService/RegisterProducer", admin_pb2.RegisterProducerRequest, admin_pb2.RegisterProducerResponse
)
RETIRE_PRODUCER = _method(
    "AdminService/RetireProducer", admin_pb2.RetireProducerRequest, admin_pb2.RetireProducerResponse
)
COMPROMISE_PRODUCER = _method(
    "AdminService/CompromiseProducer", admin_pb2.CompromiseProducerRequest, admin_pb2.CompromiseProducerResponse
)
CHANGE_LEDGER_KEY = _method(
    "AdminService/ChangeLedgerKey", admin_pb2.ChangeLedgerKeyRequest, admin_pb2.ChangeLedgerKeyResponse
)
LIST_PRODUCERS = _method("AdminService/ListProducers", admin_pb2.ListProducersRequest, admin_pb2.ListProducersResponse)
GET_STATISTICS = _method("AdminService/GetStatistics", admin_pb2.GetStatisticsRequest, admin_pb2.GetStatisticsResponse)
