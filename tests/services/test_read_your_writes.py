"""A real server: what was acknowledged can be found, traced and proven at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

from lineage_ledger.formats import statement
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.receipts import verify_receipt
from lineage_ledger.v1 import (
    append_pb2,
    append_pb2_grpc,
    entries_pb2,
    entries_pb2_grpc,
    entry_pb2,
    proofs_pb2,
    proofs_pb2_grpc,
    trace_pb2,
    trace_pb2_grpc,
)
from tests.support import producer as producers
from tests.support.rpc import registered
from tests.support.server import RunningServer

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "sha256:" + "11" * 32


def test_found_traced_and_proven_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunningServer(tmp_path / "data") as server, grpc.insecure_channel(server.address) as channel:
        append = append_pb2_grpc.AppendServiceStub(channel)
        producer = registered(server)
        model = statement.artifact(kind="model", digest=DIGEST, name="model")
        deployment = statement.deployment(name="prod", model=DIGEST)
        monkeypatch.setattr(producers, "DEPLOYMENT_HASH", statement.statement_hash(deployment))
        predictions = [producers.a_prediction(number, request_id=b"mine") for number in (2, 3, 4)]
        for batch in (producer.batch(), producer.batch([model, deployment]), producer.batch(predictions)):
            append.AppendBatch(append_pb2.AppendBatchRequest(packed_batch=batch), timeout=10)

        entries = entries_pb2_grpc.EntryServiceStub(channel)
        found = entries.FindPredictions(entries_pb2.FindPredictionsRequest(request_id=b"mine"), timeout=10).predictions
        assert [prediction.entry for prediction in found] == predictions
        wanted = PredictionId(producer.chain_id, 3, (3).to_bytes(4, "big"))
        assert found[1].prediction_id == str(wanted)

        trace = trace_pb2_grpc.TraceServiceStub(channel)
        nodes = trace.Trace(trace_pb2.TraceRequest(prediction_id=str(wanted)), timeout=10).nodes
        kinds = [entry_pb2.Entry.FromString(node.entry).WhichOneof("kind") for node in nodes]
        assert kinds == ["prediction", "deployment", "artifact"]
        assert {node.producer_name for node in nodes} == {"model server"}

        proofs = proofs_pb2_grpc.ProofServiceStub(channel)
        receipt = proofs.GetReceipt(proofs_pb2.GetReceiptRequest(prediction_id=str(wanted)), timeout=10).receipt
        verified = verify_receipt(receipt, Verifier.parse(server.verifier_key))
        assert verified.prediction_id == wanted
        assert verified.unresolved == ()
        assert server.stop() == 0
