"""Appending over gRPC, against a real server process."""

from __future__ import annotations

import threading
import time
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from lineage_ledger.formats import checkpoint, note, seal
from lineage_ledger.v1 import admin_pb2, append_pb2, append_pb2_grpc, entries_pb2, entries_pb2_grpc
from tests.support.producer import Producer, a_prediction
from tests.support.rpc import admin_stub, is_serving, reason_of, registered
from tests.support.server import RunningServer


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with RunningServer(tmp_path_factory.mktemp("s") / "l", "--max-append-streams", "4") as server:
        yield server
        assert server.stop() == 0


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(server.address, options=[("grpc.max_send_message_length", -1)]) as channel:
        yield channel


@pytest.fixture
def stub(channel):
    return append_pb2_grpc.AppendServiceStub(channel)


def _request(*batches: bytes) -> append_pb2.AppendStreamRequest:
    return append_pb2.AppendStreamRequest(packed_batches=batches)


def test_a_stream_answers_each_batch_in_order_under_a_checkpoint(server, stub):
    producer = registered(server)
    requests = [_request(producer.batch(), producer.predictions(3))]
    requests += [_request(producer.predictions(20)) for _ in range(50)]
    sequences, last_size = [], 0
    for response in stub.AppendStream(iter(requests), timeout=20):
        sequences += [ack.batch_sequence for ack in response.acknowledgements]
        signed = checkpoint.Checkpoint.open(response.checkpoint, note.Verifier.parse(server.verifier_key))
        assert signed.size >= last_size
        assert all(ack.seal_index < signed.size for ack in response.acknowledgements)
        assert all(ack.promise == append_pb2.PROMISE_PUBLISHED for ack in response.acknowledgements)
        last_size = signed.size
    assert sequences == list(range(52))


def test_a_refused_batch_ends_its_stream_after_the_answers_before_it_and_no_other(server, stub):
    good, bad = registered(server), registered(server)
    other_requests = iter([_request(good.batch())])
    hold = threading.Event()

    def held():
        yield from other_requests
        hold.wait(20)
        yield _request(good.predictions(1))

    other = stub.AppendStream(held(), timeout=30)
    assert next(other).acknowledgements[0].batch_sequence == 0
    opening = bad.batch()
    bad.predictions(1)
    responses = stub.AppendStream(iter([_request(opening, bad.predictions(1))]), timeout=20)
    assert next(responses).acknowledgements[0].batch_sequence == 0
    with pytest.raises(grpc.RpcError) as refused:
        next(responses)
    assert reason_of(refused.value) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "SEQUENCE_GAP",
        {"expected_sequence": "1"},
    )
    hold.set()
    assert next(other).acknowledgements[0].batch_sequence == 1


