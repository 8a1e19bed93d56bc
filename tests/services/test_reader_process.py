"""A process that only reads, beside the one that writes."""

from __future__ import annotations

import time

import grpc
import pytest

from lineage_ledger import Client
from lineage_ledger.v1 import append_pb2, append_pb2_grpc
from tests.support.producer import a_prediction
from tests.support.rpc import is_serving, registered
from tests.support.server import RunningServer


def test_it_answers_what_the_writer_published_and_takes_nothing(tmp_path):
    with (
        RunningServer(tmp_path / "l") as writer,
        RunningServer(tmp_path / "l", "--reader") as reader,
        grpc.insecure_channel(writer.address) as channel,
        grpc.insecure_channel(reader.address) as reading,
        Client(reader.address, ledger=writer.verifier_key) as client,
    ):
        assert is_serving(reading)
        producer = registered(writer)
        append = append_pb2_grpc.AppendServiceStub(channel)
        append.AppendBatch(append_pb2.AppendBatchRequest(packed_batch=producer.batch()), timeout=10)
        batch = producer.batch([a_prediction(number, request_id=b"r%d" % number) for number in range(600)])
        index = append.AppendBatch(append_pb2.AppendBatchRequest(packed_batch=batch), timeout=10)
        first = index.acknowledgement.first_index
        assert client.get_entry(first + 7).index == first + 7
        deadline = time.monotonic() + 10
        while not (found := list(client.find_predictions(request_id=b"r7"))):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert [prediction.index for prediction in found] == [first + 7]
        with pytest.raises(grpc.RpcError) as refused:
            append_pb2_grpc.AppendServiceStub(reading).AppendBatch(
                append_pb2.AppendBatchRequest(packed_batch=batch), timeout=10
            )
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
        writer.kill()
        assert client.get_entry(first + 8).index == first + 8
        assert reader.stop() == 0


def test_without_a_ledger_it_says_so(tmp_path):
    with pytest.raises(RuntimeError, match="there is no ledger"):
        RunningServer(tmp_path / "l", "--reader")
