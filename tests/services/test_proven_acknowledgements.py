"""Acknowledgements with proof, as anybody checks them who has the batch, the verifier key and the specification."""

from __future__ import annotations

import queue
from collections.abc import Iterator

import grpc
import pytest

from lineage_ledger import kernel
from lineage_ledger.formats import checkpoint, merkle, note
from lineage_ledger.v1 import append_pb2, append_pb2_grpc, proofs_pb2, proofs_pb2_grpc
from tests.support.producer import Producer
from tests.support.rpc import reason_of, registered
from tests.support.server import RunningServer

PROVE = append_pb2.AcknowledgementOptions(prove=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("s") / "l") as server:
        yield server
        assert server.stop() == 0


@pytest.fixture(scope="module")
def channel(server: RunningServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> append_pb2_grpc.AppendServiceStub:
    return append_pb2_grpc.AppendServiceStub(channel)


class Follower:
    """Checks responses as proto/README.md says, from one checkpoint to the next."""

    def __init__(self, server: RunningServer) -> None:
        self.verifier = note.Verifier.parse(server.verifier_key)
        self.newest: checkpoint.Checkpoint | None = None

    def open(self, signed: bytes, proof: list[bytes]) -> checkpoint.Checkpoint:
        opened, newest = checkpoint.Checkpoint.open(signed, self.verifier), self.newest
        if newest is None or newest.size == opened.size:
            assert not proof
            assert newest is None or newest == opened
        else:
            merkle.verify_consistency(newest.size, newest.root, opened.size, opened.root, proof)
        self.newest = opened
        return opened

    @staticmethod
    def check(batch: bytes, said: append_pb2.Acknowledgement, tree: checkpoint.Checkpoint) -> None:
        hashes = kernel.leaf_hashes(batch)
        assert said.seal_index - said.first_index + 1 == len(hashes) // 32
        assert merkle.range_root(hashes, said.first_index, tree.size, said.range_proof) == tree.root
        leaves = {said.first_index + place: hashes[32 * place : 32 * place + 32] for place in range(len(hashes) // 32)}
        assert merkle.multiproof_root(leaves, tree.size, said.range_proof) == tree.root


def _requests(
    batches: list[bytes], options: append_pb2.AcknowledgementOptions = PROVE, at_a_time: int = 1
) -> Iterator[append_pb2.AppendStreamRequest]:
    for first in range(0, len(batches), at_a_time):
        group = batches[first : first + at_a_time]
        yield append_pb2.AppendStreamRequest(packed_batches=group, options=None if first else options)


def _requests_of(
    batches: Iterator[bytes], options: append_pb2.AcknowledgementOptions
) -> Iterator[append_pb2.AppendStreamRequest]:
    for batch in batches:
        yield append_pb2.AppendStreamRequest(packed_batches=[batch], options=options)


def _batches(producer: Producer, counts: list[int]) -> list[bytes]:
    return [producer.batch(), *map(producer.predictions, counts)]


def _checkpoint(channel: grpc.Channel) -> bytes:
    stub = proofs_pb2_grpc.ProofServiceStub(channel)
    return stub.GetCheckpoint(proofs_pb2.GetCheckpointRequest(), timeout=10).checkpoint


@pytest.mark.parametrize("at_a_time", [1, 7])
def test_every_batch_of_a_stream_is_proven_and_so_is_every_checkpoint(
    server: RunningServer, stub: append_pb2_grpc.AppendServiceStub, at_a_time: int
) -> None:
    batches = _batches(registered(server), [1, 2, 255, 256, 257, 600, 3, 0, *range(1, 30)])
    follower, left = Follower(server), iter(batches)
    for response in stub.AppendStream(_requests(batches, at_a_time=at_a_time), timeout=20):
        tree = follower.open(response.checkpoint, list(response.consistency_proof))
        for said in response.acknowledgements:
            follower.check(next(left), said, tree)
            assert said.promise == append_pb2.PROMISE_PUBLISHED and not said.duplicate
    assert next(left, None) is None


def test_the_proofs_of_other_streams_that_append_meanwhile_are_in_the_tree_of_their_checkpoint(
    server: RunningServer, stub: append_pb2_grpc.AppendServiceStub
) -> None:
    producers = [registered(server) for _ in range(3)]
    batches = [_batches(producer, [40] * 30) for producer in producers]
    followers = [Follower(server) for _ in producers]
    lefts = [iter(mine) for mine in batches]
    streams = [stub.AppendStream(_requests(mine), timeout=20) for mine in batches]
    open_streams = set(range(3))
    while open_streams:
        for which in sorted(open_streams):
            response = next(streams[which], None)
            if response is None:
                open_streams.discard(which)
                continue
            tree = followers[which].open(response.checkpoint, list(response.consistency_proof))
            for said in response.acknowledgements:
                followers[which].check(next(lefts[which]), said, tree)
    assert not any(next(left, None) for left in lefts)


def test_duplicates_are_proven_where_they_lie(server: RunningServer, stub: append_pb2_grpc.AppendServiceStub) -> None:
    batches = _batches(registered(server), [10, 300])
    places = [
        (said.first_index, said.seal_index)
        for response in stub.AppendStream(_requests(batches), timeout=10)
        for said in response.acknowledgements
    ]
    for response in stub.AppendStream(_requests(_batches(registered(server), [500])), timeout=10):
        assert response.acknowledgements
    follower, left, found = Follower(server), iter(batches), []
    for response in stub.AppendStream(_requests(batches, at_a_time=2), timeout=10):
        tree = follower.open(response.checkpoint, list(response.consistency_proof))
        for said in response.acknowledgements:
            assert said.duplicate and said.seal_index < tree.size - 500
            follower.check(next(left), said, tree)
            found.append((said.first_index, said.seal_index))
    assert found == places


def test_the_first_response_is_consistent_with_what_the_client_knows(
    server: RunningServer, channel: grpc.Channel, stub: append_pb2_grpc.AppendServiceStub
) -> None:
    producer, follower = registered(server), Follower(server)
    known = follower.open(_checkpoint(channel), [])
    options = append_pb2.AcknowledgementOptions(prove=True, known_tree_size=known.size)
    batches = _batches(producer, [5])
    left = iter(batches)
    for response in stub.AppendStream(_requests(batches, options), timeout=10):
        before = follower.newest
        tree = follower.open(response.checkpoint, list(response.consistency_proof))
        assert before is not None and bool(response.consistency_proof) == (tree.size > before.size)
        for said in response.acknowledgements:
            follower.check(next(left), said, tree)
    assert next(left, None) is None
    newest = follower.newest
    assert newest is not None
    options = append_pb2.AcknowledgementOptions(prove=True, known_tree_size=newest.size)
    request = append_pb2.AppendBatchRequest(packed_batch=producer.predictions(5), options=options)
    answer = stub.AppendBatch(request, timeout=10)
    follower.check(
        request.packed_batch, answer.acknowledgement, follower.open(answer.checkpoint, list(answer.consistency_proof))
    )


@pytest.mark.parametrize("ahead", [1, 1 << 40, (1 << 64) - 1])
def test_a_client_that_knows_more_gets_the_smaller_checkpoint_and_no_proof_of_it(
    server: RunningServer, stub: append_pb2_grpc.AppendServiceStub, ahead: int
) -> None:
    producer, follower = registered(server), Follower(server)
    size = ahead if ahead > 1 else 1_000_000
    options = append_pb2.AcknowledgementOptions(prove=True, known_tree_size=size)
    sent: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    responses = stub.AppendStream(_requests_of(iter(sent.get, None), options), timeout=10)
    sent.put(producer.batch())
    first = next(responses)
    assert not first.consistency_proof
    tree = follower.open(first.checkpoint, [])
    assert tree.size < size
    sent.put(producer.predictions(1))  # only now, or one response would answer both
    second = next(responses)
    follower.open(second.checkpoint, list(second.consistency_proof))
    sent.put(None)


def test_what_is_not_asked_for_is_not_sent(server: RunningServer, stub: append_pb2_grpc.AppendServiceStub) -> None:
    batches = _batches(registered(server), [5])
    options = append_pb2.AcknowledgementOptions(known_tree_size=1)
    for response in stub.AppendStream(_requests(batches, options), timeout=10):
        assert not response.consistency_proof and not response.acknowledgements[0].range_proof
    answer = stub.AppendBatch(append_pb2.AppendBatchRequest(packed_batch=batches[1], options=options), timeout=10)
    assert not answer.consistency_proof and not answer.acknowledgement.range_proof


def test_options_hold_for_the_whole_stream_and_those_of_later_messages_are_ignored(
    server: RunningServer, stub: append_pb2_grpc.AppendServiceStub
) -> None:
    opening, batch = _batches(registered(server), [5])
    requests = [
        append_pb2.AppendStreamRequest(packed_batches=[opening]),
        append_pb2.AppendStreamRequest(packed_batches=[batch], options=PROVE),
    ]
    for response in stub.AppendStream(iter(requests), timeout=10):
        assert not response.acknowledgements[0].range_proof


@pytest.mark.parametrize("wait_for", [4, 77, -1])
def test_a_promise_that_there_is_not_is_refused(
    server: RunningServer, stub: append_pb2_grpc.AppendServiceStub, wait_for: int
) -> None:
    producer = registered(server)
    options = append_pb2.AcknowledgementOptions()
    options.MergeFromString(b"\x18" + _varint(wait_for % (1 << 64)))
    opening = producer.batch()
    with pytest.raises(grpc.RpcError) as refused:
        next(stub.AppendStream(_requests([opening], options), timeout=10))
    assert reason_of(refused.value)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    with pytest.raises(grpc.RpcError) as refused:
        stub.AppendBatch(append_pb2.AppendBatchRequest(packed_batch=opening, options=options), timeout=10)
    assert reason_of(refused.value)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    answer = stub.AppendBatch(append_pb2.AppendBatchRequest(packed_batch=opening), timeout=10)
    assert not answer.acknowledgement.duplicate, "nothing of a refused call is appended"


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