def test_unary_append_and_where_a_chain_stands(server, stub):
    producer = registered(server)
    stub.AppendBatch(append_pb2.AppendBatchRequest(packed_batch=producer.batch()), timeout=10)
    batch = producer.batch([a_prediction(0), a_prediction(2)], lost=[(1, 1)])
    answer = stub.AppendBatch(append_pb2.AppendBatchRequest(packed_batch=batch), timeout=10)
    chain = stub.GetChain(append_pb2.GetChainRequest(chain_id=producer.chain_id), timeout=10)
    assert chain.state == append_pb2.CHAIN_STATE_OPEN
    assert (chain.next_batch_sequence, chain.next_number) == (2, 3)
    assert chain.last_seal_index == answer.acknowledgement.seal_index
    assert chain.last_seal_hash == producer.previous
    with pytest.raises(grpc.RpcError) as unknown:
        stub.GetChain(append_pb2.GetChainRequest(chain_id=bytes(16)), timeout=10)
    assert reason_of(unknown.value)[:2] == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    with pytest.raises(grpc.RpcError) as malformed:
        stub.GetChain(append_pb2.GetChainRequest(chain_id=b"x"), timeout=10)
    assert reason_of(malformed.value)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("packed", "status", "reason"),
    [
        (b"", grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_SEAL"),
        (b"\x00", grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_BATCH"),
        (b"\x00\x00", grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_BATCH"),
        (b"\x00\x02\x0a\x01", grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_ENTRY"),
        (bytes(seal.MAX_BATCH_BYTES + 1), grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED"),
    ],
)
def test_bytes_that_are_no_batch_are_refused_with_a_reason(stub, packed, status, reason):
    with pytest.raises(grpc.RpcError) as refused:
        stub.AppendBatch(append_pb2.AppendBatchRequest(packed_batch=packed), timeout=10)
    assert reason_of(refused.value)[:2] == (status, reason)


def test_a_call_without_a_deadline_is_answered(server, stub):
    request = append_pb2.AppendBatchRequest(packed_batch=registered(server).batch())
    assert not stub.AppendBatch(request).acknowledgement.duplicate


def test_a_message_over_the_limit_is_refused(stub):
    with pytest.raises(grpc.RpcError) as refused:
        stub.AppendBatch(append_pb2.AppendBatchRequest(packed_batch=bytes(9 * 1024 * 1024)), timeout=10)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_messages_with_no_batch_or_too_many_are_refused(stub):
    for request in (_request(), _request(*[b""] * 1_025)):
        with pytest.raises(grpc.RpcError) as refused:
            next(stub.AppendStream(iter([request]), timeout=10))
        assert reason_of(refused.value)[1] == "LIMIT_EXCEEDED"


def test_a_message_of_batches_that_are_too_large_together_is_refused(stub):
    request = _request(*[bytes(2 * 1024 * 1024 + 1)] * 2)
    with pytest.raises(grpc.RpcError) as refused:
        next(stub.AppendStream(iter([request]), timeout=10))
    assert reason_of(refused.value)[1:] == ("LIMIT_EXCEEDED", {"limit": "max_bytes_per_message", "value": "4194304"})


def test_streams_that_nobody_reads_starve_nobody(server, channel):
    read = entries_pb2_grpc.EntryServiceStub(channel)
    reflected: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # its types say it gives nothing to iterate
    hold = threading.Event()

    def silent():
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        hold.wait(30)

    held = [reflected.ServerReflectionInfo(silent(), timeout=60) for _ in range(200)]
    answered = 0
    for stream in held:
        try:
            next(stream)
            answered += 1
        except grpc.RpcError as refusal:
            assert reason_of(refusal)[::2] == (
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                {"limit": "max_read_streams", "value": "32"},
            )
    assert 0 < answered <= 32
    assert is_serving(channel)
    assert read.GetEntry(entries_pb2.GetEntryRequest(index=0), timeout=5).entry
    hold.set()
    for stream in held:
        stream.cancel()


def test_health_is_told_though_every_worker_is_taken(server):
    """Calls whose request never comes hold a worker each; there is no telling them from slow ones."""
    with grpc.insecure_channel(server.address) as channel:
        never = channel.stream_unary(
            "/lineage_ledger.v1.EntryService/GetEntry", request_serializer=bytes, response_deserializer=bytes
        )
        hold = threading.Event()

        def nothing():
            hold.wait(30)
            yield from ()

        calls = [never.future(nothing(), timeout=60) for _ in range(80)]
        time.sleep(0.5)
        assert is_serving(channel)
        admin_stub(server).GetStatistics(admin_pb2.GetStatisticsRequest(), timeout=5)
        for call in calls:
            call.cancel()
        hold.set()


def test_idle_streams_up_to_the_limit_starve_nobody_and_more_are_refused(server, stub, channel):
    hold = threading.Event()

    def idle(producer: Producer):
        yield _request(producer.batch())
        hold.wait(30)

    streams = [stub.AppendStream(idle(registered(server)), timeout=60) for _ in range(4)]
    for stream in streams:
        next(stream)
    with pytest.raises(grpc.RpcError) as refused:
        next(stub.AppendStream(iter([_request(b"")]), timeout=10))
    assert reason_of(refused.value)[:2] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED")
    began = time.monotonic()
    assert is_serving(channel)
    statistics = admin_stub(server).GetStatistics(admin_pb2.GetStatisticsRequest(), timeout=5)
    assert (statistics.append_streams, statistics.max_append_streams, statistics.writable) == (4, 4, True)
    assert time.monotonic() - began < 5
    hold.set()
    for stream in streams:
        assert list(stream) == []


def test_a_client_that_breaks_off_leaves_its_place(server, stub):
    for _ in range(8):
        hold = threading.Event()

        def idle(producer: Producer, hold: threading.Event = hold):
            yield _request(producer.batch())
            hold.wait(5)

        call = stub.AppendStream(idle(registered(server)), timeout=60)
        next(call)
        call.cancel()
        hold.set()
    deadline = time.monotonic() + 10
    while admin_stub(server).GetStatistics(admin_pb2.GetStatisticsRequest(), timeout=5).append_streams:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_administration_over_tcp_needs_its_role(channel):
    from lineage_ledger.v1 import admin_pb2_grpc

    with pytest.raises(grpc.RpcError) as refused:
        admin_pb2_grpc.AdminServiceStub(channel).ListProducers(admin_pb2.ListProducersRequest(), timeout=5)
    assert reason_of(refused.value)[:2] == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")


def test_what_was_appended_can_be_read(server, stub, channel):
    producer = registered(server)
    batch = producer.batch()
    answer = stub.AppendBatch(append_pb2.AppendBatchRequest(packed_batch=batch), timeout=10)
    entry = entries_pb2_grpc.EntryServiceStub(channel).GetEntry(
        entries_pb2.GetEntryRequest(index=answer.acknowledgement.seal_index), timeout=10
    )
    assert len(entry.entry).to_bytes(2, "big") + entry.entry == batch


def test_stopping_answers_what_was_taken_and_ends_idle_streams(tmp_path):
    with RunningServer(tmp_path / "l") as server, grpc.insecure_channel(server.address) as channel:
        producer = registered(server)
        hold = threading.Event()

        def idle():
            yield _request(producer.batch())
            hold.wait(30)

        stream = append_pb2_grpc.AppendServiceStub(channel).AppendStream(idle(), timeout=60)
        next(stream)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 5
        with pytest.raises(grpc.RpcError) as ended:
            next(stream)
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        hold.set()
